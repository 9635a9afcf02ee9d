"""What an operator does to jobs: retry, cancel, discard, pause, resume; each action is kept with its answer."""

from __future__ import annotations

import json
from typing import Any

from webspool.ledger.admission import admit_blocked, hold_queued, move, place, release
from webspool.ledger.database import Transaction
from webspool.ledger.operations import Answer, Operation
from webspool.records import FINISHED, WAITING, State


def act(tx: Transaction, operation: Operation) -> Answer:
    """One action on the jobs named, each told apart: done, or why not."""
    if answered := tx.one("action_answer", id=operation.id):
        return Answer(json.loads(answered[0]))
    given = operation.arguments
    match given["verb"]:
        case "retry":
            delays = given.get("delays_seconds") or [given.get("delay_seconds", 0.0)] * len(given["jobs"])
            done = {job: retry(tx, job, delay) for job, delay in zip(given["jobs"], delays, strict=True)}
        case "cancel":
            done = {job: cancel(tx, job) for job in given["jobs"]}
        case "discard":
            done = {job: discard(tx, job, given.get("reason") or "discarded by an operator") for job in given["jobs"]}
        case "pause":
            done = {name: pause(tx, name, given["actor"]) for name in given["names"]}
        case "resume":
            done = {name: resume(tx, name) for name in given["names"]}
        case verb:
            raise ValueError(f"no action is called {verb!r}")
    return recorded(tx, operation.id, given, {"done": done})


def note(tx: Transaction, operation: Operation) -> Answer:
    """An action that was done by other ways than the ledger's, kept with the others."""
    if answered := tx.one("action_answer", id=operation.id):
        return Answer(json.loads(answered[0]))
    return recorded(tx, operation.id, operation.arguments, {"done": operation.arguments.get("came_to", "done")})


def recorded(tx: Transaction, id: str, told: dict[str, Any], answer: dict[str, Any]) -> Answer:
    """Keep an action with what it came to: who did (`actor`) what (`verb`) to what."""
    tx.run(
        "insert_action",
        id=id,
        verb=told["verb"],
        arguments=json.dumps(told),
        answer=json.dumps(answer),
        actor=told.get("actor", "unknown"),
        now=tx.now,
    )
    return Answer(answer)


def retry(tx: Transaction, job: str, delay_seconds: float = 0.0) -> str:
    """A new round of attempts for a finished job, or no more waiting for one that is scheduled."""
    row = tx.one("job_by_id", id=job)
    if row is None:
        return "not_found"
    _, task, source, state, _, _, _, key, _, delivery = row
    if state not in (State.DEAD, State.CANCELLED, State.SCHEDULED):
        return f"not_allowed: it is {state}"
    if delivery is not None and tx.one("body_is_gone", id=delivery):
        return "not_allowed: the body of its delivery is no longer kept"
    due_at = tx.now + delay_seconds
    if state in FINISHED:
        tx.run("begin_new_round", id=job)
    if delay_seconds > 0:
        placed, blocked_on = State.SCHEDULED, None
    else:
        placed, blocked_on = place(tx, job, task, source, key, due_at)
    tx.run("move_job", id=job, state=placed, blocked_on=blocked_on, due_at=due_at)
    move(tx, state, placed)
    return "done"


def cancel(tx: Transaction, job: str) -> str:
    """End a waiting job; a running one is interrupted by whoever runs it."""
    row = tx.one("job_by_id", id=job)
    if row is None:
        return "not_found"
    if row[3] == State.RUNNING:
        tx.run("ask_to_cancel", id=job)
        return "interrupting"
    return _finish(tx, job, row[3], State.CANCELLED, "cancelled by an operator")


def discard(tx: Transaction, job: str, reason: str) -> str:
    """Declare a waiting job dead."""
    row = tx.one("job_by_id", id=job)
    if row is None:
        return "not_found"
    return _finish(tx, job, row[3], State.DEAD, reason)


def _finish(tx: Transaction, job: str, state: str, wanted: State, error: str) -> str:
    if state not in WAITING:
        return f"not_allowed: it is {state}"
    released = release(tx, job)
    tx.run("finish_waiting_job", id=job, state=wanted, error=error, now=tx.now)
    move(tx, state, wanted)
    released.promote(tx)
    return "done"


def pause(tx: Transaction, name: str, actor: str) -> str:
    """Hold `all`, `task:NAME` or `source:NAME`: what is queued is taken back, what comes is blocked.

    `refuse:NAME` holds a source, and webhooks of it are not accepted.
    """
    if not tx.run("insert_pause", name=name, now=tx.now, actor=actor):
        return "paused already"
    kind, _, of = name.partition(":")
    if kind == "task":
        hold_queued(tx, "queued_by_task", f"pause:{name}", task=of)
    elif kind == "refuse":
        pause(tx, f"source:{of}", actor)
    elif kind == "source":
        hold_queued(tx, "queued_by_source", f"pause:{name}", source=of)
    else:
        hold_queued(tx, "all_queued", f"pause:{name}")
    return "done"


def resume(tx: Transaction, name: str) -> str:
    """Let go what a pause held, in order."""
    if not tx.run("delete_pause", name=name):
        return "not paused"
    if name.startswith("source:"):
        tx.run("delete_pause", name=f"refuse:{name.removeprefix('source:')}")
    admit_blocked(tx, f"pause:{name}")
    return "done"
