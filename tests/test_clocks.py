"""Laws of a wall clock that is set, ahead or back, while an instance works."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conditions import wait_until
from tests.fire import House
from tests.operations import accept, end_of, spool, turn
from tests.test_keeper import HERE, Hand, house
from webspool.keep.clocks import Clocks
from webspool.ledger.watchdog import kill_hung_keeper
from webspool.processes import Identity
from webspool.records import Ending, Outcome

HOUR = 3600.0
__all__ = ["house"]


class Wall:
    """The wall clock of a keeper under test, which can be set; the other clock goes on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def hand(house: House, wall: Wall) -> Iterator[Hand]:
    made = Hand(house)
    made.keeper.database._clock = wall
    made.keeper.clocks = Clocks(wall)
    yield made
    made.keeper.run(lambda: True)


def failed(hand: Hand) -> None:
    """A job that waits five seconds and a bit for its retry."""
    hand.batch(accept("free"))
    hand.batch(turn(HERE, end=end_of(hand.order(), Outcome(Ending.FAILED, error="no")), claim=False))


def states(hand: Hand) -> list[str]:
    return [row["state"] for row in hand.house.seen().job]


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_a_retry_waits_as_long_as_it_was_to_wait_however_the_clock_is_set(hand: Hand, wall: Wall, by: float) -> None:
    """Set ahead it is not due at once, set back it does not wait for an hour."""
    failed(hand)
    (before,) = hand.house.seen().job
    wall.ahead += by
    hand.keeper.round()
    (after,) = hand.house.seen().job
    assert after["state"] == "scheduled"
    assert after["due_at"] - before["due_at"] == pytest.approx(by, abs=0.5)
    hand.keeper.round()
    assert hand.house.seen().job[0]["due_at"] == after["due_at"], "one jump was followed twice"
    (told,) = [facts for name, facts in hand.happenings if name == "clock_jumped"]
    assert told["by_seconds"] == pytest.approx(by, abs=0.5)


def test_a_due_time_is_a_time_of_the_wall_clock_and_comes_once(hand: Hand, wall: Wall) -> None:
    """Set ahead over it, the job is due; set back before it, it has been, and is not again."""
    hand.batch(spool("free", due_at=time.time() + HOUR / 2))
    wall.ahead += HOUR
    wait_until(lambda: hand.keeper.round() or states(hand) == ["queued"])
    hand.batch(turn(HERE, end=end_of(hand.order(), Outcome(Ending.SUCCEEDED)), claim=False))
    wall.ahead -= HOUR
    hand.keeper.round()
    wall.ahead += HOUR
    hand.keeper.round()
    assert states(hand) == ["succeeded"]
    assert [row["number"] for row in hand.house.seen().job] == [1]


def test_what_was_accepted_before_the_clock_was_set_back_runs_first(hand: Hand, wall: Wall) -> None:
    """Else every later webhook would overtake it for as long as the clock was ahead."""
    hand.batch(accept("free"))
    wall.ahead -= HOUR
    hand.keeper.round()
    hand.batch(accept("free"))
    first, _ = (row["id"] for row in hand.house.seen().job)
    assert hand.order()["job"] == first


def test_nothing_is_pruned_for_an_hour_after_the_clock_was_set(hand: Hand, wall: Wall) -> None:
    """By a clock that is years ahead everything would be old."""
    hand.batch(accept("free", event_id="once"))
    hand.batch(turn(HERE, end=end_of(hand.order(), Outcome(Ending.SUCCEEDED)), claim=False))
    hand.keeper.pruner._rest_until = hand.keeper._next_tick = 0.0  # the next round would be due
    wall.ahead += 20 * 365 * 24 * HOUR
    hand.keeper.round()
    seen = hand.house.seen()
    assert len(seen.job) == len(seen.delivery) == 1


def test_small_corrections_are_no_jump() -> None:
    """What a time service does by and by."""
    now = [1000.0]
    clocks = Clocks(lambda: now[0], lambda: 0.0)
    jumps = []
    for _ in range(10):
        now[0] += 0.5
        jumps.append(clocks.jumped())
    now[0] -= 30
    jumps.append(clocks.jumped())
    assert jumps == [0.0] * 10 + [-30.0]


def test_a_hung_keeper_is_ended_though_the_clock_was_set_back(tmp_path: Path) -> None:
    """How long it has been there is told by the clock that nobody sets."""
    keeper = os.fork()
    if keeper == 0:
        signal.pause()
        os._exit(0)
    try:
        me, entered = Identity.of(keeper), tmp_path / "keeper.json"
        known = {"boot": me.boot, "pid": me.pid, "start": me.start, "since": time.time() + HOUR}
        entered.write_text(json.dumps(known | {"began_at_monotonic": time.monotonic() - 1}))
        assert kill_hung_keeper(entered, silent_seconds=5) is None, "it began after the silence did"
        entered.write_text(json.dumps(known | {"began_at_monotonic": time.monotonic() - 60}))
        assert kill_hung_keeper(entered, silent_seconds=5) == keeper
    finally:
        os.kill(keeper, signal.SIGKILL)
        os.waitpid(keeper, 0)
