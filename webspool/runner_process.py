"""The process of a runner: how it is begun, watched, killed with its whole session, and what its end is called."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass

from webspool import orphans, out_of_memory, runner_child
from webspool.processes import kill_session, start_time
from webspool.records import Ending, Outcome
from webspool.runner_child import Program

_PACKETS = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM


@dataclass(frozen=True, slots=True)
class Wires:
    """What connects a runner with its spooler: the socket by which it is spoken to, what it writes, both ends of the
    queue in which further orders lie, and the mark behind which it says among its output what an order came to.
    """

    control: socket.socket
    output: int
    queue_in: socket.socket
    queue_out: socket.socket
    mark: bytes


class Process:
    """A child process that leads a session. `pidfd` is readable once it has ended; -1 where the system has none."""

    def __init__(self, pid: int) -> None:
        orphans.spare(pid)
        self.pid, self.start_time = pid, start_time(pid)
        self.pidfd = _pidfd(pid)
        self.memory = out_of_memory.Watch()
        self.buried = False
        self._status: int | None = None

    @classmethod
    def fork(cls, program: Program) -> tuple[Process, Wires]:
        """A new runner, and how it is spoken to. Raises OSError."""
        parent = os.getpid()
        ours, theirs = socket.socketpair()
        queue_in, queue_out = socket.socketpair(type=_PACKETS)
        reading, writing = os.pipe()
        mark = b"\0" + os.urandom(15)
        try:
            pid = os.fork()
            if pid == 0:
                runner_child.live(program, mark, parent, theirs.fileno(), writing, queue_out.fileno())
        except OSError:
            for end in (ours, queue_in, queue_out):
                end.close()
            os.close(reading)
            raise
        finally:
            theirs.close()
            os.close(writing)
        return cls(pid), Wires(ours, reading, queue_in, queue_out, mark)

    def has_ended(self) -> bool:
        """Whether it has; asking does not bury it."""
        try:
            return self.buried or os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def ends_within(self, seconds: float, meanwhile: Callable[[], object]) -> bool:
        """Whether it ends by itself in that time; `meanwhile` is called every few milliseconds."""
        until = time.monotonic() + seconds
        while not self.has_ended():
            if time.monotonic() >= until:
                return False
            meanwhile()
            time.sleep(0.002)
        return True

    def kill(self, *, daemons: bool = True) -> None:
        """End the whole session, and what has left it for one of its own, if `daemons` are to go too.

        The leader is buried last: until then no other process can have its number.
        """
        if self.buried:
            return
        with nullcontext() if daemons else orphans.left_to_init():
            for kill in (os.killpg, os.kill):
                with suppress(OSError):
                    kill(self.pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            kill_session(self.pid, self.start_time)
            with suppress(ChildProcessError):
                self._status = os.waitpid(self.pid, 0)[1]
        self.buried = True
        orphans.bury(self.pid)

    def close(self) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)
        self.pidfd = -1

    def end(self) -> str:
        """How the buried process ended, as a sentence."""
        code = self._exit_code()
        if code is None:
            return "its process is gone, how is not known"
        if code == -signal.SIGKILL and self.memory.has_struck():
            return "its process was killed by SIGKILL, by the kernel: out of memory"
        if code < 0:
            return f"its process was killed by {_signal_name(-code)}"
        if code == runner_child.LOST_CONTROL:
            return "its process ended, having closed the descriptors of its runner"
        return f"its process ended with exit code {code}"

    def outcome(self) -> Outcome:
        """What the end of the buried process is for the attempt that it cut off."""
        code = self._exit_code()
        if code is None:
            return Outcome(Ending.INTERRUPTED, error=self.end())
        if code < 0:
            return Outcome(Ending.INTERRUPTED, error=self.end(), signal=-code)
        return Outcome(Ending.INTERRUPTED, error=self.end(), exit_code=code)

    def _exit_code(self) -> int | None:
        return None if self._status is None else os.waitstatus_to_exitcode(self._status)


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
