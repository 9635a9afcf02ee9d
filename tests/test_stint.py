"""A spooler that claims several jobs at once: one round trip for all, and nothing begun or charged by mistake."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fire import House
from tests.operations import accept, start
from webspool.batch import MOST, QUICK_SECONDS, Watcher
from webspool.errors import LedgerUnavailable
from webspool.ledger.client import Client
from webspool.ledger.operations import Answer, Operation
from webspool.ledger.output import read_pieces
from webspool.orders import Packed
from webspool.perform import Performer, Post
from webspool.policy import Policy
from webspool.processes import Identity
from webspool.records import Ending, Outcome, State
from webspool.stint import Pace
from webspool.telemetry import silent

ME = str(Identity.of(os.getpid()))
SUCCEEDED = Outcome(Ending.SUCCEEDED)
Meanwhile = Callable[[list[Packed], Watcher], list[Outcome]]


class Runner:
    """Takes eight orders at once; what becomes of them is `meanwhile`'s to say."""

    pid = start_time = 0
    alive, generation, retired, most = True, 1, None, MOST

    def __init__(self, meanwhile: Meanwhile) -> None:
        self.taken: list[list[str]] = []
        self._meanwhile = meanwhile

    def hello(self, _seconds: float) -> dict[str, Policy]:
        return {"free": Policy(), "once": Policy(max_attempts=1)}

    def call_several(self, orders: Sequence[Packed], _policies: Sequence[Policy], watcher: Watcher) -> list[Outcome]:
        self.taken.append([order.job for order in orders])
        watcher.sent()
        return self._meanwhile(list(orders), watcher)

    def kill(self) -> None:
        """Nothing runs."""


class Counting(Client):
    called = 0
    deaf = False

    def call(self, operation: Operation, **given: Any) -> Answer:
        self.called += 1
        if self.deaf:
            raise LedgerUnavailable(ledger=self.ledger, why="deaf")
        return super().call(operation, **given)


class Desk:
    """A ledger in which some jobs wait, and one spooler that finds its tasks quick."""

    def __init__(self, house: House, meanwhile: Meanwhile) -> None:
        self.house, self.client = house, Counting(house.ledger, house.outputs, None)
        self.client.call(start())
        self.runner = Runner(meanwhile)
        post = Post(ME, "the-instance", os.getpid(), 0, house.root)
        self.performer = Performer(self.client, post, lambda: self.runner, silent)
        self.performer.ready()

    def accept(self, count: int, task: str = "free") -> list[str]:
        return [self.client.call(accept(task)).values["jobs"][0]["id"] for _ in range(count)]

    def perform(self, rounds: int) -> None:
        for _ in range(20):
            self.performer._pace.note([SUCCEEDED], 0.0001)
        self.client.called, begun = 0, len(self.runner.taken)
        self.performer.perform(lambda: len(self.runner.taken) >= begun + rounds)

    def states(self) -> dict[str, tuple[str, int, int]]:
        return {job["id"]: (job["state"], job["attempts"], job["number"]) for job in self.house.seen().job}


def all_well(orders: list[Packed], watcher: Watcher) -> list[Outcome]:
    for number, _ in enumerate(orders):
        watcher.take(number, b"line %d\n" % number)
    return [SUCCEEDED] * len(orders)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_eight_jobs_are_two_round_trips(house: House) -> None:
    """One that claims, one that records; each has its own output."""
    desk = Desk(house, all_well)
    jobs = desk.accept(8)
    desk.perform(1)
    assert desk.runner.taken == [jobs]
    assert desk.client.called == 2
    assert set(desk.states().values()) == {("succeeded", 1, 1)}
    written = [read_pieces(house.outputs, row["id"])[0].bytes for row in house.seen().attempt]
    assert sorted(written) == [b"line %d\n" % number for number in range(8)]


def test_a_few_jobs_are_left_for_others(house: House) -> None:
    """Of four spoolers each takes its part."""
    desk = Desk(house, all_well)
    desk.performer.post = Post(ME, "the-instance", os.getpid(), 0, house.root, among=4)
    jobs = desk.accept(9)
    desk.perform(1)
    assert desk.runner.taken == [jobs[:3]]


def test_what_a_slow_job_holds_up_is_queued_again_while_it_runs(house: House) -> None:
    """As if it had never been claimed; what was done before is recorded then."""
    seen: list[dict[str, tuple[str, int, int]]] = []

    def slow(orders: list[Packed], watcher: Watcher) -> list[Outcome]:
        watcher.slow([SUCCEEDED], 2)
        seen.append(desk.states())
        watcher.tick(1)
        return [SUCCEEDED] * 2

    desk = Desk(house, slow)
    jobs = desk.accept(4)
    desk.perform(1)
    queued = (State.QUEUED, 0, 0)
    assert list(seen[0].values()) == [("succeeded", 1, 1), ("running", 1, 1), queued, queued]
    assert list(desk.states().values()) == [("succeeded", 1, 1)] * 2 + [queued] * 2
    assert desk.client.called == 3
    assert desk.runner.taken == [jobs]
    desk.perform(1)
    assert desk.runner.taken[1] == jobs[2:], "in their order"


def test_what_could_not_be_recorded_meanwhile_is_recorded_with_the_end(house: House) -> None:
    """A ledger out of reach does not keep a running task from being watched."""

    def slow(orders: list[Packed], watcher: Watcher) -> list[Outcome]:
        desk.client.deaf = True
        watcher.slow([SUCCEEDED], 2)
        desk.client.deaf = False
        return [SUCCEEDED] * 2

    desk = Desk(house, slow)
    desk.accept(4)
    desk.perform(1)
    assert list(desk.states().values()) == [("succeeded", 1, 1)] * 2 + [("queued", 0, 0)] * 2


def test_a_runner_that_dies_has_begun_no_more_than_it_was_at(house: House) -> None:
    """The one is charged, the others are not."""

    def die(orders: list[Packed], watcher: Watcher) -> list[Outcome]:
        return [SUCCEEDED, Outcome(Ending.INTERRUPTED, error="killed", signal=9)]

    desk = Desk(house, die)
    desk.accept(4)
    desk.perform(1)
    assert list(desk.states().values()) == [
        ("succeeded", 1, 1),
        ("scheduled", 1, 1),
        ("queued", 0, 0),
        ("queued", 0, 0),
    ]


def test_a_job_that_may_run_only_once_is_claimed_alone(house: House) -> None:
    """Nobody could say of a spooler that died whether it was begun."""
    desk = Desk(house, all_well)
    first, (once,), last = desk.accept(2), desk.accept(1, "once"), desk.accept(1)
    desk.perform(3)
    assert desk.runner.taken == [first, [once], last]


def test_as_many_are_claimed_as_are_done_within_a_moment() -> None:
    """Beginning with one; after one that is slow, or fails, with one again."""
    pace = Pace()
    assert pace.most == 1
    for _ in range(20):
        pace.note([SUCCEEDED], QUICK_SECONDS / 100)
    assert pace.most == MOST
    pace.note([SUCCEEDED] * MOST, QUICK_SECONDS / 100)
    assert pace.most == MOST
    pace.note([SUCCEEDED, Outcome(Ending.FAILED)], QUICK_SECONDS / 100)
    assert pace.most == 1
    for _ in range(20):
        pace.note([SUCCEEDED], QUICK_SECONDS / 9)
    assert pace.most == 4
    pace.note([SUCCEEDED], QUICK_SECONDS)
    assert pace.most == 1
