"""After a failed write nothing is promised until the ledger was read anew from the disk itself.

A page that could not be written is forgotten by the kernel, which tells so once, to one caller; the next fsync of the
same file succeeds. What was committed before without a flush may be among it, and whatever is appended to the log
behind such a hole would be lost with it at a power cut, acknowledged or not. So a mark is left beside the ledger, with
which nobody writes it directly; the next keeper throws away what the kernel remembers of the files, has SQLite look
by its checksums at what the disk has, and begins a new log. Claims and ends may be lost by that, as at a power cut.
(P. Rebello and others, "Can Applications Recover from fsync Failures?", USENIX ATC 2020.)
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import apsw

from webspool.errors import LedgerUnavailable

FAILED_WRITES = frozenset(
    {
        apsw.SQLITE_IOERR_WRITE,
        apsw.SQLITE_IOERR_FSYNC,
        apsw.SQLITE_IOERR_DIR_FSYNC,
        apsw.SQLITE_IOERR_TRUNCATE,
        apsw.SQLITE_IOERR_CLOSE,
    }
)
BUSY_MILLISECONDS = 5000


def failed_to_write(fault: apsw.Error) -> bool:
    """Whether the disk did not take what SQLite gave it."""
    return getattr(fault, "extendedresult", 0) in FAILED_WRITES


def mark(ledger: Path) -> Path:
    """Where it is written that a ledger is not trusted, and why."""
    return ledger.with_name(f"{ledger.name}-distrusted")


def distrust(ledger: Path, why: str) -> None:
    """Leave the mark. A disk that does not take even that takes no commit either."""
    with suppress(OSError):
        mark(ledger).write_text(why)


def reason(ledger: Path) -> str | None:
    """Why the ledger is not trusted, or None."""
    try:
        return mark(ledger).read_text() or "a write failed"
    except OSError:
        return None


def refuse(ledger: Path) -> None:
    """Raises LedgerUnavailable while the ledger is not trusted."""
    if (why := reason(ledger)) is not None:
        told = f"its disk failed to write ({why}); the next keeper looks at what is left"
        raise LedgerUnavailable(ledger=ledger, why=told)


def recover(ledger: Path, *, cached: bool = False) -> str | None:
    """Trust what the disk has; returns why that was necessary, or None. `cached`: what the kernel remembers may stay.

    To be called before this process opens the ledger, else its locks would go. Raises LedgerUnavailable.
    """
    why = reason(ledger)
    if why is None:
        return None
    if not cached:
        _forget(ledger)
    try:
        _begin_a_new_log(ledger)
        mark(ledger).unlink()
    except (apsw.Error, OSError) as fault:
        raise LedgerUnavailable(ledger=ledger, why=f"it is not trusted ({why}), and {fault}") from fault
    return why


def _forget(ledger: Path) -> None:
    """Have the kernel read the files from the disk again."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in (ledger, ledger.with_name(f"{ledger.name}-wal")):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def _begin_a_new_log(ledger: Path) -> None:
    """Alone with the files, so that the index of the log is made from the log and not from shared memory."""
    connection = apsw.Connection(str(ledger), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL").fetchall()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute("PRAGMA schema_version").fetchall()
    finally:
        connection.close()
