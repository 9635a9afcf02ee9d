"""A happening is told once, by name: here it becomes a log line."""

from __future__ import annotations

import os
import sys
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
        processors=[structlog.processors.TimeStamper(fmt="iso", utc=True), renderer],
        wrapper_class=structlog.BoundLogger,
    ).bind(process=process)

    def say(happening: str, /, **facts: Any) -> None:
        log.info(happening, **facts)

    return say


def silent(happening: str, /, **facts: Any) -> None:
    """For whoever listens to nothing."""
