"""Is it the tasks that fail, or the process in which they run? Told by what becomes of the same tasks elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

from webspool.records import Ending, Outcome

RESTS = "rests: "
STREAK, STREAK_OF_A_FRESH_RUNNER = 4, 2
QUICK_SECONDS = 2.0
SHORTEST_REST, LONGEST_REST = 10.0, 30.0
ELSEWHERE_AT_LEAST = 3
ELSEWHERE_BETTER = 20

_FAILURES = (Ending.FAILED, Ending.INTERRUPTED)


class Advice(StrEnum):
    """What a spooler in doubt is to do: nothing, begin its runner anew, or claim nothing for a while."""

    GO_ON = "go on"
    RENEW = "renew"
    REST = "rest"


class Doubt:
    """Counts the attempts of one spooler that failed at once, one after the other.

    After a few of them it is worth asking how the same tasks fare in other spoolers. Where those succeed, the runner is
    replaced; when the fresh one fares no better, the spooler claims nothing for a while and then tries one job.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rest_until = 0.0
        self._reset()

    def _reset(self) -> None:
        self.failures, self.tasks, self.error = 0, set[str](), ""
        self._ask_at, self._renewed = STREAK, False
        self._rest = SHORTEST_REST

    def note(self, task: str, outcome: Outcome, seconds: float) -> None:
        """How an attempt ended, and after how many seconds."""
        if outcome.ending not in _FAILURES:
            if self.failures:
                self._reset()
        elif seconds <= QUICK_SECONDS and outcome.charge and not outcome.cut:
            self.failures += 1
            self.tasks.add(task)
            self.error = outcome.error or str(outcome.ending)

    @property
    def asks(self) -> bool:
        """Whether it is time to look at others."""
        return self.failures >= self._ask_at

    def advise(self, succeeded: int, failed: int) -> Advice:
        """What follows from how many attempts at the same tasks succeeded and failed elsewhere of late."""
        if succeeded < ELSEWHERE_AT_LEAST or succeeded < ELSEWHERE_BETTER * failed:
            self._ask_at = self.failures * 2  # it is the tasks
            return Advice.GO_ON
        if not self._renewed:
            self._renewed, self._ask_at = True, self.failures + STREAK_OF_A_FRESH_RUNNER
            return Advice.RENEW
        self._ask_at = self.failures + 1
        self._rest_until, self._rest = self._clock() + self._rest, min(self._rest * 2, LONGEST_REST)
        return Advice.REST

    @property
    def rest_seconds(self) -> float:
        """For how long nothing is to be claimed yet."""
        return max(0.0, self._rest_until - self._clock())
