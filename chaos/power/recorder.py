"""The recorder, compiled where there is a compiler, and the lines of its journal."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("recorder.c")
HEAD = struct.Struct("<cQQQII")


class NoCompiler(Exception):
    """There is no C compiler (cc, gcc or clang); the recorder cannot be made."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing done to a file or a name, at that time of the monotonic clock (seconds); see recorder.c."""

    what: str
    at: float
    file: int
    offset: int
    first: bytes
    second: bytes


def compiled(folder: Path) -> Path:
    """The recorder as a library to be preloaded. Raises NoCompiler."""
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        raise NoCompiler
    made = folder / "recorder.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(made), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return made


def recording(folder: Path, root: Path) -> dict[str, str]:
    """What a process needs in its environment, so that what it does below `root` is noted in `folder/journal`."""
    return {
        "LD_PRELOAD": str(compiled(folder)),
        "POWER_ROOT": str(root.resolve()),
        "POWER_JOURNAL": str(folder / "journal"),
    }


def journal(path: Path) -> Iterator[Line]:
    """The journal's lines, in the order in which they were written."""
    with path.open("rb") as file:
        while head := file.read(HEAD.size):
            what, nanoseconds, number, offset, m, n = HEAD.unpack(head)
            yield Line(what.decode(), nanoseconds / 1e9, number, offset, file.read(m), file.read(n))
