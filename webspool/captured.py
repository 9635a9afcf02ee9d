"""Secrets that a sender told in its handshake, kept for a person to look at: nothing proves who told them."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FIRST_KEPT, LAST_KEPT = 4, 4


@dataclass(frozen=True, slots=True)
class Captured:
    """One secret that was told; `at` is Unix seconds."""

    text: str = field(repr=False)
    at: float


class CapturedSecrets:
    """A file for each source in `folder`, readable by its owner alone; of many the first and the last few are kept."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder, self._clock = folder, clock

    def keep(self, source: str, text: str) -> None:
        """Keep what a sender of this source told. Raises OSError when it cannot be written."""
        told = [each for each in self.of(source) if each.text != text] + [Captured(text, self._clock())]
        rows = [{"at": each.at, "text": each.text} for each in told[:FIRST_KEPT] + told[FIRST_KEPT:][-LAST_KEPT:]]
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self.folder / f".{source}.{os.getpid()}.{threading.get_ident()}"
        with open(fresh, "w", opener=_private) as file:
            json.dump(rows, file)
        fresh.replace(self.folder / source)

    def of(self, source: str) -> list[Captured]:
        """What was told, the oldest first."""
        found: list[dict[str, Any]] = []
        with suppress(OSError, ValueError):
            found = json.loads((self.folder / source).read_text())
        return [Captured(each["text"], each["at"]) for each in found]

    def sources(self) -> list[str]:
        """The sources whose senders told something."""
        with suppress(OSError):
            return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))
        return []


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
