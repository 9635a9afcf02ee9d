"""A spooler's turn: attempts that have ended are closed and their jobs moved on, and the next jobs are claimed.

Both are compare-and-set: what is decided elsewhere (`policy`) is written only when it still holds. Where many jobs
wait, a spooler may claim several at once; what it could not begin it gives back, as if it had never been claimed.
"""

from __future__ import annotations

import json
from functools import lru_cache, partial
from itertools import islice, takewhile
from typing import Any, NamedTuple

from webspool import traces
from webspool.ledger import membership
from webspool.ledger.admission import move, place, release, release_due
from webspool.ledger.database import Row, Transaction
from webspool.ledger.operations import Answer, Operation
from webspool.orders import packed
from webspool.policy import Policy
from webspool.records import Ending, Headers, State

MOST_BESIDE_ANOTHER = 7
LARGEST_BESIDE_OTHERS = 16 << 10
SHORTEST_TIMEOUT = 1.0


class Claimed(NamedTuple):
    """A job that is given to a spooler: what the spooler has to know of it, the order as bytes, and the body."""

    values: dict[str, Any]
    text: bytes
    body: bytes


def turn(tx: Transaction, operation: Operation) -> Answer:
    """What a spooler asks between two jobs: to end the one it ran and to be given another, or one of the two.

    `earlier` are further ends, of attempts that ran before it; `back` are attempts that were never begun.
    """
    given = operation.arguments
    ended, wanted = given.get("end"), given.get("claim")
    closed = [end(tx, each) for each in (*given.get("earlier", ()), *([ended] if ended else ()))]
    for attempt in given.get("back", ()):
        give_back(tx, attempt)
    kept = all(each.kept for each in closed)
    if not wanted:
        return given_out(kept, [])
    claimed = claim(tx, wanted, runs_nothing=any(each.process == wanted["process"] for each in closed))
    if claimed:
        return given_out(kept, claimed)
    renewed = membership.renewal(tx, wanted)
    return Answer({"kept": kept, "order": None} | ({"renew": renewed} if renewed else {}))


def given_out(kept: bool, claimed: list[Claimed]) -> Answer:
    """The answer to a turn: the order, and the further ones of a claim of several; their bytes one behind the other."""
    values: dict[str, Any] = {"kept": kept, "order": claimed[0].values if claimed else None}
    if len(claimed) > 1:
        values["further"] = [each.values for each in claimed[1:]]
    return Answer(values, b"".join([part for each in claimed for part in each[1:]]))


class Ended(NamedTuple):
    """What became of an end: whether it counts (False: it came late), and whose open attempt it closed, if it did."""

    kept: bool
    process: str | None = None


def end(tx: Transaction, given: dict[str, Any]) -> Ended:
    """Close an attempt and move its job by the verdict, unless another has closed it with another outcome."""
    claimed = tx.claims.pop(given["attempt"], None) or tx.one("open_claim", id=given["attempt"])
    if claimed is None or not _close_attempt(tx, given):
        return Ended(not tx.run("note_late_end", id=given["attempt"], outcome=given["outcome"]))
    job, task, process, claimed_at = claimed
    move_on = _succeed if given["state"] == State.SUCCEEDED else _go_another_way
    moved = move_on(tx, job, given)
    if moved:
        seconds = (given.get("ended_at") or tx.now) - (given.get("began_at") or claimed_at)
        tx.happened.append((f"task:{task}", _came_to(given), seconds))
        if given["state"] == State.DEAD:
            tx.happened.append((f"task:{task}", "dead", None))
    return Ended(moved, process)


def _succeed(tx: Transaction, job: str, given: dict[str, Any]) -> bool:
    """The job has succeeded; False when this attempt does not hold it."""
    if not _leave_running(tx, job, given, State.SUCCEEDED, None, tx.now):
        return False
    release(tx, job).promote(tx)
    return True


def _go_another_way(tx: Transaction, job: str, given: dict[str, Any]) -> bool:
    """Any other end: the job waits for its next attempt, or is dead, or its cancelling has been waited for."""
    held = tx.one("held_job", id=job, attempt=given["attempt"])
    if held is None:
        return False
    task, source, key, cancelling = held
    state, wait = (State.CANCELLED, 0.0) if cancelling else _wish(given)
    released = release(tx, job)
    due_at = tx.now + wait
    blocked_on = None
    if state == State.QUEUED:
        state, blocked_on = place(tx, job, task, source, key, due_at)
    _leave_running(tx, job, given, state, blocked_on, due_at)
    released.promote(tx)
    return True


def _leave_running(
    tx: Transaction, job: str, given: dict[str, Any], state: State, blocked_on: str | None, due_at: float
) -> bool:
    """Write the job's new state; False when this attempt does not hold it."""
    if not tx.write(
        "end_job",
        state,
        blocked_on,
        due_at,
        given.get("cause"),
        given.get("result"),
        int(not given["charged"]),  # uncharged
        int(given["cut"]),
        tx.now if state in (State.SUCCEEDED, State.DEAD, State.CANCELLED) else None,  # finished_at
        job,
        given["attempt"],
    ):
        return False
    move(tx, State.RUNNING, state)
    return True


def _came_to(given: dict[str, Any]) -> str:
    """What an end counts as in the tallies: being cut, or asking for more time, is no failure."""
    if given["outcome"] == Ending.SUCCEEDED:
        return "succeeded"
    return "failed" if given["charged"] and given["outcome"] != Ending.SNOOZED else "other"


def _wish(given: dict[str, Any]) -> tuple[State, float]:
    return State(given["state"]), float(given["wait_seconds"])


def _close_attempt(tx: Transaction, given: dict[str, Any]) -> int:
    return tx.write(
        "end_attempt",
        given.get("began_at"),
        given.get("ended_at") or tx.now,
        given["outcome"],
        int(given["charged"]),
        given.get("error"),
        given.get("traceback"),
        given.get("exit_code"),
        given.get("signal"),
        given.get("output_bytes", 0),
        int(given.get("output_cut", False)),
        given["attempt"],
    )


def give_back(tx: Transaction, attempt: str) -> None:
    """An attempt that was claimed and never begun: its job is again what it was, unless it is to be cancelled."""
    row = tx.one("open_attempt", id=attempt)
    if row is None:
        return
    job, task, source, key, cancelling, due_at = row
    if cancelling:
        end(tx, GHOST | {"attempt": attempt})
        return
    released = release(tx, job)
    state, blocked_on = place(tx, job, task, source, key, due_at)
    tx.run("unclaim_job", id=job, attempt=attempt, state=state, blocked_on=blocked_on)
    _delete_attempt(tx, attempt)
    move(tx, State.RUNNING, state)
    released.promote(tx)


def _delete_attempt(tx: Transaction, attempt: str) -> None:
    tx.claims.pop(attempt, None)
    tx.run("delete_attempt", id=attempt)


def claim(tx: Transaction, given: dict[str, Any], *, runs_nothing: bool = False) -> list[Claimed]:
    """The best due job of a task that the code knows goes to this process, its attempt charged and open.

    If it names `further` attempts, so do the next best, as long as each of `among` spoolers can have as many.
    `runs_nothing`: the ledger holds no attempt of this process open.
    """
    if not _may_claim(tx, given):
        return _claimed_before(tx, given)
    if not runs_nothing:
        _close_ghosts(tx, given)
    if tx.direct:
        release_due(tx, most=50)
    taken: list[Claimed] = []
    for attempt, row in zip(_attempts(given), _best_known(tx, given), strict=False):
        claimed = _taken(tx, given["process"], attempt, row)
        if claimed is None:
            break
        taken.append(claimed)
    return taken or _claimed_before(tx, given)


def _attempts(given: dict[str, Any]) -> list[str]:
    return [given["attempt"], *given.get("further", ())]


def _best_known(tx: Transaction, given: dict[str, Any]) -> list[Row]:
    """The best due job of a task that the code knows, and the next best as many as may be claimed along with it."""
    while True:
        rows = tx.each("next_queued")
        best = next(rows, None)
        if best is None:
            return []
        known = tx.task(best[1])
        if known is not None and known[0]:
            found = [best]
            if given.get("further") and _may_share(tx, best):
                found += takewhile(partial(_may_share, tx), islice(rows, _share(tx, given)))
            rows.close()
            return found
        rows.close()
        _hold_unknown(tx, best)


def _hold_unknown(tx: Transaction, row: Row) -> None:
    released = release(tx, row[0])
    tx.run("move_job", id=row[0], state=State.BLOCKED, blocked_on=f"unknown:{row[1]}", due_at=tx.now)
    move(tx, State.QUEUED, State.BLOCKED)
    released.promote(tx)


def _share(tx: Transaction, given: dict[str, Any]) -> int:
    """How many may be claimed along with the best: as many as each of the others can have, too."""
    wanted = min(len(given["further"]), MOST_BESIDE_ANOTHER)
    among: int = given.get("among", 1)
    if among == 1:
        return wanted
    (queued,) = tx.one("count_queued") or (1,)  # as far as it matters
    return min(wanted, (int(queued) - 1) // among)


def _taken(tx: Transaction, process: str, attempt: str, row: Row) -> Claimed | None:
    """The job is this process's from now on; None when the attempt was there before, or the job is not queued."""
    if not _opened(tx, process, attempt, row):
        return None
    if not tx.write("claim_job", attempt, tx.now, row[0]):
        _delete_attempt(tx, attempt)
        return None
    move(tx, State.QUEUED, State.RUNNING)
    return _begun(tx, attempt, row)


def _opened(tx: Transaction, process: str, attempt: str, row: Row) -> bool:
    """The job has this attempt from now on; False when the attempt was there before."""
    job, task, number = row[0], row[1], row[7] + 1
    if not tx.write("insert_attempt", attempt, job, number, process, tx.now):
        return False
    tx.claims[attempt] = (job, task, process, tx.now)
    return True


def _begun(tx: Transaction, attempt: str, row: Row) -> Claimed:
    tx.happened.append((f"task:{row[1]}", "wait", tx.now - row[9]))
    return _claimed(row, attempt)


def _may_share(tx: Transaction, row: Row) -> bool:
    """Whether the job may wait behind another in a spooler: one that was never begun, holds no place under a limit, and
    may be tried again should it be lost with its spooler before anybody knows whether it was begun.
    """
    number, cuts, key, size = row[7], row[8], row[10], row[-2]
    if number or cuts or key is not None or size > LARGEST_BESIDE_OTHERS:
        return False
    known = tx.task(row[1])
    return bool(known and known[0] and known[1] is None and _is_patient(known[2]))


@lru_cache(maxsize=1024)
def _is_patient(policy: str) -> bool:
    """Whether a task of that policy may be tried again, and is not in a hurry."""
    known = Policy.from_dict(json.loads(policy))
    return known.max_attempts > 1 and (known.timeout is None or known.timeout >= SHORTEST_TIMEOUT)


def _claimed_before(tx: Transaction, given: dict[str, Any]) -> list[Claimed]:
    """The first answer to a claim that is told again."""
    row = tx.one("claimed_before", id=given["attempt"])
    if row is None:
        return []
    found = [(attempt, tx.one("claimed_before", id=attempt)) for attempt in given.get("further", ())]
    return [_claimed(row, given["attempt"]), *(_claimed(row, attempt) for attempt, row in found if row is not None)]


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
    mine = _attempts(given)
    for (attempt,) in tx.all("open_attempts_of", process=given["process"]):
        if attempt not in mine:
            end(tx, GHOST | {"attempt": attempt})


GHOST = {
    "outcome": "interrupted",
    "state": State.QUEUED,
    "wait_seconds": 0.0,
    "charged": False,
    "cut": False,
    "error": "claimed, but the answer did not arrive: never begun",
}


def _claimed(row: Row, attempt: str) -> Claimed:
    job, task, calling, arguments, created_at, attempts, base, number, cuts, _due_at, _key, *rest = row
    *delivery, body_file, _size, body = rest
    text = packed(
        (job, task, attempt, number + 1, calling, created_at),
        arguments,
        None if delivery[0] is None else delivery,
        bool(body_file),
    )
    values = {
        "job": job,
        "task": task,
        "attempt": attempt,
        "number": number + 1,
        "created_at": created_at,
        "attempts": attempts + 1 - base,
        "interruptions": cuts,
        "origin": _origin(delivery),
        "lengths": (len(text), len(body or b"")),
    }
    return Claimed(values, text, body or b"")


def _origin(delivery: list[Any]) -> dict[str, str]:
    """Where a job comes from, as log lines tell it."""
    id, headers = delivery[0], delivery[-1]
    if id is None:
        return {}
    stored = Headers.stored(headers)
    found = traces.read(stored.get(traces.HEADER)) if stored.mention(traces.HEADER) else None
    return {"delivery": id} if found is None else {"delivery": id, "traceparent": str(found)}


# ── a job that somebody waits for ───────────────────────────────────────────────────────────────────────────────


def who_waits(tx: Transaction) -> dict[str, Any] | None:
    """The claim that a job may be handed to which is new and may run; None when it has to queue like others."""
    if not tx.waiting or tx.changes.get("jobs.queued", 0) > 0:
        return None
    while tx.waiting:
        if _may_claim(tx, tx.waiting[-1]):
            return tx.waiting[-1]
        tx.waiting.pop()
    return None


def hand_over(tx: Transaction, wanted: dict[str, Any], row: Row) -> None:
    """The job was written as running for that claim (`who_waits`), which is answered with it; `row` is as of one that
    is queued. An attempt that was there before lets it queue after all.
    """
    job, attempt = row[0], wanted["attempt"]
    if _opened(tx, wanted["process"], attempt, row):
        tx.waiting.pop()
        tx.handed.append((wanted, _begun(tx, attempt, row)))
    else:
        tx.run("unclaim_job", id=job, attempt=attempt, state=State.QUEUED, blocked_on=None)
        move(tx, State.RUNNING, State.QUEUED)
