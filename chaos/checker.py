"""The independent checker: `python -m chaos.checker FOLDER WEBSPOOL` judges what a row left, and prints it as JSON.

It reads what senders were answered (`evidence/sent.jsonl`), what took effect (`effects.jsonl`), what was broken
(`harm.jsonl`), what was ordered (`orders.json`), and what the command WEBSPOOL lists of `FOLDER/instance`. It imports
nothing of webspool's: whoever made a mistake there has not made it here again.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

Line = dict[str, Any]

ENDED = ("succeeded", "dead", "cancelled")
RECOVERED_SECONDS = 10.0
MOST_INTERRUPTIONS = 20
MOST_HISTORIES = 40
MOST_TOLD = 5

INTEGRITY = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
print(*[row[0] for row in connection.execute("PRAGMA integrity_check")])
print(*[f"no such parent: {row}" for row in connection.execute("PRAGMA foreign_key_check")])
"""


@dataclass
class Evidence:
    """All that is known of a run: what each actor wrote down, and what the command says there is."""

    sent: list[Line]
    effects: list[Line]
    harm: list[Line]
    orders: dict[str, Line]
    jobs: dict[str, Line]
    deliveries: list[Line]
    history: Callable[[str], list[Line]]
    integrity: str = "ok"

    by_event: dict[str, list[Line]] = field(init=False)
    acked: dict[str, list[Line]] = field(init=False)
    stored: dict[str, list[Line]] = field(init=False)
    event_of: dict[str, str] = field(init=False)
    began: dict[str, list[Line]] = field(init=False)
    done: dict[str, list[Line]] = field(init=False)

    def __post_init__(self) -> None:
        self.by_event = _grouped(self.sent, "event")
        self.acked = _grouped([line for line in self.sent if _is_acked(line)], "event")
        self.stored = _grouped(self.deliveries, "event_id")
        self.event_of = {job["id"]: found["event_id"] for found in self.deliveries for job in found["jobs"]}
        self.began = _grouped([line for line in self.effects if line["what"] == "began"], "job")
        self.done = _grouped([line for line in self.effects if line["what"] == "done"], "job")

    def ordered(self) -> Iterator[tuple[Line, str, Line]]:
        """Each job of a webhook, its event and its order. What was spooled otherwise is for its row to judge."""
        for job in self.jobs.values():
            event = self.event_of.get(job["id"])
            if event in self.by_event:
                yield job, event, self.orders[self.by_event[event][0]["order"]]


def _grouped(lines: list[Line], name: str) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        found[line[name]].append(line)
    return dict(found)


def _is_acked(line: Line) -> bool:
    return line["status"] is not None and 200 <= line["status"] < 300


# ── laws ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def what_was_acked_is_there_once(seen: Evidence) -> Iterator[str]:
    """Each event that was answered 2xx has one delivery, the one that every answer named, with all its jobs."""
    for event, answers in seen.acked.items():
        found = seen.stored.get(event, [])
        if len(found) != 1:
            yield f"event {event} was acknowledged and has {len(found)} deliveries"
            continue
        if {line["delivery"] for line in answers} != {found[0]["id"]}:
            yield f"event {event} is delivery {found[0]['id']}, but the answers named {answers}"
        named = {job for line in answers for job in line["jobs"]}
        if missing := named - seen.jobs.keys():
            yield f"event {event}: jobs {sorted(missing)} were acknowledged and are not there"


def an_event_is_stored_once(seen: Evidence) -> Iterator[str]:
    """However often it was sent and whatever was answered; and nothing is there that nobody sent."""
    for event, found in seen.stored.items():
        if len(found) > 1:
            yield f"event {event} has {len(found)} deliveries"
        if event not in seen.by_event:
            yield f"delivery {found[0]['id']} is of an event that nobody sent: {event}"


def every_job_has_ended(seen: Evidence) -> Iterator[str]:
    """Acknowledged or not: what is in the ledger reaches an end."""
    for job in seen.jobs.values():
        if job["state"] not in ENDED:
            yield f"job {job['id']} ({job['task']}) is {job['state']} still, blocked on {job.get('blocked_on')}"


def what_succeeded_took_effect(seen: Evidence) -> Iterator[str]:
    """At least once, with the very body that was sent."""
    for job in seen.jobs.values():
        if job["state"] == "succeeded" and job["id"] not in seen.done:
            yield f"job {job['id']} ({job['task']}) succeeded and did nothing"
    for job, lines in seen.began.items():
        for line in lines:
            sent = seen.by_event.get(line["event"])
            if sent is None or sent[0]["sha256"] != line["sha256"]:
                yield f"job {job} got a body that nobody sent"


def what_ran_is_in_the_ledger(seen: Evidence) -> Iterator[str]:
    """No task was called for a job that the ledger does not know: no answer, no run."""
    yield from (f"job {job} ran and is not in the ledger" for job in seen.began.keys() - seen.jobs.keys())


def an_attempt_runs_once(seen: Evidence) -> Iterator[str]:
    """Each call of a task is an attempt with a number of its own, unless the disk lost in between what was not flushed:
    without power, or since it had turned read-only.
    """
    cuts = [line["at"] for line in seen.harm if line["who"] == "power" or line["what"].endswith("read-only")]
    for job, lines in seen.began.items():
        runs = Counter((line["number"], sum(cut < line["at"] for cut in cuts)) for line in lines)
        yield from (
            f"job {job}: attempt {number} ran {times} times" for (number, _), times in runs.items() if times > 1
        )


def attempts_keep_their_limit(seen: Evidence) -> Iterator[str]:
    """Charged attempts: the task's limit, for each round that a sender's repetition may have begun."""
    for job, event, order in seen.ordered():
        limit = order["limit"] * (len(seen.by_event[event]) if order["dead_by"] else 1)
        if job["attempts"] > limit:
            yield f"job {job['id']} was tried {job['attempts']} times, the limit is {limit}"
        if len(seen.began.get(job["id"], [])) > limit + MOST_INTERRUPTIONS:
            yield f"job {job['id']} was called {len(seen.began[job['id']])} times, the limit is {limit}"


def the_dead_have_a_cause(seen: Evidence) -> Iterator[str]:
    """They were ordered to die, and say how; or each of their attempts was killed, and the killer's log has it."""
    for job, _, order in seen.ordered():
        if order["dead_by"] is not None:
            if job["state"] in ENDED and not re.search(re.escape(order["dead_by"]) + "|was killed", str(job["error"])):
                yield f"job {job['id']} ({job['task']}) is {job['state']}, and says: {job['error']}"
        elif job["state"] == "dead":
            charged = [each for each in seen.history(job["id"]) if each["charged"]]
            if not all(_was_killed(seen, each) for each in charged):
                yield f"job {job['id']} ({job['task']}) is dead, and says: {job['error']}"


def the_charged_were_killed(seen: Evidence) -> Iterator[str]:
    """An attempt that was charged and interrupted, of a task that harms nobody, is one that the killer's log names."""
    for job in _broken_off(seen)[:MOST_HISTORIES]:
        for each in seen.history(job["id"]):
            if each["charged"] and each["outcome"] == "interrupted" and not _was_killed(seen, each):
                yield f"job {job['id']}: attempt {each['number']} says {each['error']!r}, which nobody did"


def _broken_off(seen: Evidence) -> list[Line]:
    """Jobs of harmless tasks, tried more than once, with an attempt of which the task says neither done nor failed."""
    told = {(line["job"], line["number"]) for line in seen.effects if line["what"] in ("done", "failed")}
    open_ends = {line["job"] for line in seen.effects if (line["job"], line["number"]) not in told}
    tried = [job for job, _, order in seen.ordered() if job["attempts"] > 1 and order["dead_by"] is None]
    return [job for job in tried if job["id"] in open_ends]


def _was_killed(seen: Evidence, attempt: Line) -> bool:
    """Whether the killer's log has what the attempt says: that spooler, or a runner while it ran."""
    error = str(attempt["error"])
    kills = [line for line in seen.harm if line["what"] == "SIGKILL"]
    if named := re.search(r"its spooler (\d+) was killed", error):
        return any(line["pid"] == int(named[1]) for line in kills if line["who"] in ("spooler", "master"))
    begun, ended = _unix(attempt["started_at"]), _unix(attempt["ended_at"])
    killed = [line for line in kills if line["who"] == "runner" and begun - 1.0 <= line["time"] <= ended + 1.0]
    return "SIGKILL" in error and bool(killed)


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def answers_are_honest(seen: Evidence) -> Iterator[str]:
    """A signed webhook is answered 2xx, or 503 and nothing was promised; nothing else."""
    for line in seen.sent:
        if line["status"] is None or _is_acked(line):
            continue
        if line["status"] != 503:
            yield f"event {line['event']} was answered {line['status']} {line['cause']}"
        if line["delivery"] or line["jobs"]:
            yield f"event {line['event']} was answered {line['status']} and told of a delivery"


def the_ledger_is_whole(seen: Evidence) -> Iterator[str]:
    """As SQLite sees it, in a process of its own."""
    if seen.integrity != "ok":
        yield f"PRAGMA integrity_check: {seen.integrity}"


def it_recovers_by_itself(seen: Evidence) -> Iterator[str]:
    """A webhook sent after the harm is acknowledged and done within ten seconds, without a hand."""
    for line, seconds in recoveries(seen):
        if seconds is None or seconds > RECOVERED_SECONDS:
            after = "never" if seconds is None else f"after {seconds:.1f} s"
            yield f"{line['what']} of {line['who']} at {line['at']:.1f}: recovered {after}"


LAWS = (
    what_was_acked_is_there_once,
    an_event_is_stored_once,
    every_job_has_ended,
    what_succeeded_took_effect,
    what_ran_is_in_the_ledger,
    an_attempt_runs_once,
    attempts_keep_their_limit,
    the_dead_have_a_cause,
    the_charged_were_killed,
    answers_are_honest,
    the_ledger_is_whole,
    it_recovers_by_itself,
)


# ── figures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def recoveries(seen: Evidence) -> list[tuple[Line, float | None]]:
    """Seconds from each harm to the first webhook sent after it that was acknowledged and done; None: none was.

    Harm that more harm followed before that is left to the later one. Harm that lasts is counted from its end.
    """
    probes = _probes(seen)
    harm = sorted((line for line in seen.harm if not line.get("lasts")), key=lambda line: line["at"])
    found: list[tuple[Line, float | None]] = []
    for line, after in zip(harm, [*harm, None][1:], strict=True):
        whole = next((end for sent, end in probes if sent >= line["at"]), None)
        if after is None or (whole is not None and whole <= after["at"]):
            found.append((line, None if whole is None else whole - line["at"]))
    return found


def _probes(seen: Evidence) -> list[tuple[float, float]]:
    """When each was sent, and when it was both answered and done; the earliest done first."""
    done = {line["job"]: line["at"] for line in reversed(seen.effects) if line["what"] == "done"}
    found = []
    for line in seen.sent:
        if line["order"] == "probe" and _is_acked(line) and all(job in done for job in line["jobs"]):
            found.append((line["sent"], max([line["at"], *(done[job] for job in line["jobs"])])))
    return sorted(found, key=lambda pair: pair[1])


def figures(seen: Evidence) -> dict[str, Any]:
    recovered = [seconds for _, seconds in recoveries(seen) if seconds is not None]
    unacked = [event for event in seen.by_event if event not in seen.acked]
    ran = {seen.event_of.get(job) for job in seen.began}
    return {
        "requests": len(seen.sent),
        "events": len(seen.by_event),
        "acked": len(seen.acked),
        "duplicates": sum(line["said"] in ("duplicate", "retried") for line in seen.sent),
        "refused": sum(line["status"] == 503 for line in seen.sent),
        "unanswered": sum(line["status"] is None for line in seen.sent),
        "jobs": len(seen.jobs),
        "ended": Counter(job["state"] for job in seen.jobs.values()),
        "attempts": sum(map(len, seen.began.values())),
        "lost": sum(len(seen.stored.get(event, [])) == 0 for event in seen.acked),
        "run_without_ack": sum(event in ran for event in unacked),
        "harm": Counter(f"{line['what']} {line['who']}" for line in seen.harm if not line.get("lasts")),
        "longest_recovery": max(recovered, default=None),
        "longest_answer": max((line["at"] - line["sent"] for line in seen.sent if line["status"]), default=None),
    }


def judged(seen: Evidence) -> dict[str, Any]:
    """The figures of a run, and its breaches: what does not hold, a sentence each."""
    found = []
    for law in LAWS:
        told = list(law(seen))
        found += [f"{law.__name__}: {each}" for each in told[:MOST_TOLD]]
        if len(told) > MOST_TOLD:
            found.append(f"{law.__name__}: and {len(told) - MOST_TOLD} more")
    return figures(seen) | {"breaches": found}


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def gathered(folder: Path, webspool: str) -> Evidence:
    """What lies in the folder, and what the command says of the instance in it."""
    instance, evidence = folder / "instance", folder / "evidence"

    def told(*words: str) -> Any:
        command = [webspool, "--instance", str(instance), *words, "--json"]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=120).stdout)

    return Evidence(
        sent=_lines(evidence / "sent.jsonl"),
        effects=_lines(evidence / "effects.jsonl"),
        harm=_lines(evidence / "harm.jsonl"),
        orders=json.loads((evidence / "orders.json").read_text()),
        jobs={job["id"]: job for job in told("jobs")},
        deliveries=told("deliveries"),
        history=lambda job: list(told("job", job)["history"]),
        integrity=_integrity(instance / "var" / "ledger.db"),
    )


def _lines(path: Path) -> list[Line]:
    """Every line; half a line is one whose writer was killed in the middle of it."""
    found = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(text))
        except ValueError:
            continue
    return found


def _integrity(ledger: Path) -> str:
    command = [sys.executable, "-c", INTEGRITY, str(ledger)]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return (asked.stdout + asked.stderr).strip()


if __name__ == "__main__":
    json.dump(judged(gathered(Path(sys.argv[1]), sys.argv[2])), sys.stdout)
