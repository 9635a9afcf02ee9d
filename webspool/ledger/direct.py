"""An operation written by this very process: one transaction on a connection that is opened and closed for it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from webspool.ledger import tallies
from webspool.ledger.apply import apply
from webspool.ledger.database import SHORT_BUSY_SECONDS, Database
from webspool.ledger.distrust import refuse
from webspool.ledger.operations import Answer, Operation

LONG_LOG_PAGES = 400
"""Of a direct write; the last to close copies a longer log, which who opens the ledger first has to read whole."""


class Hand(Protocol):
    """What writes the ledger without the keeper."""

    @property
    def ready(self) -> bool:
        """Whether it writes at once, so that nothing is won by waiting for the next keeper."""

    def write(self, operation: Operation, give_up: float) -> Answer:
        """Do it, waiting for the write lock until then (monotonic seconds). Raises LedgerUnavailable: it was not."""


class OwnHand:
    """For a process that runs no code of the app's.

    SQLite's locks are POSIX locks: they go when any thread of the process closes any descriptor of the file. Code of
    the app's that opens the ledger or its copy does that, and another process then writes over what this one commits.
    """

    ready = True

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger

    def write(self, operation: Operation, give_up: float) -> Answer:
        refuse(self._ledger)
        database = Database(self._ledger, busy_seconds=max(give_up - time.monotonic(), SHORT_BUSY_SECONDS))
        try:
            with database.transaction(flush=operation.durable, direct=True) as tx:
                answer = apply(tx, operation)
                tallies.write_directly(tx)
            refuse(self._ledger)  # another's flush may have failed meanwhile, of what lies before ours in the log
            return answer
        finally:
            database.close(keep_log=database.log_pages <= LONG_LOG_PAGES)
