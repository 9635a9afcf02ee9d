"""`apply`: one operation on one transaction, the same whoever holds it, and doing it twice changes nothing.

What is decided is decided by the callers (`policy`, `receive`, an operator); here it is written, and only when it
still holds: the claim and the end are compare-and-set.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from webspool.ledger import accounts, actions, membership, turns
from webspool.ledger.admission import place_new
from webspool.ledger.database import Transaction
from webspool.ledger.operations import Answer, Operation
from webspool.records import State

EVENT_ID_SECONDS = 30 * 86400.0


def apply(tx: Transaction, operation: Operation) -> Answer:
    """Do `operation` inside `tx`, or give its first answer when it was done before."""
    return VERBS[operation.verb](tx, operation)


class _Delivery(NamedTuple):
    """What is to be known of a job's delivery, in the order of `next_queued`."""

    id: str | None
    source: str | None
    method: str | None
    url: str | None
    received_at: float | None
    event_id: str | None
    event_type: str | None
    headers: str | None
    body_file: int
    body: bytes | None


_NONE = _Delivery(None, None, None, None, None, None, None, None, 0, None)


# ── accept ──────────────────────────────────────────────────────────────────────────────────────────────────────


def accept(tx: Transaction, operation: Operation) -> Answer:
    """A delivery with its jobs, or the duplicate of one."""
    given = operation.arguments
    if f"refuse:{given['source']}" in tx.paused() and not given.get("parent"):
        return Answer({"status": "refused", "delivery": None, "jobs": []})
    holder = _holder(tx, operation)
    if holder != operation.id:
        return _duplicate(tx, operation, holder)
    status, delivery = _standing(tx, given), _delivery(operation, tx.now)
    if not _insert_delivery(tx, delivery, status, given):
        return _accepted_before(tx, operation)
    if "keep" in given:
        _learn_retention(tx, given["source"], *given["keep"])
    tx.count("deliveries.accepted")
    tx.happened.append((f"source:{given['source']}", "accepted", None))
    if status == "ignored":
        tx.count("deliveries.ignored")
    jobs = [_insert_job(tx, job, "delivery", delivery) for job in given["jobs"]]
    return Answer({"status": status, "delivery": operation.id, "jobs": jobs})


def _holder(tx: Transaction, operation: Operation) -> str:
    source, event_id = operation.arguments["source"], operation.arguments["event_id"]
    if event_id is None:
        return operation.id
    until = tx.now + operation.arguments.get("event_id_seconds", EVENT_ID_SECONDS)
    if tx.write("insert_event_key", source, event_id, operation.id, tx.now, until):
        return operation.id
    row = tx.one("event_holder", source=source, event_id=event_id)
    return str(row[0]) if row else operation.id


def _standing(tx: Transaction, given: dict[str, Any]) -> str:
    if not given["jobs"]:
        return "ignored"
    paused = tx.paused()
    return "held" if paused and paused & {"all", f"source:{given['source']}"} else "accepted"


def _delivery(operation: Operation, now: float) -> _Delivery:
    given = operation.arguments
    return _Delivery(
        operation.id,
        given["source"],
        given["method"],
        given["url"],
        now,
        given["event_id"],
        given["event_type"],
        given["headers"],
        int(given["body_file"]),
        None if given["body_file"] else operation.body,
    )


def _insert_delivery(tx: Transaction, delivery: _Delivery, status: str, given: dict[str, Any]) -> int:
    id, source, method, url, received_at, event_id, event_type, headers, body_file, body = delivery
    return tx.write(
        "insert_delivery",
        id,
        source,
        method,
        url,
        headers,
        given["remote"],
        event_id,
        event_type,
        received_at,
        status,
        body,
        body_file,
        given["body_size"],
        given["body_sha256"],
        given.get("parent"),
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


def _insert_job(tx: Transaction, job: dict[str, Any], calling: str, delivery: _Delivery) -> dict[str, str]:
    """Who waits for a job is handed it at once: then it is written once, as running, instead of twice."""
    due_at, key, arguments = job.get("due_at") or tx.now, job.get("key"), job.get("arguments")
    state, blocked_on = place_new(tx, job["id"], job["task"], delivery.source, key, due_at)
    taker = turns.who_waits(tx) if state == State.QUEUED else None
    inserted = tx.write(
        "insert_job",
        job["id"],
        job["task"],
        calling,
        arguments,
        delivery.id,
        delivery.source,
        state if taker is None else State.RUNNING,
        blocked_on,
        due_at,
        job.get("priority") or 0,
        key,
        tx.now,
        job.get("parent"),
        None if taker is None else taker["attempt"],
        0 if taker is None else 1,
        None if taker is None else tx.now,
    )
    if inserted:
        tx.count(f"jobs.{state if taker is None else State.RUNNING}")
    if inserted and taker is not None:
        size = len(delivery.body or b"") + len(arguments or "")
        row = (job["id"], job["task"], calling, arguments, tx.now, 0, 0, 0, 0, due_at, key, *delivery[:9], size)
        turns.hand_over(tx, taker, (*row, delivery.body))
    return {"id": job["id"], "task": job["task"], "state": state}


# ── spool and replay ────────────────────────────────────────────────────────────────────────────────────────────


def spool(tx: Transaction, operation: Operation) -> Answer:
    """A job of the instance's own code; the operation's id is the job's."""
    known = tx.one("job_by_id", id=operation.id)
    if known:
        return Answer({"job": operation.id, "state": known[3]})
    job = _insert_job(tx, operation.arguments | {"id": operation.id}, operation.arguments["calling"], _NONE)
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
    id, source, method, url, headers, received_at, event_id, event_type, body, body_file, _size = row
    delivery = _Delivery(id, source, method, url, received_at, event_id, event_type, headers, body_file, body)
    jobs = [_insert_job(tx, job, "delivery", delivery) for job in linked]
    answer = {"status": "replayed", "delivery": given["delivery"], "jobs": jobs}
    return actions.recorded(tx, operation.id, given | {"verb": "replay"}, answer)


def order(tx: Transaction, operation: Operation) -> Answer:
    """What an operator runs by hand, with arguments (`spool`) or with a payload (`accept`), kept as an action."""
    if answered := tx.one("action_answer", id=operation.id):
        return Answer(json.loads(answered[0]))
    given = operation.arguments
    made = Operation(given["id"], given["verb"], given["with"], operation.body)
    answer = accept(tx, made) if made.verb == "accept" else spool(tx, made)
    told = {name: given[name] for name in ("actor", "remote", "task", "parent") if given.get(name)}
    return actions.recorded(tx, operation.id, {"verb": "run", **told}, answer.values)


VERBS: dict[str, Callable[[Transaction, Operation], Answer]] = {
    "accept": accept,
    "spool": spool,
    "replay": replay,
    "turn": turns.turn,
    "join": membership.join,
    "start": membership.start,
    "stop": membership.stop,
    "renew": membership.renew,
    "cut": membership.cut,
    "compare": membership.compare,
    "leave": membership.leave,
    "act": actions.act,
    "note": actions.note,
    "order": order,
    **accounts.VERBS,
    "ping": lambda _tx, _operation: Answer({}),
}
