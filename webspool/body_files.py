"""Bodies that are too big for the ledger's rows, as files: on disk with their names, and the disk not taken at once."""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from webspool.errors import LedgerUnavailable
from webspool.folders import flush_folder, make_folder

PIECE_BYTES = 1 << 20
_WAIT_WRITE_WAIT = 7
"""SYNC_FILE_RANGE_WAIT_BEFORE, _WRITE and _WAIT_AFTER (sync_file_range(2))."""


def write_body(folder: Path, delivery: str, body: bytes) -> Path:
    """A body as a file that survives a power cut: first the file is flushed, then the folder that names it.

    Raises LedgerUnavailable when it cannot be written; nothing is left behind then.
    """
    path = folder / delivery
    try:
        make_folder(folder)
        with open(path, "xb", buffering=0, opener=_private) as file:
            _write(file, body)
            os.fsync(file.fileno())
        flush_folder(folder)
    except OSError as fault:
        with suppress(OSError):
            remove_body(path)
        raise LedgerUnavailable(ledger=folder, why=fault.strerror or fault) from fault
    return path


def remove_body(path: Path) -> None:
    """Remove a body's file, if it is there: first its name, then what it holds, piece by piece. Raises OSError.

    ext4 gives a large file back in one go, in which no flush gets on: 25 MiB in 8 ms, where it is mounted with
    `discard`. What a backup keeps by a second name stays as it is.
    """
    descriptor = _opened(path)
    try:
        path.unlink(missing_ok=True)
        if descriptor is not None and os.fstat(descriptor).st_nlink == 0:
            _shorten(descriptor)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _opened(path: Path) -> int | None:
    """None where there is nothing to shorten, and on Windows, where an open file cannot be removed."""
    if os.name == "nt":
        return None
    try:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None


def _shorten(descriptor: int) -> None:
    left = os.fstat(descriptor).st_size
    while left > PIECE_BYTES:
        left -= PIECE_BYTES
        os.ftruncate(descriptor, left)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _write(file: BinaryIO, body: bytes) -> None:
    """Piece by piece, each on its way to the disk before the next: else the ledger's flush would wait for it all."""
    left, at = memoryview(body), 0
    while left:
        written = file.write(left[:PIECE_BYTES])
        if len(left) > written:
            hand_to_the_disk(file.fileno(), at, written)
        left, at = left[written:], at + written


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def hand_to_the_disk(descriptor: int, at: int, size: int) -> None:
    """Have the kernel write these bytes of a file out now, and wait for it. It is no flush. Raises OSError.

    Where there is no way to ask for it nothing is done: the flush of the file writes them all the same.
    """
    with suppress(AttributeError, TypeError):
        if _libc().sync_file_range(descriptor, ctypes.c_int64(at), ctypes.c_int64(size), _WAIT_WRITE_WAIT) == 0:
            return
        if (number := ctypes.get_errno()) in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
            raise OSError(number, os.strerror(number))
