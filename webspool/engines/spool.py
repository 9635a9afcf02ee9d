"""uWSGI's side: tickets that bring its spoolers into their claim loop, and what only a uWSGI process can tell."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import time
from contextlib import suppress
from pathlib import Path

from webspool.spool_files import TICKET, waiting
from webspool.telemetry import Say

FLOCK = "hhqqi4x"
"""The kernel's struct flock (fcntl(2)): type, whence, start, length, and the pid that holds the lock."""


def fill_standard_descriptors() -> None:
    """uWSGI closes descriptor 0 in its spoolers: the first file opened would get it, and be overwritten later."""
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            return


class SpoolEngine:
    """Tickets in uWSGI's spool. A ticket says only that a spooler should come and stay; a lost one is replaced."""

    def __init__(self, folder: Path, spoolers: int, say: Say) -> None:
        self._folder, self._spoolers, self._say = folder, spoolers, say
        self._fault: str | None = None

    def wake(self, present: int) -> None:
        """Have as many tickets out as there are spoolers, and signal while one has not come. Never raises."""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            if present < self._spoolers:
                for _ in range(self._spoolers - self._tickets_of_ours()):
                    self._write_ticket()
                self._signal()
        except (OSError, ValueError) as fault:
            self._tell(str(fault))
        else:
            self._tell(None)

    def _tell(self, fault: str | None) -> None:
        """Once when it begins, once when it is over."""
        if fault == self._fault:
            return
        self._fault = fault
        if fault is None:
            self._say("spool_usable")
        else:
            self._say("spool_unusable", why=fault)

    def _tickets_of_ours(self) -> int:
        """Tickets that one of our spoolers has taken or can take.

        A busy spooler outlives a killed master: its ticket is there still, and brings none of ours.
        """
        import uwsgi

        takers = {0, *uwsgi.spooler_pids()}
        found = [(path, holder(path)) for path in waiting(self._folder)]
        for path, taker in found:
            if taker == 0:
                make_due(path)
        return sum(taker in takers for _, taker in found)

    def _write_ticket(self) -> None:
        import uwsgi

        uwsgi.spool({TICKET: b"come"})

    def _signal(self) -> None:
        import uwsgi

        for pid in uwsgi.spooler_pids():
            os.kill(pid, signal.SIGUSR1)


def make_due(path: Path) -> None:
    """A ticket of before the clock was set back is of the future: uWSGI would let it lie until then."""
    with suppress(FileNotFoundError):
        now = time.time()
        if path.stat().st_mtime > now:
            os.utime(path, (now, now))


def holder(path: Path) -> int | None:
    """The process that has taken this ticket, as its lock tells; 0: nobody. None: it is no ticket, or gone.

    Never to be asked in a spooler: closing the file there would drop the spooler's own lock on it.
    """
    try:
        with open(path, "rb+") as file:
            if TICKET not in file.read(64):
                return None
            answer = fcntl.fcntl(file, fcntl.F_GETLK, struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except OSError:
        return None
    kind, _, _, _, pid = struct.unpack(FLOCK, answer)
    return 0 if kind == fcntl.F_UNLCK else int(pid)
