"""The keeper's process, a mule of uWSGI's: refuses a second instance, then keeps the ledger until the end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from webspool import instance
from webspool.config import Config
from webspool.disk import Disk
from webspool.engines.ending import Ending
from webspool.engines.spool import SpoolEngine, fill_standard_descriptors
from webspool.errors import InstanceRunning, WebspoolError
from webspool.keep import Folders, Keeper, Retention
from webspool.keep.adopt import Adopter
from webspool.keep.room import RoomMaker
from webspool.ledger.serving import enter
from webspool.ledger.sockets import SocketInbox
from webspool.ledger.watchdog import keeper_file
from webspool.processes import enter as enter_process
from webspool.telemetry import Say, teller


def main() -> None:
    """Keep the ledger; uWSGI starts this again when it ends."""
    fill_standard_descriptors()
    ending = Ending(instance.master().pid, instance.worker_mercy_seconds())
    say = teller("keeper")
    config = instance.config()
    try:
        _keep(config, say, ending)
    except InstanceRunning as fault:
        say("instance_refused", why=str(fault))
        os.kill(instance.master().pid, signal.SIGINT)
    except (WebspoolError, OSError) as fault:
        say("keeper_failed", why=str(fault))
        time.sleep(1)


def _keep(config: Config, say: Say, ending: Ending) -> None:
    config.var.mkdir(mode=0o700, parents=True, exist_ok=True)
    config.ledger_path.parent.mkdir(parents=True, exist_ok=True)
    master, name = instance.master(), instance.name()
    recovered = enter(config.ledger_path, master, "spool", name, instance.release(config).number)
    inbox = SocketInbox(config.keeper_dir)
    inbox.watch(ending.descriptor, ending.heard)
    enter_process(keeper_file(config))
    engine = SpoolEngine(config.spool_path, config.spoolers, say)
    folders = Folders(config.ledger_path, config.output_path, config.var / "bodies")
    keeper = Keeper(folders, inbox, engine, say, name, Retention(days=config.retention_days))
    keeper.recovered = recovered
    keeper.rescuer.ending = ending.announced
    keeper.chores.append(Adopter(config.spool_path, keeper.transact, say, lambda: keeper.rescuer.present() > 0).look)
    keeper.chores.append(RoomMaker(Disk.of(config), keeper.remover.remove, keeper.transact, say).look)
    say("keeper_started", ledger=str(config.ledger_path))
    keeper.run(_until(keeper, ending, master.pid, say))
    inbox.close()


def _until(keeper: Keeper, ending: Ending, master: int, say: Say) -> Callable[[], bool]:
    """Whether the keeper's work is done: a stop or reload has taken every spooler, and their jobs are rescued."""
    told = False

    def until() -> bool:
        nonlocal told
        if os.getppid() != master or ending.keeper_alone:
            return True
        if not ending.announced():
            return False
        if not told:
            told = True
            say("instance_ending")
            keeper.begin_no_more()
        if ending.was_none():
            keeper.begin_no_more(undo=True)
            return True
        ending.hurry_workers()
        return keeper.rescuer.present() == 0

    return until
