"""A 2xx means it is on disk: the system calls of a real keeper and a real worker, in their order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conditions import wait_until
from tests.instances import Instance

CALLS = "fsync,fdatasync,write,writev,sendto,sendmsg"
FLUSHED = r"^(fsync|fdatasync)\(\d+<[^>]*ledger\.db-wal>\) += 0$"
MOST_CALLS = {"worker": 16, "keeper": 80, "spooler": 24, "runner": 45}  # counted: 11, 60, 16, 36


@pytest.fixture
def traced(own_instance: Instance) -> Instance:
    """An instance of one worker."""
    env = own_instance.directory / ".env"
    env.write_text(env.read_text().replace("WEBSPOOL_WORKERS=2", "WEBSPOOL_WORKERS=1"))
    return own_instance.start()


@contextmanager
def trace(instance: Instance, into: Path, calls: str = CALLS, *, everybody: bool = False) -> Iterator[None]:
    """Write down the system calls of keeper and worker, or of everybody: in the order of their ends, with paths."""
    strace = shutil.which("strace")
    if strace is None:
        missing("strace is not installed")
    processes = instance.processes()
    pids = [processes.keeper, *processes.workers]
    if everybody:
        pids += [*processes.spoolers, *map(instance.runner_of, processes.spoolers)]
    said = into.with_suffix(".said")
    typed = [str(strace), "-f", "-y", "-s", "64", "-e", f"trace={calls}", "-o", str(into)]
    for pid in pids:
        typed += ["-p", str(pid)]
    with said.open("wb") as file:
        tracing = subprocess.Popen(typed, stderr=file)
    try:
        wait_until(lambda: tracing.poll() is not None or said.read_text().count("attached") >= len(pids))
        if tracing.poll() is not None:
            missing(f"strace may not look at processes here: {said.read_text()}")
        yield
    finally:
        tracing.terminate()
        tracing.wait()


def missing(why: str) -> None:
    """Skip at home, fail where the tests have to be whole."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def first(lines: list[str], pattern: str) -> int:
    """The number of the first line that fits."""
    found = [number for number, line in enumerate(lines) if re.search(pattern, line)]
    assert found, f"nothing like {pattern} in:\n" + "\n".join(lines)
    return found[0]


def calls(path: Path) -> list[str]:
    """The calls that have ended, each in a line of its own at the place where it ended."""
    begun: dict[str, str] = {}
    found = []
    for line in path.read_text().splitlines():
        pid, call = line.split(None, 1)
        if "<unfinished ...>" in call:
            begun[pid] = call.replace("<unfinished ...>", "")
        elif "resumed>" in call:
            found.append(begun.pop(pid, "") + call.partition("resumed>")[2])
        else:
            found.append(call)
    return found


def by_process(path: Path, instance: Instance) -> Iterator[str]:
    """For each system call, the kind of process that has made it."""
    processes = instance.processes()
    kinds = dict.fromkeys(processes.workers, "worker") | dict.fromkeys(processes.spoolers, "spooler")
    kinds |= {instance.runner_of(spooler): "runner" for spooler in processes.spoolers} | {processes.keeper: "keeper"}
    for line in path.read_text().splitlines():
        if "resumed>" not in line:
            yield kinds.get(int(line.split()[0]), "thread")


def test_an_answer_of_202_comes_after_the_flush_of_the_ledger(traced: Instance, tmp_path: Path) -> None:
    """The keeper's fsync of the ledger's log has returned before the worker writes the answer to its client."""
    with trace(traced, tmp_path / "calls"):
        assert traced.webhook().status == 202
    lines = calls(tmp_path / "calls")
    answered = first(lines, r"^(write|writev|sendto|sendmsg)\(.*HTTP/1\.1 202")
    flushed = first(lines, r"^(fsync|fdatasync)\(\d+<[^>]*ledger\.db-wal>\) += 0$")
    assert flushed < answered


def test_a_large_body_is_flushed_before_its_delivery(traced: Instance, tmp_path: Path) -> None:
    """The file, then its folder, then the ledger, then the answer."""
    traced.webhook(b"[" + b"1," * 50_000 + b"1]")  # the first of them makes the folder
    with trace(traced, tmp_path / "calls"):
        reply = traced.webhook(b"[" + b"2," * 50_000 + b"2]")
    lines = calls(tmp_path / "calls")
    body = first(lines, rf"^(fsync|fdatasync)\(\d+<[^>]*bodies/{reply.json['delivery']}>\) += 0$")
    folder = first(lines, r"^fsync\(\d+<[^>]*/bodies>\) += 0$")
    ledger = first(lines, r"^(fsync|fdatasync)\(\d+<[^>]*ledger\.db-wal>\) += 0$")
    answered = first(lines, r"^(write|writev|sendto|sendmsg)\(.*HTTP/1\.1 202")
    assert body < folder < ledger < answered


def test_a_duplicates_answer_comes_after_the_flush_of_the_first(traced: Instance, tmp_path: Path) -> None:
    """Its 200 says that the first copy is on disk, also when both arrive together."""
    traced.webhook(id="warm-up")
    with trace(traced, tmp_path / "calls"):
        assert traced.webhook(id="twice").status == 202
        assert traced.webhook(id="twice").json["status"] == "duplicate"
    lines = calls(tmp_path / "calls")
    answered = first(lines, r"^(write|writev|sendto|sendmsg)\(.*HTTP/1\.1 200")
    flushes = [number for number, line in enumerate(lines) if re.search(FLUSHED, line)]
    assert len([number for number in flushes if number < answered]) == 2, "its own batch counts it, and is flushed too"


def test_an_operators_action_is_flushed_before_it_is_answered(traced: Instance, tmp_path: Path) -> None:
    """What `webspool pause` has said is done outlives a power cut."""
    with trace(traced, tmp_path / "calls"):
        assert traced.command("pause", "--all").returncode == 0
    lines = calls(tmp_path / "calls")
    told = first(lines, r"^(write|sendto|sendmsg)\(.*id.{0,9}\"x_")
    assert first(lines, FLUSHED) < told


def test_a_webhook_costs_few_system_calls(traced: Instance, tmp_path: Path) -> None:
    """From its first byte to the record of its job's end: each call is a way into the kernel and back."""
    for number in range(5):
        traced.ended(traced.webhook(id=f"warm-up-{number}").json["jobs"][0])
    count = 20
    with trace(traced, tmp_path / "calls", calls="all", everybody=True):
        for number in range(count):
            traced.ended(traced.webhook(id=f"counted-{number}").json["jobs"][0])
    made = Counter(by_process(tmp_path / "calls", traced))
    assert {kind: round(made[kind] / count) for kind in MOST_CALLS if made[kind] > MOST_CALLS[kind] * count} == {}


def test_a_spooled_job_is_flushed_before_its_caller_goes_on(traced: Instance, tmp_path: Path) -> None:
    """What `.spool()` returns is on disk."""
    with trace(traced, tmp_path / "calls"):
        traced.spool("add", a=1, b=2)
    lines = calls(tmp_path / "calls")
    flushed = first(lines, r"^(fsync|fdatasync)\(\d+<[^>]*ledger\.db-wal>\) += 0$")
    assert flushed < first(lines, r"^(write|writev|sendto|sendmsg)\(.*HTTP/1\.1 202")
