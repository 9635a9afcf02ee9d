"""Reading a large ledger without going through all of it: pages that end in time, numbers that are bounded."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from webspool.config import Config
from webspool.ledger.paging import found_jobs
from webspool.ledger.reader import Reader, read, rfc3339
from webspool.ledger.reading import Filters, Found, Page, deliveries, jobs, refusals

FIRST_WINDOW, WIDEST_WINDOW = 2_000, 200_000
SEARCH_SECONDS = 0.25
COUNTED_AT_MOST = 1_000
PRIORITIES = 50


@dataclass(frozen=True, slots=True)
class Search:
    """A page of what fits, newest first. `after` goes on behind it, None at the end; `back_to` is how far back was
    looked when time was up before the page was full."""

    found: list[Found]
    after: int | None
    back_to: str | None = None


NOTHING = Search([], None)
PAGES: dict[str, Page] = {"job": jobs, "delivery": deliveries, "refusal": refusals}


def find(config: Config, kind: str, filters: Filters, *, seconds: float = SEARCH_SECONDS) -> Search:
    """A page of jobs, deliveries or refusals (`kind`), within about so many seconds, however few of them fit.

    Goes back window by window, each a stretch of numbers, so that a text which is rare or nowhere ends in time too.
    """
    page, last = PAGES[kind], newest(config, kind)
    top = last if filters.after is None else min(last, filters.after - 1)
    if filters.upto is not None:
        top = min(top, filters.upto)
    if not _scans(filters):
        found = page(config, replace(filters, limit=filters.limit + 1))
        return _cut(found, filters.limit)
    give_up, window, found = time.monotonic() + seconds, FIRST_WINDOW, list[Found]()
    while top > 0:
        low = max(top - window + 1, 1)
        wanted = filters.limit + 1 - len(found)
        found += page(config, replace(filters, after=None, upto=top, down_to=low, limit=wanted))
        if len(found) > filters.limit:
            return _cut(found, filters.limit)
        top, window = low - 1, min(window * 3, WIDEST_WINDOW)
        at = _moment(config, kind, top)
        if at is None or (filters.since is not None and at < filters.since):
            break
        if time.monotonic() > give_up:
            return Search(found, top + 1, rfc3339(at))
    return Search(found, None)


def _scans(filters: Filters) -> bool:
    """Whether finding these may mean looking at all: nothing knows where a text is, and a type may be a pattern."""
    return filters.text is not None or filters.type is not None


def _cut(found: list[Found], limit: int) -> Search:
    shown = found[:limit]
    return Search(shown, shown[-1]["seq"] if len(found) > limit else None)


def newest(config: Config, kind: str) -> int:
    """The number of the newest job, delivery or refusal (`kind`); 0 when there is none."""
    row = read(config, lambda reader: reader.one(f"{kind}_newest")) or {}
    return int(row.get("seq") or 0)


def _moment(config: Config, kind: str, seq: int) -> float | None:
    row = read(config, lambda reader: reader.one(f"{kind}_created", seq=seq))
    return None if row is None else float(row["at"])


def newest_job(config: Config) -> int:
    """The number of the newest job; 0 when there is none."""
    return newest(config, "job")


def count_jobs(config: Config, filters: Filters, most: int = COUNTED_AT_MOST) -> int:
    """How many jobs fit, counted up to `most`."""

    def work(reader: Reader) -> int:
        if len(filters.states) == 1 and filters == Filters(states=filters.states, limit=filters.limit):
            counted = {row["name"]: row["value"] for row in reader.all("counters")}
            return min(int(counted.get(f"jobs.{filters.states[0]}", 0)), most)
        return len(found_jobs(reader, replace(filters, limit=most)))

    return read(config, work)


def longest_queued(config: Config) -> Found | None:
    """The job that has been due for the longest time and has not begun; None when there is none."""

    def work(reader: Reader) -> Found | None:
        found, below = list[Found](), float("inf")
        while len(found) < PRIORITIES and (row := reader.one("highest_priority", below=below)):
            below = row["priority"]
            found += reader.all("longest_queued", priority=below)
        return min(found, key=lambda row: float(row["due_at"]), default=None)

    found = read(config, work)
    return found and found | {"due_at": rfc3339(found["due_at"]), "waits_seconds": time.time() - found["due_at"]}


def tasks(config: Config) -> list[Found]:
    """Every task that the ledger knows or knew, with its policy as JSON text."""
    return read(config, lambda reader: reader.all("tasks_known"))


def sources(config: Config) -> list[str]:
    """The names of the sources of which there are deliveries."""

    def work(reader: Reader) -> list[str]:
        found, after = list[str](), ""
        while row := reader.one("known_sources", after=after):
            after = row["source"]
            found.append(after)
        return found

    return read(config, work)
