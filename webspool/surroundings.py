"""What a task can change of its process for those that run after it: noted once, put back after each attempt.

What cannot be put back is named, and the runner is then replaced. Python's own modules are the user's: who changes
those changes them for the next task too.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import locale
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

FULL_ENOUGH = 0.5
"""The part of the descriptors it may open at which a runner is replaced."""

_SIGNALS = [number for number in range(1, 32) if number not in (signal.SIGKILL, signal.SIGSTOP)]
_TIMERS = [signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF]
_LIMITS = {
    getattr(resource, f"RLIMIT_{name}"): f"RLIMIT_{name}"
    for name in ("AS", "CPU", "DATA", "FSIZE", "NOFILE", "NPROC", "STACK")
    if hasattr(resource, f"RLIMIT_{name}")
}


# What stands behind the module `signal`: it makes no members of Enum of thirty handlers, and takes a twentieth.
_plain: Any = importlib.import_module("_signal")
_handler: Callable[..., Any] = _plain.getsignal
set_handler: Callable[..., Any] = _plain.signal
set_mask: Callable[..., Any] = _plain.pthread_sigmask


def _tell_of_locale() -> Callable[[], bytes | str]:
    """What tells the locale as the C library has it: Python's own function decodes twelve names at each call."""
    try:
        ask = ctypes.PyDLL(None).setlocale
    except (OSError, AttributeError, TypeError):
        return partial(locale.setlocale, locale.LC_ALL)
    ask.argtypes, ask.restype = (ctypes.c_int, ctypes.c_char_p), ctypes.c_char_p
    return partial(ask, locale.LC_ALL, None)


_locale_in_c = _tell_of_locale()


class Surroundings:
    """Of this process, as they were when this was made; `own_signal` is left to the caller, and never blocked."""

    def __init__(self, directory: Path, spare: int, own_signal: int) -> None:
        self._directory, self._spare = str(directory), spare
        self._signals = [number for number in _SIGNALS if number != own_signal]
        self._handlers = list(map(_handler, self._signals))
        self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ()) - {own_signal}
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._environ, self._variables = os.environ, dict(os.environ)
        self._raw = dict(_raw(os.environ))
        self._locale, self._locale_bytes = locale.setlocale(locale.LC_ALL), _locale_in_c()
        self._limits = list(map(resource.getrlimit, _LIMITS))
        self._most_descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._owner, self._niceness = _owner(), os.getpriority(os.PRIO_PROCESS, 0)
        self._depth, self._trace, self._profile = sys.getrecursionlimit(), sys.gettrace(), sys.getprofile()
        self._collects = gc.isenabled()
        self._patience, self._muted = socket.getdefaulttimeout(), logging.root.manager.disable
        self._nothing = os.stat(os.devnull).st_rdev

    def restore(self) -> str | None:
        """Put everything back; returns what could not be, or None."""
        self._restore_signals()
        self._restore_python()
        self._restore_environment()
        self._restore_standard_input()
        os.umask(self._umask)
        return self._lasting()

    def _restore_signals(self) -> None:
        for timer in _TIMERS:
            signal.setitimer(timer, 0)
        if list(map(_handler, self._signals)) != self._handlers:
            for number, handler in zip(self._signals, self._handlers, strict=True):
                if handler is not None and _handler(number) != handler:  # None: installed by C code
                    signal.signal(number, handler)
        set_mask(signal.SIG_SETMASK, self._blocked)  # and so lets the caller's own through

    def _restore_environment(self) -> None:
        os.environ = self._environ  # noqa: B003 - a dict that a task put there changes no environment
        if _raw(os.environ) == self._raw:
            return
        for name in set(os.environ) - set(self._variables):
            del os.environ[name]
        os.environ.update(self._variables)

    def _restore_python(self) -> None:
        if sys.gettrace() is not self._trace:
            sys.settrace(self._trace)
        if sys.getprofile() is not self._profile:
            sys.setprofile(self._profile)
        sys.setrecursionlimit(self._depth)
        if gc.isenabled() is not self._collects:
            (gc.enable if self._collects else gc.disable)()
        if socket.getdefaulttimeout() != self._patience:
            socket.setdefaulttimeout(self._patience)
        if logging.root.manager.disable != self._muted:
            logging.disable(self._muted)
        if _locale_in_c() != self._locale_bytes:
            with suppress(locale.Error):
                locale.setlocale(locale.LC_ALL, self._locale)

    def _restore_standard_input(self) -> None:
        """Descriptor 0 is /dev/null: closed, it would be given to the next file that is opened."""
        try:
            if os.fstat(0).st_rdev == self._nothing:
                return
        except OSError:
            pass
        with suppress(OSError):
            nothing = os.open(os.devnull, os.O_RDONLY)
            if nothing != 0:
                os.dup2(nothing, 0)
                os.close(nothing)

    def _lasting(self) -> str | None:
        if list(map(resource.getrlimit, _LIMITS)) != self._limits and (lowered := self._restore_limits()):
            return f"a lowered {lowered}"
        if _owner() != self._owner:
            return "another user or group"
        if os.getpriority(os.PRIO_PROCESS, 0) != self._niceness:
            return "another niceness"
        try:
            os.chdir(self._directory)
        except OSError as fault:
            return f"a directory that cannot be entered: {fault}"
        return self._full_table()

    def _restore_limits(self) -> str | None:
        """The name of one that cannot be put back, or None."""
        for (limit, name), before in zip(_LIMITS.items(), self._limits, strict=True):
            if resource.getrlimit(limit) != before:
                try:
                    resource.setrlimit(limit, before)
                except (OSError, ValueError):
                    return name
        return None

    def _full_table(self) -> str | None:
        """A new descriptor gets the lowest free number: that tells how many are open."""
        most = self._most_descriptors
        try:
            lowest = os.dup(self._spare)
        except OSError:
            return f"all of its {most} descriptors open"
        os.close(lowest)
        return f"{lowest} descriptors open of {most}" if 0 <= most * FULL_ENOUGH < lowest else None


def _raw(environ: Any) -> Any:
    """The dictionary of bytes inside os.environ; comparing those is a hundred times as fast."""
    return vars(environ).get("_data", environ)


def _owner() -> tuple[int, ...]:
    return os.geteuid(), os.getegid(), os.getuid(), os.getgid()
