"""uWSGI's side: tickets that bring its spoolers into their claim loop, and what only a uWSGI process can tell."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

TICKET = b"webspool"


def fill_standard_descriptors() -> None:
    """uWSGI closes descriptor 0 in its spoolers: the first file opened would get it, and be overwritten later."""
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            return


class SpoolEngine:
    """Tickets in uWSGI's spool. A ticket says only that a spooler should come and stay; a lost one is replaced."""

    def __init__(self, folder: Path, spoolers: int) -> None:
        self._folder, self._spoolers = folder, spoolers

    def wake(self, present: int) -> None:
        """Have as many tickets out as there are spoolers, and signal while one has not come. Never raises."""
        if present >= self._spoolers:
            return
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            for _ in range(self._spoolers - len(ticket_files(self._folder))):
                self._write_ticket()
            self._signal()
        except (OSError, ValueError):
            return

    def _write_ticket(self) -> None:
        import uwsgi

        uwsgi.spool({TICKET: b"come"})

    def _signal(self) -> None:
        import uwsgi

        for pid in uwsgi.spooler_pids():
            os.kill(pid, signal.SIGUSR1)


def ticket_files(folder: Path) -> list[Path]:
    """The spool's files; uWSGI's lock file and folders for priorities are none."""
    try:
        return [entry for entry in folder.iterdir() if entry.name.startswith("uwsgi_spoolfile") and entry.is_file()]
    except OSError:
        return []


def depth(folder: Path) -> tuple[int, float]:
    """How many files lie in the spool, and the age in seconds of the oldest."""
    ages = []
    for path in ticket_files(folder):
        try:
            ages.append(time.time() - path.stat().st_mtime)
        except OSError:
            continue
    return len(ages), max(ages, default=0.0)
