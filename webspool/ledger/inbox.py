"""Where the keeper finds the operations of others, and how it answers: the interface, and its form for threads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from webspool.errors import LedgerUnavailable
from webspool.ledger.operations import Answer, Operation
from webspool.mailbox import Mailbox


class KeeperGone(Exception):
    """The keeper did not answer; `asked` says whether the operation may have reached it."""


class Request(Protocol):
    """An operation that waits for its answer (or not: `tell`)."""

    operation: Operation
    awaited: bool

    @property
    def gone(self) -> bool: ...
    def answer(self, answer: Answer) -> None: ...
    def fail(self, why: str) -> None: ...


class Inbox(Protocol):
    """The keeper's door."""

    def collect(self, seconds: float) -> list[Request]: ...
    def push(self, process: str, message: dict[str, Any]) -> None: ...
    def watch(self, descriptor: int, callback: Callable[[], None]) -> bool: ...
    def unwatch(self, descriptor: int) -> None: ...
    def close(self) -> None: ...


class Route(Protocol):
    """A caller's way to the keeper."""

    def ask(self, operation: Operation) -> Answer: ...
    def tell(self, operation: Operation) -> bool: ...
    def connected(self) -> bool: ...
    def pushed(self) -> list[dict[str, Any]]: ...


class QueuedRequest:
    """A request between two threads of one process."""

    def __init__(self, operation: Operation, *, awaited: bool = True) -> None:
        self.operation, self.awaited = operation, awaited
        self.gone = False
        self._done = threading.Event()
        self._answer: Answer | None = None
        self._why: str | None = None

    def answer(self, answer: Answer) -> None:
        self._answer = answer
        self._done.set()

    def fail(self, why: str) -> None:
        self._why = why
        self._done.set()

    def wait(self) -> Answer:
        self._done.wait(max(0.0, min(self.operation.deadline - time.monotonic(), threading.TIMEOUT_MAX)))
        if self._why is not None:
            raise LedgerUnavailable(ledger="of this process", why=self._why)
        if self._answer is None:
            self.gone = True
            raise KeeperGone
        return self._answer


class QueueInbox:
    """The keeper as a thread beside those who ask it."""

    def __init__(self) -> None:
        self._mailbox: Mailbox[QueuedRequest] = Mailbox()
        self._pushed: dict[str, list[dict[str, Any]]] = {}
        self.closed = False

    def put(self, request: QueuedRequest) -> None:
        if self.closed:
            raise KeeperGone
        self._mailbox.put(request)

    def collect(self, seconds: float) -> list[Request]:
        return list(self._mailbox.take(seconds))

    def push(self, process: str, message: dict[str, Any]) -> None:
        self._pushed.setdefault(process, []).append(message)

    def take_pushed(self, process: str) -> list[dict[str, Any]]:
        return self._pushed.pop(process, [])

    def watch(self, descriptor: int, callback: Callable[[], None]) -> bool:
        """Threads die with their process, and what others left is looked at each second: nothing is watched."""
        os.close(descriptor)
        return False

    def unwatch(self, descriptor: int) -> None:
        """See watch."""

    def close(self) -> None:
        self.closed = True


class QueueRoute:
    """The way of one thread to the keeper's thread."""

    def __init__(self, inbox: QueueInbox, process: str = "") -> None:
        self._inbox, self._process = inbox, process

    def ask(self, operation: Operation) -> Answer:
        request = QueuedRequest(operation)
        self._inbox.put(request)
        return request.wait()

    def tell(self, operation: Operation) -> bool:
        try:
            self._inbox.put(QueuedRequest(operation, awaited=False))
        except KeeperGone:
            return False
        return True

    def connected(self) -> bool:
        """A keeper in this very process is never out of reach."""
        return True

    def pushed(self) -> list[dict[str, Any]]:
        return self._inbox.take_pushed(self._process)
