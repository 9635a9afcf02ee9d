"""What happens in the ledger from now on: new deliveries, ended attempts, refusals."""

from __future__ import annotations

import time
from typing import Any

from webspool.config import Config
from webspool.ledger.reader import Reader, read, rfc3339

OVERLAP_SECONDS = 15.0

Happening = dict[str, Any]


class Follower:
    """Each look tells what is new. Ends have no number of their own: attempts are found by their id, which begins
    with the time of the claim, and those that were open at the last look are looked at again.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._looked_at = time.time()
        self._open: set[str] = set()
        self._told: set[str] = set()
        self._delivery = self._refusal = 0
        read(config, self._begin)

    def _begin(self, reader: Reader) -> None:
        newest = reader.one("newest") or {}
        self._delivery, self._refusal = newest["delivery"], newest["refusal"]
        self._told = set(self._ended(reader))
        self._open = {row["id"] for row in reader.all("open_attempts")}

    def look(self) -> list[Happening]:
        """What has happened since the last look, in order."""
        found = read(self._config, self._look)
        return sorted(found, key=lambda happening: str(happening["at"]))

    def _look(self, reader: Reader) -> list[Happening]:
        found = self._deliveries(reader) + self._refusals(reader) + self._attempts(reader)
        self._looked_at = time.time()
        return found

    def _deliveries(self, reader: Reader) -> list[Happening]:
        rows = reader.all("deliveries_after", after=self._delivery)
        self._delivery = rows[-1]["seq"] if rows else self._delivery
        return [
            _happening("delivery", row, "received_at") | {"jobs": reader.all("jobs_of_delivery", delivery=row["id"])}
            for row in rows
        ]

    def _refusals(self, reader: Reader) -> list[Happening]:
        rows = reader.all("refusals_after", after=self._refusal)
        self._refusal = rows[-1]["seq"] if rows else self._refusal
        return [_happening("refusal", row, "received_at") for row in rows]

    def _attempts(self, reader: Reader) -> list[Happening]:
        now_open = {row["id"] for row in reader.all("open_attempts")}
        recent = set(self._ended(reader))
        ended = ((self._open - now_open) | recent) - self._told
        self._open, self._told = now_open, recent | ended
        rows = [row for each in ended for row in reader.all("attempt_with_job", id=each)]
        return [_happening("attempt", row, "ended_at") for row in rows]

    def _ended(self, reader: Reader) -> list[str]:
        bound = f"a_{int((self._looked_at - OVERLAP_SECONDS) * 1000) << 80:032x}"
        return [row["id"] for row in reader.all("attempts_ended_since", bound=bound)]


def _happening(kind: str, row: dict[str, Any], at: str) -> Happening:
    timed = {name: rfc3339(value) if name.endswith("_at") else value for name, value in row.items()}
    return {"event": kind, "at": timed[at]} | {name: value for name, value in timed.items() if name != "seq"}
