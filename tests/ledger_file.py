"""A ledger file under a clock of ours, opened anew after each crash, that sees every move of a job."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.ledger_laws import Snapshot
from webspool.ledger.database import Database, Known, Transaction

MOVES = """
CREATE TEMP TABLE moves (job, before, after);
CREATE TEMP TRIGGER moved AFTER UPDATE OF state ON main.job WHEN OLD.state <> NEW.state
BEGIN INSERT INTO moves VALUES (OLD.id, OLD.state, NEW.state); END
"""


class Crash(Exception):
    """The writer ends before its commit."""


@dataclass
class Clock:
    """The wall clock of all transactions."""

    now: float = 1_700_000_000.0


class File:
    """A ledger file, opened again after each crash; it sees every move of a job."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path, self.clock = path, clock
        self.open()

    def open(self) -> None:
        self.database = Database(self.path)
        self.database.connection.execute(MOVES)
        self.known = Known()

    def close(self) -> None:
        self.database.close()

    def transact(self, work: Callable[[Transaction], Any], *, flush: bool = False, crash: bool = False) -> Any:
        """One transaction at the clock's time; a crash before its commit undoes it and opens the file anew."""
        connection = self.database.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            tx = Transaction(connection, self.clock.now, self.known, direct=False)
            found = work(tx)
            tx.write_counters()
            if crash:
                raise Crash
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            self.close()
            self.open()
            raise
        return found

    def seen(self) -> Snapshot:
        return Snapshot.of(self.database.connection)

    def moves(self) -> list[tuple[str, str, str]]:
        found = self.database.connection.execute("SELECT job, before, after FROM moves").fetchall()
        self.database.connection.execute("DELETE FROM moves")
        return found


@cache
def empty_ledger() -> bytes:
    """A fresh ledger's file, made once."""
    with tempfile.TemporaryDirectory() as folder:
        Database(Path(folder) / "ledger.db").close()
        return (Path(folder) / "ledger.db").read_bytes()
