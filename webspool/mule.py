"""The keeper's process, a mule of uWSGI's: refuses a second instance, then keeps the ledger until the end."""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import UTC, datetime

from webspool import instance
from webspool.config import Config
from webspool.engines.spool import SpoolEngine, fill_standard_descriptors
from webspool.errors import InstanceRunning, WebspoolError
from webspool.keep import Folders, Keeper, Retention
from webspool.ledger.apply import apply
from webspool.ledger.database import Database
from webspool.ledger.operations import Operation
from webspool.ledger.sockets import SocketInbox
from webspool.processes import Identity, host_name
from webspool.telemetry import Say, teller


def main() -> None:
    """Keep the ledger; uWSGI starts this again when it ends."""
    fill_standard_descriptors()
    say = teller("keeper")
    config = instance.config()
    try:
        _keep(config, say)
    except InstanceRunning as fault:
        say("instance_refused", why=str(fault))
        os.kill(instance.master().pid, signal.SIGINT)
    except WebspoolError as fault:
        say("keeper_failed", why=str(fault))
        time.sleep(1)


def _keep(config: Config, say: Say) -> None:
    config.var.mkdir(mode=0o700, parents=True, exist_ok=True)
    config.ledger_path.parent.mkdir(parents=True, exist_ok=True)
    _begin(config)
    inbox = SocketInbox(config.keeper_dir)
    _write_who_we_are(config)
    engine = SpoolEngine(config.spool_path, config.spoolers)
    master = instance.master()
    folders = Folders(config.ledger_path, config.output_path, config.var / "bodies")
    keeper = Keeper(folders, inbox, engine, say, str(master), Retention(days=config.retention_days))
    say("keeper_started", ledger=str(config.ledger_path))
    keeper.run(lambda: os.getppid() != master.pid)
    inbox.close()


def _begin(config: Config) -> None:
    """Enter this instance into the ledger. Raises InstanceRunning when another one serves it."""
    master = instance.master()
    database = Database(config.ledger_path, busy_seconds=5.0)
    try:
        with database.transaction(flush=True) as tx:
            for row in tx.all("live_instances"):
                _refuse_beside(config, row, master)
            apply(tx, Operation(str(master), "start", _entry(master)))
    finally:
        database.close()


def _refuse_beside(config: Config, row: tuple[str, str, str, int, int, float], master: Identity) -> None:
    _, host, boot, pid, start, started_at = row
    other = Identity(boot, pid, start)
    if other != master and host == host_name() and other.alive:
        since = datetime.fromtimestamp(started_at, UTC).isoformat(timespec="seconds")
        raise InstanceRunning(ledger=config.ledger_path, pid=pid, started_at=since)


def _entry(master: Identity) -> dict[str, object]:
    return {"host": host_name(), "boot": master.boot, "pid": master.pid, "start": master.start, "engine": "spool"}


def _write_who_we_are(config: Config) -> None:
    me = Identity.of(os.getpid())
    text = json.dumps({"boot": me.boot, "pid": me.pid, "start": me.start, "since": time.time()})
    path = instance.keeper_file(config)
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)
