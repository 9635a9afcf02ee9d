"""What libraries log while they send spans goes nowhere: in a runner it would stand in the output of whoever's task."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

BEGINNINGS = ("opentelemetry", "urllib3", "requests")

_here = threading.local()


@contextmanager
def unlogged() -> Iterator[None]:
    """Nothing of it is logged by this thread meanwhile; other threads, the user's own among them, log as ever."""
    _here.quiet = True
    try:
        yield
    finally:
        _here.quiet = False


def listen_in() -> None:
    """Have the libraries' loggers ask, those that there are by now."""
    for name in [each for each in logging.root.manager.loggerDict if each.startswith(BEGINNINGS)]:
        logging.getLogger(name).addFilter(_is_heard)


def _is_heard(record: logging.LogRecord) -> bool:
    return not getattr(_here, "quiet", False)
