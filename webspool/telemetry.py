"""A happening is told once, by name: here it becomes a log line, and whoever listens hears of it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Protocol

import structlog

TROUBLES = frozenset(
    {
        "alert_failed",
        "answer_failed",
        "answer_late",
        "app_unavailable",
        "bodies_dropped",
        "checkpoint_failed",
        "claim_failed",
        "clock_jumped",
        "condition_failed",
        "dashboard_unavailable",
        "disk_full",
        "disk_low",
        "end_not_recorded",
        "event_type_failed",
        "hung_keeper_killed",
        "job_rescued",
        "keeper_out_of_reach",
        "ledger_recovered",
        "ledger_unavailable",
        "limits_unavailable",
        "login_refused",
        "login_throttled",
        "operation_failed",
        "output_lost",
        "rescue_postponed",
        "runner_broken",
        "runner_doubted",
        "secret_captured",
        "secret_unreadable",
        "spool_file_left_alone",
        "spool_unusable",
        "spooler_rests",
        "subscription_unconfirmed",
        "task_unknown",
        "thread_failed",
        "worker_deaf",
    }
)
"""The happenings that an operator has to look at: the ledger counts them, by name, with what was told last."""

Listener = Callable[[str, Mapping[str, Any]], None]

_listeners: list[Listener] = []


def listen(listener: Listener) -> Callable[[], None]:
    """Have `listener` hear every happening of this process from now on; returns what ends that.

    It is called in the thread that tells, after the log line: it must be quick, and never raise.
    """
    _listeners.append(listener)

    def end() -> None:
        if listener in _listeners:
            _listeners.remove(listener)

    return end


class Say(Protocol):
    """Tells a happening: its name, and what there is to know of it."""

    def __call__(self, happening: str, /, **facts: Any) -> None: ...


def write_stderr(text: str) -> None:
    """One write to descriptor 2: lines of several processes do not mix."""
    try:
        os.write(2, text.encode("utf-8", "backslashreplace"))
    except OSError:
        return


def unheard(happening: str, /, **facts: Any) -> None:
    """For who tells what it finds in another way."""


def teller(process: str) -> Say:
    """The happenings of one process: JSON lines, or readable ones on a terminal."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    return _readable(process) if terminal else _json_lines(process)


def _json_lines(process: str) -> Say:
    """A line is made on the way of every webhook, so it is put together here and not by structlog's processors."""
    encode = json.JSONEncoder(default=repr, check_circular=False).encode
    origin = encode(process)

    def say(happening: str, /, **facts: Any) -> None:
        told = f", {encode(facts)[1:-1]}" if facts else ""
        write_stderr(f'{{"timestamp": "{_now()}", "process": {origin}, "event": "{happening}"{told}}}\n')
        for listener in _listeners:
            listener(happening, facts)

    return say


def _readable(process: str) -> Say:
    render = structlog.dev.ConsoleRenderer()

    def say(happening: str, /, **facts: Any) -> None:
        told = {"timestamp": _now(), "event": happening, "process": process, **facts}
        write_stderr(f"{render(None, 'info', told)}\n")
        for listener in _listeners:
            listener(happening, facts)

    return say


def _now() -> str:
    """The time, RFC 3339 with microseconds; the part before the dot is made once a second."""
    now = time.time_ns() // 1000
    return f"{_second(now // 1_000_000)}.{now % 1_000_000:06d}Z"


@lru_cache(maxsize=1)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def silent(happening: str, /, **facts: Any) -> None:
    """For whoever listens to nothing."""
