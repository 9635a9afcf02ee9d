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
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from webspool import frames
from webspool.attempt import READABLE, WRITABLE, Attempt, OnOutput, Tick, never_began
from webspool.batch import MOST, Batch, Watcher
from webspool.errors import RunnerBroken
from webspool.orders import Packed, place_in_row
from webspool.policy import Policy
from webspool.records import Ending, Order, Outcome
from webspool.runner_child import LARGEST_QUEUED, Program
from webspool.runner_process import Process, Wires

DYING_SECONDS = 1.0
RECEIVE = 1 << 16
LARGEST_ANSWER = 8 << 20
LARGEST_PIPE = 1 << 20

_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
_LONGEST_POLL_SECONDS = 3600.0
_BLIND_POLL_SECONDS = 0.2
_DEAF = "its process was killed: it had closed the descriptors of its runner, or become another program"


class Runner:
    """One child process, in which one task at a time runs.

    `stray` counts the bytes written between two jobs; `retired` says what a task left in it that cannot be undone, for
    which the runner was ended.
    """

    def __init__(self, program: Program, process: Process, wires: Wires) -> None:
        self.program, self.process = program, process
        self.stray = 0
        self.retired: str | None = None
        self.control, self._output, self._wires = wires.control, wires.output, wires
        self._decoder = frames.Decoder(LARGEST_ANSWER)  # a task may write into our socket
        for end in (wires.control, wires.queue_in, wires.queue_out):
            end.setblocking(False)
        os.set_blocking(wires.output, False)
        self._poller, self._quiet = select.poll(), select.poll()
        for poller, output in ((self._poller, wires.output), (self._quiet, -1)):
            for descriptor in (wires.control.fileno(), output, process.pidfd):
                if descriptor >= 0:
                    poller.register(descriptor, READABLE)

    @classmethod
    def start(cls, program: Program) -> Runner:
        """Fork a runner, which begins to import the app; `hello` waits for it. Raises OSError."""
        return cls(program, *Process.fork(program))

    @property
    def most(self) -> int:
        """How many orders it takes at once."""
        return MOST if sys.platform == "linux" else 1

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
        order: Order | Packed,
        policy: Policy,
        on_output: OnOutput,
        tick: Tick | None = None,
    ) -> Outcome:
        """Run one order and wait for its outcome, however it ends; `alive` then tells whether to start another runner.

        `on_output` gets what is written, as it comes. `tick` is called every 0.1 s and interrupts the task by returning
        an outcome. What one of these raises ends the runner and is raised here.
        """
        if not self._is_at_hand():
            self.kill()
            return never_began(self.process.end())
        try:
            self.process.memory.renew()
            outcome = Attempt(self, order, policy, on_output, tick).outcome()
            self.drain(on_output)
            self._end_if_due(on_output, daemons=outcome.ending is not Ending.SUCCEEDED)
        except BaseException:
            self.kill()
            raise
        return outcome

    def call_several(self, orders: Sequence[Packed], policies: Sequence[Policy], watcher: Watcher) -> list[Outcome]:
        """Run these one after the other; returns the outcomes of those that were begun, the first ones.

        What `watcher` raises ends the runner and is raised here.
        """
        if not self._is_at_hand():
            self.kill()
            return [never_began(self.process.end())]
        try:
            self.process.memory.renew()
            outcomes = Batch(self, orders, policies, watcher, self._wires.mark).outcomes()
            last = len(outcomes) - 1
            daemons = outcomes[last].ending is not Ending.SUCCEEDED
            self._end_if_due(lambda data: watcher.take(last, data), daemons=daemons)
        except BaseException:
            self.kill()
            raise
        return outcomes

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
        for end in (self.control, self._wires.queue_in, self._wires.queue_out):
            end.close()
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

    def poll_quietly(self, seconds: float) -> dict[int, int]:
        """As `poll`, but what is written wakes nobody."""
        return dict(self._quiet.poll(math.ceil(seconds * 1000)))

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
            data = data[self.control.send(data, _NO_SIGNAL) :]
        self._poller.modify(self.control, READABLE | WRITABLE if data else READABLE)
        return data

    def queue(self, orders: Iterable[bytes]) -> int:
        """Lay orders ready for the runner; returns how many there was room for."""
        queued = 0
        for order in orders:
            try:
                self._wires.queue_in.send(order)
            except OSError:
                break
            queued += 1
        return queued

    def take_back(self) -> int | None:
        """Take the orders that it has not taken; returns the place of the first of them, None when there were none.

        It may take some in between. It begins none of these: it sees that one before them is missing.
        """
        first = None
        with suppress(OSError):
            while order := self._wires.queue_out.recv(LARGEST_QUEUED):
                first = first or place_in_row(order)
        return first

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
        drained = length = 0
        while drained < LARGEST_PIPE and (length := self.read_output(on_output)) == RECEIVE:
            drained += length

    def _is_at_hand(self) -> bool:
        """Whether it lives; what was written since the last job is put aside."""
        ready = self.poll(0)  # tells of both in one look, and of neither nearly always
        if self.process.pidfd in ready or (self.process.pidfd < 0 and not self.alive):
            return False
        if self.wrote(ready):
            self._put_stray_aside()
        return True

    def _put_stray_aside(self) -> None:
        before = self.stray
        self.drain(self._count_stray)
        if self.stray > before:
            _to_stderr(b"webspool: %d bytes were written between two jobs and dropped\n" % (self.stray - before))

    def _count_stray(self, data: bytes) -> None:
        self.stray += len(data)


def _to_stderr(data: bytes) -> None:
    with suppress(OSError):
        os.write(2, data)


__all__ = ["Program", "Runner"]
