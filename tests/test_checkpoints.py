"""The write-ahead log beside the writer."""

from __future__ import annotations

import itertools
from pathlib import Path

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
