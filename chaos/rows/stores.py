"""Row 4: the spool and the ledger's file, harmed under the feet of an instance at work."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from chaos.orders import Order
from chaos.row import row
from chaos.run import Run
from tests.instances import BIN

ANSWERED_SECONDS = 2.0
REPLACED_SECONDS = 10.0
LOCKED_SECONDS = 30.0

GARBAGE = {
    "empty": b"",
    "short": b"\x11\x00",
    "noise": bytes(range(256)) * 20,
    "cut": struct.pack("<BHB", 17, 900, 0) + b"\x0d\x00ud_spool_func\x04\x00some",
    "unknown": struct.pack("<BHB", 17, 25, 0) + b"\x0d\x00ud_spool_func\x06\x00nobody",
}


def answers_in_time(run: Run, since: float, seconds: float = ANSWERED_SECONDS) -> None:
    """A breach for each answer that took longer, of those sent since then (monotonic clock)."""
    sent = map(json.loads, (run.evidence / "sent.jsonl").read_text().splitlines())
    slow = [line for line in sent if line["sent"] >= since and line["at"] - line["sent"] > seconds]
    for line in slow[:5]:
        run.breach(f"an answer ({line['status']}) took {line['at'] - line['sent']:.2f} s")
    run.figures["answers_over_2_s"] = len(slow)


# ── the spool ───────────────────────────────────────────────────────────────────────────────────────────────────────


@row(
    "4a",
    "the spool destroyed",
    broken="my_spools/ emptied, removed, made a file, filled with garbage, immutable; a spooler killed each time",
    promise="nothing is lost, spoolers come back by themselves, files of others are never deleted",
)
def the_spool_destroyed(run: Run) -> None:
    """One after the other; a spooler is killed each time, since those at work need no spool."""
    with run.serving() as house, run.load(per_second=50):
        spool = house.instance.config.spool_path
        left = spool.parent / "spools_of_others"
        left.mkdir()
        turn = 0
        while run.time_left():
            WAYS[turn % len(WAYS)](run, spool)
            turn += 1
            time.sleep(run.chance.uniform(0.5, 2.0))


def _kill_a_spooler(run: Run) -> None:
    run.kill("spooler")


def _emptied(run: Run, spool: Path) -> None:
    run.harmed("emptied", "spool")
    for path in list(spool.iterdir()):
        if path.is_symlink() or path.is_file():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path, ignore_errors=True)
    _kill_a_spooler(run)


def _removed(run: Run, spool: Path) -> None:
    run.harmed("removed", "spool")
    shutil.rmtree(spool, ignore_errors=True)
    _kill_a_spooler(run)


def _in_the_way(run: Run, spool: Path) -> None:
    with run.harming("a file in the place", "spool"):
        shutil.rmtree(spool, ignore_errors=True)
        try:
            spool.write_text("in the way")
        except IsADirectoryError:  # the keeper was faster
            return
        _kill_a_spooler(run)
        time.sleep(1.0)
        if spool.read_text() != "in the way":
            run.breach("the file in the place of the spool was changed")
        spool.unlink()


def _garbage(run: Run, spool: Path) -> None:
    run.harmed("garbage", "spool")
    mark = run.chance.randrange(10**9)
    made = {spool / f"uwsgi_spoolfile_on_{name}_{mark}": data for name, data in GARBAGE.items()}
    made[spool / f"notes_{mark}.txt"] = b"mine"
    for path, data in made.items():
        path.write_bytes(data)
    _kill_a_spooler(run)
    time.sleep(2.5)
    for path, data in made.items():
        if not path.exists() or path.read_bytes() != data:
            run.breach(f"{path.name}, which webspool did not write, is gone or changed")


def _immutable(run: Run, spool: Path) -> None:
    if subprocess.run(["chattr", "+i", spool], capture_output=True).returncode:
        return
    with run.harming("made immutable", "spool"):
        _kill_a_spooler(run)
        time.sleep(1.0)
        subprocess.run(["chattr", "-i", spool], check=True)


WAYS: tuple[Callable[[Run, Path], None], ...] = (_emptied, _removed, _in_the_way, _garbage, _immutable)


# ── the ledger ──────────────────────────────────────────────────────────────────────────────────────────────────────


@row(
    "4b",
    "the ledger locked",
    broken="the ledger's write lock held by another process, up to 30 s at a time",
    promise="every webhook is answered within 2 s; nothing is lost, and all goes on when the lock is free",
)
def the_ledger_locked(run: Run) -> None:
    """Once for long, then for random times, some so short that nobody should be refused."""
    with run.serving() as house, run.load(per_second=50):
        began, longest = time.monotonic(), min(LOCKED_SECONDS, run.seconds * 0.6)
        held = longest
        while run.time_left() or held == longest:
            with run.harming("lock held by another process", "ledger"):
                holder = apsw.Connection(str(house.instance.config.ledger_path))
                holder.set_busy_timeout(5000)
                holder.execute("BEGIN IMMEDIATE").fetchall()
                time.sleep(held)
                holder.execute("ROLLBACK").fetchall()
                holder.close()
            held = run.chance.choice((0.05, 0.3, 1.5, 3.0))
            time.sleep(run.chance.uniform(1.0, 4.0))
    answers_in_time(run, began)


@row(
    "4c",
    "the keeper stopped",
    broken="SIGSTOP of the keeper, wherever it is just then",
    promise="every webhook is answered within 2 s, the keeper is replaced within 10 s, nothing is lost",
)
def the_keeper_stopped(run: Run) -> None:
    """Again and again, as soon as the next one serves."""
    with run.serving() as house, run.load(per_second=50):
        began = time.monotonic()
        while run.time_left():
            time.sleep(run.chance.uniform(0.2, 1.5))
            for keeper in house.pids("keeper"):
                _stop(run, keeper)
    answers_in_time(run, began)


def _stop(run: Run, keeper: int) -> None:
    with run.harming("SIGSTOP", "keeper"):
        os.kill(keeper, signal.SIGSTOP)
        stopped = time.monotonic()
        while run.house.pids("keeper") in ([], [keeper]):
            if time.monotonic() - stopped > REPLACED_SECONDS:
                run.breach(f"the stopped keeper was not replaced within {REPLACED_SECONDS:g} s")
                os.kill(keeper, signal.SIGKILL)
                return
            time.sleep(0.05)


MEDDLING = '''

import io
import sqlite3
import tarfile

from flask import current_app


def meddle():
    """Everything that drops the locks of a process which has the ledger open."""
    var = Path.cwd() / "var"
    connection = sqlite3.connect(var / "ledger.db")
    connection.execute("SELECT count(*) FROM job").fetchall()
    connection.close()
    with tarfile.open(fileobj=io.BytesIO(), mode="w") as tar:
        for path in [*var.glob("ledger.db*"), *var.glob("output.db*")]:
            try:
                tar.add(path)
            except OSError:  # it changes while it is read
                continue


@task(first_wait=0.2, longest_wait=1.0)
def meddling(delivery):
    begin(delivery)
    meddle()
    note("done")


@task(max_attempts=2, first_wait=0.1)
def closing(delivery):
    begin(delivery)
    meddle()
    os.closerange(0, 1024)


def meddle_view():
    meddle()
    return {"meddled": True}


def close_view():
    meddle()
    os.closerange(3, 1024)


def count_view():
    return current_app.extensions["webspool"].counts()


ROUTES = {"/meddle": meddle_view, "/close": close_view, "/count": count_view}
'''


@row(
    "4d",
    "foreign hands on the ledger's file",
    broken="tasks and threads of workers that use another SQLite on it, tar it, close all descriptors and read it; "
    "keepers and deputies killed, CLI writing",
    promise="no acknowledged delivery is missing, the ledger is whole",
)
def foreign_hands(run: Run) -> None:
    """POSIX locks go with the first descriptor that a process closes: so no process that runs user code writes.

    Nor does it ever have the ledger to itself: its own SQLite would rebuild the log's index or remove the log.
    """
    run.more_tasks = MEDDLING
    run.orders |= {"meddling": Order(20), "closing": Order(5, limit=2, dead_by="descriptors")}
    with run.serving() as house, run.load(per_second=50), _busy_hands(run):
        command = [BIN / "webspool", "--instance", house.instance.directory]
        while run.time_left():
            _keep_away(run, run.chance.choice((0.0, 0.0, 1.5)))
            for path in ["/meddle"] * 8 + ["/close"]:
                with suppress(OSError):  # who closed its sockets does not answer
                    house.instance.get(path)
            run.harmed("closed sockets", "worker")
            for words in (["pause", "--task", "limited"], ["resume", "--task", "limited"], ["status", "--json"]):
                subprocess.run([*command, *words], capture_output=True, timeout=60)
            time.sleep(run.chance.uniform(0.0, 0.5))


@contextmanager
def _busy_hands(run: Run) -> Iterator[None]:
    """Several at once in the threads of the workers: the app's own SQLite, and pages that read the ledger."""
    over = threading.Event()

    def ask(path: str, pause: float) -> None:
        while not over.wait(pause):
            with suppress(OSError):
                run.house.instance.get(path)

    hands = [threading.Thread(target=ask, args=given) for given in [("/meddle", 0.0)] * 2 + [("/count", 0.01)] * 3]
    for hand in hands:
        hand.start()
    try:
        yield
    finally:
        over.set()
        for hand in hands:
            hand.join()


def _keep_away(run: Run, seconds: float) -> None:
    """The keeper killed, and whichever comes next within that time: deputies write in its place, and are killed too."""
    until = time.monotonic() + seconds
    run.kill("keeper")
    while time.monotonic() < until:
        run.kill("deputy" if run.chance.random() < 0.1 else "keeper")
        time.sleep(0.02)


FRAGILE = """

BAD = Path.cwd() / "bad-spooler"


@task(first_wait=0.2, longest_wait=1.0)
def fragile(delivery):
    begin(delivery)
    if BAD.exists() and BAD.read_text() == str(os.getppid()):
        raise OSError(24, "Too many open files")
    note("done")


@task(max_attempts=1)
def once(delivery):
    begin(delivery)
    if BAD.exists() and BAD.read_text() == str(os.getppid()):
        raise OSError(24, "Too many open files")
    note("done")
"""


@row(
    "4e",
    "one spoilt spooler of four",
    broken="one spooler of four in which every task fails at once, as with a full descriptor table",
    promise="it stops claiming and says so, instead of draining the queue into dead jobs; later it works again",
)
def one_spoilt_spooler(run: Run) -> None:
    """A job that may be tried but once and meets it is lost to it: there are a handful of those, not a queue."""
    run.more_tasks = FRAGILE
    run.orders = {"fragile": Order(1)}
    with run.serving(WEBSPOOL_SPOOLERS="4") as house, run.load(per_second=80):
        time.sleep(1.0)
        bad = run.chance.choice(house.pids("spooler"))
        mark = house.instance.directory / "bad-spooler"
        with run.harming("every task fails in it", "spooler", pid=bad):
            mark.write_text(str(bad))
            _until(run, lambda: bool(house.instance.said("spooler_rests")), "the spoilt spooler did not say so")
            told = "\n".join(house.instance.status()["degraded"])
            if f"spooler {bad}" not in told:
                run.breach(f"webspool status does not tell of it: {told}")
            failures = _failures(run)
            time.sleep(min(8.0, run.seconds / 3))
            more = _failures(run) - failures
            run.figures |= {"failed_before_it_rested": failures, "failed_while_it_rested": more}
            if more > 3:
                run.breach(f"{more} jobs more have failed in it while it was to rest")
            mark.unlink()
        _until(run, lambda: bool(_ran_in(run, bad)), "the spooler did not come back", 45.0)


def _failures(run: Run) -> int:
    return int(run.house.instance.query("SELECT count(*) FROM attempt WHERE outcome = 'failed'")[0][0])


def _ran_in(run: Run, spooler: int) -> int:
    """How many attempts succeeded in that spooler after its last failed one."""
    rows = run.house.instance.query(
        "SELECT count(*) FROM attempt JOIN process ON process.id = attempt.process WHERE process.pid = ? "
        "AND attempt.outcome = 'succeeded' "
        "AND attempt.started_at > (SELECT max(started_at) FROM attempt WHERE outcome = 'failed')",
        spooler,
    )
    return int(rows[0][0])


def _until(run: Run, condition: Callable[[], bool], breach: str, seconds: float = 20.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            run.breach(breach)
            return
        time.sleep(0.1)
