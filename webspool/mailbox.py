"""What one thread of a process hands another: everything that has been put in, taken out together.

`queue.SimpleQueue.get(timeout=)` can wait for ever: where nothing is there after all when it wakes, and the time is
over by then, it goes on with what is left, a negative number, which means without an end (CPython 3.11 to 3.13). And
`queue.Queue` is written in Python: an exception that is raised in a thread from outside could leave its lock taken.
"""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Many may put in, one takes out. Made of primitives written in C only."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._something = threading.Lock()  # taken while nothing has come since it was looked at last
        self._something.acquire()

    def __len__(self) -> int:
        return self._queue.qsize()

    def put(self, thing: T) -> None:
        self._queue.put(thing)
        with suppress(RuntimeError):  # somebody else has said so already
            self._something.release()

    def take(self, seconds: float) -> list[T]:
        """All that is there, in its order; waits at most that long for the first. Empty when nothing came."""
        self._something.acquire(timeout=0.0 if len(self) else max(seconds, 0.0))
        found: list[T] = []
        with suppress(queue.Empty):
            while True:
                found.append(self._queue.get_nowait())
        return found
