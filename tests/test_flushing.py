"""A flush that takes its time: beside it jobs are given out and end, and nobody is answered before it is over."""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.conditions import wait_until
from tests.fire import House
from tests.ledger_laws import breaches
from tests.operations import accept, end_of, join, turn
from tests.test_keeper import HERE, SUCCEEDED, TASKS, THERE, Hand, house, outcome_of, values_of
from webspool.keep import flushing
from webspool.ledger.client import Client
from webspool.ledger.inbox import QueuedRequest, QueueInbox
from webspool.ledger.log import Log
from webspool.ledger.operations import Answer, Operation
from webspool.records import State

__all__ = ["house"]


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


class SlowHand(Hand):
    """A keeper turned by hand, on a slow disk."""

    def __init__(self, house: House, disk: SlowDisk) -> None:
        super().__init__(house, WatchingInbox())
        self.disk = disk

    def let_come(self, operation: Operation) -> QueuedRequest:
        """Let it arrive, and be looked at."""
        (request,) = self.put(operation)
        self.keeper.round()
        return request

    def until_begun(self, flushes: int) -> None:
        wait_until(lambda: self.keeper.round() or self.disk.begun >= flushes)
        assert self.disk.begun == flushes

    def until_told(self, request: QueuedRequest) -> Answer | str:
        return wait_until(lambda: self.keeper.round() or outcome_of(request))

    def accepted(self) -> list[str]:
        """The deliveries of the ledger."""
        return [row["id"] for row in self.house.seen().delivery]


def flushers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "webspool flusher"]


@pytest.fixture
def hand(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowHand]:
    Client(house.ledger, house.outputs, None).call(join(THERE, TASKS))
    disk = SlowDisk()
    monkeypatch.setattr(Log, "flush", lambda _log: disk.flush())
    monkeypatch.setattr(flushing, "QUICK_SECONDS", -1.0)
    made = SlowHand(house, disk)
    yield made
    disk.let_go(10)
    if made.keeper.broken is None:
        made.keeper.run(lambda: True)
    made.keeper.flusher.close()
    for descriptor in list(made.inbox.watched):
        made.inbox.unwatch(descriptor)


def test_jobs_are_given_out_and_end_while_a_flush_is_under_way(hand: SlowHand) -> None:
    """Only the sender waits for the disk."""
    sent = hand.let_come(accept("free"))
    hand.until_begun(1)
    claim = hand.let_come(turn(HERE))
    answer = outcome_of(claim)
    assert isinstance(answer, Answer)
    hand.let_come(turn(HERE, end=end_of(answer.values["order"], SUCCEEDED)))
    assert [job["state"] for job in hand.house.seen().job] == [State.SUCCEEDED]
    assert outcome_of(sent) is None
    hand.disk.let_go()
    answer = hand.until_told(sent)
    assert isinstance(answer, Answer)
    assert answer.values["status"] == "accepted"
    assert hand.disk.begun == 1


def test_what_comes_meanwhile_is_one_batch_with_a_flush_of_its_own(hand: SlowHand) -> None:
    """It would not be answered sooner if it were committed at once."""
    first = hand.let_come(accept("free"))
    hand.until_begun(1)
    later = [hand.let_come(accept("free")) for _ in range(3)]
    assert hand.accepted() == [first.operation.id]
    hand.disk.let_go()
    hand.until_told(first)
    hand.until_begun(2)
    assert len(hand.accepted()) == 4
    assert [outcome_of(each) for each in later] == [None] * 3
    hand.disk.let_go()
    assert all(isinstance(hand.until_told(each), Answer) for each in later)
    assert hand.disk.begun == 2


def test_who_waits_is_handed_what_comes_meanwhile_at_once(hand: SlowHand) -> None:
    """Its job begins; its sender is answered after a flush that began behind it."""
    first = hand.let_come(accept("free"))
    hand.until_begun(1)
    hand.let_come(turn(HERE))
    waiting = hand.let_come(turn(THERE))
    second = hand.let_come(accept("free"))
    assert values_of(waiting)["order"]["job"] == second.operation.arguments["jobs"][0]["id"]
    hand.disk.let_go()
    hand.until_told(first)
    hand.until_begun(2)
    assert outcome_of(second) is None
    hand.disk.let_go()
    assert isinstance(hand.until_told(second), Answer)


def three_that_wait(hand: SlowHand) -> list[QueuedRequest]:
    """For the flush that is under way, for the next since a spooler had waited, and to be committed."""
    first = hand.let_come(accept("free"))
    hand.until_begun(1)
    hand.let_come(turn(HERE))
    hand.let_come(turn(THERE))
    return [first, hand.let_come(accept("free")), hand.let_come(accept("free"))]


def test_of_a_flush_that_failed_hear_all_who_wait_for_the_disk(hand: SlowHand) -> None:
    """Also those whose own had not begun: the ledger is not trusted any more."""
    waiting = three_that_wait(hand)
    assert len(hand.accepted()) == 2
    hand.disk.failing = True
    hand.disk.let_go()
    why = "its log could not be flushed: Input/output error"
    assert [hand.until_told(each) for each in waiting] == [why] * 3
    assert hand.keeper.broken == why
    assert hand.disk.begun == 1


def test_the_end_of_a_keeper_waits_for_the_disk_and_leaves_nobody_unanswered(hand: SlowHand) -> None:
    """Neither those of the flush that is under way nor those behind it."""
    waiting = three_that_wait(hand)
    assert [outcome_of(each) for each in waiting] == [None] * 3
    hand.disk.let_go(3)
    hand.keeper.run(lambda: True)
    assert all(isinstance(outcome_of(each), Answer) for each in waiting)
    assert hand.disk.begun == 3
    assert not flushers()
    assert not breaches(hand.house.seen())
    hand.keeper.broken = "closed by this test"


def test_a_quick_flush_is_the_keepers_own(hand: SlowHand, monkeypatch: pytest.MonkeyPatch) -> None:
    """To hand it over would take longer."""
    monkeypatch.setattr(flushing, "QUICK_SECONDS", 1.0)
    hand.disk.let_go()
    assert isinstance(outcome_of(hand.let_come(accept("free"))), Answer)
    assert not flushers()
