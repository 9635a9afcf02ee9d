"""Which instance the processes of uWSGI belong to: its directory, its configuration, its identity."""

from __future__ import annotations

import json
import os
import signal
from functools import cache
from pathlib import Path

from webspool.config import Config, load
from webspool.ledger.client import Client
from webspool.ledger.sockets import SocketRoute
from webspool.processes import Identity


@cache
def master() -> Identity:
    """uWSGI's master: while it runs, the instance does."""
    import uwsgi

    return Identity.of(uwsgi.masterpid())


def directory() -> Path:
    """The instance's directory: a spooler's working directory is the spool, so it is read from the configuration."""
    import uwsgi

    given = uwsgi.opt.get("chdir") or uwsgi.opt.get(b"chdir")
    return Path(os.fsdecode(given)) if given else Path.cwd()


def config() -> Config:
    return load(directory())


def client(config: Config) -> Client:
    """The way to the ledger from a process of this instance."""
    return Client(config.ledger_path, config.output_path, SocketRoute(config.keeper_dir))


def keeper_file(config: Config) -> Path:
    """Where the keeper writes who it is."""
    return config.keeper_dir / "keeper.json"


def kill_hung_keeper(config: Config) -> int | None:
    """End a keeper that no longer answers; the master starts another. Returns its pid, or None when it is gone."""
    try:
        known = json.loads(keeper_file(config).read_text())
        keeper = Identity(known["boot"], known["pid"], known["start"])
    except (OSError, ValueError, KeyError):
        return None
    if not keeper.alive:
        return None
    os.kill(keeper.pid, signal.SIGKILL)
    return keeper.pid
