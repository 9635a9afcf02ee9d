"""`apply` under a machine that tries everything, and the proof that the machine would notice a missing fence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fences import Fence, both, nothing, replaced, without
from tests.ledger_machine import LedgerMachine
from webspool.keep.rescue import Rescuer
from webspool.ledger import actions, admission, membership, turns
from webspool.ledger.database import Known, Transaction

EXAMPLES = int(os.environ.get("WEBSPOOL_MODEL_EXAMPLES", "50"))
QUIET = settings(stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))


def test_whatever_happens_to_a_ledger_its_laws_hold_and_every_job_can_end() -> None:
    """Operations, crashes, lost answers and time in any order break no law (WEBSPOOL_MODEL_EXAMPLES: how many)."""
    run_state_machine_as_test(LedgerMachine, settings=settings(QUIET, max_examples=EXAMPLES))


# ── each fence taken out once ───────────────────────────────────────────────────────────────────────────────────


@contextmanager
def careless_savepoint(tx: Transaction) -> Iterator[None]:
    """A savepoint that undoes the rows but not what was counted and read."""
    tx.connection.execute("SAVEPOINT part")
    try:
        yield
    except BaseException:
        tx.connection.execute("ROLLBACK TO part")
        raise


def moved_without_counting(tx: Transaction, before: str, after: str) -> None:
    """Totals that are not kept."""


def always(*_: object) -> bool:
    """In the place of a question."""
    return True


def kept_places(tx: Transaction, job: str) -> admission.Released:
    """Places that are never given up."""
    return admission.Released(())


FENCES = [
    Fence(
        "an event key is unique",
        without("insert_event_key", "WHERE event_key.until <= excluded.first_at", ""),
    ),
    Fence(
        "an attempt is charged by the claim",
        both(
            without("claim_job", "attempts = attempts + 1, "),
            without("end_job", "attempts - :uncharged", "attempts + 1 - :uncharged"),
        ),
    ),
    Fence(
        "an attempt ends once",
        both(
            without("open_claim", " AND attempt.ended_at IS NULL"),
            without("end_attempt", " AND ended_at IS NULL"),
        ),
    ),
    Fence("a late end is told as late each time", without("note_late_end", " AND outcome <> :outcome")),
    Fence("a process that asks for work runs none", replaced(turns._close_ghosts, nothing, turns)),
    Fence("a repeated claim has the same answer", without("claimed_before", "AND job.attempt = :id", "AND FALSE")),
    Fence(
        "a repeated claim takes no second job",
        both(
            without("claimed_before", "AND job.attempt = :id", "AND FALSE"),
            without("insert_attempt", "INSERT INTO", "INSERT OR REPLACE INTO"),
            without("insert_attempt", "ON CONFLICT (id) DO NOTHING"),
        ),
    ),
    Fence(
        "a repeated action is not done again",
        both(
            without("action_answer", "WHERE id = :id", "WHERE FALSE"),
            without("insert_action", "INSERT INTO", "INSERT OR REPLACE INTO"),
        ),
    ),
    Fence("a place under a limit is looked for", without("slots_taken", "count(*)", "0")),
    Fence(
        "a place under a limit is taken",
        without("take_slot", "VALUES (:holds, :job)", "SELECT :holds, :job WHERE FALSE"),
    ),
    Fence("a place is given up at the end", replaced(admission.release, kept_places, admission, turns, actions)),
    Fence("a freed place lets the next in", replaced(admission.Released.promote, nothing, admission.Released)),
    Fence("a pause takes queued jobs back", replaced(admission.hold_queued, nothing, actions)),
    Fence("a forgotten task's jobs are taken back", replaced(admission.hold_queued, nothing, membership)),
    Fence("a learnt task's jobs are let go", replaced(admission.admit_blocked, nothing, membership)),
    Fence("a resumed job is let go", replaced(admission.admit_blocked, nothing, actions)),
    Fence("higher priority first", without("next_queued", "job.priority DESC, ")),
    Fence("earlier due first", without("next_queued", "DESC, job.due_at, ", "DESC, ")),
    Fence("a job is not begun before its time", without("due_jobs", " AND due_at <= :now")),
    Fence("an instance that stops or has ended gets nothing", replaced(turns._may_claim, lambda *_: True, turns)),
    Fence("a bad operation's counts are undone", replaced(Transaction.savepoint, careless_savepoint, Transaction)),
    Fence("what was written is read again", replaced(Known.forget, nothing, Known)),
    Fence("what is given back is not charged", without("unclaim_job", "attempts = attempts - 1, ")),
    Fence("what is given back is as it was", without("delete_attempt", "WHERE id = :id", "WHERE FALSE")),
    Fence("what a dead runner had not begun is not charged", replaced(Rescuer._begun_last, nothing, Rescuer)),
    Fence("only what is fresh and can wait lies behind another", replaced(turns._may_share, always, turns)),
    Fence("others are left their part", without("count_queued", "count(*)", "100")),
    Fence(
        "a repeated claim of several has the same answer",
        without("open_attempts_of", "process = :process", "process = :process AND FALSE"),
    ),
    Fence("totals are kept", replaced(admission.move, moved_without_counting, admission, turns, actions)),
]


@pytest.mark.parametrize("fence", FENCES, ids=lambda fence: fence.name)
def test_without_a_fence_the_machine_finds_a_broken_law(fence: Fence, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger without one of its fences does not pass."""
    fence.remove(monkeypatch)
    searching = settings(QUIET, max_examples=600, phases=[Phase.generate], database=None, derandomize=True)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(LedgerMachine, settings=searching)
