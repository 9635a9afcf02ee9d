"""Laws of a spooler's doubt: it compares itself with others before it does anything, and rests only for good reason."""

from __future__ import annotations

import pytest

from webspool.doubt import LONGEST_REST, SHORTEST_REST, STREAK, Advice, Doubt
from webspool.records import Ending, Outcome

FAILED = Outcome(Ending.FAILED, error="OSError: no descriptor")
WELL, BADLY = (100, 0), (100, 50)


class Now:
    """The clock of a doubt."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def failing(doubt: Doubt, times: int, outcome: Outcome = FAILED, seconds: float = 0.01) -> None:
    for _ in range(times):
        doubt.note("task", outcome, seconds)


def asked_after(doubt: Doubt) -> int:
    """How many failures more it takes until others are looked at."""
    for number in range(1, 100):
        failing(doubt, 1)
        if doubt.asks:
            return number
    raise AssertionError("never")


def test_where_others_succeed_the_runner_is_replaced_and_then_the_spooler_rests() -> None:
    """Longer each time, with one job tried in between; a success ends all doubt."""
    now = Now()
    doubt = Doubt(now)
    assert asked_after(doubt) == STREAK
    assert doubt.advise(*WELL) is Advice.RENEW
    assert doubt.rest_seconds == 0
    assert asked_after(doubt) == 2
    rests = []
    for _ in range(4):
        assert doubt.advise(*WELL) is Advice.REST
        rests.append(doubt.rest_seconds)
        now.seconds += doubt.rest_seconds
        assert doubt.rest_seconds == 0
        assert asked_after(doubt) == 1
    assert rests == [SHORTEST_REST, 2 * SHORTEST_REST, LONGEST_REST, LONGEST_REST]
    doubt.note("task", Outcome(Ending.SUCCEEDED), 0.01)
    assert asked_after(doubt) == STREAK
    assert doubt.advise(*WELL) is Advice.RENEW


@pytest.mark.parametrize("elsewhere", [BADLY, (0, 0), (2, 0), (0, 100)])
def test_where_others_fail_too_or_say_nothing_the_spooler_goes_on(elsewhere: tuple[int, int]) -> None:
    """It is the tasks: retries and their waits are for that. Others are asked ever less often."""
    doubt = Doubt(Now())
    asked = []
    for _ in range(4):
        asked.append(asked_after(doubt))
        assert doubt.advise(*elsewhere) is Advice.GO_ON
    assert asked == [STREAK, STREAK, 2 * STREAK, 4 * STREAK]


@pytest.mark.parametrize(
    ("outcome", "seconds"),
    [
        (FAILED, 60.0),
        (Outcome(Ending.INTERRUPTED, error="cut", cut=True), 0.01),
        (Outcome(Ending.INTERRUPTED, error="cancelled", charge=False), 0.01),
        (Outcome(Ending.DISCARDED, error="useless"), 0.01),
        (Outcome(Ending.SNOOZED), 0.01),
    ],
)
def test_what_is_no_failure_at_once_raises_no_doubt(outcome: Outcome, seconds: float) -> None:
    """A task that ran for a while, was cut, or decided for itself."""
    doubt = Doubt(Now())
    failing(doubt, 100, outcome, seconds)
    assert not doubt.asks
