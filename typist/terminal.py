"""A terminal with a shell in it: what is typed, what is answered, Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import termios
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.conditions import wait_until

PATIENCE_SECONDS = 60.0


class Stumbled(AssertionError):
    """What a reader would be stuck at."""


@dataclass(frozen=True)
class Typed:
    """A command, what it answered, and how long that took."""

    command: str
    output: str
    status: int
    seconds: float


class Terminal:
    """A bash on a terminal of its own. `enter`: the command that brings into where it runs, as chroot."""

    def __init__(self, directory: Path, environ: Mapping[str, str] | None = None, enter: tuple[str, ...] = ()) -> None:
        self._master, slave = pty.openpty()
        settings = termios.tcgetattr(slave)
        settings[1] &= ~termios.ONLCR
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        self._shell = subprocess.Popen(
            ["setsid", "--ctty", *enter, "bash", "--noprofile", "--norc", "--noediting"],
            cwd=directory,
            env=dict(os.environ if environ is None else environ) | {"PS1": "", "PS2": "", "TERM": "dumb"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self._bytes = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.type("set +o history; unset PROMPT_COMMAND")
        self._idle = os.tcgetpgrp(self._master)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        """End what runs in the foreground, then the shell."""
        with contextlib.suppress(OSError):
            if os.tcgetpgrp(self._master) != self._idle:
                self.interrupt()
            self.begin("exit 0")
        try:
            self._shell.wait(20)
        except subprocess.TimeoutExpired:
            self._end_by_force()
        os.close(self._master)

    def _end_by_force(self) -> None:
        found = subprocess.run(["ps", "-o", "pid=", "-s", str(self._shell.pid)], capture_output=True, text=True)
        for pid in found.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        self._shell.wait(20)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while piece := os.read(self._master, 65536):
                self._bytes += piece

    @property
    def text(self) -> str:
        """All that it has shown."""
        return bytes(self._bytes).decode("utf-8", "replace").replace("\r\n", "\n")

    def begin(self, command: str) -> None:
        """Type a command that stays in the foreground."""
        os.write(self._master, command.encode() + b"\n")

    def interrupt(self) -> None:
        """Ctrl-C, and the prompt is back."""
        os.write(self._master, b"\x03")
        self.type(":")

    def type(self, command: str, seconds: float = PATIENCE_SECONDS) -> Typed:
        """Type a command and wait for its end. Nothing is typed ahead: the command may read the terminal."""
        mark, begun, before = uuid.uuid4().hex, time.monotonic(), len(self.text)
        self.begin(f"{{\n{command}\n}}; printf '\\n%s %d\\n' '{mark}' $?")
        ended = self.shows(rf"\n{mark} (\d+)\n", seconds)
        output = self.text[before : ended.start()].strip("\n")
        return Typed(command, output, int(ended[1]), time.monotonic() - begun)

    def good(self, command: str, seconds: float = PATIENCE_SECONDS) -> str:
        """Type a command that must succeed; returns what it answered."""
        typed = self.type(command, seconds)
        if typed.status:
            raise Stumbled(f"{command}\nended with {typed.status}:\n{typed.output}")
        return typed.output

    def shows(self, pattern: str, seconds: float = PATIENCE_SECONDS, after: int = 0) -> re.Match[str]:
        """Wait until the terminal shows that (from the character `after` on)."""
        seen = re.compile(pattern, re.MULTILINE)
        try:
            found: re.Match[str] = wait_until(lambda: seen.search(self.text, after), seconds)
        except AssertionError:
            raise Stumbled(f"waited {seconds:g} s for {pattern!r} in:\n{self.text[after:]}") from None
        return found
