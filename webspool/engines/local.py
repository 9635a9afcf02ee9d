"""The local engine: keeper and performers are threads of one ordinary Python process, a PC's for example.

Nothing begins when the app is imported; it begins when the process begins to serve. Nothing here needs uWSGI, a unix
socket or a signal. What runs when the process ends is cut, and runs again at the next start.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from webspool.config import Config
from webspool.engines import Verbs, streams
from webspool.engines.chunks import read_to_the_end
from webspool.engines.thread_runner import ThreadRunner
from webspool.errors import WebspoolError
from webspool.ledger.client import Client
from webspool.ledger.inbox import KeeperGone, QueuedRequest, QueueInbox, QueueRoute
from webspool.ledger.operations import Answer, Operation
from webspool.ledger.serving import enter
from webspool.processes import Identity
from webspool.telemetry import Say

AGAIN_SECONDS = 1.0
ENDING_SECONDS = 2.0


class LocalEngine:
    """Until `begin`, a way to the ledger and no more: what is spooled then is written directly."""

    in_process = True

    def __init__(self, config: Config, say: Say, verbs: Verbs) -> None:
        self._config, self._say, self._verbs = config, say, verbs
        self._app: Any = None
        self._inbox = QueueInbox()
        self._beginning = threading.Lock()
        self._serving_process: int | None = None
        self._end = threading.Event()
        self._threads: list[threading.Thread] = []
        self.client = self._way_to_the_ledger("")

    @property
    def serves(self) -> bool:
        """Whether the keeper's thread is in this process; a fork of it has none."""
        return self._serving_process == os.getpid() and not self._end.is_set()

    def attach(self, app: Any) -> None:
        """Tasks run in fresh contexts of this app."""
        self._app = app

    def begin(self) -> None:
        """Keep and perform in threads from now on. Raises InstanceRunning, LedgerUnavailable."""
        if self._serving_process == os.getpid():
            return
        with self._beginning:
            if self._serving_process != os.getpid():
                self._begin(Identity.of(os.getpid()))

    def end(self) -> None:
        """Stop without waiting for tasks: what runs is cut, and runs again at the next start."""
        if self._serving_process != os.getpid():
            return
        self._end.set()
        self._inbox.put(QueuedRequest(Operation("", "ping", {}), awaited=False))  # brings the keeper out of its wait
        for thread in self._threads[:1]:
            thread.join(ENDING_SECONDS)

    def bounded(self, seconds: float) -> AbstractContextManager[None]:
        """How long a body may take is the server's own time-out."""
        return nullcontext()

    def read_chunked(self, environ: Mapping[str, Any], cap: int, seconds: float) -> bytes:
        """The chunks as the server at hand decodes them."""
        return read_to_the_end(environ, cap, seconds)

    def guarded(self, seconds: float) -> AbstractContextManager[None]:
        """The one process that there is cannot be replaced."""
        return nullcontext()

    # ── the threads ─────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, me: Identity) -> None:
        self.make_folders()
        enter(self._config.ledger_path, me, "local")
        os.chdir(self._config.directory)
        streams.install()
        self._end.clear()
        self._serving_process = me.pid
        self._start("webspool keeper", partial(self._keep, me))
        for number in range(1, self._config.spoolers + 1):
            self._start(f"webspool performer {number}", partial(self._perform, me, number))
        atexit.register(self.end)
        self._say("instance_started", engine="local", ledger=str(self._config.ledger_path))

    def make_folders(self) -> None:
        self._config.var.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._config.ledger_path.parent.mkdir(parents=True, exist_ok=True)

    def _start(self, name: str, work: Callable[[], None]) -> None:
        """A thread that does its work again when a fault ends it, until the instance ends."""
        thread = threading.Thread(target=self._again_and_again, args=(name, work), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _again_and_again(self, name: str, work: Callable[[], None]) -> None:
        while not self._end.is_set():
            try:
                work()
            except WebspoolError as fault:
                self._say("thread_failed", thread=name, why=str(fault))
            self._end.wait(AGAIN_SECONDS)

    def _keep(self, me: Identity) -> None:
        self._verbs.keeper(self._inbox, me).run(self._end.is_set)

    def _perform(self, me: Identity, number: int) -> None:
        """Perform until the end. A performer that begins again has the same name: what it left open is a ghost."""
        client = self._way_to_the_ledger(me.of_thread(number))
        thread = _Replaced(lambda: ThreadRunner(self._app, self._config.directory, f"webspool runner {number}"))
        performer = self._verbs.performer(client, me, me.of_thread(number), thread.start)
        try:
            performer.perform(self._end.is_set)
        finally:
            performer.close()

    def _way_to_the_ledger(self, process: str) -> Client:
        return Client(self._config.ledger_path, self._config.output_path, _Route(self, self._inbox, process))


class _Replaced:
    """Starts runners one after the other: the thread of the one before ends when its task does."""

    def __init__(self, start: Callable[[], ThreadRunner]) -> None:
        self._start_one = start
        self._runner: ThreadRunner | None = None

    def start(self) -> ThreadRunner:
        if self._runner is not None:
            self._runner.kill()
        self._runner = self._start_one()
        return self._runner


class _Route(QueueRoute):
    """The way to the keeper's thread, where there is one: not before `begin`, not in a fork of the process."""

    def __init__(self, engine: LocalEngine, inbox: QueueInbox, process: str) -> None:
        super().__init__(inbox, process)
        self._engine = engine

    def ask(self, operation: Operation) -> Answer:
        if not self._engine.serves:
            self._engine.make_folders()
            raise KeeperGone
        return super().ask(operation)

    def tell(self, operation: Operation) -> bool:
        return self._engine.serves and super().tell(operation)
