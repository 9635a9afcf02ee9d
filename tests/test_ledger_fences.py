"""Laws of the ledger that each need one fence, and the proof that they do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fences import Fence, both, nothing, replaced, without
from tests.operations import accept, act, join, spool, turn
from tests.plain_ledger import DISCARDED, FAILED, TASKS, Ledger, replay
from webspool.ledger import admission, membership
from webspool.ledger import apply as applying
from webspool.ledger.database import Database, Transaction
from webspool.ledger.operations import Answer, Operation
from webspool.policy import Policy
from webspool.records import State


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "ledger.db")
    yield made
    made.database.close()


def a_changed_limit_counts_who_runs(ledger: Ledger) -> None:
    """A task that gets a limit lets no second job in beside the one that runs."""
    ledger.accept("free")
    ledger.claim()
    for _ in range(2):
        ledger.do(spool("free", key="a"))
    ledger.do(join("p", TASKS | {"free": Policy(concurrency=1)}))
    assert ledger.claim("q") is None


def a_new_round_begins_at_nought(ledger: Ledger) -> None:
    """An operator's retry gives all attempts again."""
    (job,) = ledger.accept("free")
    ledger.run(DISCARDED)
    ledger.do(act("retry", job))
    assert (ledger.claim() or {})["attempts"] == 1


def a_claim_takes_only_what_is_queued_still(ledger: Ledger) -> None:
    """Should the job have gone between the look and the claim, the claim gets nothing."""
    ledger.accept("free")
    ledger.claim("p")
    assert ledger.claim("q") is None


def a_wish_to_cancel_goes_with_its_run(ledger: Ledger) -> None:
    """The next round of the job is not cancelled too."""
    (job,) = ledger.accept("free")
    order = ledger.claim()
    ledger.do(act("cancel", job))
    ledger.end(order, FAILED)
    ledger.do(act("retry", job))
    ledger.end(ledger.claim(), FAILED)
    assert ledger.job(job)["state"] == State.SCHEDULED


def an_accept_repeated_after_a_replay_has_its_own_jobs_only(ledger: Ledger) -> None:
    """Its first answer."""
    operation = accept("free")
    first = ledger.do(operation)
    ledger.do(replay(operation.id, "j_again"))
    assert ledger.do(operation) == first


def a_pause_by_another_hand_holds_at_once(ledger: Ledger) -> None:
    """Whoever writes without the keeper is heeded by it: nothing that it has read before outlives the writing."""
    ledger.accept("free")
    ledger.run()
    other = Database(ledger.path, clock=lambda: ledger.now)
    with other.transaction(flush=False, direct=True) as tx:
        applying.apply(tx, act("pause", "task:free"))
    other.close()
    ledger.accept("free")
    assert ledger.claim() is None


def an_end_is_of_the_job_that_its_attempt_has_by_now(ledger: Ledger) -> None:
    """Another hand has taken the attempt back, and given it a job again that had come meanwhile: a better one."""
    ledger.accept("free")
    order = ledger.claim("p", attempt="a_1")
    other = Database(ledger.path, clock=lambda: ledger.now)
    with other.transaction(flush=False, direct=True) as tx:
        applying.apply(tx, Operation("t_1", "turn", {"back": ["a_1"]}))
        applying.apply(tx, spool("free", priority=9))
        applying.apply(tx, turn("p", attempt="a_1"))
    other.close()
    ledger.end(order)
    assert {job["state"] for job in ledger.seen().job if job["priority"] == 9} == {State.SUCCEEDED}


def jobs_of_all(tx: Transaction, operation: Operation) -> Answer:
    """An accept told again with every job that its delivery has."""
    jobs = applying._jobs_of(tx, operation.id)
    return Answer({"status": "accepted", "delivery": operation.id, "jobs": jobs})


def look_at_running_ones(patch: pytest.MonkeyPatch) -> None:
    """As if another had claimed the job since it was looked for."""
    without("next_queued", "job.state = 'queued'", "job.state IN ('queued', 'running')")(patch)


def limits_first(tx: Transaction, name: str) -> None:
    """A changed limit that lets waiting jobs in before the running ones hold their places."""
    holds = f"task:{name}"
    admission.hold_queued(tx, "queued_by_task", f"limit:{holds}", task=name)
    for (job,) in tx.all("running_by_task", task=name):
        tx.run("take_slot", holds=holds, job=job)
    admission.admit_blocked(tx, f"limit:{holds}")


def test_a_changed_limit_counts_who_runs(ledger: Ledger) -> None:
    """None to 1, with one running and others waiting for a key."""
    a_changed_limit_counts_who_runs(ledger)


def test_a_new_round_begins_at_nought(ledger: Ledger) -> None:
    """An operator's retry gives all attempts again."""
    a_new_round_begins_at_nought(ledger)


def test_a_wish_to_cancel_goes_with_its_run(ledger: Ledger) -> None:
    """The next round of the job is not cancelled too."""
    a_wish_to_cancel_goes_with_its_run(ledger)


def test_an_accept_repeated_after_a_replay_has_its_own_jobs_only(ledger: Ledger) -> None:
    """Its first answer."""
    an_accept_repeated_after_a_replay_has_its_own_jobs_only(ledger)


def test_a_claim_takes_only_what_is_queued_still(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim is a compare-and-set, whatever the look before it said."""
    look_at_running_ones(monkeypatch)
    a_claim_takes_only_what_is_queued_still(ledger)


def test_a_pause_by_another_hand_holds_at_once(ledger: Ledger) -> None:
    """Whoever writes without the keeper is heeded by it."""
    a_pause_by_another_hand_holds_at_once(ledger)


def test_an_end_is_of_the_job_that_its_attempt_has_by_now(ledger: Ledger) -> None:
    """What is remembered of a claim holds only as long as nobody else writes."""
    an_end_is_of_the_job_that_its_attempt_has_by_now(ledger)


Law = Callable[[Ledger], None]
FENCED: list[tuple[Fence, Law]] = [
    (
        Fence("running jobs hold places first", replaced(membership._limit_anew, limits_first, membership)),
        a_changed_limit_counts_who_runs,
    ),
    (
        Fence("a round has a base", without("begin_new_round", "base = attempts, ")),
        a_new_round_begins_at_nought,
    ),
    (
        Fence("a wish ends with the run", without("end_job", "cancelling = 0", "cancelling = cancelling")),
        a_wish_to_cancel_goes_with_its_run,
    ),
    (
        Fence("it names its jobs", replaced(applying._accepted_before, jobs_of_all, applying)),
        an_accept_repeated_after_a_replay_has_its_own_jobs_only,
    ),
    (
        Fence("others' commits are noticed", replaced(Database._forget_if_others_wrote, nothing, Database)),
        a_pause_by_another_hand_holds_at_once,
    ),
    (
        Fence("others' commits are noticed", replaced(Database._forget_if_others_wrote, nothing, Database)),
        an_end_is_of_the_job_that_its_attempt_has_by_now,
    ),
    (
        Fence(
            "the claim compares",
            both(look_at_running_ones, without("claim_job", " AND state = 'queued'")),
        ),
        a_claim_takes_only_what_is_queued_still,
    ),
]


@pytest.mark.parametrize(("fence", "law"), FENCED, ids=lambda each: getattr(each, "name", None))
def test_without_its_fence_the_law_is_broken(
    fence: Fence, law: Law, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fence taken out once."""
    fence.remove(monkeypatch)
    with pytest.raises(AssertionError):
        law(ledger)
