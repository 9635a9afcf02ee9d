"""Short read-only connections to the ledger. They create nothing: no file, no lock that a writer waits for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import apsw

from webspool.config import Config
from webspool.errors import LedgerOutdated, LedgerRefused
from webspool.ledger.database import migrations, read_statements, refuse_old_sqlite, too_new
from webspool.ledger.likeness import likeness
from webspool.ledger.resting import read_file

T = TypeVar("T")

STATEMENTS = read_statements("reading.sql")


class Reader:
    """What a read may ask: named statements, each row as a dict."""

    def __init__(self, connection: apsw.Connection, bodies: Path) -> None:
        self._connection, self._bodies = connection, bodies
        connection.create_scalar_function("body_holds", self._body_holds, 2)
        connection.create_scalar_function("likeness", likeness, 1, deterministic=True)

    def all(self, name: str, where: str = "", /, **values: Any) -> list[dict[str, Any]]:
        """The rows of a named statement, followed by `where` (text made of named fragments only)."""
        cursor = self._connection.execute(STATEMENTS[name] + where, values)
        return [dict(zip(_names(cursor), row, strict=True)) for row in cursor]

    def one(self, name: str, /, **values: Any) -> dict[str, Any] | None:
        return next(iter(self.all(name, **values)), None)

    def column(self, sql: str, values: dict[str, Any]) -> list[Any]:
        """The first column of a statement put together of named ones."""
        return [row[0] for row in self._connection.execute(sql, values)]

    def fits(self, text: str, pattern: str) -> bool:
        """Whether a text fits a pattern, as lists mean it (SQLite's GLOB)."""
        return bool(self.column("SELECT :text GLOB :pattern", {"text": text, "pattern": pattern})[0])

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
    """What `work` finds in the ledger; an empty one where there is none yet. Raises LedgerRefused."""
    path, bodies = config.ledger_path, bodies_folder(config)
    if not exists(config):
        return _nothing(work, bodies)
    refuse_old_sqlite(path)

    def one_look(connection: apsw.Connection) -> T:
        if not _version(path, connection):
            return _nothing(work, bodies)
        connection.execute("BEGIN")
        return work(Reader(connection, bodies))

    try:
        return read_file(path, one_look)
    except apsw.SQLError:
        raise
    except apsw.Error as fault:
        why = f"it cannot be read ({fault}); look at the owner and mode of the file and its folder"
        raise LedgerRefused(ledger=path, why=why) from fault


def _version(path: Path, connection: apsw.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone() or (0,)
    newest = migrations()[-1][0]
    if version > newest:
        raise LedgerRefused(ledger=path, why=too_new(version))
    if 0 < version < newest:
        why = f"its schema is number {version}, this webspool knows {newest}; the next start of the instance renews it"
        raise LedgerOutdated(ledger=path, why=why, found=version, newest=newest)
    return int(version)


def _nothing(work: Callable[[Reader], T], bodies: Path) -> T:
    """What `work` finds in an empty ledger. Closed, else its functions would keep it in memory for ever."""
    connection = apsw.Connection(":memory:")
    try:
        for _, sql in migrations():
            connection.execute(sql).fetchall()
        return work(Reader(connection, bodies))
    finally:
        connection.close()


def seconds(written: str) -> float:
    """Unix seconds of a time as `rfc3339` writes it."""
    return datetime.fromisoformat(written).timestamp()


def rfc3339(seconds: float | None) -> str | None:
    """A time in UTC with milliseconds; one that no calendar has (a job may be due in any year) is the last or first."""
    if seconds is None:
        return None
    try:
        told = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        told = (datetime.max if seconds > 0 else datetime.min).replace(tzinfo=UTC)
    return told.isoformat(timespec="milliseconds").replace("+00:00", "Z")
