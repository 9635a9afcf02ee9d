"""uWSGI's spool files as they lie on disk, read without uWSGI and told apart.

A file is a header of four bytes (modifier 17, size of the packet in two bytes, little end first, a second modifier),
the packet of keys and values, each with its length in two bytes before it, and the body, which is all the rest.

Never to be opened in a spooler that is at work: closing the file would drop the lock by which uWSGI has taken it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

NAME = "uwsgi_spoolfile_on_"
TICKET = b"webspool"
FUNCTION = b"ud_spool_func"
SPOOLER_MODIFIER = 17
MOST_FILES = 1000


class NotASpoolFile(ValueError):
    """Bytes that uWSGI would delete: cut short, or not made by it."""


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """What one file says."""

    values: dict[bytes, bytes]
    body: bytes = field(default=b"", repr=False)

    @property
    def is_ticket(self) -> bool:
        """Whether it is one of webspool's own wake-ups."""
        return TICKET in self.values

    @property
    def function(self) -> str | None:
        """The function that uWSGI's decorators would call."""
        name = self.values.get(FUNCTION)
        return None if name is None else name.decode("utf-8", "backslashreplace")


def parse(data: bytes) -> SpoolFile:
    """Read a spool file's bytes. Raises NotASpoolFile."""
    if len(data) < 4:
        raise NotASpoolFile("it is shorter than a header")
    modifier, size, _ = struct.unpack_from("<BHB", data)
    if modifier != SPOOLER_MODIFIER or len(data) < 4 + size:
        raise NotASpoolFile("it is cut short, or no spool file")
    words = list(_words(data[4 : 4 + size]))
    if len(words) % 2:
        raise NotASpoolFile("a key has no value")
    return SpoolFile(dict(zip(words[::2], words[1::2], strict=True)), data[4 + size :])


def _words(packet: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(packet):
        if at + 2 > len(packet):
            raise NotASpoolFile("a length is cut short")
        (size,) = struct.unpack_from("<H", packet, at)
        if at + 2 + size > len(packet):
            raise NotASpoolFile("a word is cut short")
        yield packet[at + 2 : at + 2 + size]
        at += 2 + size


# ── on disk ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def waiting(folder: Path) -> list[Path]:
    """The spool's files, the oldest first, those in folders of a priority (a number) too; not what was set aside."""
    entries = _entries(folder)
    for place in [entry for entry in entries if entry.name.isdigit() and entry.is_dir()]:
        entries += _entries(place.path)
    found = []
    for entry in entries:
        with suppress(OSError):
            if entry.name.startswith(NAME) and entry.is_file(follow_symlinks=False):
                found.append((entry.stat(follow_symlinks=False).st_mtime, Path(entry.path)))
    return [path for _, path in sorted(found)]


def links(folder: Path) -> list[Path]:
    """The names under which files lay that were set aside."""
    return [Path(entry.path) for entry in _entries(folder) if entry.name.startswith(NAME) and entry.is_symlink()]


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    """What lies in it; the directory itself tells what is a file, so that no other question is asked of each."""
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


def foreign(folder: Path) -> list[str]:
    """The names of files that are not webspool's and lie there still; the first thousand are looked at."""
    try:
        entries = [entry for entry in folder.iterdir() if entry.name.startswith(NAME)][:MOST_FILES]
    except OSError:
        return []
    return sorted(entry.name for entry in entries if is_foreign(entry))


def is_foreign(path: Path) -> bool:
    """Whether a file is none of webspool's wake-ups; one that is gone meanwhile is not."""
    if path.is_symlink():
        return True
    try:
        with open(path, "rb") as file:
            return not parse(file.read(1 << 17)).is_ticket
    except NotASpoolFile:
        return True
    except OSError:
        return False
