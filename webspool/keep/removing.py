"""Files of bodies that the ledger no longer names are removed beside the writer, so that no webhook waits for it."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import SimpleQueue

from webspool.keep.prune import remove_bodies

CLOSING_SECONDS = 1.0


class Remover:
    """A thread that begins with the first file. What is left when the keeper ends is found by pruning, a day later."""

    def __init__(self, bodies: Path) -> None:
        self._bodies = bodies
        self._named: SimpleQueue[str | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def remove(self, deliveries: list[str]) -> None:
        """The files of these deliveries; returns at once."""
        for delivery in deliveries:
            self._named.put(delivery)
        if deliveries and self._thread is None:
            self._thread = threading.Thread(target=self._work, name="webspool remover", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Wait a moment for what has been named."""
        if self._thread is not None:
            self._named.put(None)
            self._thread.join(CLOSING_SECONDS)

    def _work(self) -> None:
        while (delivery := self._named.get()) is not None:
            remove_bodies(self._bodies, [delivery])
