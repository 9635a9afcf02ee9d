"""Laws of who holds the ledger open, so that no process in which code of the app's runs ever finds itself alone."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from tests.fire import House
from tests.operations import accept
from webspool.ledger.anchor import Anchor
from webspool.ledger.client import Client
from webspool.ledger.distrust import distrust, reason, recover


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    made.begin()
    return made


def log_of(house: House) -> Path:
    return house.ledger.with_name(f"{house.ledger.name}-wal")


def write(house: House) -> None:
    Client(house.ledger, house.outputs, None).call(accept("free"))


def test_while_it_holds_the_ledger_nobody_is_the_last_to_close_it(house: House) -> None:
    """So nobody removes the log; when it lets go, it does that itself."""
    anchor = Anchor(house.ledger)
    anchor.look()
    write(house)
    apsw.Connection(str(house.ledger)).execute("SELECT count(*) FROM job").fetchall()
    assert log_of(house).stat().st_size > 0
    anchor.look()
    anchor.let_go()
    assert not log_of(house).exists()
    assert len(house.seen().delivery) == 1


def test_a_ledger_that_is_not_there_yet_is_held_once_it_is(tmp_path: Path) -> None:
    """Nothing is made in its place."""
    house = House(tmp_path)
    anchor = Anchor(house.ledger)
    assert not anchor.look()
    assert list(tmp_path.iterdir()) == []
    house.begin()
    assert anchor.look()
    write(house)
    assert log_of(house).exists()
    anchor.let_go()


def test_a_ledger_that_was_replaced_is_held_as_it_is_now(house: House, tmp_path: Path) -> None:
    """A restored one is another file of the same name."""
    (tmp_path / "other").mkdir()
    other = House(tmp_path / "other")
    other.begin()
    anchor = Anchor(house.ledger)
    anchor.look()
    other.ledger.replace(house.ledger)
    for each in ("wal", "shm"):
        house.ledger.with_name(f"{house.ledger.name}-{each}").unlink()
    anchor.look()
    write(house)
    assert log_of(house).exists()
    anchor.let_go()
    assert not log_of(house).exists()


def test_a_ledger_that_is_not_trusted_is_let_go(house: House) -> None:
    """The next keeper has to be alone with it; then it is held again."""
    anchor = Anchor(house.ledger)
    anchor.look()
    distrust(house.ledger, "a write failed")
    assert not anchor.look()
    assert recover(house.ledger) == "a write failed"
    assert reason(house.ledger) is None
    anchor.look()
    write(house)
    assert log_of(house).exists()
    anchor.let_go()
