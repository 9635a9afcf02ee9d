"""What was committed is brought to the disk beside the keeper, which gives out jobs and records ends meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

from webspool.errors import LedgerUnavailable
from webspool.ledger.database import Database
from webspool.ledger.inbox import Inbox


class Flusher:
    """One flush at a time, in a thread that begins with the first.

    `over` is called in the keeper's own thread, by its inbox, with what went wrong or None.
    """

    def __init__(self, database: Database, inbox: Inbox, over: Callable[[LedgerUnavailable | None], None]) -> None:
        self._database, self._inbox, self._over = database, inbox, over
        self._thread: threading.Thread | None = None
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._fault: LedgerUnavailable | None = None
        self._able: bool | None = None
        self.busy = False

    def begin(self) -> bool:
        """Begin to flush all that is committed by now. False where the inbox could not tell the keeper of its end."""
        if self._able is None:
            self._able = self._start()
        if self._able:
            self.busy = True
            self._asked.put(True)
        return self._able

    def _start(self) -> bool:
        self._ended, self._telling = os.pipe()
        if not self._inbox.watch(self._ended, self._hear):
            os.close(self._telling)
            return False
        self._thread = threading.Thread(target=self._work, name="webspool flusher", daemon=True)
        self._thread.start()
        return True

    def _work(self) -> None:
        while self._asked.get():
            try:
                self._database.flush()
            except LedgerUnavailable as fault:
                self._fault = fault
            os.write(self._telling, b".")

    def _hear(self) -> None:
        os.read(self._ended, 1)
        fault, self._fault = self._fault, None
        self.busy = False
        self._over(fault)

    def close(self) -> None:
        """Wait for a flush that is under way, and let its end be heard; no other is begun."""
        self._able = False
        if self._thread is not None:
            self._asked.put(False)
            self._thread.join()
            if self.busy:
                self._hear()
            self._inbox.unwatch(self._ended)
            os.close(self._telling)
            self._thread = None
