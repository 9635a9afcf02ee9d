"""Short read-only connections to the ledger. They create nothing: no file, no lock that a writer waits for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import apsw

from webspool.config import Config
from webspool.errors import LedgerRefused
from webspool.ledger.database import migrations, read_statements, refuse_old_sqlite

T = TypeVar("T")

STATEMENTS = read_statements("reading.sql")
BUSY_SECONDS = 2.0
SETTLED_SECONDS = 0.05
TRIES = 5


class Reader:
    """What a read may ask: named statements, each row as a dict."""

    def __init__(self, connection: apsw.Connection, bodies: Path) -> None:
        self._connection, self._bodies = connection, bodies
        connection.create_scalar_function("body_holds", self._body_holds, 2)

    def all(self, name: str, where: str = "", /, **values: Any) -> list[dict[str, Any]]:
        """The rows of a named statement, followed by `where` (text made of named fragments only)."""
        cursor = self._connection.execute(STATEMENTS[name] + where, values)
        return [dict(zip(_names(cursor), row, strict=True)) for row in cursor]

    def one(self, name: str, /, **values: Any) -> dict[str, Any] | None:
        return next(iter(self.all(name, **values)), None)

    def _body_holds(self, *given: Any) -> int:
        """For statements: whether the file of a delivery's body holds a text."""
        delivery, text = given
        try:
            return int(text.encode() in (self._bodies / delivery).read_bytes())
        except OSError:
            return 0


def _names(cursor: apsw.Cursor) -> list[str]:
    return [column[0] for column in cursor.get_description()]


def bodies_folder(config: Config) -> Path:
    """Where the bodies lie that are too big for the ledger's rows."""
    return config.var / "bodies"


def exists(config: Config) -> bool:
    """Whether there is a ledger to read."""
    try:
        return config.ledger_path.stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError as fault:
        raise LedgerRefused(ledger=config.ledger_path, why=fault.strerror) from fault


def read(config: Config, work: Callable[[Reader], T]) -> T:
    """What `work` finds in the ledger; an empty one where there is none yet. Raises LedgerRefused.

    A read-only connection to a WAL database that nobody has open would leave `-wal` and `-shm` files behind; such a
    ledger is read as an immutable file instead, and once more when it changed meanwhile.
    """
    path = config.ledger_path
    if not exists(config):
        return work(Reader(_empty(), bodies_folder(config)))
    refuse_old_sqlite(path)
    for _ in range(TRIES):
        at_rest = _at_rest(path)
        if at_rest is None:
            break
        try:
            found = _read(config, "immutable=1", work)
        except LedgerRefused:
            if _at_rest(path) == at_rest:
                raise
        else:
            if _at_rest(path) == at_rest:
                return found
    return _read(config, "mode=ro", work)


def _at_rest(path: Path) -> tuple[int, int, int] | None:
    """What tells this state of a ledger that nobody has open; None when somebody has."""
    while not os.path.lexists(f"{path}-wal"):
        found = path.stat()
        age = time.time() - found.st_mtime
        if not 0 <= age < SETTLED_SECONDS:  # file times tick every few milliseconds: two changes can share one
            return found.st_ino, found.st_mtime_ns, found.st_size
        time.sleep(SETTLED_SECONDS - age)
    return None


def _read(config: Config, how: str, work: Callable[[Reader], T]) -> T:
    try:
        connection = _connected(config.ledger_path, how)
        try:
            if not _version(config.ledger_path, connection):
                return work(Reader(_empty(), bodies_folder(config)))
            connection.execute("BEGIN")
            return work(Reader(connection, bodies_folder(config)))
        finally:
            connection.close()
    except apsw.SQLError:
        raise
    except apsw.Error as fault:
        why = f"it cannot be read ({fault}); look at the owner and mode of the file and its folder"
        raise LedgerRefused(ledger=config.ledger_path, why=why) from fault


def _connected(path: Path, how: str) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(f"file:{quote(str(path))}?{how}", flags=flags)
    connection.set_busy_timeout(int(BUSY_SECONDS * 1000))
    connection.execute("PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF").fetchall()
    return connection


def _version(path: Path, connection: apsw.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone() or (0,)
    newest = migrations()[-1][0]
    if version > newest:
        why = f"its schema is number {version}, this webspool knows {newest}; install the newer webspool again"
        raise LedgerRefused(ledger=path, why=why)
    if 0 < version < newest:
        why = f"its schema is number {version}, this webspool knows {newest}; the next start of the instance renews it"
        raise LedgerRefused(ledger=path, why=why)
    return int(version)


def _empty() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    for _, sql in migrations():
        connection.execute(sql).fetchall()
    return connection


def rfc3339(seconds: float | None) -> str | None:
    """A time in UTC with milliseconds."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
