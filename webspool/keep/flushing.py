"""What was committed is brought to the disk beside the keeper, which gives out jobs and records ends meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

from webspool.errors import LedgerUnavailable
from webspool.ledger.database import Database
from webspool.ledger.inbox import Inbox, Request
from webspool.ledger.operations import Answer

QUICK_SECONDS = 0.001
"""A flush that lasts no longer than that is the keeper's own: to hand it over would take longer."""

Answered = tuple[Request, Answer]
Over = Callable[[list[Answered], list[Answered], LedgerUnavailable | None], None]


class Flusher:
    """One flush at a time, in a thread that begins with the first.

    `over` is called in the keeper's own thread, by its inbox: with the answers that waited for a flush that is over,
    those that came meanwhile and need another, and what went wrong or None.
    """

    def __init__(self, database: Database, inbox: Inbox, over: Over) -> None:
        self._database, self._inbox, self._over = database, inbox, over
        self._thread: threading.Thread | None = None
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._fault: LedgerUnavailable | None = None
        self._able: bool | None = None
        self._promised: list[Answered] = []
        self._owed: list[Answered] = []
        self.busy = False

    def takes(self, answers: list[Answered]) -> bool:
        """Whether it will tell when these are on disk, whose operations are committed.

        Not where flushes are quick, or where the inbox could not call `over`.
        """
        if self.busy:
            self._owed += answers
            return True
        if self._database.flush_seconds <= QUICK_SECONDS:
            return False
        if self._able is None:
            self._able = self._start()
        if self._able:
            self.busy, self._promised = True, answers
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
        promised, owed, fault = self._promised, self._owed, self._fault
        self._promised, self._owed, self._fault, self.busy = [], [], None, False
        self._over(promised, owed, fault)

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
