"""What happened in each minute and each quarter of an hour: numbers, waits and run times, by task and by source.

A transaction notes what it does (`tx.happened`). The keeper gathers what was committed and writes it once a second; a
direct transaction writes it itself. A keeper that is killed takes up to a second of it along.
"""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from webspool.config import Config
from webspool.ledger.database import Happened, Transaction
from webspool.ledger.reader import Reader, read

EVER, MINUTE, QUARTER, HOUR = 0, 60, 900, 3600
KEPT_SECONDS = {MINUTE: 3 * 3600, QUARTER: 8 * 86400, HOUR: 8 * 86400}
ALL = "all:"
"""The name of all tasks and sources together."""
SHORTEST_SECONDS = 0.001
STEPS_A_DOUBLING = 2
LAST_BUCKET = 50
CHARTED = ("task:", "source:")
WEEK_SECONDS = 7 * 86400.0
ENOUGH_DELIVERIES = 20
SILENT_TIMES = 10
SILENT_AT_LEAST_SECONDS = 3600.0
TIMED = {"wait": "wait_seconds", "succeeded": "run_seconds", "failed": "run_seconds", "flush": "flush_seconds"}

Counts = dict[str, Any]


class Tallies:
    """What has happened since the last time it was written."""

    def __init__(self) -> None:
        self._counts: dict[str, Counts] = {}
        self._pruned_at = 0.0

    def take(self, happened: Iterable[Happened]) -> None:
        """Note what a transaction did, once it is committed."""
        for name, kind, seconds in happened:
            counts = self._counts.setdefault(name, {})
            counts[kind] = counts.get(kind, 0) + 1
            if seconds is not None and kind in TIMED:
                buckets = counts.setdefault(TIMED[kind], {})
                at = bucket(seconds)
                buckets[at] = buckets.get(at, 0) + 1

    def add(self, name: str, kind: str, number: int) -> None:
        """Note something that happened as often as that."""
        counts = self._counts.setdefault(name, {})
        counts[kind] = counts.get(kind, 0) + number

    def flush(self, tx: Transaction) -> None:
        """Add it to what has ever been, to the minute, quarter and hour at hand; forget what no chart shows."""
        counts, self._counts = self._counts, {}
        for name, more in counts.items():
            _add(tx, EVER, 0, name, more)
        if charted := [more for name, more in counts.items() if name.startswith(CHARTED)]:
            counts[ALL] = functools.reduce(added, charted, {})
        for name, more in counts.items():
            for span in KEPT_SECONDS:
                _add(tx, span, int(tx.now // span) * span, name, more)
        if tx.now - self._pruned_at > MINUTE:
            self._pruned_at = tx.now
            for span, kept in KEPT_SECONDS.items():
                tx.run("delete_old_tallies", span=span, before=tx.now - kept)


def write_directly(tx: Transaction) -> None:
    """What a transaction without a keeper did, written by itself."""
    if tx.happened:
        tallies = Tallies()
        tallies.take(tx.happened)
        tallies.flush(tx)


def _add(tx: Transaction, span: int, at: int, name: str, more: Counts) -> None:
    row = tx.one("tally", span=span, at=at, name=name)
    counts = added(json.loads(row[0]), more) if row else more
    tx.run("put_tally", span=span, at=at, name=name, counts=json.dumps(counts))


def added(counts: Counts, more: Counts) -> Counts:
    """Two tallies as one."""
    total = dict(counts)
    for name, value in more.items():
        total[name] = added(total.get(name, {}), value) if isinstance(value, dict) else total.get(name, 0) + value
    return total


def bucket(seconds: float) -> str:
    """The bucket of a duration, by its number: each is the square root of two wider than the one before."""
    if seconds <= SHORTEST_SECONDS:
        return "0"
    return str(min(math.ceil(STEPS_A_DOUBLING * math.log2(seconds / SHORTEST_SECONDS)), LAST_BUCKET))


def seconds_of(at: int) -> float:
    """The longest duration of a bucket."""
    return float(SHORTEST_SECONDS * 2 ** (at / STEPS_A_DOUBLING))


def quantile(buckets: Mapping[str, int], share: float) -> float | None:
    """Under how many seconds that share of the durations lies; None when there are none."""
    total = sum(buckets.values())
    if not total:
        return None
    rest = share * total
    for at in sorted(map(int, buckets)):
        rest -= buckets[str(at)]
        if rest <= 0:
            return seconds_of(at)
    return None


def usual_pause(accepted_in_week: int) -> float | None:
    """Seconds between two deliveries of a source; None: what comes now and then has no usual pause."""
    return WEEK_SECONDS / accepted_in_week if accepted_in_week >= ENOUGH_DELIVERIES else None


def is_silent(accepted_in_week: int, for_seconds: float) -> bool:
    """Whether nothing has come for ten times the usual pause, and an hour at least."""
    usual = usual_pause(accepted_in_week)
    return usual is not None and for_seconds > max(SILENT_TIMES * usual, SILENT_AT_LEAST_SECONDS)


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Tally:
    """What happened in one span, or in several together. Durations are seconds."""

    at: float = 0.0
    counts: Counts = field(default_factory=dict)

    def __getattr__(self, name: str) -> int:
        if name.startswith("_"):
            raise AttributeError(name)
        return int(self.counts.get(name, 0))

    @property
    def ended(self) -> int:
        return int(self.counts.get("succeeded", 0)) + int(self.counts.get("failed", 0))

    @property
    def failure_rate(self) -> float | None:
        """The share of ended attempts that failed; None when none ended."""
        return int(self.counts.get("failed", 0)) / self.ended if self.ended else None

    @property
    def refusal_rate(self) -> float | None:
        """The share of webhooks that were refused; None when none came."""
        refused = int(self.counts.get("refused", 0))
        came = refused + int(self.counts.get("accepted", 0)) + int(self.counts.get("duplicate", 0))
        return refused / came if came else None

    def wait(self, share: float) -> float | None:
        """From due to begun."""
        return quantile(self.counts.get("wait_seconds", {}), share)

    def run(self, share: float) -> float | None:
        """From begun to ended."""
        return quantile(self.counts.get("run_seconds", {}), share)


@dataclass(frozen=True, slots=True)
class Range:
    """How far back a chart looks, and how wide its points are, in seconds."""

    name: str
    seconds: int
    point: int
    span: int


RANGES = {
    each.name: each
    for each in (
        Range("1h", 3600, 60, MINUTE),
        Range("24h", 86400, 900, QUARTER),
        Range("7d", 7 * 86400, 3600, HOUR),
    )
}


def series(config: Config, chosen: Range, *, now: float | None = None) -> list[Tally]:
    """All tasks and sources together, a tally a point, oldest first, the last one the point at hand."""
    now = time.time() if now is None else now
    last = int(now // chosen.point) * chosen.point
    first = last - chosen.seconds + chosen.point
    points: dict[int, Counts] = {at: {} for at in range(first, last + 1, chosen.point)}
    rows = read(config, lambda reader: reader.all("tallies_of", span=chosen.span, since=first, name=ALL))
    for row in rows:
        at = row["at"] // chosen.point * chosen.point
        if at in points:
            points[at] = added(points[at], json.loads(row["counts"]))
    return [Tally(at, counts) for at, counts in points.items()]


def by_name(config: Config, chosen: Range, *, now: float | None = None) -> dict[str, Tally]:
    """What happened in that range to each `task:NAME` and `source:NAME`."""
    now = time.time() if now is None else now
    found: dict[str, Counts] = {}
    for row in _rows(config, chosen.span, now - chosen.seconds):
        found[row["name"]] = added(found.get(row["name"], {}), json.loads(row["counts"]))
    return {name: Tally(0.0, counts) for name, counts in found.items()}


def last_at(config: Config, kind: str, *, now: float) -> dict[str, float]:
    """When that happened the last time to each source within a week: the end of that quarter of an hour."""
    found: dict[str, float] = {}
    for row in _rows(config, QUARTER, now - RANGES["7d"].seconds):
        if row["name"].startswith("source:") and json.loads(row["counts"]).get(kind):
            found[row["name"].removeprefix("source:")] = float(row["at"] + QUARTER)
    return found


def ever_by_task(config: Config, kind: str) -> dict[str, int]:
    """How often that has ever happened to each task."""
    counted = read(config, ever)
    named = {name.removeprefix("task:"): counts for name, counts in counted.items() if name.startswith("task:")}
    return {task: int(counts[kind]) for task, counts in named.items() if kind in counts}


def ever(reader: Reader) -> dict[str, Counts]:
    """What has ever happened to each name."""
    return {row["name"]: json.loads(row["counts"]) for row in reader.all("tallies", span=EVER, since=0)}


def _rows(config: Config, span: int, since: float) -> list[dict[str, Any]]:
    def work(reader: Reader) -> list[dict[str, Any]]:
        return reader.all("tallies", span=span, since=since)

    return read(config, work)
