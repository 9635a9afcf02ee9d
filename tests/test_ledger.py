"""The plain laws of the ledger, each on a real file under a clock of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.operations import accept, act, body_in, end_of, join, orders_in, spool, start, stop, turn
from tests.plain_ledger import DISCARDED, FAILED, SUCCEEDED, TASKS, Ledger, replay
from webspool.keep.prune import DAY, Pruner, Retention
from webspool.ledger.apply import apply
from webspool.policy import Policy
from webspool.records import Outcome, State


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "ledger.db")
    yield made
    made.database.close()


# ── accept ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_task_of_a_webhook_gets_a_job_and_its_body_comes_with_the_claim(ledger: Ledger) -> None:
    """Byte for byte, with the names of the delivery."""
    body = bytes(range(256))
    operation = accept("free", "free", body=body, event_id="e")
    answer = ledger.do(operation).values
    assert (answer["status"], answer["delivery"], len(answer["jobs"])) == ("accepted", operation.id, 2)
    (order,), given = orders_in(ledger.do(turn("p"))), body_in(ledger.do(turn("q")))
    assert given == body
    assert order.delivery is not None
    assert (order.delivery.id, order.delivery.event_id) == (operation.id, "e")


def test_a_webhook_that_starts_nothing_is_stored_as_ignored(ledger: Ledger) -> None:
    """It can be replayed by later code."""
    assert ledger.do(accept()).values["status"] == "ignored"
    assert ledger.seen().delivery[0]["status"] == "ignored"


@pytest.mark.parametrize("name", ["all", "source:github"])
def test_a_webhook_is_held_while_everything_or_its_source_is_paused(ledger: Ledger, name: str) -> None:
    """It is accepted; its jobs wait, and are let go in order by the resume."""
    ledger.do(act("pause", name))
    operation = accept("free", "one")
    first = ledger.do(operation)
    assert first.values["status"] == "held"
    assert ledger.do(operation) == first
    assert ledger.claim() is None
    ledger.do(act("resume", name))
    assert [ledger.run(), ledger.run()] == [job["id"] for job in first.values["jobs"]]


def test_an_event_is_accepted_once_and_its_copies_are_counted(ledger: Ledger) -> None:
    """The first delivery's id is the answer, with the states of its jobs; of another source it is another event."""
    first = ledger.do(accept("free", event_id="e"))
    copy = ledger.do(accept("free", event_id="e"))
    assert copy.values == first.values | {"status": "duplicate"}
    assert ledger.do(accept("free", event_id="e", source="shop")).values["status"] == "accepted"
    assert ledger.seen().counters["deliveries.duplicates"] == 1


def test_an_events_id_keeps_copies_out_for_as_long_as_the_source_says(ledger: Ledger) -> None:
    """From the first one on: copies do not prolong it. Then it is an event of its own, with copies of its own."""
    begun = ledger.now
    first = ledger.do(accept("free", event_id="e", event_id_seconds=60.0))
    ledger.now = begun + 59
    assert ledger.do(accept("free", event_id="e", event_id_seconds=60.0)).values["status"] == "duplicate"
    ledger.now = begun + 60
    second = ledger.do(accept("free", event_id="e", event_id_seconds=60.0))
    assert second.values["status"] == "accepted"
    ledger.now = begun + 61
    assert ledger.do(accept("free", event_id="e")).values["delivery"] == second.values["delivery"]
    assert first.values["delivery"] != second.values["delivery"]


def test_without_an_event_id_the_same_webhook_twice_runs_twice(ledger: Ledger) -> None:
    """A sender that names no event is not deduplicated."""
    assert ledger.accept("free") != ledger.accept("free")
    assert len(ledger.seen().job) == 2


def test_a_copy_of_an_event_whose_job_is_dead_retries_it_unless_told_not_to(ledger: Ledger) -> None:
    """Pressing Redeliver at the sender."""
    (job,) = ledger.accept("free", event_id="e")
    ledger.run(DISCARDED)
    ignoring = ledger.do(accept("free", event_id="e", redelivery="ignore")).values
    assert (ignoring["status"], ledger.job(job)["state"]) == ("duplicate", State.DEAD)
    assert ledger.do(accept("free", event_id="e")).values["status"] == "retried"
    assert ledger.job(job)["state"] == State.QUEUED


def test_a_copy_told_twice_retries_once(ledger: Ledger) -> None:
    """Its answer was lost, the job died again meanwhile: the repeated operation has the first answer."""
    (job,) = ledger.accept("free", event_id="e")
    ledger.run(DISCARDED)
    copy = accept("free", event_id="e")
    first = ledger.do(copy)
    ledger.run(DISCARDED)
    assert ledger.do(copy) == first
    assert ledger.job(job)["state"] == State.DEAD


def test_what_is_remembered_of_copies_goes_with_their_time_and_what_operators_did_stays(
    ledger: Ledger, tmp_path: Path
) -> None:
    """Thirty days, as for the keys of events."""
    for _ in range(2):
        ledger.accept("free", event_id="e")
    ledger.do(act("pause", "task:one"))
    for days, verbs in [(29, {"pause", "redeliver"}), (2, {"pause"})]:
        ledger.now += days * DAY
        pruner = Pruner(Retention(), tmp_path)
        while not pruner.rests:  # a bite ends after two milliseconds, which may be over before it has begun
            with ledger.database.transaction(flush=False) as tx:
                pruner.bite(tx)
        assert {row["verb"] for row in ledger.seen().action} == verbs


def test_a_replay_makes_new_jobs_linked_to_the_old_ones(ledger: Ledger) -> None:
    """Of a delivery that is there; else it is told."""
    operation = accept("free")
    (old,) = ledger.do(operation).values["jobs"]
    assert ledger.do(replay(operation.id, "j_again")).values["status"] == "replayed"
    assert ledger.job("j_again")["parent"] == old["id"]
    assert ledger.do(replay("d_none", "j_more")).values["status"] == "not_found"


# ── claim and end ───────────────────────────────────────────────────────────────────────────────────────────────


def test_jobs_are_begun_by_priority_then_due_time_then_acceptance(ledger: Ledger) -> None:
    """The first accepted is not the 1613th to run."""
    late = ledger.do(spool("free", due_at=ledger.now - 1)).values["job"]
    early = ledger.do(spool("free", due_at=ledger.now - 2)).values["job"]
    first, second = ledger.accept("free", "free")
    urgent = ledger.do(spool("free", priority=1)).values["job"]
    assert [ledger.run() for _ in range(5)] == [urgent, early, late, first, second]


def test_an_attempt_is_counted_before_its_task_is_called(ledger: Ledger) -> None:
    """The claim's commit holds it already."""
    (job,) = ledger.accept("free")
    order = ledger.claim()
    assert order is not None
    assert (order["number"], order["attempts"], ledger.job(job)["attempts"]) == (1, 1, 1)


def test_a_claim_without_an_answer_was_never_begun(ledger: Ledger) -> None:
    """The process asks anew: the job it held is given again, and the lost attempt is not charged."""
    (job,) = ledger.accept("free")
    lost = ledger.claim()
    order = ledger.claim()
    assert lost is not None
    assert order is not None
    assert (order["job"], order["number"], order["attempts"]) == (job, 2, 1)
    assert order["attempt"] != lost["attempt"]


def test_a_claim_repeated_has_the_same_answer_and_takes_no_second_job(ledger: Ledger) -> None:
    """The body comes with it again."""
    ledger.accept("free", "free", body=b"hello")
    operation = turn("p")
    assert ledger.do(operation) == ledger.do(operation)
    assert len(ledger.seen().attempt) == 1
    assert body_in(ledger.do(operation)) == b"hello"


@pytest.mark.parametrize("given", [{"instance": "unheard"}, {"generation": 0}])
def test_a_process_of_another_instance_or_older_code_gets_nothing(ledger: Ledger, given: dict[str, Any]) -> None:
    """It would run what this code no longer means."""
    ledger.accept("free")
    assert ledger.claim(**given) is None


def test_a_stopping_or_ended_instance_is_given_nothing(ledger: Ledger) -> None:
    """The mark can be taken back; an instance that another one followed never gets work again."""
    ledger.accept("free")
    ledger.do(stop())
    assert ledger.claim() is None
    ledger.do(stop(stopping=False))
    ledger.run()
    ledger.accept("free")
    ledger.do(start("the-next"))
    assert ledger.claim() is None
    assert ledger.claim(instance="the-next") is not None


def test_an_end_that_comes_late_is_noted_and_touches_nothing_else(ledger: Ledger) -> None:
    """The first late outcome is kept; the caller hears each time that it came late."""
    (job,) = ledger.accept("free")
    lost = ledger.claim()
    order = ledger.claim()
    assert ledger.end(lost)["kept"] is False
    assert ledger.end(lost, FAILED)["kept"] is False
    assert ledger.job(job)["state"] == State.RUNNING
    assert [row["late"] for row in ledger.seen().attempt if row["late"]] == ["succeeded"]
    assert ledger.end(order)["kept"] is True


def test_the_end_of_one_job_and_the_claim_of_the_next_are_one_operation(ledger: Ledger) -> None:
    """And repeated it has the same answer."""
    first, second = ledger.accept("one", "one")
    operation = turn("p", end=end_of(ledger.claim() or {}, SUCCEEDED))
    answer = ledger.do(operation)
    assert (answer.values["kept"], answer.values["order"]["job"]) == (True, second)
    assert ledger.do(operation) == answer
    assert ledger.job(first)["result"] == "1"


def test_a_limited_task_runs_in_order_of_arrival_and_a_retry_that_waits_holds_up_nobody(ledger: Ledger) -> None:
    """concurrency=1, kept by the ledger whatever the number of spoolers."""
    first, second, third = ledger.accept("one", "one", "one")
    order = ledger.claim("p")
    assert ledger.claim("q") is None
    follower = ledger.end(order, FAILED, then="p")["order"]
    ledger.now += 5
    ledger.release_due()
    assert ledger.claim("q") is None
    last = ledger.end(follower, then="p")["order"]
    assert (follower["job"], last["job"], ledger.end(last, then="p")["order"]["job"]) == (second, third, first)


def test_jobs_of_one_key_run_one_at_a_time_and_other_keys_beside_them(ledger: Ledger) -> None:
    """The oldest blocked one follows."""
    a1, a2, b1 = (ledger.do(spool("free", key=key)).values["job"] for key in "aab")
    first, beside = ledger.claim("p"), ledger.claim("q")
    assert first is not None
    assert beside is not None
    assert (first["job"], beside["job"], ledger.job(a2)["state"]) == (a1, b1, State.BLOCKED)
    assert ledger.end(first, then="p")["order"]["job"] == a2


def test_a_job_is_not_begun_before_its_time(ledger: Ledger) -> None:
    """It is scheduled until then."""
    job = ledger.do(spool("free", due_at=ledger.now + 3)).values["job"]
    ledger.now += 2.9
    ledger.release_due()
    assert ledger.claim() is None
    ledger.now += 0.1
    ledger.release_due()
    assert ledger.run() == job


def test_a_direct_claim_releases_due_jobs_itself(ledger: Ledger) -> None:
    """Nothing waits for a dead keeper."""
    ledger.do(spool("free", due_at=ledger.now + 3))
    ledger.now += 3
    with ledger.database.transaction(flush=False, direct=True) as tx:
        assert apply(tx, turn("p")).values["order"]


def test_a_job_of_an_unknown_task_waits_until_code_knows_it(ledger: Ledger) -> None:
    """Blocked, not dead: rolling deploys."""
    (job,) = ledger.accept("of_tomorrow")
    assert (ledger.claim(), ledger.job(job)["blocked_on"]) == (None, "unknown:of_tomorrow")
    ledger.do(join("p", TASKS | {"of_tomorrow": Policy()}))
    assert (ledger.claim() or {})["job"] == job


def test_a_job_of_a_forgotten_task_is_taken_back(ledger: Ledger) -> None:
    """And comes again when the task does."""
    (job,) = ledger.accept("free")
    ledger.do(join("p", {"one": TASKS["one"]}))
    assert ledger.job(job)["state"] == State.BLOCKED
    ledger.do(join("p", TASKS))
    assert ledger.run() == job


# ── the operator ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_retry_is_a_new_round_of_attempts_for_the_same_job(ledger: Ledger) -> None:
    """The numbers of its attempts go on, the charged ones begin anew."""
    (job,) = ledger.accept("free")
    ledger.run(DISCARDED)
    assert ledger.do(act("retry", job)).values["done"] == {job: "done"}
    order = ledger.claim()
    assert order is not None
    assert (order["number"], order["attempts"], order["interruptions"]) == (2, 1, 0)


def test_a_retry_may_be_spread_over_time(ledger: Ledger) -> None:
    """A dead job is then scheduled; one that waits for its retry need not wait any more."""
    (job,) = ledger.accept("free")
    ledger.run(DISCARDED)
    ledger.do(act("retry", job, delay_seconds=30))
    assert (ledger.job(job)["state"], ledger.job(job)["due_at"]) == (State.SCHEDULED, ledger.now + 30)
    ledger.do(act("retry", job))
    assert ledger.job(job)["state"] == State.QUEUED


def test_what_an_operator_cannot_do_is_told_job_by_job(ledger: Ledger) -> None:
    """One that cannot be done holds up no other."""
    done, waiting = ledger.accept("free", "free")
    ledger.run()
    told = ledger.do(act("cancel", done, waiting, "j_none")).values["done"]
    assert told == {done: "not_allowed: it is succeeded", waiting: "done", "j_none": "not_found"}
    assert ledger.do(act("retry", done)).values["done"] == {done: "not_allowed: it is succeeded"}


@pytest.mark.parametrize(("outcome", "state"), [(FAILED, State.CANCELLED), (SUCCEEDED, State.SUCCEEDED)])
def test_a_running_job_is_cancelled_at_its_end_unless_it_succeeded(
    ledger: Ledger, outcome: Outcome, state: State
) -> None:
    """Its process is asked to interrupt it; what came to its end has ended."""
    (job,) = ledger.accept("free")
    order = ledger.claim()
    assert ledger.do(act("cancel", job)).values["done"] == {job: "interrupting"}
    ledger.end(order, outcome)
    assert ledger.job(job)["state"] == state


def test_an_action_repeated_is_not_done_again(ledger: Ledger) -> None:
    """A pause given up meanwhile stays given up."""
    pause = act("pause", "all")
    first = ledger.do(pause)
    ledger.do(act("resume", "all"))
    assert ledger.do(pause) == first
    assert ledger.seen().pause == []


def test_a_pause_holds_what_is_queued_and_what_comes_but_not_what_runs(ledger: Ledger) -> None:
    """After the resume the order is the old one, places under limits included."""
    first, second = ledger.accept("one", "one")
    order = ledger.claim()
    ledger.do(act("pause", "task:one"))
    (third,) = ledger.accept("one")
    assert ledger.end(order, then="p")["order"] is None
    ledger.do(act("resume", "task:one"))
    assert [ledger.run(), ledger.run()] == [second, third]
    assert ledger.job(first)["state"] == State.SUCCEEDED
