"""Call a task the way it was spooled, and say what its ending is: an Outcome. Judged here and nowhere else."""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import time
import traceback
from contextlib import suppress
from typing import Any

from webspool import tracing
from webspool.records import Ending, Order, Outcome
from webspool.task import SPOOL_IGNORE, SPOOL_RETRY, Discard, Retry, Task, TimeLimitExceeded, current

LARGEST_RESULT = 64 << 10
LARGEST_TRACEBACK = 64 << 10
DEEPEST_TRACEBACK = 2000
"""Frames; of a deeper one the innermost. Millions of them would take minutes to be told."""
LONGEST_ERROR = 500

_SUCCEEDED = Outcome(Ending.SUCCEEDED)
_BARE_RETURNS = {-1: SPOOL_RETRY, 0: SPOOL_IGNORE}


class TimeLimit:
    """Raises TimeLimitExceeded once, and only while an attempt whose deadline has passed is in the user's code.

    A ring that comes late finds no deadline, or that of a successor which is not due: it does nothing.
    """

    def __init__(self) -> None:
        self.deadline = math.inf

    def arm(self, deadline: float) -> None:
        """From here on a ring counts; `deadline` is on the monotonic clock. A ring that came too early is made up."""
        self.deadline = deadline
        self.ring()

    def disarm(self) -> None:
        self.deadline = math.inf

    def ring(self, *_signal: object) -> None:
        """What the signal handler calls."""
        if time.monotonic() >= self.deadline:
            self.deadline = math.inf
            raise TimeLimitExceeded("the task ran past its timeout")


def call(
    task: Task[Any, Any],
    order: Order,
    *,
    app: object = None,
    limit: TimeLimit | None = None,
    deadline: float = math.inf,
) -> Outcome:
    """Run the task for this order inside a fresh context of the app; whatever it does is told as an Outcome."""
    here = current.set(order)
    try:
        value = _in_user_code(task, order, app, limit or TimeLimit(), deadline)
    except BaseException as fault:
        return _raised(task, fault)
    finally:
        current.reset(here)
    return _returned(task, value)


def _in_user_code(task: Task[Any, Any], order: Order, app: object, limit: TimeLimit, deadline: float) -> Any:
    try:
        limit.arm(deadline)
        make_context = getattr(app, "app_context", None)
        if make_context is None:
            return _traced(task, order)
        with make_context():
            return _traced(task, order)
    finally:
        limit.disarm()


def _traced(task: Task[Any, Any], order: Order) -> Any:
    """The task's spans of its own belong under its attempt."""
    spans = tracing.Switch.spans
    if spans is None:
        return _invoke(task, order)
    with spans.around(order):
        return _invoke(task, order)


def _invoke(task: Task[Any, Any], order: Order) -> Any:
    process = os.getpid()
    try:
        match order.calling:
            case "delivery":
                return task.function(order.delivery)
            case "keywords":
                return task.function(**order.arguments)
            case "bytes":
                return task.function(dict(order.arguments))
            case _:
                raise ValueError(f"an order cannot be called by {order.calling!r}")
    finally:
        if os.getpid() != process:
            _end_the_copy(sys.exc_info()[1])


def _end_the_copy(fault: BaseException | None) -> None:
    """A process that the task forked came back into our code: it ends here, as it would at the end of a script."""
    status = 1 if fault else 0
    if isinstance(fault, SystemExit):
        status = fault.code if isinstance(fault.code, int) else int(fault.code is not None)
    elif fault is not None:
        traceback.print_exception(fault)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(status & 0xFF)


def _returned(task: Task[Any, Any], value: object) -> Outcome:
    if value is None:
        return _SUCCEEDED
    if task.bare_returns and type(value) is int:
        value = _BARE_RETURNS.get(value)
    if value is SPOOL_RETRY or value is SPOOL_IGNORE:
        return Outcome(Ending.FAILED, error=f"the task returned {value}")
    return Outcome(Ending.SUCCEEDED, result=_as_result(value))


def _as_result(value: object) -> str | None:
    """The value as JSON text, or None when JSON cannot hold it or it is over 64 KiB."""
    if value is None:
        return None
    try:
        text = json.dumps(value, allow_nan=False)
    except Exception:
        return None
    return text if len(text) <= LARGEST_RESULT else None


def _raised(task: Task[Any, Any], fault: BaseException) -> Outcome:
    match fault:
        case Retry() if math.isfinite(fault.after):
            return Outcome(Ending.SNOOZED, error=reason(fault), after_seconds=fault.after, charge=fault.charge)
        case Discard():
            return Outcome(Ending.DISCARDED, error=reason(fault))
        case _ if isinstance(fault, task.discard_on):
            ending, error = Ending.DISCARDED, error_line(fault)
        case TimeLimitExceeded():
            ending, error = Ending.TIMED_OUT, error_line(fault)
        case Exception() if not isinstance(fault, task.retry_on):
            ending, error = Ending.DISCARDED, f"{error_line(fault)} (not in retry_on, so not tried again)"
        case _:
            ending, error = Ending.FAILED, error_line(fault)
    return Outcome(ending, error=error, traceback=traceback_text(fault))


def reason(fault: BaseException) -> str:
    """The message of an exception on one line, or its type's name."""
    try:
        lines = str(fault).strip().splitlines()
    except Exception:
        lines = ["(its message could not be read)"]
    return _storable(lines[0][:LONGEST_ERROR]) if lines else type(fault).__name__


def error_line(fault: BaseException) -> str:
    """An exception on one line: "ValueError: what was wrong"."""
    name, why = type(fault).__name__, reason(fault)
    return name if why == name else f"{name}: {why}"


def traceback_text(fault: BaseException) -> str:
    """The traceback from the user's first frame on, at most about 64 KiB of it: the beginning and the end."""
    try:
        told = traceback.TracebackException.from_exception(fault, limit=-DEEPEST_TRACEBACK)
        told.stack = traceback.StackSummary.from_list([frame for frame in told.stack if not _is_ours(frame.filename)])
        text = _storable("".join(told.format()))
    except Exception:
        return f"{type(fault).__name__} (its traceback could not be read)\n"
    half = LARGEST_TRACEBACK // 2
    return text if len(text) <= 2 * half else f"{text[:half]}\n[... cut ...]\n{text[-half:]}"


_OURS = {call.__code__.co_filename, importlib.import_module.__code__.co_filename}
_OURS.add(os.path.join(os.path.dirname(call.__code__.co_filename), "runner_child.py"))


def _is_ours(filename: str) -> bool:
    return filename in _OURS or filename.startswith("<frozen importlib")


def _storable(text: str) -> str:
    """Text that every database takes: no lone surrogates, no NUL."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
