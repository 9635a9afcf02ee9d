"""Which instance the processes of uWSGI belong to: its directory, its configuration, its identity."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from webspool.config import Config, load
from webspool.processes import Identity
from webspool.release import Release, current


@cache
def master() -> Identity:
    """uWSGI's master: while it runs, the instance does."""
    import uwsgi

    return Identity.of(uwsgi.masterpid())


def name() -> str:
    """The instance in the ledger. A reload keeps the master's process and begins another instance all the same.

    uWSGI counts its reloads in the environment, a little differently where Python was there before it.
    """
    reloads = os.environ.get("UWSGI_RELOADS")
    return str(master()) if reloads is None else f"{master()}:{reloads}"


def worker_mercy_seconds() -> float:
    """How long a stop waits for requests that are being served."""
    import uwsgi

    given = uwsgi.opt.get("worker-reload-mercy", b"60")
    return float(given[-1] if isinstance(given, list) else given)


def directory() -> Path:
    """The instance's directory: a spooler's working directory is the spool, so it is read from the configuration."""
    import uwsgi

    given = uwsgi.opt.get("chdir") or uwsgi.opt.get(b"chdir")
    return Path(os.fsdecode(given)) if given else Path.cwd()


def config() -> Config:
    return load(directory())


def release(config: Config) -> Release:
    """The code that processes which start now are to run."""
    return current(config.directory, master())
