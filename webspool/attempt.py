"""One order on its way through a runner: its deadlines on the monotonic clock, and who else may end it."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from webspool.orders import Packed, order_frame, outcome_of
from webspool.policy import Policy
from webspool.records import Ending, Order, Outcome

if TYPE_CHECKING:
    from webspool.runner import Runner

OnOutput = Callable[[bytes], None]
Tick = Callable[[], Outcome | None]

TICK_SECONDS = 0.1

READABLE, WRITABLE = 1, 4
"""POLLIN and POLLOUT of poll(2), where the system has it."""


class Attempt:
    """One order in a runner. `noted` tells the outcome when that has come among the output (see Batch); `since` is when
    its time began to run, if not just now.
    """

    def __init__(
        self,
        runner: Runner,
        order: Order | Packed,
        policy: Policy,
        on_output: OnOutput,
        tick: Tick | None,
        noted: Callable[[], Outcome | None] | None = None,
        since: float | None = None,
    ) -> None:
        self.runner, self.order, self.policy = runner, order, policy
        self.on_output, self.tick, self._noted = on_output, tick, noted
        now = time.monotonic()
        self.soft = (now if since is None else since) + policy.limit
        self.hard = self.soft + policy.grace
        self.warned = False
        self.next_tick = math.inf if tick is None else now + TICK_SECONDS

    def outcome(self) -> Outcome:
        """Send the order and wait; whatever happens first decides."""
        try:
            unsent = self.runner.send(memoryview(order_frame(self.order, limit=self.soft)))
        except OSError:
            return never_began(self.runner.died(self.on_output).error)
        return self.wait(unsent)

    def wait(self, unsent: memoryview) -> Outcome:
        """The outcome of what has been sent, but for a rest of it."""
        self.unsent = unsent
        while True:
            outcome = self._react(self.runner.poll(self._patience())) or self._keep_time()
            if outcome is not None:
                return outcome

    def _patience(self) -> float:
        """Seconds until something is to be done even if nothing happens."""
        due = min(self.next_tick, self.hard if self.warned else self.soft)
        return math.inf if due == math.inf else max(0.0, due - time.monotonic())

    def _react(self, ready: Mapping[int, int]) -> Outcome | None:
        if self.runner.wrote(ready):
            self.runner.read_output(self.on_output)
            if self._noted is not None and (noted := self._noted()):
                return noted
        event = ready.get(self.runner.control.fileno(), 0)
        if event & WRITABLE:
            with suppress(OSError):  # a death, of which the next poll tells
                self.unsent = self.runner.send(self.unsent)
        if event & ~WRITABLE and (outcome := self._answer()):
            return outcome
        if not event and self.runner.has_died(ready):
            return self._died()
        return None

    def _answer(self) -> Outcome | None:
        heard = self.runner.receive()
        if heard is None:
            return self._died()
        for message, _ in heard:
            if message.get("attempt") == self.order.attempt:
                self.runner.retired = message.get("left")
                return outcome_of(message)
        return None

    def _died(self) -> Outcome:
        outcome = self.runner.died(self.on_output)
        if self.warned and outcome.signal == signal.SIGUSR2:
            return Outcome(Ending.TIMED_OUT, error=f"ended by the signal of {self._timeout()}", signal=signal.SIGUSR2)
        return outcome

    def _keep_time(self) -> Outcome | None:
        now = time.monotonic()
        if now >= self.next_tick and self.tick is not None:
            self.next_tick = now + TICK_SECONDS
            if (interrupted := self.tick()) is not None:
                self.runner.process.kill()
                return interrupted
        if now >= self.soft and not self.warned:
            self.warned = True
            os.kill(self.runner.pid, signal.SIGUSR2)  # the child raises TimeLimitExceeded if it is in the task still
        if now < self.hard:
            return None
        self.runner.process.kill()
        error = f"killed {self.policy.grace:g} s after {self._timeout()}"
        return Outcome(Ending.TIMED_OUT, error=error, signal=signal.SIGKILL)

    def _timeout(self) -> str:
        return f"its timeout of {self.policy.timeout:g} s"


def never_began(why: str | None) -> Outcome:
    """The outcome when no code of the user's ran for this attempt, so that it is not charged."""
    error = f"its runner was gone before the task began: {why}"
    return Outcome(Ending.INTERRUPTED, error=error, charge=False, cut=True)
