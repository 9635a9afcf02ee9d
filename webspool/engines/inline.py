"""The inline engine, for users' tests: jobs run when told, in the thread that tells, by a clock that stands still."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any

from webspool.calling import call
from webspool.config import Config
from webspool.engines import Performing, Verbs, streams
from webspool.engines.chunks import read_to_the_end
from webspool.ledger.apply import apply
from webspool.ledger.client import Client, pieces_of
from webspool.ledger.database import Database
from webspool.ledger.operations import Answer, Operation
from webspool.ledger.output import Outputs
from webspool.ledger.refusals import Refusals
from webspool.ledger.serving import enter
from webspool.orders import Packed
from webspool.policy import Policy
from webspool.processes import Identity
from webspool.records import Ending, Order, Outcome
from webspool.task import Discard, Retry, registry

MOST_ATTEMPTS = 1000


class Clock:
    """Unix seconds that pass only when told."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True)
class Ran:
    """One attempt that was run: what it came to, and what its job became.

    `number` counts the job's attempts from 1. `result` is what the task returned, `output` all that it printed.
    """

    job: str
    task: str
    number: int
    outcome: str
    state: str
    result: Any
    error: str | None
    traceback: str | None
    output: str


class InlineEngine:
    """Jobs wait in the ledger until `run`; waits pass when `advance` says so."""

    in_process = False

    def __init__(self, config: Config, verbs: Verbs) -> None:
        self._config, self._verbs = config, verbs
        self.clock = Clock(time.time())
        self._ledger = _Ledger(config, self.clock, self._prepare)
        self.client = Client(config.ledger_path, config.output_path, self._ledger)
        self._runner = InlineRunner()
        self._performer: Performing | None = None

    def attach(self, app: Any) -> None:
        """Tasks run in fresh contexts of this app, and what is spooled with a delay is due by our clock."""
        self._runner.app = app
        registry.clock = self.clock

    def begin(self) -> None:
        """Nothing runs by itself."""

    def bounded(self, seconds: float) -> AbstractContextManager[None]:
        """How long a body may take is the server's own time-out."""
        return nullcontext()

    def guarded(self, seconds: float) -> AbstractContextManager[None]:
        """A test that hangs is its author's to end."""
        return nullcontext()

    def read_chunked(self, environ: Mapping[str, Any], cap: int, seconds: float) -> bytes:
        """The chunks as the server at hand decodes them."""
        return read_to_the_end(environ, cap, seconds)

    def run(self, *, raise_errors: bool = False) -> list[Ran]:
        """Run every due job, here and now, until none is due; returns the attempts in the order they were run.

        With `raise_errors` the first exception of a task (Retry and Discard aside) is raised here once its attempt is
        recorded. Raises RuntimeError after 1000 attempts: a job that is always due again would never end.
        """
        self._prepare()
        assert self._performer is not None
        ran = self._ledger.begin_run()
        self._runner.fault = None
        with _working_in(self._config.directory), streams.routed():
            self._performer.perform(lambda: self._is_done(ran, raise_errors))
        if raise_errors and self._runner.fault is not None:
            raise self._runner.fault
        if not self._ledger.idle:
            raise RuntimeError(f"a job was still due after {MOST_ATTEMPTS} attempts; the last was of {ran[-1].task}")
        return ran

    def advance(self, seconds: float) -> None:
        """Let that much time pass: delays and retries that it covers are due at the next `run`."""
        self.clock.now += seconds

    def close(self) -> None:
        """Let go of the ledger."""
        self._ledger.close()

    def _is_done(self, ran: list[Ran], raise_errors: bool) -> bool:
        failed = raise_errors and self._runner.fault is not None
        return self._ledger.idle or failed or len(ran) >= MOST_ATTEMPTS

    def _prepare(self) -> None:
        """Serve the ledger, and tell it of every task that is defined by now."""
        if self._performer is None:
            me = Identity.of(os.getpid())
            self._ledger.make_folders()
            enter(self._config.ledger_path, me, "inline")
            self._performer = self._verbs.performer(
                self.client, me, me.of_thread(0), lambda: self._runner.started(), self.clock
            )
        self._performer.ready()


class InlineRunner:
    """Calls tasks right here. Timeouts are not kept."""

    pid = 0
    start_time = 0
    generation = 1
    retired: str | None = None

    def __init__(self) -> None:
        self.app: Any = None
        self.fault: BaseException | None = None
        self._known: dict[str, Any] = {}

    def started(self) -> InlineRunner:
        return self

    @property
    def alive(self) -> bool:
        """Whether it has told all the tasks that there are now."""
        return self._known == registry.tasks

    def hello(self, seconds: float) -> dict[str, Policy]:
        self._known = dict(registry.tasks)
        return {name: task.policy for name, task in self._known.items()}

    def call(
        self, packed: Order | Packed, policy: Policy, on_output: Callable[[bytes], None], tick: object = None
    ) -> Outcome:
        """Run one order."""
        order = packed.unpacked()
        task = registry.tasks.get(order.task)
        if task is None:
            return Outcome(Ending.FAILED, error=f"the task {order.task} is not known to this code")
        with streams.into(_Taker(on_output)):
            outcome = call(replace(task, function=self._noting(task.function)), order, app=self.app)
        if outcome.traceback is not None:
            on_output(outcome.traceback.encode())
        return outcome

    def _noting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def noted(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except (Retry, Discard):
                raise
            except BaseException as fault:
                self.fault = self.fault or fault
                raise

        return noted

    def kill(self) -> None:
        """There is nothing to end."""


@dataclass(frozen=True)
class _Taker:
    on_output: Callable[[bytes], None]

    def take(self, data: bytes) -> bool:
        self.on_output(data)
        return True


class _Ledger:
    """The way to the ledger without a keeper: each operation is a transaction of its own, at the engine's time."""

    def __init__(self, config: Config, clock: Clock, prepare: Callable[[], None]) -> None:
        self._config, self._clock, self._prepare = config, clock, prepare
        self._one_at_a_time = threading.RLock()
        self._database: Database | None = None
        self._outputs: Outputs | None = None
        self._orders: dict[str, dict[str, Any]] = {}
        self._printed: dict[str, bytearray] = {}
        self._ran: list[Ran] = []
        self.idle = False

    def begin_run(self) -> list[Ran]:
        """A fresh list, into which the attempts come as they are recorded."""
        self.idle, self._ran = False, []
        return self._ran

    def ask(self, operation: Operation) -> Answer:
        with self._one_at_a_time:
            if operation.verb in ("accept", "spool"):
                self._prepare()
            with self._opened().transaction(flush=False, direct=True) as tx:
                answer = apply(tx, operation)
            self._keep(operation)
            if operation.verb == "turn":
                self._note(operation, answer)
            return answer

    def tell(self, operation: Operation) -> bool:
        with self._one_at_a_time:
            self._keep(operation)
            if operation.verb == "refuse":
                refusals = Refusals()
                refusals.add([operation])
                with self._opened().transaction(flush=False) as tx:
                    refusals.flush(tx)
        return True

    def connected(self) -> bool:
        return True

    def pushed(self) -> list[dict[str, Any]]:
        return []

    def close(self) -> None:
        for opened in (self._database, self._outputs):
            if opened is not None:
                opened.close()
        self._database = self._outputs = None

    def make_folders(self) -> None:
        self._config.var.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._config.ledger_path.parent.mkdir(parents=True, exist_ok=True)

    def _opened(self) -> Database:
        if self._database is None:
            self.make_folders()
            self._database = Database(self._config.ledger_path, clock=self._clock)
        return self._database

    def _keep(self, operation: Operation) -> None:
        pieces = pieces_of(operation)
        if not pieces:
            return
        if self._outputs is None:
            self._outputs = Outputs(self._config.output_path)
        self._outputs.write(pieces)
        for piece in pieces:
            self._printed.setdefault(piece.attempt, bytearray()).extend(piece.bytes)

    def _note(self, operation: Operation, answer: Answer) -> None:
        ended, claimed = operation.arguments["end"], answer.values["order"]
        if ended:
            self._ran.append(self._ended(self._orders.pop(ended["attempt"]), ended))
        if claimed:
            self._orders[claimed["attempt"]] = claimed
        elif operation.arguments["claim"]:
            self.idle = True

    def _ended(self, order: dict[str, Any], ended: dict[str, Any]) -> Ran:
        return Ran(
            order["job"],
            order["task"],
            order["number"],
            str(ended["outcome"]),
            str(ended["state"]),
            None if ended["result"] is None else json.loads(ended["result"]),
            ended["error"],
            ended["traceback"],
            self._printed.pop(ended["attempt"], bytearray()).decode("utf-8", "replace"),
        )


@contextmanager
def _working_in(directory: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)
