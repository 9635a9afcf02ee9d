"""The write-ahead log beside the writer."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.conditions import wait_until
from webspool.ledger import checkpoints
from webspool.ledger.checkpoints import Checkpointer
from webspool.ledger.database import Database
from webspool.telemetry import silent


def test_a_log_that_is_always_written_to_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copying goes on beside commits, and the writer's own short pass catches up with them."""
    monkeypatch.setattr(checkpoints, "LOG_PAGES", 40)
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN", 0.0)
    database = Database(tmp_path / "ledger.db")
    checkpointer = Checkpointer(tmp_path / "ledger.db", silent)
    numbers = itertools.count()
    sizes = [0]

    def write() -> bool:
        with database.transaction(flush=False) as tx:
            tx.run("insert_pause", name=f"task:{next(numbers)}", now=1.0, actor="test")
        checkpointer.look(database)
        sizes.append(database.log_pages)
        return sizes[-1] < sizes[-2]

    wait_until(write)
    assert max(sizes) >= 40
    checkpointer.close()
    database.close()


@pytest.mark.parametrize(("flush_seconds", "pause"), [(0.0001, 0.2), (0.002, 1.0), (60.0, 5.0)])
def test_a_slow_disk_is_asked_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flush_seconds: float, pause: float
) -> None:
    """The writer waits for its flushes each time; but the log is not to grow for long."""
    monkeypatch.setattr(checkpoints, "LOG_PAGES", 1)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    database = Database(tmp_path / "ledger.db")
    checkpointer = Checkpointer(tmp_path / "ledger.db", silent)
    database.flush_seconds = flush_seconds

    def begun_at(now: float) -> bool:
        monkeypatch.setattr(time, "monotonic", lambda: now)
        with database.transaction(flush=False) as tx:
            tx.run("insert_pause", name=f"task:{now}", now=1.0, actor="test")
        checkpointer.look(database)
        begun = checkpointer._thread is not None
        checkpointer.close()
        checkpointer.look(database)
        return begun

    assert [begun_at(100), begun_at(100 + pause - 0.01), begun_at(100 + pause + 0.01)] == [True, False, True]
    database.close()


class Watched(apsw.VFSFile):
    """A database file that tells who flushes it, and lets something be done when it is first written to."""

    def __init__(self, files: WatchedFiles, name: Any, flags: list[int]) -> None:
        super().__init__(files.usual, name, flags)
        self.flushed, self.writing = files.flushed, files.writing

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        while self.writing:
            self.writing.pop()()

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self.flushed.append(threading.current_thread().name)


class WatchedFiles(apsw.VFS):
    """The usual files, but for the database's own."""

    def __init__(self) -> None:
        self.usual = apsw.vfs_names()[0]
        super().__init__("watched", self.usual, makedefault=True)
        self.flushed: list[str] = []
        self.writing: list[Callable[[], None]] = []

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        if flags[0] & apsw.SQLITE_OPEN_MAIN_DB:
            return Watched(self, name, flags)
        return super().xOpen(name, flags)


@pytest.fixture
def files() -> Iterator[WatchedFiles]:
    """Those of every connection that is opened meanwhile."""
    made = WatchedFiles()
    yield made
    made.unregister()


def test_the_writer_does_not_wait_for_what_was_copied_beside_it_to_be_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: WatchedFiles
) -> None:
    """Also when something is committed during the copying, after which SQLite flushes nothing."""
    monkeypatch.setattr(checkpoints, "LOG_PAGES", 1)
    database = Database(tmp_path / "ledger.db")
    checkpointer = Checkpointer(tmp_path / "ledger.db", silent)

    def write(name: str) -> None:
        with database.transaction(flush=False) as tx:
            tx.run("insert_pause", name=name, now=1.0, actor="test")

    write("task:before")
    files.flushed.clear()
    files.writing.append(lambda: write("task:during"))
    checkpointer.look(database)
    checkpointer.close()
    assert files.writing == []
    assert files.flushed == ["webspool checkpoint"]
    database.close()
