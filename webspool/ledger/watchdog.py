"""The way to the ledger beside a keeper in a process of its own, which is ended when it hangs."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from webspool.config import Config
from webspool.ledger.client import Client
from webspool.ledger.direct import Hand
from webspool.ledger.happenings import Reporter
from webspool.ledger.sockets import SocketRoute
from webspool.processes import entered
from webspool.telemetry import Say, listen

STARTING_SECONDS = 10.0


def watching_client(config: Config, say: Say, hand: Hand | None = None) -> Client:
    """Operations by the keeper's socket. Whoever waits for an answer in vain, worker or spooler, ends the keeper.

    `hand` writes while there is no keeper, as for `Client`.

    To be made once in a process: this process's troubles are told to the keeper over it. That the keeper does not
    answer is no news while it starts beside us, and told when it does not answer later; the master is nudged each time.
    """

    def hung(silent_seconds: float) -> None:
        if (keeper := kill_hung_keeper(keeper_file(config), silent_seconds)) is not None:
            say("hung_keeper_killed", keeper=keeper, silent_seconds=round(silent_seconds, 1))

    begun = time.monotonic()

    def reach(within: bool) -> bool:
        if not within:
            nudge_master(config.master_fifo)
        if within:
            say("keeper_within_reach")
        elif time.monotonic() < begun + STARTING_SECONDS:
            return False
        else:
            say("keeper_out_of_reach")
        return True

    client = Client(config.ledger_path, config.output_path, SocketRoute(config.keeper_dir), hung, reach, hand)
    listen(Reporter(client).note)
    return client


def tell_master(fifo: Path, command: bytes) -> None:
    """A command for uWSGI's master, by its fifo. Raises OSError, also when no master reads it.

    The master removes its fifo and makes it anew whenever a writer has closed it, and exits where it cannot: so this is
    tried first.
    """
    trial = fifo.with_name(f"{fifo.name}.{os.getpid()}.{time.monotonic_ns()}")
    os.mkfifo(trial, 0o600)
    os.unlink(trial)
    descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    try:
        os.write(descriptor, command)
    finally:
        os.close(descriptor)


def nudge_master(fifo: Path) -> None:
    """Let uWSGI's master see at once which of its children have ended: by itself it looks once a second.

    What arrives in its fifo wakes it, also a character that is no command.
    """
    with suppress(OSError):
        tell_master(fifo, b"\n")


def keeper_file(config: Config) -> Path:
    """Where the keeper writes who it is, and since when."""
    return config.keeper_dir / "keeper.json"


def kill_hung_keeper(file: Path, silent_seconds: float) -> int | None:
    """End the keeper, if it is that one which has been silent so long; the master starts another. Returns its pid."""
    entry = entered(file)
    if entry is None or not entry.identity.alive:
        return None
    if entry.began_at_monotonic > time.monotonic() - silent_seconds:
        return None
    with suppress(OSError):
        os.kill(entry.identity.pid, signal.SIGKILL)
        return entry.identity.pid
    return None
