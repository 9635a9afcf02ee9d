"""The write-ahead log goes into the database file beside the writer, so that no commit waits for it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import apsw

from webspool.ledger.database import Database, explained
from webspool.telemetry import Say

LOG_PAGES = 4000
BUSY_MILLISECONDS = 1000
SECONDS_BETWEEN, FLUSHES_BETWEEN, MOST_SECONDS_BETWEEN = 0.2, 500, 5.0
"""The writer waits for two flushes each time that the log begins anew: on a slow disk that is to be seldom."""
PASSES = 3
"""SQLite flushes the database file after a pass only if nothing was committed meanwhile: seldom after the first."""


class Checkpointer:
    """A thread with a connection of its own that copies the log; SQLite lets the writer go on meanwhile.

    What was committed during its last pass is left to a short one of the writer's, after which the log begins anew;
    without it a log that is always written to would grow for ever.
    """

    def __init__(self, path: Path, say: Say) -> None:
        self._path, self._say = path, say
        self._thread: threading.Thread | None = None
        self._not_before = 0.0

    def look(self, database: Database) -> None:
        """Begin a copying when the log has grown long; finish one that is done."""
        if self._thread is not None and not self._thread.is_alive():
            self._thread = None
            self._pass(database.connection)
        elif self._thread is None and database.log_pages >= LOG_PAGES and time.monotonic() >= self._not_before:
            pause = max(SECONDS_BETWEEN, min(FLUSHES_BETWEEN * database.flush_seconds, MOST_SECONDS_BETWEEN))
            self._not_before = time.monotonic() + pause
            self._thread = threading.Thread(target=self._copy, name="webspool checkpoint", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Wait for a copying that is under way."""
        if self._thread is not None:
            self._thread.join()

    def _copy(self) -> None:
        try:
            connection = apsw.Connection(str(self._path))
        except apsw.Error as fault:
            self._say("checkpoint_failed", why=explained(fault))
            return
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        for _ in range(PASSES):
            self._pass(connection)
        connection.close()

    def _pass(self, connection: apsw.Connection) -> None:
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except apsw.Error as fault:
            self._say("checkpoint_failed", why=explained(fault))
