"""The room that is left on the instance's disks, looked at once a second at most, and what it is enough for."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from webspool.config import Config

LOOK_SECONDS = 1.0
MIN_FREE_FILES = 1000
FULL_FRACTION = 10
OUTPUT_CAP = 1 << 20
SHORT_OUTPUT_CAP = 16 << 10


class Room(StrEnum):
    """What the room is enough for: all; LOW: no long output, no bodies of what has succeeded; FULL: no webhooks."""

    AMPLE = "ample"
    LOW = "low"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Free:
    """What is free: bytes, and files (inodes) where the file system counts them."""

    bytes: int
    files: int | None = None

    def room(self, min_free_bytes: int) -> Room:
        """LOW below that many bytes (or a thousand files), FULL below a tenth of it."""
        if self._below(min_free_bytes / FULL_FRACTION, MIN_FREE_FILES / FULL_FRACTION):
            return Room.FULL
        return Room.LOW if self._below(min_free_bytes, MIN_FREE_FILES) else Room.AMPLE

    def _below(self, bytes: float, files: float) -> bool:
        return self.bytes < bytes or (self.files is not None and self.files < files)

    def __str__(self) -> str:
        few = self.files is not None and self.files < MIN_FREE_FILES
        return f"{self.bytes} bytes" + (f" and {self.files} files" if few else "") + " are free"


class Disk:
    """Looks at the disks of these folders; `min_free_bytes` is WEBSPOOL_MIN_FREE_BYTES."""

    def __init__(
        self, folders: Sequence[Path], min_free_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.min_free_bytes = min_free_bytes
        self._folders, self._clock = folders, clock
        self._next_look = 0.0
        self._room = Room.AMPLE

    @classmethod
    def of(cls, config: Config) -> Disk:
        """The disks on which an instance keeps its ledger, its output and its bodies."""
        return cls(folders_of(config), config.min_free_bytes)

    @property
    def free(self) -> Free:
        """What is free now, on the fullest of the disks."""
        return free(self._folders)

    @property
    def room(self) -> Room:
        """As it was at most a second ago: cheap enough to be asked for every webhook."""
        now = self._clock()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._room = self.free.room(self.min_free_bytes)
        return self._room

    def output_cap(self) -> int:
        """How much of an attempt's output is kept at present, in bytes."""
        return OUTPUT_CAP if self.room is Room.AMPLE else SHORT_OUTPUT_CAP


def folders_of(config: Config) -> tuple[Path, ...]:
    """The folders that grow while an instance works."""
    return tuple({config.ledger_path.parent, config.var})


def free(folders: Sequence[Path]) -> Free:
    """What is free on the fullest of their disks. A disk that does not tell is not full: writing to it will show."""
    found = [each for folder in folders if (each := _free(folder)) is not None]
    if not found:
        return Free(1 << 62)
    files = [each.files for each in found if each.files is not None]
    return Free(min(each.bytes for each in found), min(files, default=None))


def _free(folder: Path) -> Free | None:
    try:
        while not folder.exists():
            folder = folder.parent
        if not hasattr(os, "statvfs"):
            return Free(shutil.disk_usage(folder).free)
        found = os.statvfs(folder)
    except OSError:
        return None
    return Free(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)
