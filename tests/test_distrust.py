"""Laws of a ledger whose disk has failed to write: nobody builds on what may not be there."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from tests.fire import House, NoEngine
from tests.operations import accept
from webspool.errors import LedgerUnavailable
from webspool.keep import Keeper
from webspool.ledger.apply import apply
from webspool.ledger.client import Client
from webspool.ledger.database import Database
from webspool.ledger.distrust import distrust, failed_to_write, mark, reason, recover
from webspool.ledger.inbox import QueueInbox
from webspool.ledger.log import Log


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    made.begin()
    return made


def deliveries(house: House) -> list[str]:
    return [row["id"] for row in house.seen().delivery]


def test_while_the_mark_is_there_nobody_writes_directly_and_nobody_takes_it_away_but_recovery(house: House) -> None:
    """Also not who opens the ledger anew; afterwards all is as before, in a new log."""
    client, first, second = house.client(), accept("free"), accept("free")
    client.call(first)
    distrust(house.ledger, "IOError: disk I/O error")
    for _ in range(2):
        with pytest.raises(LedgerUnavailable, match="disk failed to write"):
            Client(house.ledger, house.outputs, None).call(second)
    assert reason(house.ledger) == "IOError: disk I/O error"
    assert recover(house.ledger) == "IOError: disk I/O error"
    assert recover(house.ledger) is None
    assert not mark(house.ledger).exists()
    Client(house.ledger, house.outputs, None).call(second)
    assert deliveries(house) == [first.id, second.id]


def test_who_writes_directly_while_another_fails_to_is_not_told_that_it_is_stored(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies before it in the log may be gone."""
    monkeypatch.setattr(Log, "flush", lambda _log: distrust(house.ledger, "of another"))
    with pytest.raises(LedgerUnavailable, match="of another"):
        Client(house.ledger, house.outputs, None).call(accept("free"))


def test_what_lies_behind_a_hole_in_the_log_is_not_taken_for_written(house: House) -> None:
    """A page that was lost ends the log: what was whole before it stays, nothing of it is half there."""
    database, whole, holed = Database(house.ledger), accept("free"), accept("free", body=b"x" * 20_000)
    log = house.ledger.with_name(house.ledger.name + "-wal")
    sizes = []
    for operation in (whole, holed):
        with database.transaction(flush=True) as tx:
            apply(tx, operation)
        sizes.append(log.stat().st_size)
    database.close(keep_log=True)
    assert log.stat().st_size == sizes[1], "who went last has copied the log"
    with open(log, "r+b") as file:
        file.seek((sizes[0] + sizes[1]) // 2)
        file.write(bytes(4096))
    distrust(house.ledger, "lost")
    recover(house.ledger)
    assert not log.exists() or log.stat().st_size == 0
    assert deliveries(house) == [whole.id]
    connection = apsw.Connection(str(house.ledger))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_a_ledger_that_somebody_has_open_is_not_recovered_under_them(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have the log's index in shared memory: the mark stays, and it is tried again."""
    reader = apsw.Connection(str(house.ledger))
    reader.execute("SELECT count(*) FROM job").fetchall()
    distrust(house.ledger, "lost")
    monkeypatch.setattr("webspool.ledger.distrust.BUSY_MILLISECONDS", 50)
    with pytest.raises(LedgerUnavailable, match=r"not trusted \(lost\)"):
        recover(house.ledger)
    assert mark(house.ledger).exists()
    reader.close()
    assert recover(house.ledger) == "lost"


def test_a_keeper_gives_up_a_ledger_that_another_process_has_marked(house: House) -> None:
    """And the one that begins after it tells that it has recovered it."""
    said: list[str] = []

    def say(happening: str, /, **facts: object) -> None:
        said.append(happening)

    keeper = Keeper(house.folders, QueueInbox(), NoEngine(), say, "the-instance")
    distrust(house.ledger, "of another")
    keeper.run(lambda: False)
    assert keeper.broken == "of another"
    after = Keeper(house.folders, QueueInbox(), NoEngine(), say, "the-instance")
    after.run(lambda: True)
    assert said == ["ledger_broken", "ledger_recovered"]


def test_only_a_failed_write_is_distrusted(tmp_path: Path) -> None:
    """A full disk and a held lock leave the log as it was."""
    assert not failed_to_write(apsw.FullError())
    assert not failed_to_write(apsw.BusyError())
    fault = apsw.IOError()
    fault.extendedresult = apsw.SQLITE_IOERR_FSYNC
    assert failed_to_write(fault)
    fault.extendedresult = apsw.SQLITE_IOERR_READ
    assert not failed_to_write(fault)
    distrust(tmp_path / "no" / "folder" / "ledger.db", "nobody hears")
