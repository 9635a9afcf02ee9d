"""What tasks print when they run in threads of this process: sys.stdout and sys.stderr, routed by who writes.

Only Python's own streams: what C code or a child process writes to the descriptors goes where it always went.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, BinaryIO, Protocol, TextIO, cast


class Sink(Protocol):
    """Where the output of one attempt goes."""

    def take(self, data: bytes) -> bool:
        """Keep it; False when nobody listens any more."""


_sink: ContextVar[Sink | None] = ContextVar("sink", default=None)


@contextmanager
def into(sink: Sink | None) -> Iterator[None]:
    """What this thread, and the threads it starts, write here goes into the sink."""
    before = _sink.set(sink)
    try:
        yield
    finally:
        _sink.reset(before)


def install() -> None:
    """Route the streams of this process from now on."""
    sys.stdout, sys.stderr = _routed(sys.stdout), _routed(sys.stderr)
    _let_threads_inherit()


@contextmanager
def routed() -> Iterator[None]:
    """Route the streams for a while."""
    before = sys.stdout, sys.stderr
    install()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _routed(stream: Any) -> TextIO:
    return cast(TextIO, stream if isinstance(stream, Routed) else Routed(stream))


class Routed:
    """A text stream that gives what a task writes to the task's sink, and all else to the stream it replaces.

    The one it replaces is None in a program without a console (pythonw.exe).
    """

    def __init__(self, original: TextIO | None) -> None:
        self._original = original

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def write(self, text: str) -> int:
        sink = _sink.get()
        if sink is not None and sink.take(text.encode("utf-8", "backslashreplace")):
            return len(text)
        return len(text) if self._original is None else self._original.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if self._original is not None and _sink.get() is None:
            self._original.flush()

    @property
    def buffer(self) -> Any:
        return _Bytes(self._original)


class _Bytes:
    """The same below the text: `sys.stdout.buffer`."""

    def __init__(self, original: TextIO | None) -> None:
        self._original = original

    def __getattr__(self, name: str) -> Any:
        return getattr(self._under(), name)

    def _under(self) -> BinaryIO:
        return cast(BinaryIO, getattr(self._original, "buffer", self._original))

    def write(self, data: bytes) -> int:
        sink = _sink.get()
        return len(data) if sink is not None and sink.take(bytes(data)) else self._under().write(data)

    def flush(self) -> None:
        if _sink.get() is None:
            self._under().flush()


def _let_threads_inherit() -> None:
    """A new thread begins with an empty context (until Python 3.14): the sink is handed on where it is started."""
    start = threading.Thread.start
    if not hasattr(start, "__wrapped__"):
        threading.Thread.start = _handing_on(start)  # type: ignore[method-assign, assignment]


def _handing_on(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    @wraps(start)
    def handed_on(thread: threading.Thread) -> None:
        sink = _sink.get()
        if sink is not None:
            run = thread.run

            def captured() -> None:
                with into(sink):
                    run()

            thread.run = captured  # type: ignore[method-assign]
        start(thread)

    return handed_on
