"""A disk with a cache: what is written is on it for certain only once it was flushed, and a name once its folder was.

POSIX promises no more (fsync(2)): a file that was flushed in a folder that was not may have no name after a power cut.
Whatever was not flushed may be there, or not, or in part: `left` says by chance which sectors and names survive.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from chaos.power.recorder import Line

SECTOR = 512


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at an offset, or (`data` None) a new length."""

    offset: int
    data: bytes | None


@dataclass
class File:
    """What is on disk, and what is only in the cache, in its order."""

    durable: bytearray = field(default_factory=bytearray)
    cached: list[Write] = field(default_factory=list)
    flushing: int = 0

    def flush_begins(self) -> None:
        self.flushing = len(self.cached)

    def flush_ends(self) -> None:
        for write in self.cached[: self.flushing]:
            _write(self.durable, write)
        del self.cached[: self.flushing]
        self.flushing = 0


@dataclass
class Folder:
    """The names that are on disk, and the changes that are only in the cache: a name and what it came to be."""

    durable: dict[str, File | Folder] = field(default_factory=dict)
    names: dict[str, File | Folder] = field(default_factory=dict)
    cached: list[tuple[str, File | Folder | None]] = field(default_factory=list)
    flushing: int = 0

    def set(self, name: str, node: File | Folder | None) -> None:
        self.cached.append((name, node))
        _set(self.names, name, node)

    def flush_begins(self) -> None:
        self.flushing = len(self.cached)

    def flush_ends(self) -> None:
        for name, node in self.cached[: self.flushing]:
            _set(self.durable, name, node)
        del self.cached[: self.flushing]
        self.flushing = 0


def _set(names: dict[str, File | Folder], name: str, node: File | Folder | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def _write(content: bytearray, write: Write) -> None:
    if write.data is None:
        del content[write.offset :]
        content.extend(bytes(write.offset - len(content)))
        return
    if len(content) < write.offset:
        content.extend(bytes(write.offset - len(content)))
    content[write.offset : write.offset + len(write.data)] = write.data


class Disk:
    """The files below `root` as they were before the recording (all of it on disk), and what was done to them since."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.files: dict[int, File] = {}
        self.top = self._read(self.root)

    def _read(self, place: Path) -> Folder:
        folder = Folder()
        for path in place.iterdir():
            node = self._read(path) if path.is_dir() else self._known(path)
            folder.names[path.name] = folder.durable[path.name] = node
        return folder

    def _known(self, path: Path) -> File:
        file = self.files[path.stat().st_ino] = File(bytearray(path.read_bytes()))
        return file

    def play(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self.do(line)

    def do(self, line: Line) -> None:
        """One line of the journal."""
        match line.what:
            case "W":
                self._file(line).cached.append(Write(line.offset, line.first))
            case "T":
                self._file(line).cached.append(Write(line.offset, None))
            case "F":
                self._file(line).flush_begins()
            case "f":
                self._file(line).flush_ends()
            case "D":
                self._folder_at(line.first).flush_begins()
            case "d":
                self._folder_at(line.first).flush_ends()
            case "O":
                self._open(line)
            case "M":
                self._name(line.first, Folder())
            case "U":
                self._name(line.first, None)
            case "R" | "L":
                self._rename(line)

    def _file(self, line: Line) -> File:
        return self.files.setdefault(line.file, File())

    def _open(self, line: Line) -> None:
        """A name that was not this file's before is a new file, whose number may have been another's."""
        folder, name = self._place(line.first)
        known = self.files.get(line.file)
        if known is None or folder.names.get(name) is not known:
            folder.set(name, self.files.setdefault(line.file, File()) if known is None else self._anew(line.file))

    def _anew(self, number: int) -> File:
        self.files[number] = File()
        return self.files[number]

    def _rename(self, line: Line) -> None:
        if not line.first or not line.second:  # from elsewhere, or to there: the content is not known
            if line.first:
                self._name(line.first, None)
            return
        folder, name = self._place(line.first)
        node = folder.names.get(name)
        if node is not None:
            self._name(line.second, node)
            if line.what == "R":
                folder.set(name, None)

    def _name(self, path: bytes, node: File | Folder | None) -> None:
        folder, name = self._place(path)
        folder.set(name, node)

    def _place(self, path: bytes) -> tuple[Folder, str]:
        *folders, name = Path(path.decode()).relative_to(self.root).parts
        return self._walk(folders), name

    def _folder_at(self, path: bytes) -> Folder:
        return self._walk(Path(path.decode()).relative_to(self.root).parts)

    def _walk(self, parts: Iterable[str]) -> Folder:
        here = self.top
        for part in parts:
            inside = here.names.get(part)
            if not isinstance(inside, Folder):
                inside = Folder()
                here.set(part, inside)
            here = inside
        return here

    # ── the cut ─────────────────────────────────────────────────────────────────────────────────────────────────

    def write_out(self, into: Path, left: Left) -> None:
        """The disk as a power cut leaves it now."""
        _write_folder(self.top, into, left)


T = TypeVar("T")


@dataclass(frozen=True)
class Left:
    """What of the cache survives a cut: sectors of files by chance, the first so many changes of a folder's names."""

    name: str
    sector: Callable[[], bool]
    names: Callable[[int], int]


def nothing_left() -> Left:
    """Only what was flushed."""
    return Left("flushed only", lambda: False, lambda count: 0)


def all_left() -> Left:
    """The cache reached the disk just before."""
    return Left("all", lambda: True, lambda count: count)


def some_left(chance: random.Random) -> Left:
    """Each sector or not; of each folder's changes the first few."""
    return Left("some", lambda: chance.random() < 0.5, lambda count: chance.randint(0, count))


def _write_folder(folder: Folder, into: Path, left: Left) -> None:
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = dict(folder.durable)
    for name, node in folder.cached[: left.names(len(folder.cached))]:
        _set(names, name, node)
    for name, node in names.items():
        if isinstance(node, Folder):
            _write_folder(node, into / name, left)
        else:
            (into / name).write_bytes(_content(node, left))
            (into / name).chmod(0o600)


def _content(file: File, left: Left) -> bytes:
    content = bytearray(file.durable)
    for write in file.cached:
        if write.data is None:
            if left.sector():
                _write(content, write)
            continue
        for at in range(0, len(write.data), SECTOR):
            if left.sector():
                _write(content, Write(write.offset + at, write.data[at : at + SECTOR]))
    return bytes(content)
