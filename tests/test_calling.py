"""Calling a task without a process: its time limit, and what `call` leaves as it was."""

from __future__ import annotations

import time
from contextlib import contextmanager

import pytest

from webspool.calling import TimeLimit, call
from webspool.policy import Policy
from webspool.records import Ending, Order
from webspool.task import Task, TimeLimitExceeded, current

ORDER = Order(
    job="j_1", task="t", attempt="a_1", number=1, calling="keywords", arguments={}, delivery=None, created_at=0.0
)


def made(function) -> Task:
    return Task(function, "t", Policy())


def test_a_ring_after_the_end_of_its_attempt_does_nothing():
    """The deadline ends with the attempt, however the attempt ended."""

    def fail() -> None:
        raise ValueError

    for function in (int, fail):
        limit, deadline = TimeLimit(), time.monotonic() + 0.02
        call(made(function), ORDER, limit=limit, deadline=deadline)
        time.sleep(max(0.0, deadline - time.monotonic()) + 0.001)
        limit.ring()


def test_a_ring_before_its_time_does_nothing():
    """A signal meant for the predecessor finds a deadline that is not reached."""
    limit = TimeLimit()
    assert call(made(limit.ring), ORDER, limit=limit, deadline=time.monotonic() + 60).ending is Ending.SUCCEEDED


def test_a_limit_rings_once():
    """A task that caught its TimeLimitExceeded is not hit again while it cleans up."""
    limit = TimeLimit()
    with pytest.raises(TimeLimitExceeded):
        limit.arm(time.monotonic())
    limit.ring()


def test_a_context_that_fails_on_leaving_fails_the_attempt():
    """What the app does at the end of its context is part of the attempt."""

    class App:
        @contextmanager
        def app_context(self):
            yield
            raise OSError("rollback")

    assert call(made(int), ORDER, app=App()).error == "OSError: rollback"


def test_the_current_job_is_known_only_inside_its_run():
    """A run leaves nothing behind in its caller's context."""
    assert call(made(lambda: current.get().job), ORDER).result == '"j_1"'
    assert current.get() is None
