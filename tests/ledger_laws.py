"""What holds in every ledger between two transactions, whatever was done to it: each law tells its breaches."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apsw

from webspool.batch import MOST
from webspool.records import FINISHED, State

TABLES = (
    "instance",
    "process",
    "task",
    "delivery",
    "event_key",
    "job",
    "attempt",
    "slot",
    "pause",
    "action",
    "refusal",
    "counter",
)

Table = list[dict[str, Any]]


@dataclass(frozen=True)
class Snapshot:
    """Every row of every table, read in one go."""

    tables: dict[str, Table]

    @classmethod
    def of(cls, connection: apsw.Connection) -> Snapshot:
        return cls({name: _rows(connection, name) for name in TABLES})

    def __getattr__(self, name: str) -> Table:
        return self.tables[name]

    @property
    def counters(self) -> dict[str, int]:
        return {row["name"]: row["value"] for row in self.counter if row["value"]}

    def jobs_in(self, *states: State) -> Table:
        return [job for job in self.job if job["state"] in states]


def _rows(connection: apsw.Connection, table: str) -> Table:
    cursor = connection.execute(f"SELECT * FROM {table}")
    try:
        names = [name for name, _ in cursor.getdescription()]
    except apsw.ExecutionCompleteError:
        return []
    return [dict(zip(names, row, strict=True)) for row in cursor]


def breaches(seen: Snapshot) -> list[str]:
    """The laws that do not hold, a sentence each."""
    return [breach for law in LAWS for breach in law(seen)]


def counters_are_true(seen: Snapshot) -> Iterator[str]:
    """The running totals are what counting would give."""
    true = Counter(f"jobs.{job['state']}" for job in seen.job)
    true["deliveries.accepted"] = len(seen.delivery)
    true["deliveries.ignored"] = sum(row["status"] == "ignored" for row in seen.delivery)
    true["deliveries.duplicates"] = sum(row["duplicates"] for row in seen.delivery)
    told = {name: value for name, value in seen.counters.items() if name != "deliveries.refused"}
    if told != +true:
        yield f"the counters say {told}, counting says {dict(+true)}"


def open_attempts_and_running_jobs_are_pairs(seen: Snapshot) -> Iterator[str]:
    """Each open attempt belongs to a running job that names it, each running job names an open attempt."""
    running = {job["id"]: job["attempt"] for job in seen.jobs_in(State.RUNNING)}
    opened = {row["job"]: row["id"] for row in seen.attempt if row["ended_at"] is None}
    if running != opened or len(opened) != sum(row["ended_at"] is None for row in seen.attempt):
        yield f"running jobs {running}, open attempts {opened}"
    for job in seen.job:
        if job["state"] != State.RUNNING and job["attempt"] is not None:
            yield f"{job['id']} is {job['state']} and names an attempt"


def a_process_holds_the_attempts_of_one_claim(seen: Snapshot) -> Iterator[str]:
    """What a process holds open was claimed together: the first, and a few that were never begun before."""
    held = defaultdict(list)
    for row in seen.attempt:
        if row["ended_at"] is None:
            held[row["process"]].append(row)
    for process, rows in held.items():
        if len(rows) > MOST or len({row["started_at"] for row in rows}) > 1:
            yield f"{process} holds {len(rows)} open attempts, of {len({row['started_at'] for row in rows})} claims"
        if len(rows) > 1 and any(row["number"] > 1 for row in rows):
            yield f"{process} holds {rows}, of which one was begun before"


def attempts_are_charged_when_they_open(seen: Snapshot) -> Iterator[str]:
    """A job's `attempts` are its charged attempts, the open one included; `number` counts them all."""
    charged = Counter(row["job"] for row in seen.attempt if row["charged"])
    counted = Counter(row["job"] for row in seen.attempt)
    for job in seen.job:
        if (job["attempts"], job["number"]) != (charged[job["id"]], counted[job["id"]]):
            yield f"{job['id']} says {job['attempts']} charged of {job['number']}, its attempts say otherwise"


def an_event_is_accepted_once(seen: Snapshot) -> Iterator[str]:
    """One delivery for a source and an event id, for as long as its key lasts."""
    lasting = {(row["source"], row["event_id"]): row["until"] - row["first_at"] for row in seen.event_key}
    last: dict[tuple[str, str], float] = {}
    for row in seen.delivery:
        event = row["source"], row["event_id"]
        if event in last and row["received_at"] < last[event] + lasting[event]:
            yield f"{event} was accepted more than once"
        if row["event_id"] is not None:
            last[event] = row["received_at"]


def limits_are_kept(seen: Snapshot) -> Iterator[str]:
    """The places under a limit are held by the queued and running jobs it is for, one each, and never too many."""
    places = defaultdict(set)
    for row in seen.slot:
        places[row["holds"]].add(row["job"])
    for holds, limit, members in _limits(seen):
        expected = {job["id"] for job in members}
        if places[holds] != expected:
            yield f"{holds} is held by {places[holds]}, and should be by {expected}"
        queued = [job for job in members if job["state"] == State.QUEUED]
        if queued and len(members) > limit:
            yield f"{holds} allows {limit}, but {len(members)} are queued or running"


def _limits(seen: Snapshot) -> Iterator[tuple[str, int, Table]]:
    active = seen.jobs_in(State.QUEUED, State.RUNNING)
    for task in seen.task:
        if task["concurrency"] is not None:
            mine = [job for job in active if job["task"] == task["name"]]
            yield f"task:{task['name']}", task["concurrency"], mine
    for task, key in {(job["task"], job["key"]) for job in seen.job if job["key"] is not None}:
        yield f"key:{task}:{key}", 1, [job for job in active if (job["task"], job["key"]) == (task, key)]


def one_runs_for_a_key(seen: Snapshot) -> Iterator[str]:
    """Of the jobs of a task with the same key one runs at a time."""
    running = Counter((job["task"], job["key"]) for job in seen.jobs_in(State.RUNNING) if job["key"] is not None)
    yield from (f"{number} jobs of {key} run" for key, number in running.items() if number > 1)


def blocked_jobs_have_their_reason(seen: Snapshot) -> Iterator[str]:
    """A blocked job waits for a pause that is on, a task that is unknown, or a limit that is full."""
    full = {f"limit:{holds}" for holds, limit, members in _limits(seen) if len(members) >= limit}
    paused = {f"pause:{row['name']}" for row in seen.pause}
    known = {row["name"] for row in seen.task if row["known"]}
    unknown = {f"unknown:{job['task']}" for job in seen.job if job["task"] not in known}
    for job in seen.jobs_in(State.BLOCKED):
        if job["blocked_on"] not in full | paused | unknown:
            yield f"{job['id']} is blocked on {job['blocked_on']}, which is no obstacle"
    for job in seen.job:
        if (job["state"] == State.BLOCKED) != (job["blocked_on"] is not None):
            yield f"{job['id']} is {job['state']}, blocked on {job['blocked_on']}"


def queued_jobs_may_run(seen: Snapshot) -> Iterator[str]:
    """No job is queued whose task or source is paused, or whose task the code does not know."""
    paused = {row["name"] for row in seen.pause}
    known = {row["name"] for row in seen.task if row["known"]}
    for job in seen.jobs_in(State.QUEUED):
        if paused & {"all", f"task:{job['task']}", f"source:{job['source']}"} or job["task"] not in known:
            yield f"{job['id']} is queued, though it may not run"


def finished_jobs_say_when(seen: Snapshot) -> Iterator[str]:
    """A job has the time of its end exactly when it has ended."""
    for job in seen.job:
        if (job["state"] in FINISHED) != (job["finished_at"] is not None):
            yield f"{job['id']} is {job['state']}, finished at {job['finished_at']}"


def only_running_jobs_are_asked_to_end(seen: Snapshot) -> Iterator[str]:
    """A wish to cancel goes with the run that it was for."""
    yield from (f"{job['id']} is {job['state']} and to be cancelled" for job in seen.job if _told_in_vain(job))


def _told_in_vain(job: dict[str, Any]) -> bool:
    return bool(job["cancelling"]) and job["state"] != State.RUNNING


LAWS = (
    counters_are_true,
    open_attempts_and_running_jobs_are_pairs,
    a_process_holds_the_attempts_of_one_claim,
    attempts_are_charged_when_they_open,
    an_event_is_accepted_once,
    limits_are_kept,
    one_runs_for_a_key,
    blocked_jobs_have_their_reason,
    queued_jobs_may_run,
    finished_jobs_say_when,
    only_running_jobs_are_asked_to_end,
)
