"""Names that survive a power cut: a flushed file has one only once the folder that names it was flushed (fsync(2))."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_known: set[Path] = set()


def make_folder(folder: Path) -> None:
    """Make a private folder whose name is on disk. Raises OSError.

    Another process may have made it just now and not flushed its name yet, so that each does so once.
    """
    if folder in _known and folder.is_dir():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    flush_folder(folder.parent)
    _known.add(folder)


def flush_folder(folder: Path) -> None:
    """Have the names in it on disk. Raises OSError."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folder; NTFS journals the name
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_path(path: Path) -> None:
    """Have on disk the name of each folder on the way to a file that was just made; whose others are is not ours."""
    for folder in path.absolute().parents:
        with suppress(PermissionError):
            flush_folder(folder)
