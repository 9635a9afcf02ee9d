"""Waiting for what is to become true, instead of sleeping for as long as it might take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LONGEST_PAUSE = 0.03
"""To ask every few milliseconds for seconds would take the processors from what is waited for."""


def wait_until(condition: Callable[[], T], seconds: float = 10.0) -> T:
    """The first true value of `condition`, asked again and again for at most `seconds`."""
    give_up, pause = time.monotonic() + seconds, 0.002
    while not (found := condition()):
        if time.monotonic() > give_up:
            raise AssertionError(f"{getattr(condition, '__name__', condition)} did not become true in {seconds:g} s")
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)
    return found
