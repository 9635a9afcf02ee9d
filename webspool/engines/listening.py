"""A worker whose listening sockets were closed by the user's code would turn round in uWSGI for ever, deaf: it ends."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from webspool.telemetry import Say

LOOKS_EVERY_SECONDS = 1.0
DEAF = 75

Sockets = dict[int, int]


def end_when_deaf(say: Say) -> None:
    """Look after this worker's listening sockets; the master puts another worker in the place of one that ends."""

    def end() -> NoReturn:
        say("worker_deaf", pid=os.getpid())
        os._exit(DEAF)

    watch(listening(), end)


def watch(sockets: Sockets, end: Callable[[], object]) -> None:
    """Call `end` in a thread of its own when one of them is closed, or another file has its number."""

    def look() -> None:
        while all(_is_open(descriptor, inode) for descriptor, inode in sockets.items()):
            time.sleep(LOOKS_EVERY_SECONDS)
        end()

    if sockets:
        threading.Thread(target=look, name="webspool listening", daemon=True).start()


def listening() -> Sockets:
    """The descriptors of this process at which connections are taken, with what tells them from others."""
    found = Sockets()
    for name in _names():
        with suppress(OSError), socket.socket(fileno=os.dup(int(name))) as opened:
            if opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                found[int(name)] = os.fstat(int(name)).st_ino
    return found


def _names() -> list[str]:
    try:
        return [path.name for path in Path("/proc/self/fd").iterdir()]
    except OSError:
        return []


def _is_open(descriptor: int, inode: int) -> bool:
    try:
        return os.fstat(descriptor).st_ino == inode
    except OSError:
        return False
