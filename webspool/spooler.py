"""What uWSGI's spoolers import: a ticket brings one in here, and here it stays, performing jobs.

The user's code is never imported in this process; it lives in the runner.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import uwsgi

from webspool import instance
from webspool.config import Config
from webspool.engines.spool import TICKET, fill_standard_descriptors
from webspool.ledger.client import Client
from webspool.perform import Performer, Post
from webspool.processes import Identity
from webspool.runner import Program, Runner
from webspool.telemetry import Say, teller

HUNG_KEEPER_SECONDS = 4.0
_foreign: set[str] = set()

fill_standard_descriptors()


def serve(ticket: dict[bytes, bytes]) -> int:
    """uWSGI's spooler callback: perform until the instance ends. A file of another hand is left where it is."""
    say = teller("spooler")
    if TICKET not in ticket:
        return _leave_alone(ticket.get(b"spooler_task_name", b"").decode("utf-8", "backslashreplace"), say)
    config = instance.config()
    client = instance.client(config)
    performer = Performer(client, _post(config), lambda: Runner.start(Program(config.directory, config.app)), say)
    try:
        performer.perform(_until_the_end(config, client))
    finally:
        performer.close()
    return int(uwsgi.SPOOL_OK)


def _leave_alone(file: str, say: Say) -> int:
    """A file of another hand: told once, and left where it is."""
    if file not in _foreign:
        _foreign.add(file)
        say("foreign_spool_file", file=file)
    return int(uwsgi.SPOOL_IGNORE)


def _post(config: Config) -> Post:
    me = Identity.of(os.getpid())
    return Post(str(me), str(instance.master()), me.pid, me.start, config.var / "bodies")


def _until_the_end(config: Config, client: Client) -> Callable[[], bool]:
    """Whether the master is gone; on the way, a keeper that has not answered for long is ended."""
    master = instance.master()
    say = teller("spooler")

    def until() -> bool:
        silent = client.unanswered_since
        if silent is not None and time.monotonic() - silent > HUNG_KEEPER_SECONDS:
            client.unanswered_since = None
            say("hung_keeper_killed", keeper=instance.kill_hung_keeper(config))
        return os.getppid() != master.pid

    return until


uwsgi.spooler = serve
