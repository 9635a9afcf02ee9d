"""What the keeper does for jobs whose process died: real processes, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conditions import wait_until
from tests.fire import House, NoEngine
from tests.ledger_laws import breaches
from tests.operations import INSTANCE, accept, join, orders_in, start, stop, turn
from webspool.keep import Keeper
from webspool.ledger.client import Client
from webspool.ledger.database import Database
from webspool.ledger.sockets import SocketInbox
from webspool.policy import MAX_INTERRUPTIONS, Policy
from webspool.processes import Identity, start_time
from webspool.records import Ending, State, new_ids
from webspool.slate import Slate, path_of, prepare

TASKS = {"free": Policy(), "once": Policy(max_attempts=1)}
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


class Spooler:
    """A process that lives until it is killed; what a spooler says to the ledger is said for it here."""

    def __init__(self, kept: Kept, instance: str = INSTANCE, *, runner: bool = False) -> None:
        self.kept, self.instance = kept, instance
        self.process = subprocess.Popen(SLEEP)
        self.name = str(Identity.of(self.process.pid))
        self.runner = subprocess.Popen(SLEEP, start_new_session=True) if runner else None

    def join(self) -> None:
        runner = self.runner.pid if self.runner else 0
        beginning = start_time(runner) if self.runner else 0
        given = {"instance": self.instance, "runner_pid": runner, "runner_start": beginning}
        self.kept.client.call(join(self.name, TASKS, **given))

    def claim(self) -> dict[str, Any]:
        order: dict[str, Any] | None = self.kept.client.call(turn(self.name, instance=self.instance)).values["order"]
        assert order is not None
        return order

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Kept:
    """A keeper turned by hand, whose operations come directly into the ledger or, joining, through its door."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.client = Client(house.ledger, house.outputs, None)
        self.client.call(start())
        self.happenings: list[str] = []
        self.begin()

    def begin(self) -> None:
        self.inbox = SocketInbox(self.house.keeper)
        self.keeper = Keeper(self.house.folders, self.inbox, NoEngine(), self._say, INSTANCE)
        self.keeper.rescuer.look_back()

    def _say(self, happening: str, /, **facts: Any) -> None:
        self.happenings.append(happening)

    def end(self) -> None:
        self.keeper.run(lambda: True)
        self.inbox.close()

    def spooler(self, instance: str = INSTANCE, *, runner: bool = False) -> Spooler:
        """A spooler that has joined and is watched."""
        made = Spooler(self, instance, runner=runner)
        made.join()
        self.keeper.rescuer.look_back()
        return made

    def until(self, condition: Callable[[], object]) -> None:
        wait_until(lambda: self.keeper.round() or condition(), 20)

    def job(self) -> dict[str, Any]:
        seen = self.house.seen()
        assert not breaches(seen)
        (job,) = seen.job
        return job

    def attempt(self) -> dict[str, Any]:
        return max(self.house.seen().attempt, key=lambda row: row["number"])


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(House(tmp_path))
    yield made
    made.end()


@pytest.mark.parametrize(
    ("begun", "charged"), [(0, [0, 0, 0]), (1, [1, 0, 0]), (2, [1, 1, 0]), (3, [1, 1, 1]), (None, [1, 1, 1])]
)
def test_what_a_killed_spooler_had_claimed_and_not_begun_is_queued_as_before(
    kept: Kept, begun: int | None, charged: list[int]
) -> None:
    """Its runner has noted what it began last; where there is no note, all may have been begun."""
    spooler = kept.spooler()
    for _ in range(3):
        kept.client.call(accept("free"))
    attempts = new_ids("a", 3)
    wanted = {"attempt": attempts[0], "further": attempts[1:]}
    assert len(orders_in(kept.client.call(turn(spooler.name, **wanted)))) == 3
    if begun is not None:
        path = prepare(path_of(kept.house.folders.bodies.with_name("begun"), spooler.name))
        slate = Slate(path)
        for attempt in attempts[:begun]:
            slate.note(attempt)
    spooler.kill()
    kept.until(lambda: "spooler_ended" in kept.happenings)
    jobs = kept.house.seen().job
    assert [job["attempts"] for job in jobs] == charged
    assert [job["state"] for job in jobs] == ["scheduled" if each else "queued" for each in charged]
    assert all(job["due_at"] == job["created_at"] for job in jobs if job["state"] == "queued")
    assert not breaches(kept.house.seen())
    assert not path_of(kept.house.folders.bodies.with_name("begun"), spooler.name).exists()


def test_the_job_of_a_killed_spooler_is_tried_again_and_the_attempt_is_charged(kept: Kept) -> None:
    """It died alone: perhaps the job killed it, and a job that kills cannot loop."""
    spooler = kept.spooler()
    kept.client.call(accept("free"))
    spooler.claim()
    spooler.kill()
    kept.until(lambda: kept.job()["state"] != State.RUNNING)
    assert (kept.job()["state"], kept.job()["attempts"]) == (State.SCHEDULED, 1)
    attempt = kept.attempt()
    assert (attempt["outcome"], attempt["charged"]) == (Ending.INTERRUPTED, 1)
    assert str(spooler.process.pid) in attempt["error"]
    assert "job_rescued" in kept.happenings


def test_the_last_attempt_of_a_job_that_kills_its_spooler_is_its_end(kept: Kept) -> None:
    """Dead, with the cause."""
    spooler = kept.spooler()
    kept.client.call(accept("once"))
    spooler.claim()
    spooler.kill()
    kept.until(lambda: kept.job()["state"] == State.DEAD)
    assert "was killed" in kept.job()["error"]


def test_a_job_cut_by_a_stop_of_its_instance_runs_again_uncharged(kept: Kept) -> None:
    """A deploy charges no attempt."""
    spooler = kept.spooler()
    kept.client.call(accept("free"))
    spooler.claim()
    kept.client.call(stop())
    spooler.kill()
    kept.until(lambda: kept.job()["state"] == State.QUEUED)
    assert (kept.job()["attempts"], kept.job()["interruptions"]) == (0, 1)


def test_a_job_whose_whole_instance_died_runs_again_uncharged_and_the_twentieth_time_is_its_end(kept: Kept) -> None:
    """A power cut is nobody's fault; twenty of them with the same job look like its doing."""
    kept.client.call(accept("free"))
    for number in range(1, MAX_INTERRUPTIONS + 1):
        kept.client.call(start(f"instance-{number}", host=f"host-{number}"))
        spooler = kept.spooler(f"instance-{number}")
        spooler.claim()
        spooler.kill()
        kept.until(lambda: kept.job()["state"] != State.RUNNING)
        assert (kept.job()["attempts"], kept.job()["interruptions"]) == (0, number)
        assert (kept.job()["state"] == State.DEAD) == (number == MAX_INTERRUPTIONS)
    assert "cut 20 times" in kept.job()["error"]


def test_with_the_spooler_its_runner_ends(kept: Kept) -> None:
    """Its whole session: a job must not go on beside its own repetition."""
    spooler = kept.spooler(runner=True)
    assert spooler.runner is not None
    spooler.kill()
    kept.until(lambda: spooler.runner is not None and spooler.runner.poll() is not None)
    assert spooler.runner.returncode == -signal.SIGKILL


def test_a_busy_spooler_outlives_keeper_and_master_and_keeps_its_job(kept: Kept) -> None:
    """Rescue goes by identity: an instance that has ended is not proof that its spooler has."""
    spooler = kept.spooler()
    kept.client.call(accept("free"))
    order = spooler.claim()
    kept.end()
    kept.client.call(start("the-next"))
    kept.begin()
    for _ in range(3):
        kept.keeper.round()
    assert kept.job()["attempt"] == order["attempt"]
    spooler.kill()
    kept.until(lambda: kept.job()["state"] != State.RUNNING)


def test_who_died_while_no_keeper_looked_is_rescued_by_the_next(kept: Kept) -> None:
    """The ledger knows whom to look for."""
    spooler = kept.spooler()
    kept.client.call(accept("free"))
    spooler.claim()
    kept.end()
    spooler.kill()
    kept.begin()
    assert kept.job()["state"] == State.SCHEDULED


def test_who_joined_directly_is_watched_too(kept: Kept) -> None:
    """The keeper was slow, and its caller went without it."""
    spooler = Spooler(kept)
    spooler.join()
    kept.client.call(accept("free"))
    spooler.claim()
    kept.until(lambda: spooler.name in kept.keeper.rescuer.watched)
    spooler.kill()
    kept.until(lambda: kept.job()["state"] == State.SCHEDULED)


def test_who_died_with_a_claim_on_its_way_holds_no_job_for_ever(kept: Kept) -> None:
    """It was rescued already when its last claim was read."""
    spooler = kept.spooler()
    spooler.kill()
    kept.until(lambda: spooler.name not in kept.keeper.rescuer.watched)
    kept.client.call(accept("free"))
    spooler.claim()
    kept.until(lambda: kept.job()["state"] != State.RUNNING)


def test_a_pid_that_was_given_anew_is_another_process(kept: Kept) -> None:
    """Same pid, other start time: its holder is dead, and whoever has the pid now is left alone."""
    living = subprocess.Popen(SLEEP, start_new_session=True)
    identity = Identity.of(living.pid)
    former = f"{identity.boot}:{identity.pid}:{identity.start - 1}"
    before = {"runner_pid": living.pid, "runner_start": identity.start - 1}
    kept.client.call(join(former, TASKS, **before))
    kept.client.call(accept("free"))
    kept.client.call(turn(former))
    kept.until(lambda: kept.job()["state"] == State.SCHEDULED)
    assert living.poll() is None
    living.kill()
    living.wait()


def test_a_rescue_that_cannot_be_written_now_is_done_later(kept: Kept) -> None:
    """Another holds the write lock for longer than the keeper waits."""
    spooler = kept.spooler()
    kept.client.call(accept("free"))
    spooler.claim()
    other = Database(kept.house.ledger)
    with other.transaction(flush=False):
        spooler.kill()
        kept.until(lambda: "rescue_postponed" in kept.happenings)
    kept.until(lambda: kept.job()["state"] == State.SCHEDULED)
    other.close()


def test_a_rescued_process_leaves_no_descriptor_open(kept: Kept) -> None:
    """Each is watched by one."""
    spoolers = [kept.spooler() for _ in range(3)]
    assert watching() == 3
    for spooler in spoolers:
        spooler.kill()
    kept.until(lambda: not kept.keeper.rescuer.watched and not watching())


def watching() -> int:
    """How many descriptors of this process watch another."""
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sum(os.path.lexists(link) and os.readlink(link) == "anon_inode:[pidfd]" for link in links)
