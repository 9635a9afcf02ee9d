"""A runner that is a thread of this process: what a process of its own does, as far as a thread can.

A thread cannot be killed: an exception is raised in it from outside, and a thread that does not heed it is left
behind. Primitives written in C only lie between the two threads: such an exception may strike between
any two instructions of Python, and must not leave a lock taken.
"""

from __future__ import annotations

import ctypes
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any

from webspool.calling import call, error_line
from webspool.engines import streams
from webspool.mailbox import Mailbox
from webspool.orders import Packed
from webspool.policy import Policy
from webspool.records import Ending, Order, Outcome
from webspool.task import TimeLimitExceeded, registry

TICK_SECONDS = 0.1
MOST_WRITES_WAITING = 10_000

Tick = Callable[[], Outcome | None]


class Interrupted(BaseException):
    """Raised inside a task whose job was cancelled while it ran in a thread."""


class Wire:
    """From the thread that runs an attempt to the one that supervises it: what is written, and the outcome."""

    def __init__(self) -> None:
        self.mailbox: Mailbox[bytes | Outcome] = Mailbox()
        self.open = True

    def take(self, data: bytes) -> bool:
        """Some output; who writes faster than it is kept waits. False once the attempt has ended."""
        while self.open and len(self.mailbox) > MOST_WRITES_WAITING:
            time.sleep(0.001)
        if self.open:
            self.mailbox.put(data)
        return self.open

    def end(self, outcome: Outcome) -> None:
        self.open = False
        self.mailbox.put(outcome)


class ThreadRunner:
    """One thread that calls tasks, of the same shape as a runner's process. It leads no session: its `pid` is 0."""

    pid = 0
    start_time = 0
    generation = 1
    retired: str | None = None

    def __init__(self, app: object, directory: Path, name: str) -> None:
        self._app, self._directory = app, directory
        self._orders: queue.SimpleQueue[tuple[Order, Wire] | None] = queue.SimpleQueue()
        self._known: dict[str, Any] | None = None
        self._left = False
        self.thread = threading.Thread(target=self._live, name=name, daemon=True)
        self.thread.start()

    @property
    def alive(self) -> bool:
        """Whether it can be called, and has told all the tasks that there are now."""
        told = self._known is None or self._known == registry.tasks
        return told and not self._left and self.thread.is_alive()

    def hello(self, seconds: float) -> dict[str, Policy]:
        """The tasks of this process by name."""
        self._known = dict(registry.tasks)
        return {name: task.policy for name, task in self._known.items()}

    def call(
        self,
        order: Order | Packed,
        policy: Policy,
        on_output: Callable[[bytes], None],
        tick: Tick | None = None,
    ) -> Outcome:
        """Run one order and wait for its outcome.

        `tick` is called every 0.1 s and interrupts the task by returning an outcome.
        """
        wire = Wire()
        self._orders.put((order.unpacked(), wire))
        return _Attempt(self, wire, policy, on_output, tick).outcome()

    def kill(self) -> None:
        """Let the thread end after what it is at; nobody waits for it."""
        self._left = True
        self._orders.put(None)

    def interrupt(self, fault: type[BaseException] | None) -> None:
        """Raise it in the thread as soon as that runs Python code again; None takes back what was not raised yet."""
        ident = ctypes.c_ulong(self.thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, None if fault is None else ctypes.py_object(fault))

    # ── the thread ──────────────────────────────────────────────────────────────────────────────────────────────

    def _live(self) -> None:
        while not self._left:
            with suppress(BaseException):  # an exception from outside that came after the task had ended
                given = self._orders.get()
                if given is not None:
                    self._run(*given)

    def _run(self, order: Order, wire: Wire) -> None:
        outcome = Outcome(Ending.FAILED, error="its thread was struck before the task began")
        try:
            os.chdir(self._directory)
            outcome = copy_context().run(self._call, order, wire)
        except TimeLimitExceeded as late:
            outcome = Outcome(Ending.TIMED_OUT, error=error_line(late))
        except BaseException as fault:
            outcome = Outcome(Ending.FAILED, error=error_line(fault))
        finally:
            wire.end(outcome)

    def _call(self, order: Order, wire: Wire) -> Outcome:
        task = registry.tasks.get(order.task)
        if task is None:
            return Outcome(Ending.FAILED, error=f"the task {order.task} is not known to this code")
        with streams.into(wire):
            outcome = call(task, order, app=self._app)
        if outcome.traceback is not None:
            wire.take(outcome.traceback.encode())
        return outcome


class _Attempt:
    """One order, as the supervising thread sees it."""

    def __init__(
        self,
        runner: ThreadRunner,
        wire: Wire,
        policy: Policy,
        on_output: Callable[[bytes], None],
        tick: Tick | None,
    ) -> None:
        self.runner, self.wire, self.policy = runner, wire, policy
        self.on_output, self.tick = on_output, tick
        self.soft = time.monotonic() + policy.limit
        self.hard = self.soft + policy.grace
        self.struck = False
        self.decided: Outcome | None = None

    def outcome(self) -> Outcome:
        while True:
            ended = self._hear()
            if ended is not None:
                return self._ended(ended)
            self._tick()
            if (lost := self._keep_time()) is not None:
                return lost

    def _hear(self) -> Outcome | None:
        """Hand on what has been written, together; returns the outcome when that has come."""
        data = bytearray()
        outcome: Outcome | None = None
        for heard in self.wire.mailbox.take(self._patience()):
            if isinstance(heard, Outcome):
                outcome = heard
            else:
                data += heard
        if data:
            self.on_output(bytes(data))
        return outcome

    def _patience(self) -> float:
        due = self.hard if self.struck else self.soft
        return min(TICK_SECONDS, max(0.0, due - time.monotonic()))

    def _ended(self, outcome: Outcome) -> Outcome:
        if self.struck:
            self.runner.interrupt(None)
        return self.decided or outcome

    def _tick(self) -> None:
        interrupted = None if self.tick is None else self.tick()
        if self.decided is None and interrupted is not None:
            self.decided = interrupted
            self.hard = min(self.hard, time.monotonic() + self.policy.grace)
            self._strike(Interrupted)

    def _strike(self, fault: type[BaseException]) -> None:
        self.struck = True
        self.runner.interrupt(fault)

    def _keep_time(self) -> Outcome | None:
        now = time.monotonic()
        if now >= self.soft and not self.struck:
            self._strike(TimeLimitExceeded)
        elif self.struck and now >= self.hard:
            return self._leave_behind()
        elif not self.runner.thread.is_alive() and not self.wire.mailbox:
            return self.decided or Outcome(Ending.INTERRUPTED, error="its thread ended", charge=True)
        return None

    def _leave_behind(self) -> Outcome:
        self.wire.open = False
        self.runner.kill()
        why = f"the task ran on {self.policy.grace:g} s after it was told to end; its thread was left behind"
        self.on_output(f"webspool: {why}\n".encode())
        return self.decided or Outcome(Ending.TIMED_OUT, error=why)
