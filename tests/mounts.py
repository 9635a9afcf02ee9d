"""A small disk for a test: a tmpfs, where we may mount one; and files that fill it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


def may_mount() -> bool:
    """Only root may."""
    return os.geteuid() == 0


@contextmanager
def tmpfs(folder: Path, *options: str) -> Iterator[Path]:
    """An empty file system of its own at `folder`. Only root may mount: others skip the test."""
    folder.mkdir(parents=True, exist_ok=True)
    mount(folder, "-t", "tmpfs", "-o", ",".join(["nosuid", *options]), "tmpfs")
    try:
        yield folder
    finally:
        unmount(folder)


def unmount(folder: Path) -> None:
    """Whoever has it open still keeps what is open."""
    subprocess.run(["umount", "-l", folder], check=True)


def mount(folder: Path, *words: str) -> None:
    """mount(8) with these words, on `folder`."""
    if not may_mount():
        pytest.skip("only root may mount a file system")
    done = subprocess.run(["mount", *words, folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")


@contextmanager
def filled(folder: Path, leave: int) -> Iterator[None]:
    """A file there that leaves so many bytes free on its disk."""
    path = folder / "filler"
    with open(path, "wb") as file:
        size = 0
        for _ in range(100):  # others write meanwhile
            found = os.statvfs(folder)
            room = found.f_bavail * found.f_frsize - leave
            if room <= 0:
                break
            with suppress(OSError):
                os.posix_fallocate(file.fileno(), size, room)
                size += room
    try:
        yield
    finally:
        path.unlink()
