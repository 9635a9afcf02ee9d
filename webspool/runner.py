"""The runner as its spooler sees it: a standing child process that calls your function; its death is an outcome.

One thread owns a runner: the kernel ends the child when the thread that started it ends (PR_SET_PDEATHSIG).
Processes that a task puts into a session of their own are out of reach and live on.
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
from types import MappingProxyType
from typing import Any

from webspool import frames, runner_child
from webspool.errors import RunnerBroken
from webspool.orders import order_frame, outcome_of
from webspool.policy import Policy
from webspool.processes import kill_session, start_time
from webspool.records import Ending, Order, Outcome

OnOutput = Callable[[bytes], None]
Watch = Mapping[int, Callable[[], Outcome | None]]

TICK_SECONDS = 0.1
LONGEST_POLL_SECONDS = 3600.0
BLIND_POLL_SECONDS = 0.2
DYING_SECONDS = 1.0
RECEIVE = 1 << 16
LARGEST_PIPE = 1 << 20

_NOTHING: Watch = MappingProxyType({})
_READABLE = select.POLLIN if hasattr(select, "POLLIN") else 0
_WRITABLE = select.POLLOUT if hasattr(select, "POLLOUT") else 0


@dataclass(frozen=True, slots=True)
class Program:
    """What a runner imports: the instance's directory, and its app as "module:attribute" or "module:factory()"."""

    directory: Path
    app: str


class Runner:
    """One child process. `pid` leads its session; `start_time` in clock ticks since boot, 0 where it is not told.

    `stray` counts the bytes that came out between two jobs; `retired` says why a living one was ended.
    """

    def __init__(self, program: Program, pid: int, control: socket.socket, output: int) -> None:
        self.program, self.pid, self.start_time = program, pid, start_time(pid)
        self.stray, self.retired = 0, None
        self._status: int | None = None
        self._ended = False
        self._control, self._output = control, output
        self._decoder = frames.Decoder()
        self._watched: tuple[int, ...] = ()
        self._pidfd = _pidfd(pid)
        control.setblocking(False)
        os.set_blocking(output, False)
        self._poller = select.poll()
        for descriptor in (control.fileno(), output, self._pidfd):
            if descriptor >= 0:
                self._poller.register(descriptor, _READABLE)

    @classmethod
    def start(cls, program: Program) -> Runner:
        """Fork a runner, which begins to import the app; `hello` waits for it. Raises OSError."""
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            os.close(reading)
            ours.close()
            raise
        else:
            if pid == 0:
                runner_child.live(program.directory, program.app, parent, theirs.fileno(), writing)
        finally:
            theirs.close()
            os.close(writing)
        return cls(program, pid, ours, reading)

    @property
    def alive(self) -> bool:
        """Whether it can be called: neither ended by us nor by itself."""
        return not self._ended and not _has_ended(self.pid)

    def hello(self, seconds: float) -> dict[str, Policy]:
        """The tasks that the app defines, by name, once it is imported. Raises RunnerBroken; the runner is then gone.

        What the import prints goes to our own stderr.
        """
        said = self._first_word(time.monotonic() + seconds)
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
        watch: Watch = _NOTHING,
        tick: Callable[[], None] | None = None,
    ) -> Outcome:
        """Run one order and wait for its outcome, however it ends; `alive` then tells whether to start another runner.

        `on_output` gets what is written, as it comes. A readable descriptor of `watch` has its function called, which
        interrupts the task by returning an outcome. `tick` is called every 0.1 s. What one of these raises ends the
        runner and is raised here.
        """
        if not self.alive:
            self.kill()
            return _never_began(self._how_it_ended())
        self._put_stray_aside()
        self._look_at(watch)
        try:
            outcome = _Attempt(self, order, policy, on_output, watch, tick).outcome()
            self._drain(on_output)
        except BaseException:
            self.kill()
            raise
        if self.retired:
            self._kill_processes()
            self._drain(on_output)
        if self._ended:
            self._close()
        return outcome

    def stop(self, seconds: float = 2.0) -> None:
        """Let it end by itself, with what the app registered by atexit; after `seconds` it is killed."""
        if self._ended:
            return
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._ends_within(seconds)
        self.kill()

    def kill(self) -> None:
        """End its whole session now and bury it."""
        self._kill_processes()
        self._close()

    # ── the process ─────────────────────────────────────────────────────────────────────────────────────────────

    def _kill_processes(self) -> None:
        """The group first and the leader's burial last: until then no other process can have its number."""
        if self._ended:
            return
        self._ended = True
        for kill in (os.killpg, os.kill):
            with suppress(OSError):
                kill(self.pid, signal.SIGKILL)
        kill_session(self.pid, self.start_time)
        with suppress(ChildProcessError):
            self._status = os.waitpid(self.pid, 0)[1]

    def _close(self) -> None:
        self._control.close()
        for descriptor in (self._output, self._pidfd):
            if descriptor >= 0:
                os.close(descriptor)
        self._output = self._pidfd = -1

    def _ends_within(self, seconds: float) -> bool:
        """Whether the process ends by itself; its output is read meanwhile, so that a full pipe cannot hold it."""
        until = time.monotonic() + seconds
        while not _has_ended(self.pid):
            if time.monotonic() >= until:
                return False
            self._read_output(_to_stderr)
            time.sleep(0.002)
        return True

    def _how_it_ended(self) -> str:
        if self._status is None:
            return "its process is gone, how is not known"
        if os.WIFSIGNALED(self._status):
            return f"its process was killed by {_signal_name(os.WTERMSIG(self._status))}"
        code = os.waitstatus_to_exitcode(self._status)
        if code == runner_child.LOST_CONTROL:
            return "its process ended, having closed the descriptors of its runner"
        return f"its process ended with exit code {code}"

    def _died(self) -> Outcome:
        """The outcome of a process that no longer speaks: it is dead, or deaf and killed for it."""
        by_itself = self._ends_within(DYING_SECONDS)
        self._kill_processes()
        if not by_itself:
            error = "its process was killed: it had closed the descriptors of its runner, or become another program"
            return Outcome(Ending.INTERRUPTED, error=error, signal=signal.SIGKILL)
        status = self._status
        exited = os.waitstatus_to_exitcode(status) if status is not None else None
        return Outcome(
            Ending.INTERRUPTED,
            error=self._how_it_ended(),
            exit_code=exited if exited is not None and exited >= 0 else None,
            signal=-exited if exited is not None and exited < 0 else None,
        )

    # ── what it says ────────────────────────────────────────────────────────────────────────────────────────────

    def _first_word(self, until: float) -> dict[str, Any]:
        while (left := until - time.monotonic()) > 0:
            ready = self._poll(left)
            if self._output in ready:
                self._read_output(_to_stderr)
            if self._control.fileno() in ready:
                heard = self._receive()
                if heard is None:
                    return {"broken": self._died().error}
                if heard:
                    self._read_output(_to_stderr)
                    return heard[0][0]
            elif self._has_died(ready):
                return {"broken": self._died().error}
        return {}

    def _poll(self, seconds: float) -> dict[int, int]:
        longest = LONGEST_POLL_SECONDS if self._pidfd >= 0 else BLIND_POLL_SECONDS
        return dict(self._poller.poll(math.ceil(min(seconds, longest) * 1000)))

    def _has_died(self, ready: Mapping[int, int]) -> bool:
        return self._pidfd in ready or (self._pidfd < 0 and not ready and _has_ended(self.pid))

    def _receive(self) -> list[frames.Frame] | None:
        """Frames that have arrived; None when there will be no more."""
        try:
            data = self._control.recv(RECEIVE)
            return self._decoder.feed(data) if data else None
        except BlockingIOError:
            return []
        except (OSError, ValueError):  # ValueError: the task wrote into our socket
            return None

    def _send(self, data: memoryview) -> memoryview:
        """Send what can be sent at once; returns the rest."""
        with suppress(BlockingIOError):
            data = data[self._control.send(data, getattr(socket, "MSG_NOSIGNAL", 0)) :]
        self._poller.modify(self._control, _READABLE | _WRITABLE if data else _READABLE)
        return data

    def _look_at(self, watch: Watch) -> None:
        descriptors = tuple(watch)
        if descriptors == self._watched:
            return
        for descriptor in self._watched:
            self._poller.unregister(descriptor)
        for descriptor in descriptors:
            self._poller.register(descriptor, _READABLE)
        self._watched = descriptors

    # ── what it writes ──────────────────────────────────────────────────────────────────────────────────────────

    def _read_output(self, on_output: OnOutput) -> int:
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

    def _drain(self, on_output: OnOutput) -> None:
        """All that was in the pipe; no more than a pipe can hold, since a process left behind may write for ever."""
        drained = 0
        while drained < LARGEST_PIPE and (length := self._read_output(on_output)):
            drained += length

    def _put_stray_aside(self) -> None:
        before = self.stray
        self._drain(self._count_stray)
        if self.stray > before:
            _to_stderr(b"webspool: %d bytes were written between two jobs and dropped\n" % (self.stray - before))

    def _count_stray(self, data: bytes) -> None:
        self.stray += len(data)


class _Attempt:
    """One order on its way through a runner."""

    def __init__(
        self,
        runner: Runner,
        order: Order,
        policy: Policy,
        on_output: OnOutput,
        watch: Watch,
        tick: Callable[[], None] | None,
    ) -> None:
        self.runner, self.order, self.policy = runner, order, policy
        self.on_output, self.watch, self.tick = on_output, watch, tick
        now = time.monotonic()
        self.soft = math.inf if policy.timeout is None else now + policy.timeout
        self.hard = self.soft + policy.grace
        self.warned = False
        self.next_tick = math.inf if tick is None else now + TICK_SECONDS

    def outcome(self) -> Outcome:
        try:
            self.unsent = self.runner._send(memoryview(order_frame(self.order, self.soft)))
        except OSError:
            return self._never_began()
        while True:
            outcome = self._react(self.runner._poll(self._patience())) or self._keep_time()
            if outcome is not None:
                return outcome

    def _never_began(self) -> Outcome:
        return _never_began(self.runner._died().error or "")

    def _patience(self) -> float:
        """Seconds until something is to be done even if nothing happens."""
        due = min(self.next_tick, self.hard if self.warned else self.soft)
        return math.inf if due == math.inf else max(0.0, due - time.monotonic())

    def _react(self, ready: Mapping[int, int]) -> Outcome | None:
        runner = self.runner
        if runner._output in ready:
            runner._read_output(self.on_output)
        if (event := ready.get(runner._control.fileno(), 0)) & ~_WRITABLE:
            outcome = self._answer()
        elif runner._has_died(ready):
            outcome = self._died()
        else:
            outcome = None
        if event & _WRITABLE and self.unsent and outcome is None:
            self._send_more()
        return outcome or self._interrupted(ready)

    def _send_more(self) -> None:
        with suppress(OSError):  # a death: the next poll tells
            self.unsent = self.runner._send(self.unsent)

    def _answer(self) -> Outcome | None:
        heard = self.runner._receive()
        if heard is None:
            return self._died()
        for message, _ in heard:
            if message.get("attempt") == self.order.attempt:
                self.runner.retired = message.get("left")
                return outcome_of(message)
        return None

    def _died(self) -> Outcome:
        outcome = self.runner._died()
        if self.warned and outcome.signal == signal.SIGUSR2:
            return Outcome(Ending.TIMED_OUT, error=f"ended by the signal of {self._timeout()}", signal=signal.SIGUSR2)
        return outcome

    def _interrupted(self, ready: Mapping[int, int]) -> Outcome | None:
        for descriptor, heard in self.watch.items():
            if descriptor in ready and (outcome := heard()) is not None:
                self.runner._kill_processes()
                return outcome
        return None

    def _keep_time(self) -> Outcome | None:
        now = time.monotonic()
        if self.tick is not None and now >= self.next_tick:
            self.next_tick = now + TICK_SECONDS
            self.tick()
        if now >= self.soft and not self.warned:
            self.warned = True
            os.kill(self.runner.pid, signal.SIGUSR2)  # the child raises TimeLimitExceeded if it is in the task
        if now < self.hard:
            return None
        self.runner._kill_processes()
        error = f"killed {self.policy.grace:g} s after {self._timeout()}"
        return Outcome(Ending.TIMED_OUT, error=error, signal=signal.SIGKILL)

    def _timeout(self) -> str:
        return f"its timeout of {self.policy.timeout:g} s"


def _never_began(why: str) -> Outcome:
    """No code of the user's ran for this attempt, so it is not charged."""
    error = f"its runner was gone before the task began: {why}"
    return Outcome(Ending.INTERRUPTED, error=error, charge=False, cut=True)


def _pidfd(pid: int) -> int:
    """A descriptor that is readable when the process has ended; -1 on systems that have none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def _has_ended(pid: int) -> bool:
    """Whether our child has ended; it is not buried by asking."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _to_stderr(data: bytes) -> None:
    with suppress(OSError):
        os.write(2, data)
