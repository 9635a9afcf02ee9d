"""Refused webhooks, kept small: counted in memory, the last of each kind written once a second."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable

from webspool.ledger.database import Transaction
from webspool.ledger.operations import Operation

KEPT_A_KIND = 100
WRITTEN_AT_ONCE = 100
FIELDS = {"source", "cause", "status", "method", "url", "headers", "remote", "body_size"}


class Refusals:
    """Refusals between two seconds; strangers do not drive the writer."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._last: deque[tuple[float, Operation]] = deque(maxlen=WRITTEN_AT_ONCE)

    def add(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            if not operation.arguments.keys() >= FIELDS:
                continue
            self._counts[(operation.arguments["source"], operation.arguments["cause"])] += 1
            self._last.append((time.time(), operation))

    def flush(self, tx: Transaction) -> None:
        """Write what has come since the last time, and drop the oldest of each kind that has too many.

        What cannot be written is lost: it must not keep the keeper from its other duties a second time.
        """
        counts, last = self._counts, self._last
        self._counts, self._last = Counter(), deque(maxlen=WRITTEN_AT_ONCE)
        tx.count("deliveries.refused", counts.total())
        for (source, cause), number in counts.items():
            tx.count(f"refused.{source}.{cause}", number)
            tx.happened += [(f"source:{source}", "refused", None)] * number
        for at, operation in last:
            given = operation.arguments
            values = given | {"id": operation.id, "at": at}
            tx.run("insert_refusal", **values, body=operation.body)
        for source, cause in {(each.arguments["source"], each.arguments["cause"]) for _, each in last}:
            tx.run("drop_old_refusals", source=source, cause=cause, keep=KEPT_A_KIND)
