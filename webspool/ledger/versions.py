"""Whether ledger and output have changed, as SQLite itself tells (PRAGMA data_version): no row is read for it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import apsw


class Versions:
    """Keeps a connection to each database: for a process that runs no user code."""

    def __init__(self, ledger: Path, output: Path) -> None:
        self._ledger, self._output = Database(ledger), Database(output)

    def ledger(self) -> str:
        """Another word after each commit to the ledger."""
        return self._ledger.version()

    def both(self) -> tuple[str, str]:
        return self._ledger.version(), self._output.version()


class Database:
    """One file, opened when it is there, and anew when another has taken its place (a restore)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None
        self._file: tuple[int, int] | None = None

    def version(self) -> str:
        """Empty while the file is not there or cannot be read."""
        with self._lock:
            try:
                return self._version()
            except (OSError, apsw.Error):
                self._connection = self._file = None
                return ""

    def _version(self) -> str:
        found = os.stat(self._path)
        if self._connection is None or self._file != (found.st_dev, found.st_ino):
            self._connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
            self._connection.set_busy_timeout(50)
            self._file = (found.st_dev, found.st_ino)
        row = self._connection.execute("PRAGMA data_version").fetchone()
        return f"{found.st_ino}.{row[0] if row else 0}"
