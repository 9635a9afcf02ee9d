"""Reading a SQLite file of ours without leaving anything beside it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import apsw

T = TypeVar("T")

BUSY_SECONDS = 2.0
SETTLED_SECONDS = 0.05
TRIES = 5


def read_file(path: Path, work: Callable[[apsw.Connection], T]) -> T:
    """What `work` finds on a read-only connection. Raises apsw.Error.

    Such a connection to a WAL database that nobody has open would leave `-wal` and `-shm` files behind; a file at
    rest is read as immutable instead, and once more when it changed meanwhile.
    """
    for _ in range(TRIES):
        at_rest = _at_rest(path)
        if at_rest is None:
            break
        try:
            found = _read(path, "immutable=1", work)
        except apsw.Error:
            if _at_rest(path) == at_rest:
                raise
        else:
            if _at_rest(path) == at_rest:
                return found
    return _read(path, "mode=ro", work)


def _at_rest(path: Path) -> tuple[int, int, int] | None:
    """What tells this state of a file that nobody has open; None when somebody has."""
    while not os.path.lexists(f"{path}-wal"):
        found = path.stat()
        age = time.time() - found.st_mtime
        if not 0 <= age < SETTLED_SECONDS:  # file times tick every few milliseconds: two changes can share one
            return found.st_ino, found.st_mtime_ns, found.st_size
        time.sleep(SETTLED_SECONDS - age)
    return None


def _read(path: Path, how: str, work: Callable[[apsw.Connection], T]) -> T:
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(f"file:{quote(str(path))}?{how}", flags=flags)
    try:
        connection.set_busy_timeout(int(BUSY_SECONDS * 1000))
        connection.execute("PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF").fetchall()
        return work(connection)
    finally:
        connection.close()
