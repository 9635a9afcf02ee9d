"""The keeper's door as a unix socket in a folder of mode 0700, and the way of another process to it."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from webspool import frames
from webspool.errors import LedgerUnavailable
from webspool.ledger.inbox import KeeperGone, Request
from webspool.ledger.operations import Answer, Operation

try:
    import fcntl
except ImportError:  # Windows: there a keeper is a thread, and nobody reaches it from outside
    fcntl = None  # type: ignore[assignment]

RECEIVED_AT_ONCE = 1 << 15
LONGEST_ADDRESS = 100
TELLING_SECONDS = 0.05


@contextlib.contextmanager
def _address(folder: Path, name: str = "keeper.sock") -> Iterator[str]:
    """The socket's address; a path too long for one (unix(7): 108 bytes) goes by its folder's descriptor."""
    path = str(folder / name)
    if len(os.fsencode(path)) <= LONGEST_ADDRESS:
        yield path
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


class SocketRequest:
    """An operation that came over a connection."""

    def __init__(self, connection: _Connection, operation: Operation, *, awaited: bool) -> None:
        self.connection, self.operation, self.awaited = connection, operation, awaited

    @property
    def gone(self) -> bool:
        return not self.connection.open

    def answer(self, answer: Answer) -> None:
        self.connection.send(frames.encode({"id": self.operation.id, "is": answer.values}, answer.body))

    def fail(self, why: str) -> None:
        self.connection.send(frames.encode({"id": self.operation.id, "why": why}))


class _Connection:
    """One caller: what it sent in part, and what it has not read yet."""

    def __init__(self, inbox: SocketInbox, sock: socket.socket) -> None:
        self.inbox, self.socket = inbox, sock
        self.decoder = frames.Decoder()
        self.unsent = bytearray()
        self.open = True

    def receive(self) -> list[Request]:
        try:
            data = self.socket.recv(RECEIVED_AT_ONCE)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.close()
            return []
        try:
            return [self._request(message, body) for message, body in self.decoder.feed(data)]
        except (ValueError, KeyError, TypeError, AttributeError):
            self.close()
            return []

    def _request(self, message: dict[str, Any], body: bytes) -> Request:
        operation = Operation.from_frame(message, body)
        if operation.verb in ("turn", "join", "present"):
            self.inbox.connections[_process_of(operation)] = self
        return SocketRequest(self, operation, awaited=not message.get("tell", False))

    def send(self, data: bytes) -> None:
        if not self.open:
            return
        if not self.unsent:
            with contextlib.suppress(BlockingIOError):
                data = data[self._send_some(data) :]
        if data and self.open:
            self.unsent += data
            self.inbox.selector.modify(self.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self.serve)

    def _send_some(self, data: bytes) -> int:
        try:
            return self.socket.send(data)
        except BlockingIOError:
            raise
        except OSError:
            self.close()
            return len(data)

    def flush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            del self.unsent[: self._send_some(bytes(self.unsent))]
        if self.open and not self.unsent:
            self.inbox.selector.modify(self.socket, selectors.EVENT_READ, self.serve)

    def serve(self, events: int) -> list[Request]:
        if events & selectors.EVENT_WRITE:
            self.flush()
        return self.receive() if self.open and events & selectors.EVENT_READ else []

    def close(self) -> None:
        if self.open:
            self.open = False
            self.inbox.selector.unregister(self.socket)
            self.socket.close()


def _process_of(operation: Operation) -> str:
    given = operation.arguments
    return str(given.get("process") or (given.get("claim") or {}).get("process") or "")


class SocketInbox:
    """The keeper's door. One keeper holds the folder's lock; the next waits for it."""

    def __init__(self, folder: Path, *, lock_seconds: float = 5.0) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._lock = _locked(folder / "lock", lock_seconds)
        self._spare = os.open(os.devnull, os.O_RDONLY)
        self.selector = selectors.DefaultSelector()
        self.connections: dict[str, _Connection] = {}
        self.listener = self._listen(folder)
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)

    def _listen(self, folder: Path) -> socket.socket:
        (folder / "keeper.sock").unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _address(folder) as address:
            listener.bind(address)
        listener.listen(512)
        listener.setblocking(False)
        return listener

    def _accept(self, events: int) -> list[Request]:
        try:
            sock, _ = self.listener.accept()
        except OSError as fault:
            if fault.errno in (errno.EMFILE, errno.ENFILE):
                self._turn_away()
        else:
            sock.setblocking(False)
            connection = _Connection(self, sock)
            self.selector.register(sock, selectors.EVENT_READ, connection.serve)
        return []

    def _turn_away(self) -> None:
        """No descriptor is left: with the spare one the caller is told so, and writes directly, instead of waiting."""
        os.close(self._spare)
        with contextlib.suppress(OSError):
            self.listener.accept()[0].close()
        self._spare = os.open(os.devnull, os.O_RDONLY)

    def collect(self, seconds: float) -> list[Request]:
        """The operations that have arrived; waits at most that long for the first."""
        found: list[Request] = []
        for key, events in self.selector.select(max(seconds, 0.0)):
            found += key.data(events)
        return found

    def push(self, process: str, message: dict[str, Any]) -> None:
        """Tell a process something that it did not ask."""
        connection = self.connections.get(process)
        if connection is not None:
            connection.send(frames.encode({"push": message}))

    def watch(self, descriptor: int, callback: Callable[[], None]) -> bool:
        """Call it when the descriptor becomes readable; whether that can be done."""

        def ready(_events: int) -> list[Request]:
            callback()
            return []

        self.selector.register(descriptor, selectors.EVENT_READ, ready)
        return True

    def unwatch(self, descriptor: int) -> None:
        self.selector.unregister(descriptor)
        os.close(descriptor)

    def close(self) -> None:
        """End every connection, so that its caller knows at once that the keeper is gone; give up the lock."""
        for key in list(self.selector.get_map().values()):
            if isinstance(key.fileobj, int):
                os.close(key.fileobj)
            else:
                key.fileobj.close()  # type: ignore[attr-defined]
        self.selector.close()
        os.close(self._spare)
        os.close(self._lock)


@contextlib.contextmanager
def held_alone(folder: Path) -> Iterator[None]:
    """No keeper begins in here. Raises LedgerUnavailable while one serves."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = _locked(folder / "lock", 0.0)
    try:
        yield
    finally:
        os.close(descriptor)


def _locked(path: Path, seconds: float) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    give_up = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= give_up:
                os.close(descriptor)
                raise LedgerUnavailable(ledger=path.parent, why="another keeper serves it") from None
            time.sleep(0.05)
        else:
            return descriptor


class Line:
    """A connection to who writes the ledger, begun by `connect` and used by one thread at a time."""

    __slots__ = ("_connect", "decoder", "hundredths", "process", "pushed", "socket")

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self.process = os.getpid()
        self.socket: socket.socket | None = None
        self.pushed: list[dict[str, Any]] = []

    def ask(self, operation: Operation, give_up: float) -> frames.Frame:
        """Send, and wait until then (monotonic seconds) for the answer of that id. Raises OSError, ValueError."""
        connection = self.connection()
        self.bound(connection, give_up - time.monotonic())
        connection.sendall(operation.frame())
        while True:
            answer = None
            for message, body in self.received(connection):
                if "push" in message:
                    self.pushed.append(message["push"])
                elif message["id"] == operation.id and answer is None:  # another id: late, its operation was given up
                    answer = message, body
            if answer is not None:
                return answer
            self.bound(connection, give_up - time.monotonic())

    def connection(self) -> socket.socket:
        """Begun when there is none. Raises OSError."""
        if self.socket is None:
            self.socket = self._connect()
            self.decoder, self.hundredths = frames.Decoder(), 0
        return self.socket

    def bound(self, connection: socket.socket, seconds: float) -> None:
        """Let sending and receiving fail after so long, rounded up to a hundredth of a second.

        The kernel keeps the time: Python's own timeouts ask `poll` before each of them.
        """
        hundredths = max(math.ceil(seconds * 100), 1)
        if hundredths != self.hundredths:
            self.hundredths = hundredths
            value = struct.pack("@ll", hundredths // 100, hundredths % 100 * 10_000)  # a timeval
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)

    def received(self, connection: socket.socket, flags: int = 0) -> list[frames.Frame]:
        data = connection.recv(RECEIVED_AT_ONCE, flags)
        if not data:
            raise ConnectionResetError
        return self.decoder.feed(data)

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class SocketRoute:
    """The way of a process to the keeper: one connection a thread, made anew after a fork."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._connect = partial(_connected, folder)
        self._local = threading.local()

    def ask(self, operation: Operation) -> Answer:
        """Send, and wait for the answer of that id until the deadline. Raises KeeperGone, LedgerUnavailable."""
        line = self._line()
        try:
            answer = line.ask(operation, operation.deadline)
        except (OSError, ValueError) as fault:
            line.close()
            raise KeeperGone from fault
        return opened(self._folder.parent, *answer)

    def tell(self, operation: Operation) -> bool:
        """Send without waiting; False when nobody takes it."""
        given = {"id": operation.id, "do": operation.verb, "with": operation.arguments, "by": None, "tell": True}
        line = self._line()
        try:
            connection = line.connection()
            line.bound(connection, TELLING_SECONDS)
            connection.sendall(frames.encode(given, operation.body))
        except (OSError, ValueError):
            line.close()
            return False
        return True

    def _line(self) -> Line:
        """This thread's; that of a process from which this one was forked is not ours."""
        line: Line | None = getattr(self._local, "line", None)
        if line is None or line.process != os.getpid():
            line = self._local.line = Line(self._connect)
        return line

    def connected(self) -> bool:
        """Whether this thread has a connection, over which the keeper can say something unasked."""
        return self._line().socket is not None

    def pushed(self) -> list[dict[str, Any]]:
        """What the keeper said unasked since the last time."""
        line = self._line()
        connection = line.socket
        if connection is None:
            return []
        try:
            while True:
                received = line.received(connection, socket.MSG_DONTWAIT)
                line.pushed += [message["push"] for message, _ in received if "push" in message]
        except BlockingIOError:
            pass
        except (OSError, ValueError):
            line.close()
        taken, line.pushed = line.pushed, []
        return taken

    def close(self) -> None:
        self._line().close()


def opened(ledger: Path, message: dict[str, Any], body: bytes) -> Answer:
    """What an answer says. Raises LedgerUnavailable."""
    if "why" in message:
        raise LedgerUnavailable(ledger=ledger, why=message["why"])
    return Answer(message["is"], body)


def _connected(folder: Path) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise ConnectionRefusedError("this system has no unix sockets")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(0.5)
        with _address(folder) as address:
            connection.connect(address)
        connection.settimeout(None)
    except OSError:
        connection.close()
        raise
    return connection
