"""`apply`: one operation on one transaction, the same whoever holds it, and doing it twice changes nothing.

What is decided is decided by the callers (`policy`, `receive`, an operator); here it is written, and only when it
still holds: the claim and the end are compare-and-set.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from webspool.ledger import accounts, actions, membership
from webspool.ledger.admission import move, place, place_new, release, release_due
from webspool.ledger.database import Row, Transaction
from webspool.ledger.operations import Answer, Operation
from webspool.records import Ending, State


def apply(tx: Transaction, operation: Operation) -> Answer:
    """Do `operation` inside `tx`, or give its first answer when it was done before."""
    return VERBS[operation.verb](tx, operation)


# ── accept ──────────────────────────────────────────────────────────────────────────────────────────────────────


def accept(tx: Transaction, operation: Operation) -> Answer:
    """A delivery with its jobs, or the duplicate of one."""
    given = operation.arguments
    if f"refuse:{given['source']}" in tx.paused() and not given.get("parent"):
        return Answer({"status": "refused", "delivery": None, "jobs": []})
    holder = _holder(tx, operation)
    if holder != operation.id:
        return _duplicate(tx, operation, holder)
    status = _standing(tx, given)
    if not _insert_delivery(tx, operation, status):
        return _accepted_before(tx, operation)
    if "keep" in given:
        _learn_retention(tx, given["source"], *given["keep"])
    tx.count("deliveries.accepted")
    tx.happened.append((f"source:{given['source']}", "accepted", None))
    if status == "ignored":
        tx.count("deliveries.ignored")
    jobs = [_insert_job(tx, job, "delivery", operation.id, given["source"]) for job in given["jobs"]]
    return Answer({"status": status, "delivery": operation.id, "jobs": jobs})


def _holder(tx: Transaction, operation: Operation) -> str:
    key = {"source": operation.arguments["source"], "event_id": operation.arguments["event_id"]}
    if key["event_id"] is None or tx.run("insert_event_key", **key, delivery=operation.id, now=tx.now):
        return operation.id
    row = tx.one("event_holder", **key)
    return str(row[0]) if row else operation.id


def _standing(tx: Transaction, given: dict[str, Any]) -> str:
    if not given["jobs"]:
        return "ignored"
    return "held" if tx.paused() & {"all", f"source:{given['source']}"} else "accepted"


def _insert_delivery(tx: Transaction, operation: Operation, status: str) -> int:
    given = operation.arguments
    return tx.run(
        "insert_delivery",
        id=operation.id,
        source=given["source"],
        method=given["method"],
        url=given["url"],
        headers=json.dumps(given["headers"]),
        remote=given["remote"],
        event_id=given["event_id"],
        event_type=given["event_type"],
        now=tx.now,
        status=status,
        body=None if given["body_file"] else operation.body,
        body_file=int(given["body_file"]),
        body_size=given["body_size"],
        body_sha256=given["body_sha256"],
        parent=given.get("parent"),
    )


def _learn_retention(tx: Transaction, source: str, keep_days: float | None, keep_body_days: float | None) -> None:
    """For how long a source wants its webhooks kept; None, None: as long as all others."""
    if keep_days is None and keep_body_days is None:
        tx.run("delete_retention", source=source)
    else:
        tx.run("set_retention", source=source, keep_days=keep_days, keep_body_days=keep_body_days)


def _accepted_before(tx: Transaction, operation: Operation) -> Answer:
    row = tx.one("delivery_status", id=operation.id)
    mine = {job["id"] for job in operation.arguments["jobs"]}
    jobs = [job for job in _jobs_of(tx, operation.id) if job["id"] in mine]
    return Answer({"status": row[0] if row else "accepted", "delivery": operation.id, "jobs": jobs})


def _duplicate(tx: Transaction, operation: Operation, delivery: str) -> Answer:
    """Kept as an action of the sender's: it may retry dead jobs, and the same copy told twice counts once."""
    if answered := tx.one("action_answer", id=operation.id):
        return Answer(json.loads(answered[0]))
    given = operation.arguments
    tx.run("count_duplicate", id=delivery)
    tx.count("deliveries.duplicates")
    tx.happened.append((f"source:{given['source']}", "duplicate", None))
    dead = [job["id"] for job in _jobs_of(tx, delivery) if job["state"] == State.DEAD]
    wanted = dead if given.get("redelivery") != "ignore" else []
    again = [job for job in wanted if actions.retry(tx, job) == "done"]
    answer = {"status": "retried" if again else "duplicate", "delivery": delivery, "jobs": _jobs_of(tx, delivery)}
    told = {"verb": "redeliver", "delivery": delivery, "jobs": again, "actor": f"source:{given['source']}"}
    return actions.recorded(tx, operation.id, told, answer)


def _jobs_of(tx: Transaction, delivery: str) -> list[dict[str, str]]:
    rows = tx.all("jobs_of_delivery", delivery=delivery)
    return [{"id": job, "task": task, "state": state} for job, task, state in rows]


def _insert_job(
    tx: Transaction, job: dict[str, Any], calling: str, delivery: str | None, source: str | None
) -> dict[str, str]:
    due_at = job.get("due_at") or tx.now
    state, blocked_on = place_new(tx, job["id"], job["task"], source, job.get("key"), due_at)
    inserted = tx.run(
        "insert_job",
        id=job["id"],
        task=job["task"],
        calling=calling,
        arguments=job.get("arguments"),
        delivery=delivery,
        source=source,
        state=state,
        blocked_on=blocked_on,
        due_at=due_at,
        priority=job.get("priority") or 0,
        key=job.get("key"),
        now=tx.now,
        parent=job.get("parent"),
    )
    if inserted:
        tx.count(f"jobs.{state}")
    return {"id": job["id"], "task": job["task"], "state": state}


# ── spool and replay ────────────────────────────────────────────────────────────────────────────────────────────


def spool(tx: Transaction, operation: Operation) -> Answer:
    """A job of the instance's own code; the operation's id is the job's."""
    known = tx.one("job_by_id", id=operation.id)
    if known:
        return Answer({"job": operation.id, "state": known[3]})
    job = _insert_job(tx, operation.arguments | {"id": operation.id}, operation.arguments["calling"], None, None)
    return Answer({"job": operation.id, "state": job["state"]})


def replay(tx: Transaction, operation: Operation) -> Answer:
    """New jobs from a stored delivery, linked to the old ones of the same task."""
    if answered := tx.one("action_answer", id=operation.id):
        return Answer(json.loads(answered[0]))
    given = operation.arguments
    row = tx.one("delivery_by_id", id=given["delivery"])
    if row is None:
        return Answer({"status": "not_found", "delivery": given["delivery"], "jobs": []})
    if row[8] is None and not row[9] and row[10]:
        why = "its body is no longer kept: it went by its source's keep_body_days, or when the disk was low"
        return Answer({"status": f"not_allowed: {why}", "delivery": None, "jobs": []})
    old = {job["task"]: job["id"] for job in _jobs_of(tx, given["delivery"])}
    linked = [job | {"parent": old.get(job["task"])} for job in given["jobs"]]
    jobs = [_insert_job(tx, job, "delivery", given["delivery"], row[1]) for job in linked]
    answer = {"status": "replayed", "delivery": given["delivery"], "jobs": jobs}
    return actions.recorded(tx, operation.id, given | {"verb": "replay"}, answer)


def order(tx: Transaction, operation: Operation) -> Answer:
    """What an operator orders anew with other arguments (`spool`) or another payload (`accept`), kept as an action."""
    if answered := tx.one("action_answer", id=operation.id):
        return Answer(json.loads(answered[0]))
    given = operation.arguments
    made = Operation(given["id"], given["verb"], given["with"], operation.body)
    answer = accept(tx, made) if made.verb == "accept" else spool(tx, made)
    told = {"verb": "order", "actor": given["actor"], "id": made.id, "parent": made.arguments.get("parent")}
    return actions.recorded(tx, operation.id, told, answer.values)


# ── turn: end of the last, claim of the next ────────────────────────────────────────────────────────────────────


def turn(tx: Transaction, operation: Operation) -> Answer:
    """What a spooler asks between two jobs: to end the one it ran and to be given another, or one of the two."""
    ended = operation.arguments.get("end")
    wanted = operation.arguments.get("claim")
    kept = end(tx, ended) if ended else True
    claimed = claim(tx, wanted) if wanted else None
    if claimed is not None:
        return Answer({"kept": kept, "order": claimed[0]}, claimed[1])
    renewed = membership.renewal(tx, wanted) if wanted else None
    return Answer({"kept": kept, "order": None} | ({"renew": renewed} if renewed else {}))


def end(tx: Transaction, given: dict[str, Any]) -> bool:
    """Close an attempt and move its job by the verdict; False when another had closed it (the end came late)."""
    held = tx.one("held_by_attempt", id=given["attempt"])
    if not _close_attempt(tx, given):
        return not tx.run("note_late_end", id=given["attempt"], outcome=given["outcome"])
    if held is None:
        return False
    job, task, source, key, cancelling, started_at = held
    state, wait = (State.CANCELLED, 0.0) if cancelling and given["state"] != State.SUCCEEDED else _wish(given)
    released = release(tx, job)
    due_at = tx.now + wait
    if state == State.QUEUED:
        placed, blocked_on = place(tx, job, task, source, key, due_at)
    else:
        placed, blocked_on = state, None
    tx.run(
        "end_job",
        id=job,
        state=placed,
        blocked_on=blocked_on,
        due_at=due_at,
        error=given.get("cause"),
        result=given.get("result"),
        uncharged=int(not given["charged"]),
        cut=int(given["cut"]),
        finished_at=tx.now if placed in (State.SUCCEEDED, State.DEAD, State.CANCELLED) else None,
    )
    move(tx, State.RUNNING, placed)
    tx.happened.append((f"task:{task}", _came_to(given), tx.now - started_at))
    released.promote(tx)
    return True


def _came_to(given: dict[str, Any]) -> str:
    """What an end counts as in the tallies: being cut, or asking for more time, is no failure."""
    if given["outcome"] == Ending.SUCCEEDED:
        return "succeeded"
    return "failed" if given["charged"] and given["outcome"] != Ending.SNOOZED else "other"


def _wish(given: dict[str, Any]) -> tuple[State, float]:
    return State(given["state"]), float(given["wait_seconds"])


def _close_attempt(tx: Transaction, given: dict[str, Any]) -> int:
    return tx.run(
        "end_attempt",
        id=given["attempt"],
        now=tx.now,
        outcome=given["outcome"],
        charged=int(given["charged"]),
        error=given.get("error"),
        traceback=given.get("traceback"),
        exit_code=given.get("exit_code"),
        signal=given.get("signal"),
        output_bytes=given.get("output_bytes", 0),
        output_cut=int(given.get("output_cut", False)),
    )


def claim(tx: Transaction, given: dict[str, Any]) -> tuple[dict[str, Any], bytes] | None:
    """The best due job that this process may run, or None. The attempt is charged here, before any user code."""
    if again := tx.one("claimed_before", id=given["attempt"]):
        return _order(tx, again, given["attempt"])
    if tx.one("attempt_exists", id=given["attempt"]) or not _may_claim(tx, given):
        return None
    _close_ghosts(tx, given)
    if tx.direct:
        release_due(tx, most=50)
    row = _next_known(tx)
    if row is None:
        return None
    if not tx.run("claim_job", id=row[0], attempt=given["attempt"], now=tx.now):
        return None
    tx.run(
        "insert_attempt",
        id=given["attempt"],
        job=row[0],
        number=row[8] + 1,
        process=given["process"],
        now=tx.now,
        deadline_at=None,
    )
    move(tx, State.QUEUED, State.RUNNING)
    tx.happened.append((f"task:{row[1]}", "wait", tx.now - row[10]))
    return _order(tx, row, given["attempt"])


def _may_claim(tx: Transaction, given: dict[str, Any]) -> bool:
    """Whether this process is given jobs: its instance does not stop, and its code is not old.

    With old code it goes on only while nobody could import the new: it has tried, and no other runs it.
    """
    standing = tx.one("instance_standing", id=given["instance"])
    if standing is None or standing[0]:
        return False
    newest = standing[1]
    return given["generation"] >= newest or (
        given.get("tried", 0) >= newest and not membership.anybody_runs(tx, given["instance"], newest)
    )


def _close_ghosts(tx: Transaction, given: dict[str, Any]) -> None:
    """A process that asks for work is running none: what the ledger holds open for it was never begun."""
    for (attempt,) in tx.all("open_attempts_of", process=given["process"], besides=given["attempt"]):
        end(tx, GHOST | {"attempt": attempt})


GHOST = {
    "outcome": "interrupted",
    "state": State.QUEUED,
    "wait_seconds": 0.0,
    "charged": False,
    "cut": False,
    "error": "claimed, but the answer did not arrive: never begun",
}


def _next_known(tx: Transaction) -> Row | None:
    while row := tx.one("next_queued"):
        known = tx.task(row[1])
        if known is not None and known[0]:
            return row
        released = release(tx, row[0])
        tx.run("move_job", id=row[0], state=State.BLOCKED, blocked_on=f"unknown:{row[1]}", due_at=tx.now)
        move(tx, State.QUEUED, State.BLOCKED)
        released.promote(tx)
    return None


def _order(tx: Transaction, row: Row, attempt: str) -> tuple[dict[str, Any], bytes]:
    job, task, calling, arguments, delivery, created_at, attempts, base, number, interruptions, _ = row
    order = {
        "job": job,
        "task": task,
        "attempt": attempt,
        "number": number + 1,
        "calling": calling,
        "arguments": arguments,
        "created_at": created_at,
        "attempts": attempts + 1 - base,
        "interruptions": interruptions,
    }
    stored = tx.one("delivery_by_id", id=delivery) if delivery else None
    if stored is None:
        return order, b""
    names = ("id", "source", "method", "url", "headers", "received_at", "event_id", "event_type")
    order["delivery"] = dict(zip(names, stored, strict=False)) | {"body_file": bool(stored[9])}
    return order, stored[8] or b""


VERBS: dict[str, Callable[[Transaction, Operation], Answer]] = {
    "accept": accept,
    "spool": spool,
    "replay": replay,
    "turn": turn,
    "join": membership.join,
    "start": membership.start,
    "stop": membership.stop,
    "renew": membership.renew,
    "cut": membership.cut,
    "leave": membership.leave,
    "act": actions.act,
    "order": order,
    **accounts.VERBS,
    "ping": lambda _tx, _operation: Answer({}),
}
