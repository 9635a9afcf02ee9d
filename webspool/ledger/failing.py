"""What goes wrong, by task, exception and place: failing jobs that fail alike."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from webspool.config import Config
from webspool.ledger.likeness import exception_of, first_line
from webspool.ledger.paging import Filters, narrowed
from webspool.ledger.reader import STATEMENTS, Reader, read, rfc3339
from webspool.records import State

GROUPS_AT_MOST = 2_000
PLACED_AT_MOST = 200
FRAME = re.compile(r'^\s*File "([^"\n]+)", line (\d+), in (\S+)', re.MULTILINE)
NOT_THEIRS = ("/site-packages/", "/dist-packages/", "/lib/python", "<frozen")


@dataclass
class Group:
    """Jobs that fail alike. Times are Unix seconds; `error` is what the `example`, the newest of them, says.

    `messages` counts the different errors, `likenesses` are what these have in common.
    """

    task: str
    exception: str
    error: str
    example: str
    first_at: float
    last_at: float
    jobs: int
    dead: int
    messages: int
    likenesses: set[str] = field(default_factory=set)
    place: str | None = None

    @property
    def alike(self) -> tuple[str, str, str]:
        """What those of the group have in common."""
        return self.task, self.exception, self.place or min(self.likenesses)

    @property
    def key(self) -> str:
        """Names the group in an address, as long as it fails at the same place."""
        return hashlib.sha256("\0".join(self.alike).encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def as_dict(self) -> dict[str, Any]:
        names = ("key", "task", "exception", "error", "messages", "place", "jobs", "dead", "example")
        times = {"first_at": rfc3339(self.first_at), "last_at": rfc3339(self.last_at)}
        return {name: getattr(self, name) for name in names} | {"retrying": self.jobs - self.dead} | times

    def take(self, other: Group) -> None:
        """Put another group in with this one; the newest of both speaks for all."""
        if other.last_at > self.last_at:
            self.error, self.example, self.last_at = other.error, other.example, other.last_at
        self.first_at = min(self.first_at, other.first_at)
        self.jobs, self.dead = self.jobs + other.jobs, self.dead + other.dead
        self.messages += other.messages
        self.likenesses |= other.likenesses


def failures(config: Config, filters: Filters) -> list[dict[str, Any]]:
    """What fails, in groups, most jobs first; times as RFC 3339."""
    return [each.as_dict() for each in groups(config, filters)]


def groups(config: Config, filters: Filters) -> list[Group]:
    """What fails, most jobs first; of those that fail in very many ways, the ways that most jobs fail in."""
    statement = "failures_with_delivery" if filters.of_deliveries else "failures"
    where = "".join(f" AND {fragment}" for fragment in narrowed("job", filters))
    where += " " + STATEMENTS["failure_groups"]

    def work(reader: Reader) -> list[Group]:
        found = [_group(row) for row in reader.all(statement, where, **filters.values(), most=GROUPS_AT_MOST)]
        for group in found[:PLACED_AT_MOST]:
            _look_at_example(reader, group)
        return sorted(_gathered(found), key=lambda each: (-each.jobs, each.task))

    return read(config, work)


def jobs_of(config: Config, group: Group, states: Sequence[State], filters: Filters) -> list[str]:
    """The ids of a group's jobs that are in one of these states and fit the filters, oldest first; at most
    `filters.limit`. What fails otherwise is left alone, also when its error contains the group's."""
    given = Filters(states=states, task=group.task, source=filters.source, since=filters.since, until=filters.until)
    where = "".join(f" AND {fragment}" for fragment in narrowed("job", given)) + " " + STATEMENTS["failing_order"]
    values = given.values() | {"alike": json.dumps(sorted(group.likenesses)), "limit": filters.limit}
    return [row["id"] for row in read(config, lambda reader: reader.all("failing", where, **values))]


def _gathered(found: Iterable[Group]) -> list[Group]:
    by_likeness: dict[Hashable, Group] = {}
    for group in found:
        known = by_likeness.setdefault(group.alike, group)
        if known is not group:
            known.take(group)
    return list(by_likeness.values())


def _group(row: dict[str, Any]) -> Group:
    error = first_line(row.pop("error"))
    return Group(exception=exception_of(error), error=error, likenesses={row.pop("alike")}, **row)


def _look_at_example(reader: Reader, group: Group) -> None:
    """What the newest says, and where in the user's code its last traceback ends: file, line and function."""
    if job := reader.one("error_of_job", id=group.example):
        group.error = first_line(job["error"])
    row = reader.one("last_traceback", job=group.example)
    frames = FRAME.findall(row["traceback"]) if row else []
    theirs = [frame for frame in frames if not any(part in frame[0] for part in NOT_THEIRS)]
    if frames:
        path, line, function = (theirs or frames)[-1]
        group.place = f"{path.rsplit('/', 1)[-1]}:{line} {function}"
