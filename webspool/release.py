"""The code that runs is a copy, taken when it was checked: what is being written beside it is nobody's yet.

A release is a numbered copy of an instance's Python files in `var/code/`. Workers and runners import it under the
files' own names, so that one that is replaced in the middle of a deploy gets what the others have. The number is the
generation of the processes that run it. What is no Python (templates, data) is read where it lies.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from webspool.processes import Identity, boot_id

KEPT = 3
NO_CODE = frozenset({"var", "my_spools", "node_modules", "__pycache__"})
OURSELVES = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Release:
    """One version of the instance's code; `folder` None: the files as they lie in the instance."""

    number: int
    folder: Path | None = None


IN_PLACE = Release(1)


# ── taken, chosen, thrown away ──────────────────────────────────────────────────────────────────────────────────────


def take(directory: Path, *, at_least: int = 1) -> Release:
    """Copy the instance's Python files into a new release, which nobody runs yet. Raises OSError."""
    code = _code(directory)
    code.mkdir(mode=0o700, parents=True, exist_ok=True)
    number = max([at_least, *(known + 1 for known in _numbers(code))])
    folder = code / str(number)
    folder.mkdir(mode=0o700)
    for path in _python_files(directory):
        copy = folder / path.relative_to(directory)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    return Release(number, folder)


def make_current(directory: Path, release: Release) -> None:
    """From now on processes that start run this one. Releases before the last few are removed."""
    code = _code(directory)
    text = json.dumps({"number": release.number, "copied": release.folder is not None, **_now()})
    (code / "current.new").write_text(text)
    (code / "current.new").replace(code / "current")
    for number in sorted(_numbers(code))[:-KEPT]:
        if number != release.number:
            shutil.rmtree(code / str(number), ignore_errors=True)


def current(directory: Path, master: Identity) -> Release:
    """What this master's processes are to run. What was chosen before it started was another one's."""
    try:
        chosen = json.loads((_code(directory) / "current").read_text())
        number, folder = int(chosen["number"]), _code(directory) / str(chosen["number"])
        if chosen["boot"] != master.boot or chosen["ticks"] < master.start:
            return IN_PLACE
    except (OSError, ValueError, KeyError, TypeError):
        return IN_PLACE
    return Release(number, folder if chosen["copied"] and folder.is_dir() else None)


def drop(release: Release) -> None:
    """Throw a release away that nobody will run."""
    if release.folder is not None:
        shutil.rmtree(release.folder, ignore_errors=True)


def _code(directory: Path) -> Path:
    return directory / "var" / "code"


def _numbers(code: Path) -> list[int]:
    return [int(path.name) for path in code.iterdir() if path.name.isdigit()]


def _now() -> dict[str, Any]:
    """The moment in the clock ticks since boot in which the start of processes is told: no clock of the wall."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return {"boot": None, "ticks": 0}
    return {"boot": boot_id(), "ticks": time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")}


def _python_files(directory: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(directory):
        here = Path(place)
        folders[:] = [name for name in folders if _may_hold_code(here / name)]
        yield from (here / name for name in files if name.endswith(".py"))


def _may_hold_code(folder: Path) -> bool:
    """Whether modules of the instance may lie there: no environment, no data of ours, a name that can be imported."""
    if folder.name in NO_CODE or not folder.name.isidentifier() or folder == OURSELVES:
        return False
    return not (folder / "pyvenv.cfg").exists()


# ── imported ────────────────────────────────────────────────────────────────────────────────────────────────────────


def pin(directory: Path, folder: Path | None) -> None:
    """From now on this process imports the instance's modules from that copy. `folder` None: from where they lie."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    if folder is not None:
        before = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)
        sys.meta_path.insert(before, _Finder(directory, folder))


class _Finder(MetaPathFinder):
    """Finds in the copy what the instance directory holds; all else is found by others."""

    def __init__(self, directory: Path, folder: Path) -> None:
        self.directory, self.folder = directory, folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        name = fullname.rpartition(".")[2]
        for place in [str(self.directory)] if path is None else path:
            if not Path(place).is_relative_to(self.directory):
                continue
            inside = Path(place).relative_to(self.directory)
            for relative, package in ((inside / name / "__init__.py", True), (inside / f"{name}.py", False)):
                if (self.folder / relative).is_file():
                    return self._spec(fullname, self.directory / relative, package=package)
        return None

    def _spec(self, fullname: str, path: Path, *, package: bool) -> ModuleSpec | None:
        loader = _Loader(fullname, str(path), self.directory, self.folder)
        inside = [str(path.parent)] if package else None
        return spec_from_file_location(fullname, path, loader=loader, submodule_search_locations=inside)


class _Loader(SourceFileLoader):
    """Reads a module from the copy, and keeps its compiled form there, under the name of the original."""

    def __init__(self, fullname: str, path: str, directory: Path, folder: Path) -> None:
        super().__init__(fullname, path)
        self._directory, self._folder = directory, folder

    def _copy(self, path: str) -> str:
        """Where the copy of a file lies. Raises FileNotFoundError for what lies elsewhere (`sys.pycache_prefix`)."""
        try:
            return str(self._folder / Path(path).relative_to(self._directory))
        except ValueError:
            raise FileNotFoundError(path) from None

    def get_data(self, path: str) -> bytes:
        return super().get_data(self._copy(path))

    def path_stats(self, path: str) -> Any:
        return super().path_stats(self._copy(path))

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        with suppress(FileNotFoundError):
            super().set_data(self._copy(path), data, _mode=_mode)
