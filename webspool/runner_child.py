"""The inside of a runner: a process of its own that imports the user's app and runs one order after the other."""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import gc
import importlib
import io
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TextIO

from webspool import frames, tracing
from webspool.calling import TimeLimit, call, traceback_text
from webspool.ledger.deputy import dismiss_all
from webspool.orders import Ordered, ordered, outcome_frame
from webspool.records import Ending, Outcome
from webspool.release import IN_PLACE, Release, pin
from webspool.slate import Slate
from webspool.surroundings import Surroundings, set_handler, set_mask
from webspool.task import SPOOL_IGNORE, SPOOL_OK, SPOOL_RETRY, registry
from webspool.traces import VARIABLE

CONTROL, SPARE, QUEUE = 3, 4, 5
LOST_CONTROL = 97
OUR_FAULT = 70
RECEIVE = 1 << 16
LARGEST_QUEUED = 1 << 18
LARGEST_AMONG_OUTPUT = 4000
"""A pipe takes 4096 bytes in one piece, whoever else writes into it (pipe(7): PIPE_BUF)."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LINE_BUFFERED = 1


@dataclass(frozen=True, slots=True)
class Program:
    """What a runner imports: the instance's directory, its app ("module:attribute" or "module:factory()"), its code.

    `bodies` is where it finds what is too large for the ledger's rows, `slate` where it notes what it begins.
    """

    directory: Path
    app: str
    release: Release = IN_PLACE
    bodies: Path = Path("bodies")
    slate: Path | None = None


def live(program: Program, mark: bytes, parent: int, control: int, output: int, queue: int) -> NoReturn:
    """The whole life of a runner, begun right after the fork. Never returns into the parent's code.

    Behind `mark` it says among its output what an order came to.
    """
    status = OUR_FAULT
    try:
        _leave_the_parent(parent)
        _take_descriptors(control, output, queue)
        status = Child(program, mark).serve()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _leave_the_parent(parent: int) -> None:
    """A session of its own, so that the whole group can be killed; killed with the parent; no inherited handlers.

    uWSGI's signal handlers are C code for a process that this one is not, and spoolers ignore SIGALRM.
    """
    os.setsid()
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)
    faulthandler.disable()
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)  # as every Python program has them
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    atexit._clear()
    logging.getLogger().handlers.clear()
    gc.freeze()


def _take_descriptors(control: int, output: int, queue: int) -> None:
    """0 is /dev/null, 1 and 2 the output pipe, 3 the control socket, 4 the pipe once more, 5 the queue of orders; all
    others are closed.

    uWSGI's listening sockets must not live on here, and it leaves descriptor 0 closed in spoolers.
    """
    control, output, queue = _lifted(control), _lifted(output), _lifted(queue)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(control, CONTROL, inheritable=False)
    os.dup2(output, SPARE, inheritable=False)
    os.dup2(queue, QUEUE, inheritable=False)
    _close_all_above(QUEUE)
    faulthandler.enable(file=2)


def _lifted(descriptor: int) -> int:
    """The descriptor at a number above those that are about to be filled."""
    held = []
    while descriptor <= QUEUE:
        held.append(descriptor)
        descriptor = os.dup(descriptor)
    return descriptor


def _close_all_above(last: int) -> None:
    try:
        listed = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        os.closerange(last + 1, os.sysconf("SC_OPEN_MAX"))
        return
    for descriptor in listed:
        if descriptor > last:
            with suppress(OSError):
                os.close(descriptor)


class Child:
    """The runner seen from inside."""

    def __init__(self, program: Program, mark: bytes) -> None:
        self.directory, self.program, self.mark = program.directory, program, mark
        self.slate = Slate(program.slate)
        self.app: Any = None
        self.limit = TimeLimit()
        self.output = Output()
        self.control, self.queue = socket.socket(fileno=CONTROL), socket.socket(fileno=QUEUE)
        self.decoder, self.queued = frames.Decoder(), frames.Decoder()
        self.packet = memoryview(bytearray(LARGEST_QUEUED))
        self.surroundings: Surroundings | None = None
        self.threads: set[threading.Thread] = set()
        self.children: set[int] = set()

    def serve(self) -> int:
        """Say hello, then run what is ordered until the control socket ends; returns the exit status."""
        os.register_at_fork(after_in_child=self._leave_control)
        self._say_hello()
        while data := self._receive():
            for message, body in self.decoder.feed(data):
                self._work(ordered(message, body, self.program.bodies))
        with suppress(BaseException):
            atexit._run_exitfuncs()
        self.output.restore()
        return 0

    def _leave_control(self) -> None:
        """A process that the task forks must not keep the control socket open: its end tells that we died."""
        for descriptor in (CONTROL, QUEUE):
            with suppress(OSError):
                os.close(descriptor)

    def _say_hello(self) -> None:
        self.restore()
        answer: dict[str, Any]
        try:
            self._import_app()
            answer = {"tasks": {name: task.policy.as_dict() for name, task in registry.tasks.items()}}
        except BaseException as fault:
            answer = {"broken": traceback_text(fault)}
        self.restore()
        self.surroundings = Surroundings(self.directory, SPARE, signal.SIGUSR2)
        self._send(frames.encode(answer))

    def _import_app(self) -> None:
        sys.path.insert(0, str(self.directory))
        pin(self.directory, self.program.release.folder)
        importlib.invalidate_caches()
        _give_uwsgi_our_words()
        self.app = _load(self.program.app)
        if not logging.getLogger().handlers:
            _log_to_stderr()
        self.threads = set(threading.enumerate())
        self.children = self._living_children()
        gc.collect()
        gc.freeze()

    def _work(self, given: Ordered) -> None:
        """What is ordered, and what lies ready behind it as long as all goes well."""
        last, place = given.row, 0
        while True:
            went_well, frame = self._attempt(given)
            place += 1
            goes_on = place <= last and went_well and len(frame) < LARGEST_AMONG_OUTPUT
            further = self._further(place) if goes_on else None
            if further is None:
                self._send(frame)
                return
            self._say_among_output(frame)
            given = further

    def _further(self, place: int) -> Ordered | None:
        """The order that lies ready at that place; None when it was taken back, those behind it are as well then."""
        try:
            size = self.queue.recv_into(self.packet, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            os._exit(LOST_CONTROL)
        ((message, body),) = self.queued.feed(bytes(self.packet[:size]))
        found = ordered(message, body, self.program.bodies)
        return found if found.row == place else None

    def _say_among_output(self, frame: bytes) -> None:
        try:
            os.write(SPARE, self.mark + frame)
        except OSError:
            os._exit(LOST_CONTROL)

    def _attempt(self, given: Ordered) -> tuple[bool, bytes]:
        """Whether it has succeeded and left nothing behind that cannot be undone, and what it came to, as a frame."""
        order, began_at = given.order, time.time()
        task = registry.tasks.get(order.task)
        if task is None:
            outcome = Outcome(Ending.FAILED, error=f"the task {order.task} is not known to this code")
        else:
            if (place := tracing.traceparent_of(order)) is not None:
                os.environ[VARIABLE] = place
            self.slate.note(order.attempt)
            outcome = call(task, order, app=self.app, limit=self.limit, deadline=given.deadline())
        ended_at = time.time()
        changed = self.restore()
        if outcome.traceback is not None:
            self.output.tell(outcome.traceback)
        dismiss_all()
        left = changed or _wreck(outcome) or self._left_behind()
        went_well = left is None and outcome.ending is Ending.SUCCEEDED
        return went_well, outcome_frame(order.attempt, outcome, left, began_at, ended_at)

    def restore(self) -> str | None:
        """Undo what a task may have done to its process; returns what cannot be undone, or None."""
        set_handler(signal.SIGUSR2, self.limit.ring)
        self.output.restore()
        if self.surroundings is None:  # the import is to begin, or has ended: nobody else's yet
            set_mask(signal.SIG_UNBLOCK, (signal.SIGUSR2,))
            os.chdir(self.directory)
            return None
        return self.surroundings.restore()

    def _left_behind(self) -> str | None:
        """What the task left running, or None."""
        if threading.active_count() > 1:
            for thread in threading.enumerate():
                if not thread.daemon and thread not in self.threads:
                    return f"the thread {thread.name}"
        if left := self._living_children() - self.children:
            return f"the process {min(left)}"
        return None

    def _living_children(self) -> set[int]:
        """Our child processes that still run; those that ended and that nobody waited for are buried here."""
        try:
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if ended.si_pid in self.children:
                    break
                os.waitpid(ended.si_pid, os.WNOHANG)
        except (ChildProcessError, AttributeError):  # none; or a system without waitid
            return set()
        found = [path.read_text().split() for path in Path("/proc/self/task").glob("*/children")]
        return {int(pid) for pids in found for pid in pids}

    def _receive(self) -> bytes:
        try:
            return self.control.recv(RECEIVE)
        except OSError:
            os._exit(LOST_CONTROL)

    def _send(self, frame: bytes) -> None:
        try:
            self.control.sendall(frame)
        except OSError:
            os._exit(LOST_CONTROL)


def _wreck(outcome: Outcome) -> str | None:
    """Of an interpreter that ran out of memory nobody knows what else failed in it."""
    name = outcome.error.partition(":")[0] if outcome.error else ""
    return f"an interpreter after {name}" if name in ("MemoryError", "SystemError") else None


class Output:
    """sys.stdout and sys.stderr on the one output pipe, in true order, whatever a task did to them."""

    def __init__(self) -> None:
        self.inherited = (sys.stdin, sys.stdout, sys.stderr)  # kept: their end could close a descriptor of ours
        self.flush_c = _line_buffered_c()
        self.out, self.err = _text(1), _text(2)
        sys.stdin = os.fdopen(0, closefd=False)
        self._install()

    def restore(self) -> None:
        """Descriptors, streams and blocking mode as they were; everything written so far is in the pipe."""
        for stream in (sys.stdout, sys.stderr):
            if stream is not self.out and stream is not self.err:
                _flush(stream)
        try:
            os.dup2(SPARE, 1)
            os.dup2(SPARE, 2)
        except OSError:
            os._exit(LOST_CONTROL)
        os.set_blocking(1, True)
        self.out = self.out if _flush(self.out) else _text(1)
        self.err = self.err if _flush(self.err) else _text(2)
        self.flush_c()
        self._install()

    def tell(self, text: str) -> None:
        self.err.write(text)
        self.err.flush()

    def _install(self) -> None:
        sys.stdout = sys.__stdout__ = self.out  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self.err  # type: ignore[misc]


def _text(descriptor: int) -> io.TextIOWrapper:
    raw = io.FileIO(descriptor, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "backslashreplace", line_buffering=True)


def _flush(stream: Any) -> bool:
    """Whether the stream could be flushed: not closed, not detached."""
    try:
        stream.flush()
    except Exception:
        return False
    return True


def _line_buffered_c() -> Any:
    """Make C's own stdout line-buffered, so that printf stands where it was called; returns what flushes it."""
    try:
        libc = ctypes.CDLL(None)
        stdout = ctypes.c_void_p.in_dll(libc, "stdout")
        libc.setvbuf(stdout, None, _LINE_BUFFERED, 0)
    except (OSError, ValueError, AttributeError):
        return lambda: None
    return lambda: libc.fflush(stdout)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to whatever sys.stderr is now."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _stream: TextIO) -> None:
        pass


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", handlers=[_Stderr()])


def _give_uwsgi_our_words() -> None:
    """So that `return uwsgi.SPOOL_RETRY` means what it says, told by identity."""
    try:
        uwsgi = importlib.import_module("uwsgi")
    except ImportError:
        return
    vars(uwsgi).update(SPOOL_OK=SPOOL_OK, SPOOL_RETRY=SPOOL_RETRY, SPOOL_IGNORE=SPOOL_IGNORE)


def _load(app: str) -> Any:
    """What "module:attribute" or "module:factory()" names."""
    module, _, attribute = app.partition(":")
    found: Any = importlib.import_module(module)
    for name in (attribute.removesuffix("()") or "app").split("."):
        found = getattr(found, name)
    return found() if attribute.endswith("()") else found
