"""webspool: webhooks in, Python tasks out."""

import importlib
from typing import TYPE_CHECKING, Any

from webspool.answers import Answer
from webspool.handle import job
from webspool.records import Delivery
from webspool.routing import when
from webspool.signatures import Scheme
from webspool.source import Source
from webspool.task import SPOOL_IGNORE, SPOOL_OK, SPOOL_RETRY, Discard, Retry, TimeLimitExceeded, task

if TYPE_CHECKING:
    from webspool.extension import Webspool

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


def __getattr__(name: str) -> Any:
    """Webspool is imported when it is asked for: commands that read the ledger import no Flask."""
    if name != "Webspool":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("webspool.extension").Webspool
