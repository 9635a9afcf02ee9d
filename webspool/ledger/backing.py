"""Whole copies of the ledger: taken while it is written, put back while nobody writes it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw

from webspool.errors import LedgerRefused
from webspool.ledger.database import APPLICATION_ID, explained, migrations, refuse_old_sqlite, too_new

BUSY_SECONDS = 10.0
BODIES = "SELECT id, body_size, body_sha256 FROM delivery WHERE body_file = 1"


@dataclass(frozen=True, slots=True)
class Stored:
    """A large body as the ledger has it."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy of the ledger holds: how much, and the large bodies that belong to it, by their deliveries."""

    schema: int
    deliveries: int
    jobs: int
    bodies: dict[str, Stored]


def copy_database(source: Path, target: Path) -> None:
    """One moment of a database, whoever writes it meanwhile; on disk when this returns. Raises LedgerRefused."""
    refuse_old_sqlite(source)
    with _opened(source, apsw.SQLITE_OPEN_READWRITE) as connection:
        connection.set_busy_timeout(int(BUSY_SECONDS * 1000))
        connection.execute("VACUUM INTO ?", (str(target),))
    with _opened(target, apsw.SQLITE_OPEN_READWRITE) as connection:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
    flush(target)


def examine(path: Path) -> Copied:
    """What a copied ledger holds, once it was found whole. Raises LedgerRefused."""
    with _opened(path, apsw.SQLITE_OPEN_READONLY) as connection:
        (application,) = connection.execute("PRAGMA application_id").fetchone() or (0,)
        (schema,) = connection.execute("PRAGMA user_version").fetchone() or (0,)
        if application != APPLICATION_ID or not schema:
            raise LedgerRefused(ledger=path, why="it is no ledger of webspool's")
        if schema > migrations()[-1][0]:
            raise LedgerRefused(ledger=path, why=too_new(schema))
        _look_for_damage(path, connection)
        (deliveries,) = connection.execute("SELECT count(*) FROM delivery").fetchone() or (0,)
        (jobs,) = connection.execute("SELECT count(*) FROM job").fetchone() or (0,)
        bodies = {str(delivery): Stored(int(size), str(sha)) for delivery, size, sha in connection.execute(BODIES)}
        return Copied(int(schema), int(deliveries), int(jobs), bodies)


def examine_output(path: Path) -> None:
    """A copy of what attempts printed, once it was found whole. Raises LedgerRefused."""
    with _opened(path, apsw.SQLITE_OPEN_READONLY) as connection:
        _look_for_damage(path, connection)


def _look_for_damage(path: Path, connection: apsw.Connection) -> None:
    found = connection.execute("PRAGMA integrity_check").fetchall()
    if found != [("ok",)]:
        raise LedgerRefused(ledger=path, why=f"it is damaged: {found[0][0]}")


def flush(path: Path) -> None:
    """A file or folder is on disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[apsw.Connection]:
    try:
        connection = apsw.Connection(str(path), flags=flags)
        try:
            yield connection
        finally:
            connection.close()
    except apsw.Error as fault:
        raise LedgerRefused(ledger=path, why=explained(fault)) from fault
