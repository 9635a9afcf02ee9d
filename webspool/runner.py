"""The runner as its spooler sees it: a standing child process that calls your function; its death is an outcome.

One thread owns a runner: the kernel ends the child when the thread that started it ends (PR_SET_PDEATHSIG).
What a task that succeeded has put into a session of its own lives on; after every other ending it goes too.
"""

from __future__ import annotations

import math
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webspool import frames
from webspool.errors import RunnerBroken
from webspool.orders import order_frame, outcome_of
from webspool.policy import Policy
from webspool.records import Ending, Order, Outcome
from webspool.release import IN_PLACE, Release
from webspool.runner_process import Process

OnOutput = Callable[[bytes], None]
Tick = Callable[[], Outcome | None]

TICK_SECONDS = 0.1
DYING_SECONDS = 1.0
RECEIVE = 1 << 16
LARGEST_ANSWER = 8 << 20
LARGEST_PIPE = 1 << 20

_LONGEST_POLL_SECONDS = 3600.0
_BLIND_POLL_SECONDS = 0.2
_READABLE, _WRITABLE = getattr(select, "POLLIN", 1), getattr(select, "POLLOUT", 4)
_DEAF = "its process was killed: it had closed the descriptors of its runner, or become another program"


@dataclass(frozen=True, slots=True)
class Program:
    """What a runner imports: the instance's directory, its app ("module:attribute" or "module:factory()"), its code."""

    directory: Path
    app: str
    release: Release = IN_PLACE


class Runner:
    """One child process, in which one task at a time runs.

    `stray` counts the bytes written between two jobs; `retired` says what a task left in it that cannot be undone, for
    which the runner was ended.
    """

    def __init__(self, program: Program, process: Process, control: socket.socket, output: int) -> None:
        self.program, self.process = program, process
        self.stray = 0
        self.retired: str | None = None
        self.control, self._output = control, output
        self._decoder = frames.Decoder(LARGEST_ANSWER)  # a task may write into our socket
        control.setblocking(False)
        os.set_blocking(output, False)
        self._poller = select.poll()
        for descriptor in (control.fileno(), output, process.pidfd):
            if descriptor >= 0:
                self._poller.register(descriptor, _READABLE)

    @classmethod
    def start(cls, program: Program) -> Runner:
        """Fork a runner, which begins to import the app; `hello` waits for it. Raises OSError."""
        return cls(program, *Process.fork(program.directory, program.app, program.release.folder))

    @property
    def generation(self) -> int:
        """The number of the code that it runs."""
        return self.program.release.number

    @property
    def pid(self) -> int:
        """The process, which leads a session of its own."""
        return self.process.pid

    @property
    def start_time(self) -> int:
        """Its start in clock ticks since boot; 0 where the system does not tell."""
        return self.process.start_time

    @property
    def alive(self) -> bool:
        """Whether it can be called: neither ended by us nor by itself."""
        return not self.process.has_ended()

    def hello(self, seconds: float) -> dict[str, Policy]:
        """The tasks that the app defines, by name, once it is imported. Raises RunnerBroken; the runner is then gone.

        What the import prints goes to our own stderr.
        """
        try:
            said = self._first_word(time.monotonic() + seconds)
        except BaseException:
            self.kill()
            raise
        if "tasks" in said:
            return {name: Policy.from_dict(values) for name, values in said["tasks"].items()}
        self.kill()
        why = said.get("broken") or f"it did not answer within {seconds:g} s"
        raise RunnerBroken(app=self.program.app, why=why)

    def call(
        self,
        order: Order,
        policy: Policy,
        on_output: OnOutput,
        tick: Tick | None = None,
    ) -> Outcome:
        """Run one order and wait for its outcome, however it ends; `alive` then tells whether to start another runner.

        `on_output` gets what is written, as it comes. `tick` is called every 0.1 s and interrupts the task by returning
        an outcome. What one of these raises ends the runner and is raised here.
        """
        if not self.alive:
            self.kill()
            return never_began(self.process.end())
        try:
            self._put_stray_aside()
            self.process.memory.renew()
            outcome = Attempt(self, order, policy, on_output, tick).outcome()
            self.drain(on_output)
            self._end_if_due(on_output, daemons=outcome.ending is not Ending.SUCCEEDED)
        except BaseException:
            self.kill()
            raise
        return outcome

    def stop(self, seconds: float = 2.0) -> None:
        """Let it end by itself, with what the app registered by atexit; after `seconds` it is killed."""
        if not self.process.buried:
            with suppress(OSError):
                self.control.shutdown(socket.SHUT_RDWR)
            self.process.ends_within(seconds, lambda: self.read_output(_to_stderr))
        self.kill()

    def kill(self) -> None:
        """End its whole session now and bury it."""
        self.process.kill()
        self.process.close()
        self.control.close()
        if self._output >= 0:
            os.close(self._output)
        self._output = -1

    def _end_if_due(self, on_output: OnOutput, *, daemons: bool) -> None:
        if self.retired:
            self.process.kill(daemons=daemons)
            self.drain(on_output)
        if self.process.buried:
            self.kill()

    # ── what it says ────────────────────────────────────────────────────────────────────────────────────────────

    def _first_word(self, until: float) -> dict[str, Any]:
        while (left := until - time.monotonic()) > 0:
            ready = self.poll(left)
            self.read_output(_to_stderr)
            if self.control.fileno() in ready:
                heard = self.receive()
                if heard is None:
                    return {"broken": self.died(_to_stderr).error}
                if heard:
                    self.drain(_to_stderr)
                    return heard[0][0]
            elif self.has_died(ready):
                return {"broken": self.died(_to_stderr).error}
        return {}

    def poll(self, seconds: float) -> dict[int, int]:
        """Wait until something happens or the time has passed; returns descriptors and their events."""
        longest = _LONGEST_POLL_SECONDS if self.process.pidfd >= 0 else _BLIND_POLL_SECONDS
        return dict(self._poller.poll(math.ceil(min(seconds, longest) * 1000)))

    def wrote(self, ready: Mapping[int, int]) -> bool:
        return self._output in ready

    def has_died(self, ready: Mapping[int, int]) -> bool:
        """Whether `ready` tells of its death. Its last words come first: ask only when the socket is silent."""
        if self.process.pidfd >= 0:
            return self.process.pidfd in ready
        return not ready and self.process.has_ended()

    def died(self, on_output: OnOutput) -> Outcome:
        """The outcome of a process that no longer speaks: it is dead, or deaf and killed for it."""
        by_itself = self.process.ends_within(DYING_SECONDS, lambda: self.read_output(on_output))
        self.process.kill()
        return self.process.outcome() if by_itself else Outcome(Ending.INTERRUPTED, error=_DEAF, signal=signal.SIGKILL)

    def receive(self) -> list[frames.Frame] | None:
        """Frames that have arrived; None when there will be no more."""
        try:
            data = self.control.recv(RECEIVE)
            return self._decoder.feed(data) if data else None
        except BlockingIOError:
            return []
        except (OSError, ValueError):  # ValueError: the task wrote into our socket
            return None

    def send(self, data: memoryview) -> memoryview:
        """Send what can be sent at once; returns the rest, for which `poll` then waits."""
        with suppress(BlockingIOError):
            data = data[self.control.send(data, getattr(socket, "MSG_NOSIGNAL", 0)) :]
        self._poller.modify(self.control, _READABLE | _WRITABLE if data else _READABLE)
        return data

    # ── what it writes ──────────────────────────────────────────────────────────────────────────────────────────

    def read_output(self, on_output: OnOutput) -> int:
        """Hand on one piece of output; returns its length, 0 when there is none."""
        try:
            data = os.read(self._output, RECEIVE)
        except BlockingIOError:
            return 0
        if data:
            on_output(data)
        else:
            with suppress(KeyError):
                self._poller.unregister(self._output)
        return len(data)

    def drain(self, on_output: OnOutput) -> None:
        """All that is in the pipe; no more than a pipe can hold, since a process left behind may write for ever."""
        drained = 0
        while drained < LARGEST_PIPE and (length := self.read_output(on_output)):
            drained += length

    def _put_stray_aside(self) -> None:
        before = self.stray
        self.drain(self._count_stray)
        if self.stray > before:
            _to_stderr(b"webspool: %d bytes were written between two jobs and dropped\n" % (self.stray - before))

    def _count_stray(self, data: bytes) -> None:
        self.stray += len(data)


class Attempt:
    """One order on its way through a runner: its deadlines on the monotonic clock, and who else may end it."""

    def __init__(
        self,
        runner: Runner,
        order: Order,
        policy: Policy,
        on_output: OnOutput,
        tick: Tick | None,
    ) -> None:
        self.runner, self.order, self.policy = runner, order, policy
        self.on_output, self.tick = on_output, tick
        now = time.monotonic()
        self.soft = math.inf if policy.timeout is None else now + policy.timeout
        self.hard = self.soft + policy.grace
        self.warned = False
        self.next_tick = math.inf if tick is None else now + TICK_SECONDS

    def outcome(self) -> Outcome:
        """Send the order and wait; whatever happens first decides."""
        try:
            self.unsent = self.runner.send(memoryview(order_frame(self.order, self.soft)))
        except OSError:
            return never_began(self.runner.died(self.on_output).error)
        while True:
            outcome = self._react(self.runner.poll(self._patience())) or self._keep_time()
            if outcome is not None:
                return outcome

    def _patience(self) -> float:
        """Seconds until something is to be done even if nothing happens."""
        due = min(self.next_tick, self.hard if self.warned else self.soft)
        return math.inf if due == math.inf else max(0.0, due - time.monotonic())

    def _react(self, ready: Mapping[int, int]) -> Outcome | None:
        if self.runner.wrote(ready):
            self.runner.read_output(self.on_output)
        event = ready.get(self.runner.control.fileno(), 0)
        if event & _WRITABLE:
            with suppress(OSError):  # a death, of which the next poll tells
                self.unsent = self.runner.send(self.unsent)
        if event & ~_WRITABLE and (outcome := self._answer()):
            return outcome
        if not event and self.runner.has_died(ready):
            return self._died()
        return None

    def _answer(self) -> Outcome | None:
        heard = self.runner.receive()
        if heard is None:
            return self._died()
        for message, _ in heard:
            if message.get("attempt") == self.order.attempt:
                self.runner.retired = message.get("left")
                return outcome_of(message)
        return None

    def _died(self) -> Outcome:
        outcome = self.runner.died(self.on_output)
        if self.warned and outcome.signal == signal.SIGUSR2:
            return Outcome(Ending.TIMED_OUT, error=f"ended by the signal of {self._timeout()}", signal=signal.SIGUSR2)
        return outcome

    def _keep_time(self) -> Outcome | None:
        now = time.monotonic()
        if now >= self.next_tick and self.tick is not None:
            self.next_tick = now + TICK_SECONDS
            if (interrupted := self.tick()) is not None:
                self.runner.process.kill()
                return interrupted
        if now >= self.soft and not self.warned:
            self.warned = True
            os.kill(self.runner.pid, signal.SIGUSR2)  # the child raises TimeLimitExceeded if it is in the task still
        if now < self.hard:
            return None
        self.runner.process.kill()
        error = f"killed {self.policy.grace:g} s after {self._timeout()}"
        return Outcome(Ending.TIMED_OUT, error=error, signal=signal.SIGKILL)

    def _timeout(self) -> str:
        return f"its timeout of {self.policy.timeout:g} s"


def never_began(why: str | None) -> Outcome:
    """The outcome when no code of the user's ran for this attempt, so that it is not charged."""
    error = f"its runner was gone before the task began: {why}"
    return Outcome(Ending.INTERRUPTED, error=error, charge=False, cut=True)


def _to_stderr(data: bytes) -> None:
    with suppress(OSError):
        os.write(2, data)
