"""Troubles that were told are kept: counted by name, with the last facts; of any process, written by the keeper."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from webspool.ledger.database import Transaction
from webspool.ledger.operations import Operation
from webspool.records import new_id
from webspool.telemetry import TROUBLES

LONGEST_FACTS = 4000
TOLD_EVERY_SECONDS = 1.0

Told = dict[str, Any]


class Happenings:
    """Troubles since they were last written, by name. Many threads may note them; the keeper's flushes them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: dict[str, Told] = {}

    def __bool__(self) -> bool:
        return bool(self._told)

    def note(self, happening: str, facts: Mapping[str, Any]) -> None:
        """A listener of telemetry's: what is no trouble is passed over."""
        if happening in TROUBLES:
            now = time.time()
            self._add({"name": happening, "times": 1, "first_at": now, "last_at": now, "facts": _text(facts)})

    def hear(self, operations: Iterable[Operation]) -> None:
        """What other processes have told; what is no such thing is passed over."""
        for operation in operations:
            for told in operation.arguments.get("troubles") or ():
                if told.keys() >= {"name", "times", "first_at", "last_at", "facts"} and told["name"] in TROUBLES:
                    self._add(told)

    def _add(self, told: Told) -> None:
        with self._lock:
            known = self._told.get(told["name"])
            before = known or told | {"times": 0}
            first_at = min(before["first_at"], told["first_at"])
            self._told[told["name"]] = told | {"times": before["times"] + told["times"], "first_at": first_at}

    def take(self) -> list[Told]:
        """What is noted, and forgotten here by that."""
        with self._lock:
            taken, self._told = list(self._told.values()), {}
        return taken

    def give_back(self, taken: Iterable[Told]) -> None:
        """What could not be handed on."""
        for told in taken:
            self._add(told)

    def flush(self, tx: Transaction) -> list[Told]:
        """Write them; returns what is to be given back when the commit fails."""
        taken = self.take()
        for told in taken:
            tx.run("count_happening", **told)
        return taken


class Teller(Protocol):
    """The way to the keeper; nobody waits for what is told."""

    def tell(self, operation: Operation, /) -> bool: ...


class Reporter:
    """Hands the troubles of a worker or spooler to the keeper, once a second at most; those it is deaf to, later."""

    def __init__(self, client: Teller) -> None:
        self._client = client
        self._kept = Happenings()
        self._not_before = 0.0

    def note(self, happening: str, facts: Mapping[str, Any]) -> None:
        """A listener of telemetry's. What is left from before goes with the next happening, trouble or not."""
        self._kept.note(happening, facts)
        if self._kept and time.monotonic() >= self._not_before:
            self._not_before = time.monotonic() + TOLD_EVERY_SECONDS
            taken = self._kept.take()
            if not self._client.tell(Operation(new_id("h"), "happened", {"troubles": taken})):
                self._kept.give_back(taken)


def _text(facts: Mapping[str, Any]) -> str:
    text = json.dumps(dict(facts), default=str)
    return text if len(text) <= LONGEST_FACTS else json.dumps({"facts": text[:LONGEST_FACTS]})
