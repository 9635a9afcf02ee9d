"""Whether the wall clock was set: it and the clock that nobody sets do not pass alike any more."""

from __future__ import annotations

import time
from collections.abc import Callable

JUMP_SECONDS = 2.0


def steady() -> float:
    """Seconds of a clock that nobody can set, and that goes on while the machine sleeps where the system has one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Clocks:
    """Compares the two; what a time service does by and by (less than two seconds between two looks) is no jump."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = steady) -> None:
        self._wall, self._steady = wall, steady
        self._apart = wall() - steady()

    def jumped(self) -> float:
        """By how many seconds the wall clock was set since the last look, ahead or (negative) back; mostly 0."""
        apart = self._wall() - self._steady()
        by, self._apart = apart - self._apart, apart
        return by if abs(by) >= JUMP_SECONDS else 0.0
