"""What is old goes, in bites of a few milliseconds: the row first, then its output and its body's file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from webspool.body_files import remove_body
from webspool.ledger.database import Row, Transaction
from webspool.records import FINISHED, State

DAY = 86400.0
BITE_SECONDS = 0.002
ROWS_IN_A_BITE = 100
REST_SECONDS = 60.0
SWEEP_SECONDS = 3600.0
ROWS_AT_ONCE = 50
KEYS_IN_A_BITE = 500
"""Event keys are by far the most rows, and most of them stay: SQLite looks through them by itself."""
BEHIND_ALL: Row = (b"", b"")
"""To SQLite a blob comes after any text."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Days that what is finished is kept; `copies_days`: what copies were answered. Event keys say it themselves."""

    days: float = 30.0
    dead_days: float = 90.0
    refusal_days: float = 7.0
    copies_days: float = 30.0


@dataclass
class Gone:
    """What has been deleted from the ledger and lies elsewhere still."""

    attempts: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    jobs: int = 0
    deliveries: int = 0

    def counts(self) -> dict[str, int]:
        """How much of each kind."""
        rest = {"attempts": len(self.attempts), "bodies": len(self.bodies)}
        return {"jobs": self.jobs, "deliveries": self.deliveries, **rest}


class Pruner:
    """Goes round through jobs, deliveries and event keys, oldest first, a bite at a time."""

    def __init__(self, retention: Retention, bodies: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.retention, self.bodies, self._clock = retention, bodies, clock
        self._steps: Iterator[int] | None = None
        self._rest_until = 0.0
        self._next_sweep = 0.0
        self._gone = Gone()
        self._tx: Transaction | None = None
        self._by_source: list[Row] = []
        self._kept_days: dict[str, float] = {}

    def bite(self, tx: Transaction) -> Gone:
        """Look at a hundred rows, or for two milliseconds; what it names is to be cleaned away after the commit.

        To write what was deleted takes the commit as long again: both together are to hold the writer for five at most.
        """
        self._gone = Gone()
        now = self._clock()
        if now < self._rest_until:
            return self._gone
        self._tx = tx
        self._steps = self._steps or self._round()
        looked_at = 0
        for rows in self._steps:
            looked_at += rows
            if looked_at >= ROWS_IN_A_BITE or self._clock() - now >= BITE_SECONDS:
                return self._gone
        self._steps = None
        self._rest_until = now + REST_SECONDS
        return self._gone

    def rest(self, seconds: float) -> None:
        """Delete nothing for so long: what is old by a clock that was just set may not be."""
        self._rest_until = max(self._rest_until, self._clock() + seconds)

    @property
    def rests(self) -> bool:
        """Whether a round is over and the next has not begun."""
        return self._steps is None and self._clock() < self._rest_until

    @property
    def tx(self) -> Transaction:
        assert self._tx is not None
        return self._tx

    def _round(self) -> Iterator[int]:
        """One way through everything; each step tells how many rows were looked at."""
        self._kept_days = self._learn()
        yield from self._jobs()
        yield from self._deliveries()
        for source, days, body_days in self._by_source:
            if days is not None and days < self.retention.days:
                yield from self._of_source(source, days)
            if body_days is not None:
                yield from self._bodies_of(source, body_days)
        self.tx.run("delete_old_refusals", before=self.tx.now - self.retention.refusal_days * DAY, most=ROWS_IN_A_BITE)
        copies_before = self.tx.now - self.retention.copies_days * DAY
        self.tx.run("delete_old_redeliveries", before=copies_before, most=ROWS_IN_A_BITE)
        self.tx.run("delete_old_processes", before=self.tx.now - DAY)
        yield 1
        if self._clock() >= self._next_sweep:
            self._next_sweep = self._clock() + SWEEP_SECONDS
            yield from self._event_keys()
            yield from self._orphaned_bodies()

    def _jobs(self) -> Iterator[int]:
        after = 0
        while rows := self.tx.all("oldest_jobs", after=after, most=ROWS_AT_ONCE):
            for row in rows:
                after = row[0]
                if row[3] > self.tx.now - self.retention.days * DAY:
                    return
                if row[2] in FINISHED:
                    self._delete_job(row[1], row[2], self._kept(row[2], row[4]))
                yield 1

    def _learn(self) -> dict[str, float]:
        """What sources say themselves; a source's days hold for its dead jobs too."""
        self._by_source = self.tx.all("retentions")
        return {source: days for source, days, _ in self._by_source if days is not None}

    def _kept(self, state: str, source: str | None) -> float:
        """For how many seconds."""
        usual = self.retention.dead_days if state == State.DEAD else self.retention.days
        return (usual if source is None else self._kept_days.get(source, usual)) * DAY

    def _delete_job(self, job: str, state: str, kept: float) -> None:
        """Only as it was read: between two bites an operator may have sent it into a new round."""
        if not self.tx.run("delete_old_job", id=job, state=state, before=self.tx.now - kept):
            return
        self._gone.jobs += 1
        self._gone.attempts += [attempt for (attempt,) in self.tx.all("attempts_of", job=job)]
        self.tx.run("delete_attempts", job=job)
        self.tx.count(f"jobs.{state}", -1)

    def _deliveries(self) -> Iterator[int]:
        after = 0
        while rows := self.tx.all("oldest_deliveries", after=after, most=ROWS_AT_ONCE):
            for row in rows:
                after = row[0]
                if row[2] > self.tx.now - self.retention.days * DAY:
                    return
                if row[2] <= self.tx.now - self._kept(State.SUCCEEDED, row[4]):
                    self._delete_delivery(row)
                yield 1

    def _of_source(self, source: str, days: float) -> Iterator[int]:
        """What a source keeps for a shorter time than the instance."""
        for row in self._oldest_of(source, days):
            for job, _, state in self.tx.all("jobs_of_delivery", delivery=row[1]):
                if state in FINISHED:
                    self._delete_job(job, state, days * DAY)
            self._delete_delivery(row)
            yield 1

    def _bodies_of(self, source: str, days: float) -> Iterator[int]:
        """Bodies that have served their time; one whose job may still run stays."""
        for row in self._oldest_of(source, days):
            if row[5] and all(state in FINISHED for *_, state in self.tx.all("jobs_of_delivery", delivery=row[1])):
                self.tx.run("drop_body", id=row[1])
                if row[3]:
                    self._gone.bodies.append(row[1])
            yield 1

    def _oldest_of(self, source: str, days: float) -> Iterator[Row]:
        """The source's deliveries that are older than that, of each type the oldest first, as their index has them."""
        for event_type in self._types_of(source):
            after = 0
            while rows := self._next_of(source, event_type, after, days):
                after = rows[-1][0]
                yield from rows

    def _types_of(self, source: str) -> Iterator[str | None]:
        yield None
        row = self.tx.one("next_type_of_source", source=source, after="")
        while row:
            yield row[0]
            row = self.tx.one("next_type_of_source", source=source, after=row[0])

    def _next_of(self, source: str, event_type: str | None, after: int, days: float) -> list[Row]:
        rows = self.tx.all("oldest_of_source", source=source, type=event_type, after=after, most=ROWS_AT_ONCE)
        return [row for row in rows if row[2] <= self.tx.now - days * DAY]

    def _delete_delivery(self, row: Row) -> None:
        delivery, body_file = row[1], row[3]
        if not self.tx.run("delete_jobless_delivery", id=delivery):
            return
        self._gone.deliveries += 1
        if body_file:
            self._gone.bodies.append(delivery)

    def _event_keys(self) -> Iterator[int]:
        after: Row = ("", "")
        while after != BEHIND_ALL:
            behind = {"source": after[0], "event_id": after[1]}
            after = self.tx.one("event_key_far_behind", **behind, keys=KEYS_IN_A_BITE) or BEHIND_ALL
            upto = {"last_source": after[0], "last_event_id": after[1]}
            self.tx.run("delete_old_event_keys", **behind, **upto, now=self.tx.now)
            yield ROWS_IN_A_BITE

    def _orphaned_bodies(self) -> Iterator[int]:
        """Files whose delivery was never accepted: their worker ended between the file and the ledger."""
        with suppress(OSError):
            for path in self.bodies.iterdir():
                if path.stat().st_mtime < self.tx.now - DAY and not self.tx.one("delivery_status", id=path.name):
                    self._gone.bodies.append(path.name)
                yield 1


def remove_bodies(folder: Path, deliveries: list[str]) -> None:
    """Remove the files of deliveries that are gone from the ledger."""
    for delivery in deliveries:
        with suppress(OSError):
            remove_body(folder / delivery)
