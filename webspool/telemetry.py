"""A happening is told once, by name: here it becomes a log line."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any, Protocol

import structlog


class Say(Protocol):
    """Tells a happening: its name, and what there is to know of it."""

    def __call__(self, happening: str, /, **facts: Any) -> None: ...


class _Stderr:
    """The process's own standard error, a whole line at a write."""

    def msg(self, message: str) -> None:
        write_stderr(message + "\n")

    log = debug = info = warning = error = critical = msg


def write_stderr(text: str) -> None:
    """One write to descriptor 2: lines of several processes do not mix."""
    try:
        os.write(2, text.encode("utf-8", "backslashreplace"))
    except OSError:
        return


def teller(process: str) -> Say:
    """The happenings of one process: JSON lines, or readable ones on a terminal."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    renderer: Any = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    log = structlog.wrap_logger(
        _Stderr(),
        processors=[_stamped, renderer],
        wrapper_class=structlog.BoundLogger,
    ).bind(process=process)

    def say(happening: str, /, **facts: Any) -> None:
        log.info(happening, **facts)

    return say


def _stamped(_logger: Any, _method: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the time, RFC 3339 with microseconds; the part before the dot is made once a second."""
    now = time.time_ns() // 1000
    facts["timestamp"] = f"{_second(now // 1_000_000)}.{now % 1_000_000:06d}Z"
    return facts


@lru_cache(maxsize=1)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def silent(happening: str, /, **facts: Any) -> None:
    """For whoever listens to nothing."""
