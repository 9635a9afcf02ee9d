"""Which attempt a runner has begun last, written where it outlives the runner and its spooler: a page of a mapped file.

A spooler that claims several jobs and is killed takes its knowledge along which of them were begun. Ids of attempts are
sorted in the order in which they are begun, so the last one tells. It is written without a system call, and holds as
long as the machine does not go down: what it says of another boot is not to be believed.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from pathlib import Path

BYTES = 64


def path_of(folder: Path, process: str) -> Path:
    """Where that process's runners write."""
    return folder / process.replace("/", "_")


def prepare(path: Path) -> Path | None:
    """A slate on which nothing stands, its place on the disk taken; None when there is none to be had."""
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(bytes(BYTES))
    except OSError:
        return None
    return path


def begun(path: Path) -> str | None:
    """The attempt that was begun last, an empty text when none was; None when there is no slate."""
    try:
        return path.read_bytes().rstrip(b"\0").decode("ascii", "replace")
    except OSError:
        return None


def remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


class Slate:
    """A slate that is written. `path` None: there is none."""

    def __init__(self, path: Path | None) -> None:
        self._page: mmap.mmap | None = None
        if path is not None:
            with suppress(OSError, ValueError), open(path, "r+b") as file:
                self._page = mmap.mmap(file.fileno(), BYTES)

    def note(self, attempt: str) -> None:
        """From here on it may have had effects."""
        if self._page is not None:
            self._page[:] = attempt.encode("ascii", "replace")[:BYTES].ljust(BYTES, b"\0")
