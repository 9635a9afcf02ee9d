"""A spooler's turn: the attempt that has ended is closed and its job moved on, and the next job is claimed.

Both are compare-and-set: what is decided elsewhere (`policy`) is written only when it still holds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from webspool.ledger import membership
from webspool.ledger.admission import move, place, release, release_due
from webspool.ledger.database import Row, Transaction
from webspool.ledger.operations import Answer, Operation
from webspool.records import Ending, State


def turn(tx: Transaction, operation: Operation) -> Answer:
    """What a spooler asks between two jobs: to end the one it ran and to be given another, or one of the two."""
    ended = operation.arguments.get("end")
    wanted = operation.arguments.get("claim")
    closed = end(tx, ended) if ended else Ended(True)
    claimed = claim(tx, wanted, runs_nothing=closed.process == wanted["process"]) if wanted else None
    if claimed is not None:
        return Answer({"kept": closed.kept, "order": claimed[0]}, claimed[1])
    renewed = membership.renewal(tx, wanted) if wanted else None
    return Answer({"kept": closed.kept, "order": None} | ({"renew": renewed} if renewed else {}))


class Ended(NamedTuple):
    """What became of an end: whether it counts (False: it came late), and whose open attempt it closed, if it did."""

    kept: bool
    process: str | None = None


def end(tx: Transaction, given: dict[str, Any]) -> Ended:
    """Close an attempt and move its job by the verdict, unless another has closed it with another outcome."""
    closed = _close_attempt(tx, given)
    if closed is None:
        return Ended(not tx.run("note_late_end", id=given["attempt"], outcome=given["outcome"]))
    job, process, started_at = closed
    move_on = _succeed if given["state"] == State.SUCCEEDED else _go_another_way
    moved = move_on(tx, job, given)
    if moved is not None:
        tx.happened.append((f"task:{moved}", _came_to(given), tx.now - started_at))
        if given["state"] == State.DEAD:
            tx.happened.append((f"task:{moved}", "dead", None))
    return Ended(moved is not None, process)


def _succeed(tx: Transaction, job: str, given: dict[str, Any]) -> str | None:
    """The job has succeeded; its task, or None when this attempt does not hold it."""
    task = _leave_running(tx, job, given, State.SUCCEEDED, None, tx.now)
    if task is not None:
        release(tx, job).promote(tx)
    return task


def _go_another_way(tx: Transaction, job: str, given: dict[str, Any]) -> str | None:
    """Any other end: the job waits for its next attempt, or is dead, or its cancelling has been waited for."""
    held = tx.one("held_job", id=job, attempt=given["attempt"])
    if held is None:
        return None
    task, source, key, cancelling = held
    state, wait = (State.CANCELLED, 0.0) if cancelling else _wish(given)
    released = release(tx, job)
    due_at = tx.now + wait
    blocked_on = None
    if state == State.QUEUED:
        state, blocked_on = place(tx, job, task, source, key, due_at)
    _leave_running(tx, job, given, state, blocked_on, due_at)
    released.promote(tx)
    return str(task)


def _leave_running(
    tx: Transaction, job: str, given: dict[str, Any], state: State, blocked_on: str | None, due_at: float
) -> str | None:
    """Write the job's new state; its task, or None when this attempt does not hold it."""
    row = tx.one(
        "end_job",
        id=job,
        attempt=given["attempt"],
        state=state,
        blocked_on=blocked_on,
        due_at=due_at,
        error=given.get("cause"),
        result=given.get("result"),
        uncharged=int(not given["charged"]),
        cut=int(given["cut"]),
        finished_at=tx.now if state in (State.SUCCEEDED, State.DEAD, State.CANCELLED) else None,
    )
    if row is None:
        return None
    move(tx, State.RUNNING, state)
    return str(row[0])


def _came_to(given: dict[str, Any]) -> str:
    """What an end counts as in the tallies: being cut, or asking for more time, is no failure."""
    if given["outcome"] == Ending.SUCCEEDED:
        return "succeeded"
    return "failed" if given["charged"] and given["outcome"] != Ending.SNOOZED else "other"


def _wish(given: dict[str, Any]) -> tuple[State, float]:
    return State(given["state"]), float(given["wait_seconds"])


def _close_attempt(tx: Transaction, given: dict[str, Any]) -> Row | None:
    return tx.one(
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


def claim(tx: Transaction, given: dict[str, Any], *, runs_nothing: bool = False) -> tuple[dict[str, Any], bytes] | None:
    """The best due job that this process may run, or None. The attempt is charged here, before any user code.

    `runs_nothing`: it is known that the ledger holds no attempt of this process open.
    """
    if not _may_claim(tx, given):
        return _claimed_before(tx, given)
    if not runs_nothing:
        _close_ghosts(tx, given)
    if tx.direct:
        release_due(tx, most=50)
    row = _next_known(tx)
    if row is None:
        return _claimed_before(tx, given)
    attempt, job = given["attempt"], row[0]
    if not tx.run("insert_attempt", id=attempt, job=job, process=given["process"], now=tx.now):
        return _claimed_before(tx, given)
    tx.run("claim_job", id=job, attempt=attempt, now=tx.now)
    move(tx, State.QUEUED, State.RUNNING)
    tx.happened.append((f"task:{row[1]}", "wait", tx.now - row[9]))
    return _order(row, attempt)


def _claimed_before(tx: Transaction, given: dict[str, Any]) -> tuple[dict[str, Any], bytes] | None:
    """The first answer to a claim that is told again."""
    row = tx.one("claimed_before", id=given["attempt"])
    return None if row is None else _order(row, given["attempt"])


def _may_claim(tx: Transaction, given: dict[str, Any]) -> bool:
    """Whether this process is given jobs: its instance does not stop, and its code is not old.

    With old code it goes on only while nobody could import the new: it has tried, and no other runs it.
    """
    standing = tx.standing(given["instance"])
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


DELIVERY = ("id", "source", "method", "url", "headers", "received_at", "event_id", "event_type")


def _order(row: Row, attempt: str) -> tuple[dict[str, Any], bytes]:
    job, task, calling, arguments, created_at, attempts, base, number, cuts, _due_at, *delivery, body_file, body = row
    order = {
        "job": job,
        "task": task,
        "attempt": attempt,
        "number": number + 1,
        "calling": calling,
        "arguments": arguments,
        "created_at": created_at,
        "attempts": attempts + 1 - base,
        "interruptions": cuts,
    }
    if delivery[0] is None:
        return order, b""
    order["delivery"] = dict(zip(DELIVERY, delivery, strict=True)) | {"body_file": bool(body_file)}
    return order, body or b""
