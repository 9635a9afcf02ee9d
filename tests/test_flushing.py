"""A flush that takes its time: beside it jobs are given out and end, and nobody is answered before it is over."""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conditions import wait_until
from tests.fire import House, NoEngine
from tests.ledger_laws import breaches
from tests.operations import accept, end_of, join, start, turn
from webspool.keep import Keeper, flushing
from webspool.ledger.client import Client
from webspool.ledger.inbox import QueuedRequest, QueueInbox
from webspool.ledger.log import Log
from webspool.ledger.operations import Answer, Operation
from webspool.policy import Policy
from webspool.processes import Identity
from webspool.records import Ending, Outcome, State
from webspool.telemetry import silent

ME = str(Identity.of(os.getpid()))
HERE, THERE = f"{ME}#1", f"{ME}#2"
SUCCEEDED = Outcome(Ending.SUCCEEDED)


class SlowDisk:
    """Its flushes are over when they are let go, one by one."""

    def __init__(self) -> None:
        self.begun, self.failing = 0, False
        self._let_go = threading.Semaphore(0)

    def flush(self) -> None:
        self.begun += 1
        assert self._let_go.acquire(timeout=10)
        if self.failing:
            raise OSError(errno.EIO, "Input/output error")

    def let_go(self, flushes: int = 1) -> None:
        self._let_go.release(flushes)


class WatchingInbox(QueueInbox):
    """A queue that watches descriptors, as the keeper's socket does."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: dict[int, Callable[[], None]] = {}

    def watch(self, descriptor: int, callback: Callable[[], None]) -> bool:
        self.watched[descriptor] = callback
        return True

    def unwatch(self, descriptor: int) -> None:
        del self.watched[descriptor]
        os.close(descriptor)

    def collect(self, seconds: float) -> list[QueuedRequest]:  # type: ignore[override]
        for descriptor in select.select(list(self.watched), [], [], 0)[0]:
            self.watched[descriptor]()
        return super().collect(min(seconds, 0.01))  # type: ignore[return-value]


class Hand:
    """A keeper turned by hand, round by round, on a slow disk."""

    def __init__(self, house: House, disk: SlowDisk) -> None:
        self.house, self.disk, self.inbox = house, disk, WatchingInbox()
        self.keeper = Keeper(house.folders, self.inbox, NoEngine(), silent, "the-instance")

    def put(self, operation: Operation) -> QueuedRequest:
        """Let it arrive, and be looked at."""
        request = QueuedRequest(operation)
        self.inbox.put(request)
        self.keeper.round()
        return request

    def until_begun(self, flushes: int) -> None:
        wait_until(lambda: self.keeper.round() or self.disk.begun >= flushes)
        assert self.disk.begun == flushes

    def until_told(self, request: QueuedRequest) -> Answer | str:
        return wait_until(lambda: self.keeper.round() or told(request))

    def accepted(self) -> list[str]:
        """The deliveries of the ledger."""
        return [row["id"] for row in self.house.seen().delivery]


def told(request: QueuedRequest) -> Answer | str | None:
    return request._why or request._answer


def job_of(request: QueuedRequest) -> str:
    answer = told(request)
    assert isinstance(answer, Answer)
    job: str = answer.values["order"]["job"]
    return job


def flushers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "webspool flusher"]


@pytest.fixture
def hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hand]:
    house = House(tmp_path)
    client = Client(house.ledger, house.outputs, None)
    for operation in (start(), join(HERE, {"free": Policy()}), join(THERE, {"free": Policy()})):
        client.call(operation)
    disk = SlowDisk()
    monkeypatch.setattr(Log, "flush", lambda _log: disk.flush())
    monkeypatch.setattr(flushing, "QUICK_SECONDS", -1.0)
    made = Hand(house, disk)
    yield made
    disk.let_go(10)
    if made.keeper.broken is None:
        made.keeper.run(lambda: True)
    made.keeper.flusher.close()
    for descriptor in list(made.inbox.watched):
        made.inbox.unwatch(descriptor)


def test_jobs_are_given_out_and_end_while_a_flush_is_under_way(hand: Hand) -> None:
    """Only the sender waits for the disk."""
    sent = hand.put(accept("free"))
    hand.until_begun(1)
    claim = hand.put(turn(HERE))
    answer = told(claim)
    assert isinstance(answer, Answer)
    hand.put(turn(HERE, end=end_of(answer.values["order"], SUCCEEDED)))
    assert [job["state"] for job in hand.house.seen().job] == [State.SUCCEEDED]
    assert told(sent) is None
    hand.disk.let_go()
    answer = hand.until_told(sent)
    assert isinstance(answer, Answer)
    assert answer.values["status"] == "accepted"
    assert hand.disk.begun == 1


def test_what_comes_meanwhile_is_one_batch_with_a_flush_of_its_own(hand: Hand) -> None:
    """It would not be answered sooner if it were committed at once."""
    first = hand.put(accept("free"))
    hand.until_begun(1)
    later = [hand.put(accept("free")) for _ in range(3)]
    assert hand.accepted() == [first.operation.id]
    hand.disk.let_go()
    hand.until_told(first)
    hand.until_begun(2)
    assert len(hand.accepted()) == 4
    assert [told(each) for each in later] == [None] * 3
    hand.disk.let_go()
    assert all(isinstance(hand.until_told(each), Answer) for each in later)
    assert hand.disk.begun == 2


def test_who_waits_is_handed_what_comes_meanwhile_at_once(hand: Hand) -> None:
    """Its job begins; its sender is answered after a flush that began behind it."""
    first = hand.put(accept("free"))
    hand.until_begun(1)
    hand.put(turn(HERE))
    waiting = hand.put(turn(THERE))
    second = hand.put(accept("free"))
    assert job_of(waiting) == second.operation.arguments["jobs"][0]["id"]
    hand.disk.let_go()
    hand.until_told(first)
    hand.until_begun(2)
    assert told(second) is None
    hand.disk.let_go()
    assert isinstance(hand.until_told(second), Answer)


def three_that_wait(hand: Hand) -> list[QueuedRequest]:
    """For the flush that is under way, for the next since a spooler had waited, and to be committed."""
    first = hand.put(accept("free"))
    hand.until_begun(1)
    hand.put(turn(HERE))
    hand.put(turn(THERE))
    return [first, hand.put(accept("free")), hand.put(accept("free"))]


def test_of_a_flush_that_failed_hear_all_who_wait_for_the_disk(hand: Hand) -> None:
    """Also those whose own had not begun: the ledger is not trusted any more."""
    waiting = three_that_wait(hand)
    assert len(hand.accepted()) == 2
    hand.disk.failing = True
    hand.disk.let_go()
    why = "its log could not be flushed: Input/output error"
    assert [hand.until_told(each) for each in waiting] == [why] * 3
    assert hand.keeper.broken == why
    assert hand.disk.begun == 1


def test_the_end_of_a_keeper_waits_for_the_disk_and_leaves_nobody_unanswered(hand: Hand) -> None:
    """Neither those of the flush that is under way nor those behind it."""
    waiting = three_that_wait(hand)
    assert [told(each) for each in waiting] == [None] * 3
    hand.disk.let_go(3)
    hand.keeper.run(lambda: True)
    assert all(isinstance(told(each), Answer) for each in waiting)
    assert hand.disk.begun == 3
    assert not flushers()
    assert not breaches(hand.house.seen())
    hand.keeper.broken = "closed by this test"


def test_a_quick_flush_is_the_keepers_own(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    """To hand it over would take longer."""
    monkeypatch.setattr(flushing, "QUICK_SECONDS", 1.0)
    hand.disk.let_go()
    assert isinstance(told(hand.put(accept("free"))), Answer)
    assert not flushers()
