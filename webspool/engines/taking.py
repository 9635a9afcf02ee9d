"""Taking a spool file as uWSGI takes one, and keeping from uWSGI what it would delete: never in a spooler at work."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from webspool.spool_files import NotASpoolFile, parse, waiting

ASIDE = "left_alone"
MOST_BYTES = 64 << 20


@contextmanager
def taken(path: Path) -> Iterator[bytes | None]:
    """A file's bytes while we hold the lock by which uWSGI takes one; None: somebody else has it, or it is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        yield None
        return
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        yield None
        return
    try:
        with open(descriptor, "rb", closefd=False) as file:
            yield file.read(MOST_BYTES + 1)
    finally:
        os.close(descriptor)


def protect(folder: Path) -> None:
    """Set aside what uWSGI's spoolers would delete: files that are cut short or were never spool files.

    To be called before they look: at the import of a spooler, which holds no lock of its own yet. One at a time.
    """
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path in waiting(folder):
            with taken(path) as data:
                if data is not None and _is_doomed(data):
                    set_aside(path, folder)
    finally:
        os.close(lock)


def _is_doomed(data: bytes) -> bool:
    try:
        parse(data)
    except NotASpoolFile:
        return True
    return False


def set_aside(path: Path, folder: Path) -> None:
    """Keep a file from uWSGI: it moves to `left_alone`, and under its name is a link to it, which uWSGI skips."""
    aside = folder / ASIDE
    with suppress(OSError):
        aside.mkdir(mode=0o700, exist_ok=True)
        place = aside / path.name
        while place.exists():
            place = place.with_name(place.name + "_")
        path.rename(place)
        path.symlink_to(os.path.relpath(place, path.parent))
