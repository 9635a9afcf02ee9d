"""The spool engine as a uWSGI worker sees it: the keeper's socket, and uWSGI's own reading of bodies."""

from __future__ import annotations

import faulthandler
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from io import BytesIO
from typing import Any

from webspool.config import Config
from webspool.ledger.deputy import Deputy
from webspool.ledger.watchdog import watching_client
from webspool.telemetry import teller

LOOKS_EVERY_SECONDS = 1.0


class UwsgiEngine:
    """Spoolers and keeper are processes of their own; a worker only needs the way to the ledger."""

    in_process = False

    def __init__(self, config: Config) -> None:
        self.client = watching_client(config, teller("worker"), Deputy(config.ledger_path))
        self._impatience, self._guard = Impatience(), Guard()

    def attach(self, app: Any) -> None:
        """Tasks run in their runners, with an app of their own."""

    def begin(self) -> None:
        """uWSGI has begun everything else."""

    def bounded(self, seconds: float) -> Bounded:
        """A body read in here that takes longer raises TimeoutError."""
        import uwsgi

        return Bounded(self._impatience, uwsgi.connection_fd(), seconds)

    def guarded(self, seconds: float) -> AbstractContextManager[None]:
        """Code in here that takes longer ends the worker, with its stack in the log; the master starts another."""
        return self._guard.over(seconds)

    def read_chunked(self, environ: Mapping[str, Any], cap: int, seconds: float) -> bytes:
        """The chunks as uWSGI reads them: with no option set they do not come through wsgi.input."""
        import uwsgi

        body = BytesIO()  # unlike a bytearray, it gives its bytes away without copying them
        with self.bounded(seconds):
            while body.tell() <= cap and (chunk := uwsgi.chunked_read(int(seconds) + 1)):
                body.write(chunk)
        return body.getvalue()


class Bounded:
    """The time in which a body has to come; told as TimeoutError once it has passed."""

    __slots__ = ("_descriptor", "_give_up", "_impatience")

    def __init__(self, impatience: Impatience, descriptor: int, seconds: float) -> None:
        self._impatience, self._descriptor, self._give_up = impatience, descriptor, time.monotonic() + seconds

    def __enter__(self) -> None:
        self._impatience.begin(self._descriptor, self._give_up)

    def __exit__(self, kind: type[BaseException] | None, fault: object, trace: object) -> None:
        self._impatience.end(self._descriptor)
        if (kind is None or issubclass(kind, OSError)) and time.monotonic() >= self._give_up:
            raise TimeoutError


class Guard:
    """What not even a signal interrupts, C code that holds the interpreter's lock, is ended by a thread in C.

    That thread has one time a process: the soonest of all the requests that are guarded at the moment.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: list[float] = []

    @contextmanager
    def over(self, seconds: float) -> Iterator[None]:
        """Code in here that takes longer ends the process."""
        give_up = time.monotonic() + seconds
        with self._lock:
            self._due.append(give_up)
            self._set()
        try:
            yield
        finally:
            with self._lock:
                self._due.remove(give_up)
                self._set()

    def _set(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        if self._due:
            faulthandler.dump_traceback_later(max(min(self._due) - time.monotonic(), 0.001), exit=True, file=2)


class Impatience:
    """Cuts connections off that send too slowly: uWSGI's own time-outs begin anew with every byte.

    Only their reading half is closed, so that the sender can still be answered.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: dict[int, float] = {}
        self._watcher: threading.Thread | None = None

    def begin(self, descriptor: int, give_up: float) -> None:
        """From `give_up` on (monotonic clock) what is read from the descriptor has ended."""
        if self._watcher is None:
            self._begin_to_watch()
        self._due[descriptor] = give_up

    def end(self, descriptor: int) -> None:
        """The body is there, or given up."""
        with self._lock:
            del self._due[descriptor]

    def _begin_to_watch(self) -> None:
        with self._lock:
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="webspool slow senders", daemon=True)
                self._watcher.start()

    def _watch(self) -> None:
        while True:
            time.sleep(LOOKS_EVERY_SECONDS)
            with self._lock:
                now = time.monotonic()
                for descriptor in [each for each, give_up in self._due.copy().items() if now >= give_up]:
                    _end_reading(descriptor)


def _end_reading(descriptor: int) -> None:
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.shutdown(socket.SHUT_RD)
