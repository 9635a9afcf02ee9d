"""A happening is told once, by name: here it becomes a log line, and whoever listens hears of it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol

import msgspec

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


LINES_AT_ONCE_BYTES = 4000
"""A pipe takes 4096 bytes in one piece (pipe(7): PIPE_BUF)."""

_held: bytearray | None = None


def write_stderr(text: str) -> None:
    """One write to descriptor 2: lines of several processes do not mix."""
    _tell(text.encode("utf-8", "backslashreplace"))


def _tell(data: bytes) -> None:
    if _held is None:
        _write(data)
    else:
        if _held and len(_held) + len(data) > LINES_AT_ONCE_BYTES:
            _write(_held)
            _held.clear()
        _held.extend(data)


def _write(data: bytes | bytearray) -> None:
    try:
        os.write(2, data)
    except OSError:  # nobody can be told
        return


@contextmanager
def lines_together() -> Iterator[None]:
    """What is written meanwhile goes out in as few writes as that allows. For a process of one thread."""
    global _held
    _held = bytearray()
    try:
        yield
    finally:
        data, _held = _held, None
        if data:
            _write(data)


def unheard(happening: str, /, **facts: Any) -> None:
    """For who tells what it finds in another way."""


def teller(process: str) -> Say:
    """The happenings of one process: JSON lines, or readable ones on a terminal."""
    return _readable(process) if writes_to_a_terminal() else _json_lines(process)


def writes_to_a_terminal() -> bool:
    """Whether a person reads what is told."""
    return sys.stderr is not None and sys.stderr.isatty()


def _json_lines(process: str) -> Say:
    """A line is made on the way of every webhook, so it is put together here and not by structlog's processors."""
    encoder = msgspec.json.Encoder(enc_hook=repr).encode
    spaced = msgspec.json.format
    slowly = json.JSONEncoder(default=repr, check_circular=False).encode
    origin = slowly(process).encode()

    def encode(facts: dict[str, Any]) -> bytes:
        try:
            return spaced(encoder(facts), indent=0)
        except (ValueError, OverflowError):  # a lone surrogate, a number without end
            return slowly(facts).encode()

    def say(happening: str, /, **facts: Any) -> None:
        told = b", " + encode(facts)[1:-1] if facts else b""
        line = b'{"timestamp": "%b", "process": %b, "event": "%b"%b}\n'
        _tell(line % (_now().encode(), origin, happening.encode(), told))
        for listener in _listeners:
            listener(happening, facts)

    return say


def _readable(process: str) -> Say:
    import structlog.dev  # brings some 150 modules along, and only a terminal needs them

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
