"""The ledger's file: opening, flushing, and what is told when it cannot be written."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.ledger_laws import Snapshot
from tests.operations import accept, spool, turn
from tests.plain_ledger import Ledger
from webspool import frames
from webspool.errors import LedgerRefused, LedgerUnavailable
from webspool.ledger.apply import apply
from webspool.ledger.client import Client
from webspool.ledger.database import Database
from webspool.ledger.operations import Operation
from webspool.ledger.output import Outputs

LEDGERS = 5
SETTINGS = {"mmap_size": 0, "temp_store": 2, "trusted_schema": 0, "fullfsync": 1, "synchronous": 1}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "ledger.db")
    yield made
    made.database.close()


def test_what_must_be_on_disk_before_it_is_answered_is_flushed_and_what_need_not_is_not(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by who has nothing to write: what it answers may be another's, committed and not flushed yet."""
    flushed: list[str] = []
    kept = os.fdatasync
    monkeypatch.setattr(
        os, "fdatasync", lambda file: (flushed.append(os.readlink(f"/proc/self/fd/{file}")), kept(file))
    )
    operation = accept("free")
    with ledger.database.transaction(flush=False) as tx:
        apply(tx, operation)
    assert flushed == []
    answer = Client(ledger.path, ledger.path.with_name("output.db"), None).call(operation)
    assert answer.values["status"] == "accepted"
    assert flushed == [f"{ledger.path}-wal"]
    durable = {verb for verb in ("accept", "spool", "act", "replay", "turn") if Operation("", verb, {}).durable}
    assert durable == {"accept", "spool", "act", "replay"}


def test_a_ledger_has_all_the_settings_that_are_written_down(tmp_path: Path) -> None:
    """SQLite stops at the first statement that tells a row until somebody reads on."""
    database = Database(tmp_path / "ledger.db")
    told = {name: database.connection.execute(f"PRAGMA {name}").fetchall() for name in SETTINGS}
    database.close()
    assert told == {name: [(value,)] for name, value in SETTINGS.items()}


def test_output_is_not_flushed_at_each_commit(tmp_path: Path) -> None:
    """NORMAL: its log is flushed before it is copied, so that a power cut takes the latest output and spoils none."""
    outputs = Outputs(tmp_path / "output.db")
    told = [outputs.connection.execute(f"PRAGMA {name}").fetchall() for name in ("synchronous", "trusted_schema")]
    outputs.close()
    assert told == [[(1,)], [(0,)]]


def test_a_ledger_that_another_holds_is_told_as_unavailable(ledger: Ledger) -> None:
    """And nothing was stored."""
    other = Database(ledger.path, busy_seconds=0.01)
    client = Client(ledger.path, ledger.path.with_name("output.db"), None)
    with ledger.database.transaction(flush=False):
        with pytest.raises(LedgerUnavailable, match="write lock"), other.transaction(flush=True):
            pass
        with pytest.raises(LedgerUnavailable):
            client.call(accept("free"))
    assert ledger.seen().delivery == []
    client.call(accept("free"))
    assert len(ledger.seen().delivery) == 1
    other.close()


def test_a_full_disk_is_told_as_unavailable_and_leaves_nothing_behind(ledger: Ledger) -> None:
    """The next operation that fits is done."""
    (pages,) = ledger.database.connection.execute("PRAGMA page_count").fetchone() or (0,)
    ledger.database.connection.execute(f"PRAGMA max_page_count = {pages}")
    before = ledger.seen()
    with pytest.raises(LedgerUnavailable, match="disk is full"):
        ledger.do(accept("free", body=b"x" * 1_000_000))
    assert ledger.seen() == before
    ledger.database.connection.execute("PRAGMA max_page_count = 1000000")
    ledger.accept("free")


def test_a_file_that_is_no_ledger_or_of_tomorrow_is_not_opened(tmp_path: Path) -> None:
    """Each with what it is."""
    (tmp_path / "text").write_bytes(b"not a database, but long enough to be looked at. " * 100)
    with pytest.raises(LedgerUnavailable, match="NotADB"):
        Database(tmp_path / "text")
    with pytest.raises(LedgerUnavailable, match="opened"):
        Database(tmp_path)
    later = Database(tmp_path / "later")
    later.connection.execute("PRAGMA user_version = 9999")
    later.close()
    with pytest.raises(LedgerRefused, match="9999"):
        Database(tmp_path / "later")


def test_an_sqlite_that_can_lose_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """3.7.0 to 3.51.2 have the WAL-reset bug."""
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    with pytest.raises(LedgerRefused, match="WAL-reset"):
        Database(tmp_path / "ledger.db")


def open_and_spool(folder: Path, together: Any) -> None:
    """One of many processes that find no ledger yet, some times over."""
    for number in range(LEDGERS):
        together.wait(20)
        Client(folder / f"ledger{number}.db", folder / f"output{number}.db", None).call(spool("free"))


def test_a_ledger_opened_by_many_processes_at_once_is_made_once(tmp_path: Path) -> None:
    """Whoever comes first makes it; all can write."""
    fork = multiprocessing.get_context("fork")
    together = fork.Barrier(6)
    many = [fork.Process(target=open_and_spool, args=(tmp_path, together)) for _ in range(6)]
    for process in many:
        process.start()
    for process in many:
        process.join(60)
    assert [process.exitcode for process in many] == [0] * 6
    for number in range(LEDGERS):
        made = Database(tmp_path / f"ledger{number}.db")
        assert len(Snapshot.of(made.connection).job) == 6
        made.close()


def test_an_operation_travels_in_a_frame_as_it_is() -> None:
    """Deadline and bytes included."""
    for operation in [accept("free", body=b"\x00\xff"), turn("p")._replace(deadline=12.5)]:
        ((message, body),) = frames.Decoder().feed(operation.frame())
        assert Operation.from_frame(message, body) == operation
