"""Several orders handed to a runner at once: while they are quick, nobody has to be woken between one and the next.

The first comes over the control socket, the others lie in a queue from which the runner takes one after the other, and
from which its spooler can take back what was not begun: the kernel gives each to one of them. Both take from the front,
so the runner may get one behind those that the spooler has; it tells that by its place, and begins no more of them. An
order that has succeeded says so among the output, behind a mark that only these two know, when another follows; so its
output ends there. Whatever else an order comes to is said over the control socket, and ends the batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from webspool import frames
from webspool.attempt import Attempt, never_began
from webspool.orders import Packed, order_frame, outcome_of
from webspool.policy import Policy
from webspool.records import Ending, Outcome

if TYPE_CHECKING:
    from webspool.runner import Runner

MOST = 8
QUICK_SECONDS = 0.01
_LOST = Outcome(Ending.INTERRUPTED, error="what it came to was lost in its runner")


class Watcher(Protocol):
    """Who hears of a batch; `number` is an order's place in it, from 0."""

    def sent(self) -> None:
        """The first is on its way: what need not be done before that is to be done now."""

    def take(self, number: int, data: bytes) -> None:
        """Some of its output."""

    def tick(self, number: int) -> Outcome | None:
        """Called every 0.1 s while it is slow; an outcome interrupts it."""

    def slow(self, ended: Sequence[Outcome], kept: int) -> None:
        """Not all have ended at once: those after the first `kept` were taken back and are not begun."""


class Batch:
    """Orders in a runner that is idle."""

    def __init__(
        self, runner: Runner, orders: Sequence[Packed], policies: Sequence[Policy], watcher: Watcher, mark: bytes
    ) -> None:
        self._runner, self._orders, self._policies, self._watcher = runner, list(orders), policies, watcher
        ended: list[Outcome] = []

        def note(message: dict[str, Any]) -> None:
            if len(ended) < len(orders) and message["attempt"] == orders[len(ended)].attempt:
                ended.append(outcome_of(message))

        # neither of these refers to the batch, which is therefore gone at once when it is over, with all of its orders
        self._output = Splitter(mark, lambda data: watcher.take(len(ended), data), note)
        self._ended = ended

    def outcomes(self) -> list[Outcome]:
        """Those of the orders that were begun, in their order; the others can be run elsewhere."""
        try:
            self._send()
        except OSError:
            self._runner.take_back()
            return [never_began(self._runner.died(self._output.take).error)]
        self._watcher.sent()
        if self._unsent or not self._ends_quickly():
            self._wait_for_the_slow()
        elif len(self._ended) < len(self._orders):
            self._runner.take_back()
        return self._ended

    def _send(self) -> None:
        """All but the first lie ready before that is sent, as far as there is room. Raises OSError."""
        queued = self._queue() if len(self._orders) > 1 else 0
        self._sent_at = time.monotonic()
        limit = self._sent_at + self._policies[0].limit
        self._unsent = self._runner.send(memoryview(order_frame(self._orders[0], limit=limit, row=queued)))

    def _queue(self) -> int:
        further = zip(range(1, len(self._orders)), self._orders[1:], self._policies[1:], strict=True)
        queued = self._runner.queue([order_frame(each, limit=-policy.limit, row=n) for n, each, policy in further])
        del self._orders[1 + queued :]
        return queued

    def _ends_quickly(self) -> bool:
        """Whether the batch is over within a moment, in which nothing but its end is looked for."""
        until = self._sent_at + min(QUICK_SECONDS, self._policies[0].limit)
        control = self._runner.control.fileno()
        while (left := until - time.monotonic()) > 0:
            ready = self._runner.poll_quietly(left)
            if control in ready:
                if self._hears_the_end():
                    return True
            elif self._runner.has_died(ready):
                self._lose(self._runner.died(self._output.take))
                return True
        return False

    def _hears_the_end(self) -> bool:
        heard = self._runner.receive()
        if heard is None:
            self._lose(self._runner.died(self._output.take))
            return True
        for message, _ in heard:
            for number, order in enumerate(self._orders):
                if message.get("attempt") == order.attempt:
                    self._read_to_the_end()
                    self._runner.retired = message.get("left")
                    self._ended += [_LOST] * (number - len(self._ended))
                    self._ended[number:] = [outcome_of(message)]
                    return True
        return False

    def _lose(self, outcome: Outcome) -> None:
        """The runner has died: of the one it was at."""
        self._read_to_the_end()
        if len(self._ended) < len(self._orders):
            self._ended.append(outcome)

    def _wait_for_the_slow(self) -> None:
        if len(self._orders) > 1 and (first := self._runner.take_back()) is not None:
            del self._orders[first:]
        self._runner.drain(self._output.take)
        self._watcher.slow(self._ended, len(self._orders))
        while (number := len(self._ended)) < len(self._orders):
            order, policy, tick = self._orders[number], self._policies[number], partial(self._watcher.tick, number)
            noted, since = partial(self._noted, number), None if number else self._sent_at
            attempt = Attempt(self._runner, order, policy, self._output.take, tick, noted, since)
            outcome = attempt.wait(self._unsent)
            self._unsent = attempt.unsent
            if self._noted(number) is None:  # the runner has said so itself, or nobody has: it goes on to no other
                self._read_to_the_end()
                self._ended[number:] = [outcome]
                return

    def _read_to_the_end(self) -> None:
        """All that is written by now is of an order that has not been told to have ended."""
        self._runner.drain(self._output.take)
        self._output.close()

    def _noted(self, number: int) -> Outcome | None:
        return self._ended[number] if number < len(self._ended) else None


class Splitter:
    """Tells output from the frames behind marks in it."""

    def __init__(
        self, mark: bytes, on_output: Callable[[bytes], None], on_frame: Callable[[dict[str, Any]], None]
    ) -> None:
        self._mark, self._on_output, self._on_frame = mark, on_output, on_frame
        self._held = b""

    def take(self, data: bytes) -> None:
        """Some of what was written; what may be the beginning of a mark waits for more."""
        held, given = self._held + data, 0
        while (at := held.find(self._mark, given)) >= 0:
            frame, behind = frames.first(held, at + len(self._mark))
            if frame is None:
                break
            self._give(held, given, at)
            self._on_frame(frame)
            given = behind
        else:
            at = self._where_one_may_begin(held, given)
        self._give(held, given, at)
        self._held = held[at:]

    def close(self) -> None:
        """There will be no more."""
        self._give(self._held, 0, len(self._held))
        self._held = b""

    def _where_one_may_begin(self, held: bytes, given: int) -> int:
        for at in range(max(given, len(held) - len(self._mark) + 1), len(held)):
            if self._mark.startswith(held[at:]):
                return at
        return len(held)

    def _give(self, held: bytes, begin: int, end: int) -> None:
        if begin < end:
            self._on_output(held[begin:end])
