"""What an attempt prints: numbered line by line, capped, handed on in pieces, and repeated on our own stderr."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from webspool.ledger.output import Piece

LARGEST_PIECE = 1 << 16
SHORTEST_PAUSE = 0.1
LONGEST_LINE = 4096


class Capture:
    """The output of one attempt. `cap` is in bytes; what comes after it is counted, neither kept nor repeated.

    `keep` takes a piece when it is large, and what there is whenever `hand_on` is called. From the first call on, what
    comes after a pause is handed on at once: who watches need not wait, and a short job's output goes with its end.
    """

    def __init__(self, attempt: str, prefix: str, cap: int, keep: Callable[[Piece], None], echo: Callable[[str], None]):
        self._attempt, self._prefix, self._cap, self._keep, self._echo = attempt, prefix, cap, keep, echo
        self.size = 0
        self.cut = False
        self._pieces = 0
        self._lines = 0
        self._held = bytearray()
        self._at_once_from = math.inf
        self._line = bytearray()

    def take(self, data: bytes) -> None:
        """Some output, as it came."""
        room = max(self._cap - self.size, 0)
        self.size += len(data)
        if room < len(data):
            data = data[:room]
            self._note_cut(data)
        else:
            self._pass_on(data)
        if not data:
            return
        self._held += data
        while len(self._held) >= LARGEST_PIECE:
            self._keep(self._cut_off(LARGEST_PIECE))
        if time.monotonic() >= self._at_once_from:
            self.hand_on()

    def keep_at_most(self, cap: int) -> None:
        """Another cap from now on; what is kept stays."""
        self._cap = cap

    def hand_on(self) -> None:
        """Give away what is held; called every 0.1 s."""
        now = time.monotonic()
        if self._held:
            self._keep(self._cut_off(len(self._held)))
            self._at_once_from = now + SHORTEST_PAUSE
        else:
            self._at_once_from = min(self._at_once_from, now)

    def close(self) -> Piece | None:
        """The last piece, if there is one."""
        if self._line:
            self._pass_on(b"\n")
        return self._cut_off(len(self._held)) if self._held else None

    def _note_cut(self, last: bytes) -> None:
        """A task that prints for ever fills neither the ledger's disk nor the journal's."""
        if self.cut:
            return
        self.cut = True
        self._pass_on(last)
        if self._line:
            self._pass_on(b"\n")
        self._echo(f"{self._prefix}[over {self._cap} bytes: the rest is neither kept nor shown]\n")

    def _cut_off(self, size: int) -> Piece:
        data = bytes(self._held[:size])
        del self._held[:size]
        self._pieces += 1
        piece = Piece(self._attempt, self._pieces, self._lines + 1, time.time(), data)
        self._lines += data.count(b"\n")
        return piece

    def _pass_on(self, data: bytes) -> None:
        """Whole lines go on to our own stderr, each with the task and job that printed it."""
        self._line += data
        if b"\n" not in data and len(self._line) < LONGEST_LINE:
            return
        whole, _, rest = bytes(self._line).rpartition(b"\n")
        if not whole and len(rest) >= LONGEST_LINE:
            whole, rest = rest, b""
        self._line = bytearray(rest)
        lines = whole.decode("utf-8", "backslashreplace").split("\n")
        self._echo("".join(f"{self._prefix}{line}\n" for line in lines))
