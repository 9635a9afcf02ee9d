"""webspool: webhooks in, Python tasks out."""

import importlib
from typing import TYPE_CHECKING, Any

from webspool.task import SPOOL_IGNORE, SPOOL_OK, SPOOL_RETRY, Discard, Retry, TimeLimitExceeded, task

if TYPE_CHECKING:
    from webspool.answers import Answer
    from webspool.extension import Webspool
    from webspool.handle import job
    from webspool.records import Delivery
    from webspool.routing import when
    from webspool.signatures import Scheme
    from webspool.source import Source

__all__ = [
    "SPOOL_IGNORE",
    "SPOOL_OK",
    "SPOOL_RETRY",
    "Answer",
    "Delivery",
    "Discard",
    "Retry",
    "Scheme",
    "Source",
    "TimeLimitExceeded",
    "Webspool",
    "job",
    "task",
    "when",
]

WHEN_ASKED_FOR = {
    "Answer": "webspool.answers",
    "Delivery": "webspool.records",
    "Scheme": "webspool.signatures",
    "Source": "webspool.source",
    "Webspool": "webspool.extension",
    "job": "webspool.handle",
    "when": "webspool.routing",
}


def __getattr__(name: str) -> Any:
    """A command that reads the ledger starts in half the time without what receives webhooks."""
    if name not in WHEN_ASKED_FOR:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(WHEN_ASKED_FOR[name]), name)
