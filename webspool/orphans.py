"""What outlives a dead runner in a session of its own (setsid, daemons): it becomes our child, and is ended.

A session cannot be left by dying, but by setsid(2); the parent of a process can. So the spooler has the kernel hand it
every descendant whose parent is gone (PR_SET_CHILD_SUBREAPER), and what is its child and no runner is an orphan.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from webspool.processes import children_of_ours

LONGEST_SECONDS = 2.0
SURELY_EMPTY = 3

_PR_SET_CHILD_SUBREAPER = 36

_spared: set[int] = set()
_taken = False


def take() -> None:
    """From now on every child of this process that was not spared is an orphan. For a process with no other ones."""
    global _taken
    _taken = _become_reaper(True)


def spare(pid: int) -> None:
    """That child is no orphan."""
    _spared.add(pid)


@contextmanager
def left_to_init() -> Iterator[None]:
    """What loses its parent meanwhile is not ours."""
    if not _taken:
        yield
        return
    _become_reaper(False)
    try:
        yield
    finally:
        _become_reaper(True)


def bury(pid: int) -> None:
    """That child is dead: end what it left to us, and what this leaves in its turn.

    Without a pause: there are families whose every member forks and ends before it can be listed twice. The list is
    not exact while processes end (proc(5)): it has to be empty several times.
    """
    _spared.discard(pid)
    give_up, empty = time.monotonic() + LONGEST_SECONDS, 0
    while _taken and empty < SURELY_EMPTY and time.monotonic() < give_up:
        orphans = children_of_ours() - _spared
        empty = 0 if orphans else empty + 1
        for orphan in orphans:
            with suppress(OSError):
                os.kill(orphan, signal.SIGKILL)
                os.waitpid(orphan, os.WNOHANG)


def _become_reaper(wanted: bool) -> bool:
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0) == 0)
