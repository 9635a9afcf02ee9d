"""What pages survey besides lists of jobs and deliveries: what is scheduled, sources, tasks, actions."""

from __future__ import annotations

import functools
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from webspool.config import Config
from webspool.ledger.reader import Reader, read, rfc3339
from webspool.ledger.reading import Found
from webspool.ledger.tallies import HOUR, RANGES, Counts, Tally, added, ever, is_silent, usual_pause

FIRST, LAST = "x_", "x`"
"""Before and behind every id of an operator's action; what a sender's copies did has the ids of deliveries."""
NAMED_AT_MOST = 5
WINDOW = 2_000
TYPES_AT_MOST = 500
DAY_SECONDS = 86400


# ── scheduled ───────────────────────────────────────────────────────────────────────────────────────────────────


def scheduled(
    config: Config,
    limit: int,
    *,
    after: tuple[float, int] = (0.0, 0),
    task: str | None = None,
    source: str | None = None,
) -> list[Found]:
    """Jobs that wait for their time, the next one first; `after` is due time and `seq` of the last one known.

    `due` is the due time in Unix seconds, unrounded.
    """
    values = {"due_at": after[0], "seq": after[1], "task": task, "source": source, "limit": limit}
    rows = read(config, lambda reader: reader.all("scheduled", **values))
    return [row | {"due": row["due_at"]} | _times(row, "due_at", "created_at") for row in rows]


def _times(row: Found, *names: str) -> Found:
    return {name: rfc3339(row[name]) for name in names}


# ── sources and tasks ───────────────────────────────────────────────────────────────────────────────────────────


def sources(config: Config, names: Iterable[str], *, now: float | None = None) -> list[Found]:
    """Each source: its last delivery, what came within a day, what is paused, and whether it has gone silent."""
    now = time.time() if now is None else now

    def work(reader: Reader) -> list[Found]:
        days, week = _days(reader, "source", now), _week(reader, now)
        paused = {row["name"] for row in reader.all("pauses")}
        return [_source(reader, name, days[name], week.get(name), paused, now) for name in names]

    return read(config, work)


def _week(reader: Reader, now: float) -> dict[str, Found]:
    rows = reader.all("accepted_of_sources", span=HOUR, since=now - RANGES["7d"].seconds)
    return {row["name"].partition(":")[2]: row for row in rows}


def _source(reader: Reader, name: str, of_day: _Day, week: Found | None, paused: set[str], now: float) -> Found:
    last, day = _last_delivery(reader, name), of_day.whole
    accepted = week["accepted"] if week else 0
    return {
        "name": name,
        "paused": bool(paused & {"all", f"source:{name}"}),
        "refusing": f"refuse:{name}" in paused,
        "last": last and last | _times(last, "received_at"),
        "accepted": day.accepted,
        "duplicates": day.duplicate,
        "refused": day.refused,
        "refusal_rate": day.refusal_rate,
        "hours": of_day.hours("accepted", "refused"),
        "accepted_in_week": accepted,
        "usual_pause_seconds": usual_pause(accepted),
        "silent": bool(week) and is_silent(accepted, now - (last["received_at"] if last else now)),
    }


def _last_delivery(reader: Reader, source: str) -> Found | None:
    """The newest of those that are each the newest of a type: so none of a long past is read."""
    types = [None, *(row["type"] for row in reader.all("delivery_types", source=source, most=TYPES_AT_MOST))]
    newest = (reader.one("newest_of_type", source=source, type=each) for each in types)
    seq = max((row["seq"] for row in newest if row and row["seq"]), default=None)
    return None if seq is None else reader.one("last_delivery", seq=seq)


def tasks(config: Config, *, now: float | None = None) -> list[Found]:
    """Each task that the ledger knows: its policy, its day, what it ever did, what runs, and whether it is paused."""
    now = time.time() if now is None else now

    def work(reader: Reader) -> list[Found]:
        days, total = _days(reader, "task", now), ever(reader)
        paused = {row["name"] for row in reader.all("pauses")}
        running = {row["task"]: row["jobs"] for row in reader.all("running_by_task")}
        return [
            _task(row, days[row["name"]], Tally(0.0, total.get(f"task:{row['name']}", {})), paused)
            | {"running": running.get(row["name"], 0)}
            for row in reader.all("tasks_known")
        ]

    return read(config, work)


def _task(row: Found, of_day: _Day, total: Tally, paused: set[str]) -> Found:
    day = of_day.whole
    return {
        "name": row["name"],
        "known": bool(row["known"]),
        "paused": bool(paused & {"all", f"task:{row['name']}"}),
        "policy": json.loads(row["policy"]),
        "ended": day.ended,
        "failed": day.failed,
        "failure_rate": day.failure_rate,
        "wait_seconds": {"p50": day.wait(0.5), "p95": day.wait(0.95)},
        "run_seconds": {"p50": day.run(0.5), "p95": day.run(0.95)},
        "hours": of_day.hours("succeeded", "failed"),
        "ever": {"ended": total.ended, "failed": total.failed, "dead": total.dead},
    }


class _Day:
    """What happened to one name in the hour at hand and the 23 before it."""

    def __init__(self, now: float) -> None:
        last = int(now // HOUR) * HOUR
        self._hours: dict[int, Counts] = {at: {} for at in range(last - DAY_SECONDS + HOUR, last + HOUR, HOUR)}

    def take(self, at: int, counts: str) -> None:
        if at in self._hours:
            self._hours[at] = json.loads(counts)

    @property
    def whole(self) -> Tally:
        return Tally(0.0, functools.reduce(added, self._hours.values(), {}))

    def hours(self, *kinds: str) -> list[Found]:
        """Hour by hour, oldest first, how often each kind happened."""
        return [
            {"at": rfc3339(at)} | {kind: counts.get(kind, 0) for kind in kinds} for at, counts in self._hours.items()
        ]


def _days(reader: Reader, kind: str, now: float) -> defaultdict[str, _Day]:
    """The day of each of that kind."""
    values = {"span": HOUR, "since": now - DAY_SECONDS, "kind": f"{kind}:", "below": f"{kind};"}
    found = defaultdict[str, _Day](lambda: _Day(now))
    for row in reader.all("tallied", **values):
        found[row["name"].partition(":")[2]].take(row["at"], row["counts"])
    return found


def starts(config: Config) -> dict[str, int]:
    """How often each kind of process has been started since there is this ledger."""
    counted = read(config, ever)
    return {
        name.partition(":")[2]: int(counts.get("started", 0))
        for name, counts in counted.items()
        if name.startswith("process:")
    }


# ── actions ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Actions:
    """A page of what operators did, newest first. `before` goes on behind it, None at the end; `back_to` is how far
    back was looked when not all was looked at before the page was full."""

    found: list[Found]
    before: str | None = None
    back_to: str | None = None


def actions(
    config: Config,
    limit: int,
    *,
    before: str | None = None,
    actor: str | None = None,
    verb: str | None = None,
    text: str | None = None,
    since: float | None = None,
    until: float | None = None,
) -> Actions:
    """What operators did. `actor` is looked for in who did it, `text` in what it was done to or
    came to; times in Unix seconds."""
    end = min(filter(None, (before, None if until is None else _bound(until))), default=LAST)
    span = {"bound": FIRST if since is None else _bound(since), "before": end, "window": WINDOW}

    def work(reader: Reader) -> Actions:
        rows = reader.all("actions", actor=actor, verb=verb, text=text, limit=limit + 1, **span)
        found = [_action(row) for row in rows[:limit]]
        if len(rows) > limit:
            return Actions(found, found[-1]["id"])
        looked = reader.one("action_at_the_end", **span) or {"number": 0}
        if looked["number"] < WINDOW:
            return Actions(found)
        return Actions(found, looked["id"], rfc3339(_moment(looked["id"])))

    return read(config, work)


def _bound(at: float) -> str:
    """An id before all that were made from then on (RFC 9562, 5.7: its first 48 bits are Unix milliseconds)."""
    return f"{FIRST}{max(int(at * 1000), 0):012x}"


def _moment(id: str) -> float:
    return int(id.removeprefix(FIRST)[:12], 16) / 1000


def _action(row: Found) -> Found:
    given, answer = json.loads(row["arguments"]), json.loads(row["answer"])
    named = _names(given, answer)
    return {
        "id": row["id"],
        "at": rfc3339(row["at"]),
        "actor": row["actor"],
        "remote": given.get("remote"),
        "verb": row["verb"],
        "of": named[:NAMED_AT_MOST],
        "number": len(named),
        "came_to": _came_to(answer),
        "made": _made(row["verb"], answer),
        "note": given.get("reason") or given.get("role"),
    }


def _names(given: Found, answer: Found) -> list[str]:
    """What it was done to."""
    if isinstance(answer.get("done"), dict):
        return list(answer["done"])
    return [str(given[name]) for name in ("task", "source", "delivery", "name", "parent") if given.get(name)]


def _came_to(answer: Found) -> dict[str, int]:
    """How often which answer was given."""
    done = answer.get("done", answer.get("status", "done"))
    if isinstance(done, dict):
        return dict(Counter(str(each).removeprefix("not_allowed: ") for each in done.values()).most_common())
    return {"done" if done is True else "not done" if done is False else str(done).removeprefix("not_allowed: "): 1}


def _made(verb: str, answer: Found) -> list[str]:
    """The jobs that came of it."""
    if verb not in ("run", "replay"):
        return []
    jobs = [each["id"] for each in answer.get("jobs", ())] + ([answer["job"]] if answer.get("job") else [])
    return jobs[:NAMED_AT_MOST]
