"""What goes wrong, by task, exception and place: failing jobs that fail alike, with all the errors put together."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from webspool.config import Config
from webspool.ledger.paging import Filters, narrowed
from webspool.ledger.reader import STATEMENTS, Reader, read, rfc3339
from webspool.records import State

ERRORS_AT_MOST = 5_000
PLACED_AT_MOST = 200
SPENT = re.compile(r"^\d+ of \d+ attempts spent: ")
VARYING = re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-fA-F]{8,}\b|\d+|'[^']{0,200}'|\"[^\"]{0,200}\"")
EXCEPTION = re.compile(r"([A-Za-z_][\w.]{0,100})(?::|$)")
FRAME = re.compile(r'^\s*File "([^"\n]+)", line (\d+), in (\S+)', re.MULTILINE)
NOT_THEIRS = ("/site-packages/", "/dist-packages/", "/lib/python", "<frozen")


@dataclass
class Group:
    """Jobs that fail alike. Times are Unix seconds; `errors` are all the texts that were put together."""

    task: str
    exception: str
    error: str
    example: str
    first_at: float
    last_at: float
    jobs: int = 0
    dead: int = 0
    place: str | None = None
    errors: set[str] = field(default_factory=set)

    @property
    def key(self) -> str:
        """Names the group in an address, as long as it fails at the same place."""
        told = "\0".join(map(str, self.alike))
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    @property
    def alike(self) -> tuple[str, str, str]:
        """What those of the group have in common."""
        return self.task, self.exception, self.place or pattern(self.error)

    @property
    def retrying(self) -> int:
        return self.jobs - self.dead

    @property
    def messages(self) -> int:
        """How many different texts there are."""
        return len({first_line(error) for error in self.errors})

    def as_dict(self) -> dict[str, Any]:
        names = ("key", "task", "exception", "error", "messages", "place", "jobs", "dead", "retrying", "example")
        times = {"first_at": rfc3339(self.first_at), "last_at": rfc3339(self.last_at)}
        return {name: getattr(self, name) for name in names} | times

    def take(self, other: Group) -> None:
        """Put another group in with this one; the newest of both speaks for all."""
        if other.last_at > self.last_at:
            self.error, self.example, self.last_at = other.error, other.example, other.last_at
        self.first_at = min(self.first_at, other.first_at)
        self.jobs, self.dead = self.jobs + other.jobs, self.dead + other.dead
        self.errors |= other.errors


def failures(config: Config, filters: Filters) -> list[dict[str, Any]]:
    """What fails, in groups, most jobs first; times as RFC 3339."""
    return [each.as_dict() for each in groups(config, filters)]


def groups(config: Config, filters: Filters) -> list[Group]:
    """What fails, most jobs first. Of very many different errors those that most jobs have are looked at."""
    statement = "failures_with_delivery" if filters.of_deliveries else "failures"
    where = "".join(f" AND {fragment}" for fragment in narrowed("job", filters))
    where += " " + STATEMENTS["failure_order"] + " " + STATEMENTS["failure_most"]

    def work(reader: Reader) -> list[Group]:
        rows = reader.all(statement, where, **filters.values(), most=ERRORS_AT_MOST)
        found = sorted(_gathered(map(_group, rows)), key=lambda each: -each.jobs)
        for group in found[:PLACED_AT_MOST]:
            group.place = _place(reader, group.example)
        return sorted(_gathered(found), key=lambda each: (-each.jobs, each.task))

    return read(config, work)


def jobs_of(config: Config, group: Group, states: Sequence[State], filters: Filters) -> list[str]:
    """The ids of a group's jobs that are in one of these states and fit the filters, oldest first; at most
    `filters.limit`. Only errors of exactly the group's count: what fails otherwise is left alone."""
    given = Filters(states=states, task=group.task, source=filters.source, since=filters.since, until=filters.until)
    where = "".join(f" AND {fragment}" for fragment in narrowed("job", given)) + " " + STATEMENTS["failing_order"]
    values = given.values() | {"errors": json.dumps(sorted(group.errors)), "limit": filters.limit}
    return [row["id"] for row in read(config, lambda reader: reader.all("failing", where, **values))]


def pattern(error: str) -> str:
    """An error without what varies from job to job: numbers, addresses, what stands in quotes."""
    return VARYING.sub("…", error)


def _gathered(found: Iterable[Group]) -> list[Group]:
    by_likeness: dict[Hashable, Group] = {}
    for group in found:
        known = by_likeness.setdefault(group.alike, group)
        if known is not group:
            known.take(group)
    return list(by_likeness.values())


def _group(row: dict[str, Any]) -> Group:
    error = first_line(row["error"])
    exception = EXCEPTION.match(error)
    return Group(
        row["task"],
        exception[1] if exception else "",
        error,
        row["example"],
        row["first_at"],
        row["last_at"],
        row["jobs"],
        row["jobs"] if row["dead"] else 0,
        errors={row["error"]},
    )


def first_line(error: str) -> str:
    """The first line of an error, without what was put before it."""
    return next(iter(SPENT.sub("", error).strip().splitlines()), "")


def _place(reader: Reader, job: str) -> str | None:
    """Where in the user's code the job's last traceback ends: file, line and function."""
    row = reader.one("last_traceback", job=job)
    frames = FRAME.findall(row["traceback"]) if row else []
    theirs = [frame for frame in frames if not any(part in frame[0] for part in NOT_THEIRS)]
    if not frames:
        return None
    path, line, function = (theirs or frames)[-1]
    return f"{path.rsplit('/', 1)[-1]}:{line} {function}"
