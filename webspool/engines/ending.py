"""The end of an instance as uWSGI's master announces it to the keeper, and what the master itself leaves undone."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable
from contextlib import suppress

from webspool.processes import Identity

SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}
NUDGE_SECONDS = 0.5
FALSE_ALARM_SECONDS = 5.0


class Ending:
    """Hears the signals of the master: stop and reload say so to its mules. A SIGTERM of others ends the keeper alone.

    `descriptor` becomes readable when one has come.
    """

    def __init__(self, master: int, mercy_seconds: float) -> None:
        self._master, self._mercy = master, mercy_seconds
        self._since: float | None = None
        self._workers: list[Identity] = []
        self._next_nudge = 0.0
        self.keeper_alone = False
        self.descriptor, self._bell = os.pipe()
        os.set_blocking(self.descriptor, False)
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        threading.Thread(target=self._listen, name="webspool ending", daemon=True).start()

    def announced(self) -> bool:
        """Whether the whole instance is about to end."""
        return self._since is not None

    def was_none(self) -> bool:
        """Whether the end that was announced has not come: who sent that signal was not the master."""
        return self._since is not None and time.monotonic() - self._since > self._mercy + FALSE_ALARM_SECONDS

    def heard(self) -> None:
        """Empty the descriptor."""
        with suppress(BlockingIOError):
            os.read(self.descriptor, 64)

    def hurry_workers(self) -> None:
        """Remind the workers, end those that do not end by themselves.

        The master waits for them without a limit, and has no other ears meanwhile: one that missed its signal, or
        that serves a request without end, would hold up the stop for ever.
        """
        now = time.monotonic()
        if self._since is None or now < self._next_nudge:
            return
        self._next_nudge = now + NUDGE_SECONDS
        number = signal.SIGKILL if now - self._since > self._mercy else signal.SIGHUP
        self._workers = self._workers or list(_workers())
        for worker in self._workers:
            if worker.alive:
                with suppress(OSError):
                    os.kill(worker.pid, number)

    def _listen(self) -> None:
        while True:
            told = signal.sigwaitinfo(SIGNALS)
            if told.si_pid == self._master or told.si_signo == signal.SIGINT:  # Ctrl-C goes to every process
                self._since = self._since or time.monotonic()
            else:
                self.keeper_alone = True
            os.write(self._bell, b".")


def _workers() -> Iterable[Identity]:
    import uwsgi

    return [Identity.of(worker["pid"]) for worker in uwsgi.workers() if worker["pid"] > 1]
