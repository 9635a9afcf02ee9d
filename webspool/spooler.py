"""What uWSGI's spoolers import: a ticket brings one in here, and here it stays, performing jobs.

The user's code is never imported in this process; it lives in the runner.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uwsgi

from webspool import instance, orphans, tracing
from webspool.config import Config
from webspool.disk import Disk
from webspool.engines.spool import fill_standard_descriptors
from webspool.engines.taking import protect
from webspool.ledger.watchdog import watching_client
from webspool.perform import Performer, Post
from webspool.processes import Identity
from webspool.runner import Program, Runner
from webspool.slate import path_of, prepare
from webspool.spool_files import TICKET
from webspool.telemetry import teller

fill_standard_descriptors()
protect(instance.directory() / "my_spools")
orphans.take()


def serve(ticket: dict[Any, Any]) -> int:
    """uWSGI's spooler callback: perform until the instance ends. A file of another hand is left where it is."""
    if TICKET not in ticket:
        return int(uwsgi.SPOOL_IGNORE)  # the keeper looks after it
    say = teller("spooler")
    config = instance.config()
    tracing.begin(config, say)
    client = watching_client(config, say)
    cap = Disk.of(config).output_cap
    post = _post(config)
    slate = prepare(path_of(config.var / "begun", post.process))
    performer = Performer(client, post, lambda: _start_runner(config, slate), say, output_cap=cap)
    try:
        performer.perform(_until_the_end())
    finally:
        performer.close()
    return int(uwsgi.SPOOL_OK)


def _start_runner(config: Config, slate: Path | None) -> Runner:
    release = instance.release(config)
    return Runner.start(Program(config.directory, config.app, release, config.var / "bodies", slate))


def _post(config: Config) -> Post:
    me = Identity.of(os.getpid())
    return Post(str(me), instance.name(), me.pid, me.start, config.var / "bodies", _at_a_time(config))


def _at_a_time(config: Config) -> int:
    """How many spoolers can be at work at the same moment with tasks that only compute."""
    return min(config.spoolers, os.cpu_count() or 1)


def _until_the_end() -> Callable[[], bool]:
    """Whether the master is gone."""
    master = instance.master()
    return lambda: os.getppid() != master.pid


uwsgi.spooler = serve
