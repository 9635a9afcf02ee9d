"""The live process under uWSGI, a mule: it costs next to nothing until somebody watches, and again when nobody does.

Until then it looks after alerts, and holds the ledger open for when the keeper is killed.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from webspool import instance
from webspool.alerts.watch import Watch
from webspool.config import LIVE_SOCKET, Config
from webspool.engines.spool import fill_standard_descriptors
from webspool.ledger.anchor import Anchor
from webspool.processes import enter
from webspool.telemetry import Say, teller

IDLE_SECONDS = 600.0
LOOK_SECONDS = 1.0
SOON_SECONDS = 0.05
"""As long as there is no ledger to hold: the keeper makes it at the first start."""
BACKLOG = 512


def main() -> None:
    """Wait for the first viewer, serve until there has been none for ten minutes; uWSGI starts this again."""
    fill_standard_descriptors()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # there is nothing to put in order
    config, say, master = instance.config(), teller("live"), instance.master()

    def gone() -> bool:
        return os.getppid() != master.pid

    os.chdir(config.directory)
    watch, anchor = Watch(config, say), Anchor(config.ledger_path)

    def look() -> bool:
        watch.look()
        return anchor.look()

    listener = listen(Path(LIVE_SOCKET))
    enter(config.live_file)
    holds = look()
    while not select.select([listener], [], [], LOOK_SECONDS if holds else SOON_SECONDS)[0]:
        if gone():
            return
        holds = look()
    serve(config, listener, say, gone, look)


def listen(path: Path) -> socket.socket:
    """A socket that only the instance's user reaches, in place of one that an earlier process left."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    return listener


def serve(
    config: Config, listener: socket.socket, say: Say, gone: Callable[[], bool], look: Callable[[], object]
) -> None:
    """Serve viewers, and `look` each second.

    What that takes is imported here, so that an instance without viewers does not carry it.
    """
    import gevent
    from gevent.pywsgi import WSGIHandler, WSGIServer

    from webspool.live.server import Live

    class Once(WSGIHandler):  # type: ignore[misc]
        """One request a connection: after a WebSocket nothing else can come on it."""

        def run_application(self) -> None:
            super().run_application()
            self.close_connection = True

        def log_error(self, msg: str, *args: object) -> None:
            """A viewer who has gone is no error."""

    live = Live(config, "gevent")
    listener.setblocking(False)
    server = WSGIServer(listener, live.wsgi, handler_class=Once, log=None, error_log=None)
    server.start()
    say("live_started")
    idle, told = 0.0, 0
    while idle < IDLE_SECONDS and not gone():
        gevent.sleep(LOOK_SECONDS)
        look()
        if live.viewers != told:
            told = live.viewers
            enter(config.live_file, viewers=told)
        idle = 0.0 if live.viewers else idle + LOOK_SECONDS
    server.stop(timeout=1)
    say("live_stopped")
