"""Who writes the ledger in the place of a process that runs the app's code: a process beside it that runs none.

It is begun when the keeper stays away, and ends by itself when it has had nothing to do for some seconds.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import apsw
import msgspec

from webspool.errors import LedgerUnavailable
from webspool.ledger.operations import Answer, Operation
from webspool.ledger.sockets import Line, opened
from webspool.processes import interpreter

PROGRAM = Path(__file__).with_name("deputy_process.py")
PLACES = [PROGRAM.parents[2], *(Path(str(each.__file__)).parents[1] for each in (apsw, msgspec))]
"""Where it finds what it imports, behind the standard library: no site's start-up code runs in it, and no app's."""
BEGINNING_SECONDS = 10.0
DYING_SECONDS = 1.0
GRACE_SECONDS = 0.2
"""In which what it says at the very end of an operation's time is still heard."""
SILENT = "the process that writes it in the absence of the keeper did not answer"
BEGINS = "the process that writes it in the absence of the keeper has not begun yet"

_begun: set[Deputy] = set()


class Deputy:
    """The way to it. One thread at a time asks."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger.absolute()
        self._line = Line(self._begin)
        self._process: subprocess.Popen[bytes] | None = None
        self._begun_at, self._greeted = 0.0, False

    @property
    def ready(self) -> bool:
        """Whether it has begun."""
        return self._greeted and self._line.process == os.getpid()

    def write(self, operation: Operation, give_up: float) -> Answer:
        """As `Hand` says. When it has ended meanwhile, the next one is asked under the same id."""
        if self._line.process != os.getpid():  # we are a fork of the process that it belongs to
            self._line, self._process, self._greeted = Line(self._begin), None, False
        timed, last = operation.until(give_up), False
        while True:
            try:
                if not self._greeted:
                    self._hear_it_begin(give_up)
                return opened(self._ledger, *self._line.ask(timed, give_up + GRACE_SECONDS))
            except (OSError, ValueError) as fault:
                self.end()
                if last or time.monotonic() >= give_up:
                    raise LedgerUnavailable(ledger=self._ledger, why=SILENT) from fault
                last = True

    def _hear_it_begin(self, give_up: float) -> None:
        """Until then; it goes on beginning for who comes next. Raises LedgerUnavailable, OSError."""
        connection = self._line.connection()
        self._line.bound(connection, give_up - time.monotonic())
        try:
            self._greeted = bool(connection.recv(1))
        except BlockingIOError as fault:
            if time.monotonic() > self._begun_at + BEGINNING_SECONDS:
                raise
            raise LedgerUnavailable(ledger=self._ledger, why=BEGINS) from fault
        if not self._greeted:
            raise ConnectionResetError

    def _begin(self) -> socket.socket:
        command = [str(each) for each in (interpreter(), "-I", "-S", PROGRAM, self._ledger, *PLACES)]
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL)  # noqa: S603
        except OSError as fault:
            ours.close()
            why = f"there is no keeper, and no process could be begun that writes it: {fault.strerror}"
            raise LedgerUnavailable(ledger=self._ledger, why=why) from fault
        threading.Thread(target=process.wait, name="webspool deputy", daemon=True).start()
        self._process, self._begun_at, self._greeted = process, time.monotonic(), False
        _begun.add(self)
        return ours

    def end(self) -> None:
        """Kill it; what it has not committed by now is not done. A thread waits for its end."""
        self._line.close()
        self._greeted = False
        if self._process is not None and self._line.process == os.getpid():
            self._process.kill()

    def dismiss(self) -> None:
        """As `end`, and wait until it is gone."""
        self.end()
        if self._process is not None and self._line.process == os.getpid():
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(DYING_SECONDS)


def dismiss_all() -> None:
    """Those that this process has begun: a runner keeps nothing of what a task has brought about."""
    while _begun:
        _begun.pop().dismiss()
