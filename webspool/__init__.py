"""webspool: webhooks in, Python tasks out."""

from webspool.extension import Webspool
from webspool.handle import job
from webspool.records import Delivery
from webspool.source import Source
from webspool.task import SPOOL_IGNORE, SPOOL_OK, SPOOL_RETRY, Discard, Retry, TimeLimitExceeded, task

__all__ = [
    "SPOOL_IGNORE",
    "SPOOL_OK",
    "SPOOL_RETRY",
    "Delivery",
    "Discard",
    "Retry",
    "Source",
    "TimeLimitExceeded",
    "Webspool",
    "job",
    "task",
]
