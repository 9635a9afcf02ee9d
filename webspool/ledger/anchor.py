"""A connection that does nothing but be there, in a process that runs no code of the app's.

SQLite has whoever finds itself alone with a ledger rebuild the index of its log, and whoever closes it last copy and
remove the log. That must never be done in a process where code of the app's can drop the locks meanwhile: neither by
a page that is read there nor by a connection of the app's own. So the ledger is held open beside the keeper, for when
that is killed.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import apsw

from webspool.ledger.distrust import reason


class Anchor:
    """Holds the ledger at this path, from the first look on; `look` is to be called about every second."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger
        self._connection: apsw.Connection | None = None
        self._held: tuple[int, int] | None = None

    def look(self) -> bool:
        """Hold what is there by now; whether that is a ledger already.

        One that is not trusted is let go: the next keeper must be alone with it.
        """
        there = self._there()
        if there != self._held:
            self.let_go()
        if there is None:
            return False
        try:
            if self._connection is None:
                self._connection = apsw.Connection(str(self._ledger), flags=apsw.SQLITE_OPEN_READWRITE)
                self._held = there
            return self._connection.execute("PRAGMA user_version").fetchall() > [(0,)]
        except apsw.Error:  # it is being made, restored or looked after by a keeper
            self.let_go()
            return False

    def _there(self) -> tuple[int, int] | None:
        try:
            found = self._ledger.stat()
        except OSError:
            return None
        return (found.st_dev, found.st_ino) if reason(self._ledger) is None else None

    def let_go(self) -> None:
        """Close it."""
        if self._connection is not None:
            with suppress(apsw.Error):
                self._connection.close()
        self._connection = self._held = None
