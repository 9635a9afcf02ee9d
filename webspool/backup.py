"""The operator's verb for old data: a whole copy of an instance's ledger and large bodies, and the way back.

A backup is a folder: `ledger.db`, `bodies/`, `output.db` if wanted, and `backup.json`, which is written last. A folder
without it was not finished.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webspool.config import Config
from webspool.errors import WebspoolError
from webspool.ledger.backing import Copied, copy_database, examine, examine_output, flush
from webspool.ledger.database import RESTORING
from webspool.ledger.reader import rfc3339

MANIFEST = "backup.json"


class NoBackup(WebspoolError):
    """{path} cannot be restored: {why}."""

    path: str
    why: str


class InTheWay(WebspoolError):
    """Nothing was written: {path} is there already and is not empty."""

    path: str


class BodyMissing(WebspoolError):
    """The backup is not whole: the body of {delivery} is not in {folder} as the ledger has it."""

    delivery: str
    folder: str


# ── there ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def back_up(config: Config, path: Path, *, output: bool) -> dict[str, Any]:
    """Copy the instance's data to a new folder, while it works; returns what is in it.

    Raises InTheWay, LedgerRefused, BodyMissing, OSError: then the folder holds no whole backup.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise InTheWay(path=path)
    bodies, kept = config.var / "bodies", path / "bodies"
    kept.mkdir(mode=0o700)
    _copy_bodies(bodies, kept)  # before the ledger: what is pruned meanwhile is in it still
    copy_database(config.ledger_path, path / "ledger.db")
    copied = examine(path / "ledger.db")
    _copy_missing_bodies(copied, bodies, kept)  # and after it: what was accepted meanwhile
    if output and config.output_path.exists():
        copy_database(config.output_path, path / "output.db")
    flush(kept)
    return _finish(path, copied, output=(path / "output.db").exists())


def _copy_bodies(bodies: Path, kept: Path) -> None:
    for body in bodies.iterdir() if bodies.is_dir() else ():
        with suppress(FileNotFoundError):  # pruned at this moment
            _link_or_copy(body, kept / body.name)


def _link_or_copy(body: Path, copy: Path) -> None:
    """A body is never changed once it is accepted: on the same disk it is kept by a second name."""
    try:
        os.link(body, copy)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copy2(body, copy)
        flush(copy)


def _copy_missing_bodies(copied: Copied, bodies: Path, kept: Path) -> None:
    for delivery, stored in copied.bodies.items():
        copy = kept / delivery
        if _size(copy) != stored.size:
            copy.unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                _link_or_copy(bodies / delivery, copy)
        if _size(copy) != stored.size:
            raise BodyMissing(delivery=delivery, folder=kept)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _finish(path: Path, copied: Copied, *, output: bool) -> dict[str, Any]:
    told = {
        "made_at": rfc3339(time.time()),
        "schema": copied.schema,
        "deliveries": copied.deliveries,
        "jobs": copied.jobs,
        "bodies": len(copied.bodies),
        "output": output,
        "sha256": {each.name: _sha256(each) for each in _databases(path)},
    }
    (path / MANIFEST).write_text(json.dumps(told) + "\n")
    flush(path / MANIFEST)
    flush(path)
    return told


# ── and back ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back, and where that lies which was there before (None: nothing was)."""

    told: dict[str, Any]
    before: Path | None


def restore(config: Config, path: Path) -> Restored:
    """Put a backup in the place of an instance's data. Nobody may use them meanwhile, of which the caller makes sure.

    What was there is moved aside, never deleted. Raises NoBackup, LedgerRefused, BodyMissing, OSError.
    """
    told = _manifest(path)
    _look_at_every_part(path, told)
    fresh = _prepare(config, path)
    with _marked(config, path):
        before = _move_aside(config)
        for name, place in _places(config).items():
            if (fresh / name).exists():
                (fresh / name).replace(place)
        fresh.rmdir()
        for folder in {config.var, config.ledger_path.parent}:
            flush(folder)
    return Restored(told, before)


def _look_at_every_part(path: Path, told: dict[str, Any]) -> None:
    for name, sha256 in told.get("sha256", {}).items():
        if _sha256(path / name) != sha256:
            raise NoBackup(path=path, why=f"{name} is not what its {MANIFEST} tells: damaged, or of another backup")
    copied = examine(path / "ledger.db")
    if (copied.deliveries, copied.jobs) != (told.get("deliveries"), told.get("jobs")):
        raise NoBackup(path=path, why=f"its {MANIFEST} tells of another ledger")
    for delivery, stored in copied.bodies.items():
        if _sha256(path / "bodies" / delivery) != stored.sha256:
            raise BodyMissing(delivery=delivery, folder=path / "bodies")
    if told.get("output"):
        examine_output(path / "output.db")


def _databases(path: Path) -> list[Path]:
    return [each for each in (path / "ledger.db", path / "output.db") if each.exists()]


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


@contextmanager
def _marked(config: Config, path: Path) -> Iterator[None]:
    """Between the ledger that was and the one that comes there is none: cut off here, nobody may begin an empty one."""
    mark = config.ledger_path.with_name(RESTORING)
    mark.write_text(f"{path}\n")
    flush(mark)
    flush(mark.parent)
    yield
    mark.unlink()
    flush(mark.parent)


def _manifest(path: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError) as fault:
        why = f"its {MANIFEST} cannot be read ({fault}): no backup, or one that was not finished"
        raise NoBackup(path=path, why=why) from None
    return told


def _places(config: Config) -> dict[str, Path]:
    return {"ledger.db": config.ledger_path, "bodies": config.var / "bodies", "output.db": config.output_path}


def _prepare(config: Config, path: Path) -> Path:
    """The backup copied beside its place, on disk, so that putting it there is a matter of names."""
    config.var.mkdir(mode=0o700, parents=True, exist_ok=True)
    config.ledger_path.parent.mkdir(parents=True, exist_ok=True)
    for left in config.ledger_path.parent.glob("restoring-*"):  # of one that was cut off
        shutil.rmtree(left)
    fresh = config.ledger_path.parent / f"restoring-{os.getpid()}"
    fresh.mkdir(mode=0o700)
    for name in _places(config):
        if (path / name).is_dir():
            shutil.copytree(path / name, fresh / name)
        elif (path / name).exists():
            shutil.copy2(path / name, fresh / name)
    for file in (each for each in fresh.rglob("*") if each.is_file()):
        flush(file)
    return fresh


def _move_aside(config: Config) -> Path | None:
    found = [place for place in _places(config).values() if place.exists()]
    if not found:
        return None
    aside = _fresh_folder(config.ledger_path.parent / time.strftime("before-restore-%Y%m%d-%H%M%S"))
    for place in found:
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                place.with_name(place.name + suffix).replace(aside / (place.name + suffix))
    return aside


def _fresh_folder(wanted: Path) -> Path:
    """A new folder of that name, or with a number behind it."""
    names = (wanted if not number else wanted.with_name(f"{wanted.name}-{number}") for number in itertools.count())
    for folder in names:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            return folder
    raise AssertionError("there is always another number")
