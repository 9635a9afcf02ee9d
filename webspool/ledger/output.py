"""The output of attempts in a database of its own: numbered pieces, flushed only when its log is copied."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from webspool.ledger.resting import read_file

SCHEMA = """
CREATE TABLE IF NOT EXISTS piece (
    attempt TEXT NOT NULL,
    number INTEGER NOT NULL,
    first_line INTEGER NOT NULL,
    at REAL NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (attempt, number)
) WITHOUT ROWID
"""
INSERT = "INSERT INTO piece VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
SELECT = "SELECT number, first_line, at, bytes FROM piece WHERE attempt = ? AND number > ? ORDER BY number LIMIT ?"
PRAGMAS = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of an attempt's output: `number` counts from 1, `first_line` is the line in which it begins, from 1."""

    attempt: str
    number: int
    first_line: int
    at: float
    bytes: bytes

    def placed(self) -> dict[str, Any]:
        """All but the bytes, as it travels beside them."""
        told = {"attempt": self.attempt, "number": self.number, "first_line": self.first_line, "at": self.at}
        return told | {"size": len(self.bytes)}


def pieces_in(placed: Iterable[dict[str, Any]], body: bytes) -> list[Piece]:
    """The pieces that were `placed`, whose bytes lie in `body` one behind the other. Raises TypeError for no such."""
    found, at = [], 0
    for each in placed:
        if not isinstance(each, dict) or not isinstance(size := each.get("size"), int):
            raise TypeError(f"no piece of output: {each!r}")
        rest = {name: value for name, value in each.items() if name != "size"}
        found.append(Piece(**rest, bytes=body[at : at + size]))
        at += size
    return found


class Outputs:
    """The database of output, opened for writing."""

    def __init__(self, path: Path) -> None:
        self.connection = apsw.Connection(str(path))
        self.connection.set_busy_timeout(1000)
        self.connection.execute(PRAGMAS).fetchall()  # else nothing runs behind the first that tells a row
        self.connection.execute(SCHEMA)

    def write(self, pieces: Iterable[Piece]) -> None:
        """Keep these pieces; one that is there already stays as it is."""
        rows = [(piece.attempt, piece.number, piece.first_line, piece.at, piece.bytes) for piece in pieces]
        with self.connection:
            self.connection.executemany(INSERT, rows)

    def forget(self, attempts: Iterable[str]) -> None:
        """Delete the output of these attempts."""
        with self.connection:
            self.connection.executemany("DELETE FROM piece WHERE attempt = ?", [(each,) for each in attempts])

    def close(self) -> None:
        self.connection.close()


def write_directly(path: Path, pieces: Iterable[Piece]) -> None:
    """Keep pieces without the keeper."""
    outputs = Outputs(path)
    try:
        outputs.write(pieces)
    finally:
        outputs.close()


def read_pieces(path: Path, attempt: str, *, after: int = 0, most: int = 1000) -> list[Piece]:
    """The pieces of an attempt's output that follow piece number `after`; creates nothing."""
    if not path.exists():
        return []

    def one_look(connection: apsw.Connection) -> list[Piece]:
        return [Piece(attempt, *row) for row in connection.execute(SELECT, (attempt, after, most))]

    try:
        return read_file(path, one_look)
    except apsw.SQLError:  # the file is there, its table not yet
        return []
