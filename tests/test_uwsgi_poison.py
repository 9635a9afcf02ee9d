"""Tasks that destroy what they can reach, under a real uWSGI: each ends dead with its cause, alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import needs_uwsgi
from tests.instances import CODE, Instance, runs

POISON = {
    "poison.py": (CODE.parent / "poison.py").read_text(),
    "app.py": (CODE / "app.py").read_text() + "\nimport poison\n",
}
LATE = "TimeLimitExceeded: the task ran past its timeout"
KILLED_LATE = "killed 0.2 s after its timeout of 0.2 s"
CAUSES = {
    "exits": ("interrupted", "its process ended with exit code 7"),
    "segfaults": ("interrupted", "its process was killed by SIGSEGV"),
    "is_killed": ("interrupted", "its process was killed by SIGKILL"),
    "exits_in_a_thread": ("interrupted", "its process ended with exit code 5"),
    "leaves_by_exit": ("failed", "SystemExit: enough"),
    "becomes_a_daemon": ("interrupted", "its process ended with exit code 0"),
    "wants_all_memory": ("failed", "MemoryError"),
    "recurses": ("failed", "RecursionError: maximum recursion depth exceeded"),
    "fills_the_descriptor_table": ("failed", "OSError: [Errno 24] Too many open files"),
    "prints_without_end": ("timed_out", LATE),
    "hangs_with_children": ("timed_out", LATE),
    "heeds_nothing": ("timed_out", KILLED_LATE),
    "stays_in_c": ("timed_out", KILLED_LATE),
    "stops_itself": ("timed_out", KILLED_LATE),
    "takes_a_lock_over_a_fork": ("timed_out", LATE),
}
LEAVING = ["changes_its_surroundings", "leaves_a_thread", "lowers_a_limit_for_good"]


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance with one spooler, so that the next job always runs where the poison did."""
    needs_uwsgi()
    with Instance(tmp_path_factory.mktemp("poison"), POISON, WEBSPOOL_SPOOLERS="1") as running:
        yield running


def looked(instance: Instance) -> dict[str, Any]:
    """What a harmless job finds, in its first attempt."""
    ended = instance.ended(instance.spool("look"))
    assert (ended["state"], ended["attempts"]) == ("succeeded", 1), ended
    assert instance.output(ended["id"]) == "seen\n"
    found: dict[str, Any] = ended["result"]
    return found


@pytest.fixture(scope="module")
def first_look(poisoned: Instance) -> dict[str, Any]:
    """What a job found before any poison."""
    return looked(poisoned)


def gone(instance: Instance, job: str) -> None:
    """Every process that the job's attempts left anywhere has ended."""
    told = instance.notes("daemon", job=job)
    assert told
    instance.until(lambda: not [note for note in told if runs(note["child"])])


@pytest.mark.parametrize("task", CAUSES)
def test_poison_ends_dead_with_its_cause_and_the_next_job_is_unharmed(
    poisoned: Instance, first_look: dict[str, Any], task: str
) -> None:
    """Tried as often as it may be, told how each attempt ended; spooler, surroundings and children are as before."""
    spoolers = poisoned.processes().spoolers
    ended = poisoned.ended(poisoned.spool(task))
    assert (ended["state"], ended["attempts"]) == ("dead", 2)
    assert [(each["outcome"], each["error"]) for each in ended["history"]] == [CAUSES[task]] * 2
    assert looked(poisoned) == first_look
    assert poisoned.processes().spoolers == spoolers
    if task in ("becomes_a_daemon", "hangs_with_children", "heeds_nothing"):
        gone(poisoned, ended["id"])


@pytest.mark.parametrize("task", LEAVING)
def test_what_a_task_leaves_behind_is_put_back_or_its_runner_replaced(
    poisoned: Instance, first_look: dict[str, Any], task: str
) -> None:
    """It succeeds; the next job finds what the one before it found."""
    spoolers = poisoned.processes().spoolers
    job = poisoned.spool(task)
    assert poisoned.ended(job)["state"] == "succeeded"
    assert looked(poisoned) == first_look
    assert poisoned.processes().spoolers == spoolers
    if task == "leaves_a_thread":
        assert poisoned.said("runner_retired", job=job)[0]["left"].startswith("the thread ")


def test_a_daemon_that_a_task_left_on_purpose_lives_on(poisoned: Instance) -> None:
    """A task that succeeds may leave what has a session of its own; deaths of later tasks do not concern it."""
    ended = poisoned.ended(poisoned.spool("leaves_a_daemon_on_purpose"))
    child = poisoned.noted("daemon", job=ended["id"])["child"]
    assert ended["state"] == "succeeded"
    poisoned.ended(poisoned.spool("exits"))
    assert runs(child)
    os.kill(child, signal.SIGKILL)
    poisoned.until(lambda: not Path(f"/proc/{child}").exists())


def test_a_task_that_kills_its_spooler_ends_dead_with_that_cause(poisoned: Instance) -> None:
    """The keeper tells who was killed; the next spooler serves."""
    ended = poisoned.ended(poisoned.spool("kills_its_spooler"))
    assert (ended["state"], ended["attempts"]) == ("dead", 2)
    for each in ended["history"]:
        assert (each["outcome"], each["error"].startswith("its spooler ")) == ("interrupted", True)
        assert each["error"].endswith(" was killed")
    looked(poisoned)


def test_the_cause_is_told_where_a_person_looks(poisoned: Instance) -> None:
    """`webspool job ID` names the signal."""
    job = poisoned.ended(poisoned.spool("segfaults"))["id"]
    told = poisoned.command("job", job).stdout
    assert told.count("its process was killed by SIGSEGV") >= 2
    assert "dead" in told


def test_output_without_end_fills_neither_memory_nor_log(poisoned: Instance) -> None:
    """300 MB printed: kept and repeated to 1 MiB, counted to the end; the spooler has not grown."""
    (spooler,) = poisoned.processes().spoolers
    poisoned.ended(poisoned.spool("prints_megabytes", megabytes=2))
    before, logged = peak(spooler), poisoned.log.stat().st_size
    ended = poisoned.ended(poisoned.spool("prints_megabytes", megabytes=300))
    attempt = ended["history"][0]
    assert (attempt["output_bytes"], attempt["output_cut"]) == (300 << 20, True)
    assert peak(spooler) - before < 8 << 20
    assert poisoned.log.stat().st_size - logged < 2 << 20
    assert "the rest is neither kept nor shown" in poisoned.log.read_text()


def peak(pid: int) -> int:
    """The most memory that a process ever had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) << 10
