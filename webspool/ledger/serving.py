"""One instance serves a ledger: entering it there, and the refusal of a second one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from webspool.errors import InstanceRunning
from webspool.ledger.apply import apply
from webspool.ledger.database import Database, Row
from webspool.ledger.distrust import recover
from webspool.ledger.operations import Operation
from webspool.processes import Identity, host_name


def enter(ledger: Path, master: Identity, engine: str, name: str | None = None, generation: int = 1) -> str | None:
    """Enter an instance into the ledger, by the name of its process `master` unless another is given.

    While that process lives, it is the one that serves. Returns why the ledger was not trusted and had to be recovered,
    if so.

    Raises InstanceRunning when another one of this host does, LedgerUnavailable.
    """
    entry = {"host": host_name(), "boot": master.boot, "pid": master.pid, "start": master.start, "engine": engine}
    entry["generation"] = generation
    why = recover(ledger)
    database = Database(ledger, busy_seconds=5.0)
    try:
        with database.transaction(flush=True) as tx:
            for row in tx.all("live_instances"):
                _refuse_beside(ledger, row, master)
            apply(tx, Operation(name or str(master), "start", entry))
    finally:
        database.close()
    return why


def _refuse_beside(ledger: Path, row: Row, master: Identity) -> None:
    _, host, boot, pid, start, started_at = row
    other = Identity(boot, pid, start)
    if other != master and host == host_name() and other.alive:
        since = datetime.fromtimestamp(started_at, UTC).isoformat(timespec="seconds")
        raise InstanceRunning(ledger=ledger, pid=pid, started_at=since)
