"""Asks a source's functions within their time: whatever they do, the sender hears in time."""

from __future__ import annotations

import contextvars
import ctypes
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from webspool.answers import Answer, answer_of
from webspool.records import Delivery
from webspool.source import Chosen, Source
from webspool.task import TimeLimitExceeded
from webspool.telemetry import Say

MOST_STUCK = 8
GUARD_SECONDS = 5.0
CONDITION_SECONDS = 2.0

Guard = Callable[[float], AbstractContextManager[None]]


class Answerer:
    """Asks functions in threads, inside of `context()`; `guard(seconds)` ends a process that cannot be interrupted.

    A function that is late is told so by TimeLimitExceeded and left alone; while eight of them hang, none is asked.
    """

    def __init__(
        self,
        say: Say,
        context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        guard: Guard = lambda seconds: nullcontext(),
    ) -> None:
        self._say, self._context, self._guard = say, context, guard
        self._late: list[threading.Thread] = []
        self._lock = threading.Lock()

    def answer(self, source: Source, delivery: Delivery) -> Answer | None:
        """What the sender is to hear; None: what it always hears. Never raises, never takes longer than its time."""
        found = self._asked(source, delivery) if callable(source.answer) else source.answer
        return self._checked(source, delivery, source.answer_fallback if found is None else found)

    def _checked(self, source: Source, delivery: Delivery, found: Answer | None) -> Answer | None:
        """A fixed one may be a fault that nobody has looked at: `webspool check` does."""
        try:
            return None if found is None else answer_of(found)
        except ValueError as fault:
            self._say("answer_failed", source=source.name, delivery=delivery.id, why=str(fault))
            return None

    def _asked(self, source: Source, delivery: Delivery) -> Answer | None:
        if self._stuck() >= MOST_STUCK:
            self._say("answer_late", source=source.name, delivery=delivery.id, seconds=0.0)
            return None
        function, begun = source.answer, time.monotonic()

        def ask() -> Answer | None:
            assert callable(function)
            with self._context():
                value = function(delivery)
            return None if value is None else answer_of(value)

        asking = _Asking(ask)
        if not self._in_time(asking, source.answer_seconds):
            seconds = round(time.monotonic() - begun, 3)
            self._say("answer_late", source=source.name, delivery=delivery.id, seconds=seconds)
            return None
        if asking.fault is not None:
            self._say("answer_failed", source=source.name, delivery=delivery.id, why=asking.fault)
        found: Answer | None = asking.found
        return found

    def chosen(self, source: Source, delivery: Delivery) -> Chosen:
        """What the source's conditions choose, where they call functions; when these are late, nothing."""
        here = contextvars.copy_context()  # they may look at the request of Flask's
        asking = _Asking(lambda: here.run(source.chosen, delivery))
        if self._stuck() < MOST_STUCK and self._in_time(asking, CONDITION_SECONDS) and asking.found is not None:
            chosen: Chosen = asking.found
            return chosen
        return Chosen([], [("all", asking.fault or f"they took longer than {CONDITION_SECONDS:g} s")])

    def _in_time(self, asking: _Asking, seconds: float) -> bool:
        with self._guard(seconds + GUARD_SECONDS):
            asking.start()
            asking.join(seconds)
        if not asking.is_alive():
            return True
        with self._lock:
            self._late.append(asking)
        asking.cut()
        return False

    def _stuck(self) -> int:
        with self._lock:
            self._late = [thread for thread in self._late if thread.is_alive()]
            return len(self._late)


class _Asking(threading.Thread):
    """One function being asked; `found`, or `fault` with its traceback."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__(name="webspool answer", daemon=True)
        self._function = function
        self.found: Any = None
        self.fault: str | None = None

    def run(self) -> None:
        try:
            self.found = self._function()
        except BaseException as fault:  # SystemExit and TimeLimitExceeded too: nobody else waits for it
            self.fault = "".join(traceback.format_exception(fault)[-8:])

    def cut(self) -> None:
        """Raise TimeLimitExceeded in the function, at its next step in Python."""
        if self.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident), ctypes.py_object(TimeLimitExceeded))
