"""Which job may run: limits, pauses and unknown tasks block it; what is freed lets the oldest blocked one in."""

from __future__ import annotations

from dataclasses import dataclass

from webspool.ledger.database import Transaction
from webspool.records import State

PROMOTED_AT_ONCE = 500
SHIFTED_AT_ONCE = 50_000


def move(tx: Transaction, before: State | str, after: State | str) -> None:
    """Keep the totals by state."""
    if before != after:
        tx.count(f"jobs.{before}", -1)
        tx.count(f"jobs.{after}", +1)


def place_new(
    tx: Transaction, job: str, task: str, source: str | None, key: str | None, due_at: float
) -> tuple[State, str | None]:
    """Where a new job stands: scheduled when it is not due, else queued or blocked."""
    if due_at > tx.now:
        return State.SCHEDULED, None
    return place(tx, job, task, source, key, due_at)


def place(
    tx: Transaction, job: str, task: str, source: str | None, key: str | None, due_at: float
) -> tuple[State, str | None]:
    """Where a due job stands: queued, holding a slot of each of its limits, or blocked on the first obstacle."""
    obstacle = _obstacle(tx, task, source) or _take_slots(tx, job, task, key)
    return (State.BLOCKED, obstacle) if obstacle else (State.QUEUED, None)


def _obstacle(tx: Transaction, task: str, source: str | None) -> str | None:
    paused = tx.paused()
    if paused and (held := paused & {"all", f"task:{task}", f"source:{source}"}):
        return f"pause:{min(held)}"
    known = tx.task(task)
    return None if known is not None and known[0] else f"unknown:{task}"


def _take_slots(tx: Transaction, job: str, task: str, key: str | None) -> str | None:
    known = tx.task(task)
    limits = [(f"task:{task}", known[1])] if known and known[1] is not None else []
    if key is not None:
        limits.append((f"key:{task}:{key}", 1))
    for holds, limit in limits:
        taken = tx.one("slots_taken", holds=holds)
        if taken and taken[0] >= limit:
            return f"limit:{holds}"
    for holds, _ in limits:
        tx.run("take_slot", holds=holds, job=job)
    return None


@dataclass(frozen=True, slots=True)
class Released:
    """The limits under which a job has given up its places."""

    limits: tuple[str, ...]

    def promote(self, tx: Transaction) -> None:
        """Let the oldest blocked jobs of these limits in, as many as there is room for."""
        for holds in self.limits:
            admit_blocked(tx, f"limit:{holds}", until_full=True)


NOTHING = Released(())


def release(tx: Transaction, job: str) -> Released:
    """Give up the job's places; promote once its own row has moved on."""
    if not tx.any_slots():
        return NOTHING
    return Released(tuple(holds for (holds,) in tx.all("free_slots", job=job)))


def admit_blocked(tx: Transaction, blocked_on: str, *, until_full: bool = False) -> None:
    """Place anew what is blocked on that, in order; `until_full` stops at the first that stays where it was."""
    while True:
        rows = tx.all("blocked_on", blocked_on=blocked_on, most=1 if until_full else PROMOTED_AT_ONCE)
        moved = 0
        for job, task, source, key, due_at in rows:
            state, obstacle = place(tx, job, task, source, key, due_at)
            if obstacle == blocked_on:
                break
            tx.run("move_job", id=job, state=state, blocked_on=obstacle, due_at=due_at)
            move(tx, State.BLOCKED, state)
            moved += 1
        if not rows or moved < len(rows):
            return


def release_due(tx: Transaction, *, most: int) -> int:
    """Place the scheduled jobs whose time has come, the longest due first; returns how many."""
    rows = tx.all("due_jobs", now=tx.now, most=most)
    for job, task, source, key, due_at in rows:
        state, obstacle = place(tx, job, task, source, key, due_at)
        tx.run("move_job", id=job, state=state, blocked_on=obstacle, due_at=due_at)
        move(tx, State.SCHEDULED, state)
    return len(rows)


def follow_the_clock(tx: Transaction, *, by: float) -> None:
    """The wall clock was set by so many seconds, back if negative: a job that waits for its retry waits on as long as
    it had to. What was accepted before the clock was set back is not overtaken by what comes after.
    """
    tx.run("shift_waits", by=by, most=SHIFTED_AT_ONCE)
    tx.run("shift_waiting", now=tx.now, most=SHIFTED_AT_ONCE)


def hold_queued(tx: Transaction, statement: str, blocked_on: str, **of: str) -> None:
    """Take queued jobs back: they give up their places and wait for `blocked_on`."""
    rows = tx.all(statement, **of)
    released = []
    for job, _, _, _, due_at in rows:
        released.append(release(tx, job))
        tx.run("move_job", id=job, state=State.BLOCKED, blocked_on=blocked_on, due_at=due_at)
        move(tx, State.QUEUED, State.BLOCKED)
    for each in released:
        each.promote(tx)
