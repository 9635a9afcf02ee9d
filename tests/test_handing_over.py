"""Jobs that come while claims wait for one: handed over in the transaction that accepts, and written once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conditions import wait_until
from tests.fire import House
from tests.ledger_laws import breaches
from tests.operations import accept, act, end_of, join, orders_in, spool, start, stop, turn
from tests.test_keeper import HERE, SUCCEEDED, TASKS, THERE, Hand, house, outcome_of, values_of
from webspool.keep import Keeper
from webspool.keep.parking import Parking
from webspool.ledger import apply as applying
from webspool.ledger import turns
from webspool.ledger.apply import apply
from webspool.ledger.database import Database, Transaction
from webspool.ledger.inbox import QueuedRequest
from webspool.ledger.operations import Answer, Operation
from webspool.policy import Policy
from webspool.records import State

__all__ = ["house"]
HEADERS = '[["X-Github-Event","push"],["Traceparent","00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]]'


@pytest.fixture
def hand(house: House) -> Iterator[Hand]:
    made = Hand(house)
    made.keeper._next_tick = float("inf")  # what each second mends is not to hide anything
    yield made
    if made.keeper.broken is None:
        made.keeper.run(lambda: True)


def waiting(hand: Hand, *claims: Operation) -> list[QueuedRequest]:
    """Claims that wait, the last of them for the next job."""
    requests = hand.put(*claims)
    hand.keeper.round()
    assert [outcome_of(request) for request in requests] == [None] * len(requests)
    return requests


def answer_of(request: QueuedRequest) -> Answer:
    answer = outcome_of(request)
    assert isinstance(answer, Answer), answer
    return answer


# ── what is handed over ─────────────────────────────────────────────────────────────────────────────────────────


def a_webhook(hand: Hand) -> Operation:
    return accept("free", body=b'{"a": 1}', headers=HEADERS, event_id="e1")


def one_with_a_large_body(hand: Hand) -> Operation:
    return accept("free", body=b"", body_file=True, body_size=1 << 25)


def one_of_the_instances_own(hand: Hand) -> Operation:
    return spool("free", arguments='{"n": "\\u00e9"}', priority=3, due_at=1000.0)


def a_replayed_one(hand: Hand) -> Operation:
    operation = accept(body=b"again", headers=HEADERS)
    hand.batch(operation)
    jobs = [{"id": "j_again", "task": "free"}]
    return Operation("x_1", "replay", {"delivery": operation.id, "jobs": jobs, "actor": "test"})


def one_by_hand(hand: Hand) -> Operation:
    made = spool("free")
    return Operation("x_2", "order", {"id": made.id, "verb": "spool", "with": made.arguments, "actor": "test"})


@pytest.mark.parametrize(
    "made", [a_webhook, one_with_a_large_body, one_of_the_instances_own, a_replayed_one, one_by_hand]
)
def test_it_is_the_job_that_the_ledger_then_holds(hand: Hand, made: Callable[[Hand], Operation]) -> None:
    """A claim that is told again is answered from the ledger: with the same order, word for word."""
    operation = made(hand)
    claim = turn(HERE)
    (request,) = waiting(hand, claim)
    assert isinstance(hand.batch(operation)[0], Answer)
    assert orders_in(answer_of(request))[0].task == "free"
    (again,) = hand.batch(claim)
    assert again == answer_of(request)
    assert not breaches(hand.house.seen())


def test_what_is_written_is_what_a_claim_would_have_written(house: House) -> None:
    """Row for row, but for the moment: only it is written once."""
    rows = []
    for waits in (True, False):
        made = House(house.root / f"waits-{waits}")
        made.root.mkdir()
        ledger = Database(made.ledger, clock=lambda: 1_700_000_000.0)
        claim, operation = turn(HERE, attempt="a_1"), accept(body=b"x")._replace(id="d_1")
        operation.arguments["jobs"] = [{"id": "j_1", "task": "free", "key": "k", "priority": 2}]
        with ledger.transaction(flush=False) as tx:
            for before in (start(), join(HERE, TASKS)):
                apply(tx, before)
        with ledger.transaction(flush=False) as tx:
            tx.waiting = [claim.arguments["claim"]] if waits else []
            apply(tx, operation)
            handed = [values for _, values in tx.handed] if waits else turns.claim(tx, claim.arguments["claim"])
        seen = made.seen()
        rows.append(
            (handed, {name: seen.tables[name] for name in ("job", "attempt", "slot", "delivery")}, seen.counters)
        )
        ledger.close()
    assert rows[0] == rows[1]


def test_a_job_that_is_handed_over_ends_like_any_other(hand: Hand) -> None:
    """Its attempt counts from before it is begun."""
    (request,) = waiting(hand, turn(HERE))
    hand.batch(accept("free"))
    order = answer_of(request).values["order"]
    (charged,) = hand.house.seen().job
    assert (charged["state"], charged["attempts"], charged["attempt"]) == (State.RUNNING, 1, order["attempt"])
    hand.batch(turn(HERE, end=end_of(order, SUCCEEDED), claim=False))
    seen = hand.house.seen()
    assert [job["state"] for job in seen.job] == [State.SUCCEEDED]
    assert not breaches(seen)


def test_each_of_several_jobs_goes_to_another(hand: Hand) -> None:
    """And what nobody waits for is queued."""
    claims = waiting(hand, turn(HERE), turn(THERE))
    hand.batch(accept("free", "free"), accept("free"))
    given = [answer_of(claim).values["order"]["job"] for claim in claims]
    seen = hand.house.seen()
    assert len(set(given)) == 2
    assert sorted(job["state"] for job in seen.job) == [State.QUEUED, State.RUNNING, State.RUNNING]
    assert not breaches(seen)


def test_the_sender_is_told_that_its_job_is_queued(hand: Hand) -> None:
    """As ever: what becomes of it a moment later is nothing that an answer can tell."""
    waiting(hand, turn(HERE))
    (accepted,) = hand.batch(accept("free"))
    assert isinstance(accepted, Answer)
    assert [job["state"] for job in accepted.values["jobs"]] == [State.QUEUED]


# ── what is not ─────────────────────────────────────────────────────────────────────────────────────────────────


def who_came_first_is_served_first(hand: Hand) -> None:
    """A place that becomes free in the batch lets a job in that has waited longer than the new one."""
    hand.batch(join(HERE, TASKS | {"one": Policy(concurrency=1)}), accept("one"), accept("one"))
    order = hand.order(THERE)
    (request,) = waiting(hand, turn(HERE))
    blocked = next(job["id"] for job in hand.house.seen().job if job["state"] == State.BLOCKED)
    hand.batch(turn(THERE, end=end_of(order, SUCCEEDED), claim=False), accept("free"))
    assert answer_of(request).values["order"]["job"] == blocked


def nothing_is_handed_to_an_instance_that_stops(hand: Hand) -> None:
    """It has been told that no more will come."""
    (request,) = waiting(hand, turn(HERE))
    hand.batch(stop())
    hand.batch(accept("free"))
    assert outcome_of(request) is None
    assert [job["state"] for job in hand.house.seen().job] == [State.QUEUED]


def a_paused_task_is_not_handed_over(hand: Hand) -> None:
    """Nor is one that no code knows: they are blocked before anybody is looked for."""
    (request,) = waiting(hand, turn(HERE))
    hand.batch(act("pause", "task:free"))
    hand.batch(accept("free", "stranger"))
    assert outcome_of(request) is None
    assert {job["state"] for job in hand.house.seen().job} == {State.BLOCKED}


def what_fails_hands_nothing_over(hand: Hand) -> None:
    """Its second job cannot be stored, and so the first is no job either."""
    (request,) = waiting(hand, turn(HERE))
    unfit = {"id": "j_2", "task": "free", "priority": 1 << 70}
    (refused,) = hand.batch(accept("free", jobs=[{"id": "j_1", "task": "free"}, unfit]))
    assert isinstance(refused, str)
    assert outcome_of(request) is None
    assert hand.house.seen().attempt == []
    hand.batch(accept("free"))
    assert answer_of(request).values["order"] is not None


def an_attempt_that_was_there_before_is_given_no_second_job(hand: Hand) -> None:
    """Its process has claimed without the keeper meanwhile, and not waited for this answer."""
    claim = turn(HERE)
    (request,) = waiting(hand, claim)
    spooled = spool("free")
    other = Database(hand.house.ledger)
    for operation in (spooled, claim):
        with other.transaction(flush=False, direct=True) as tx:
            apply(tx, operation)
    other.close()
    hand.batch(accept("free"))
    seen = hand.house.seen()
    assert not breaches(seen)
    assert sorted(job["state"] for job in seen.job) == [State.QUEUED, State.RUNNING]
    assert answer_of(request).values["order"]["job"] == spooled.id


def who_is_gone_gets_no_job(hand: Hand) -> None:
    """The job goes to the next one."""
    here, gone = waiting(hand, turn(HERE), turn(THERE))
    gone.gone = True
    hand.batch(accept("free"))
    assert outcome_of(gone) is None
    assert values_of(here)["order"] is not None
    wait_until(lambda: hand.keeper.round() or outcome_of(gone))
    assert values_of(gone)["order"] is None


LAWS = [
    who_came_first_is_served_first,
    nothing_is_handed_to_an_instance_that_stops,
    a_paused_task_is_not_handed_over,
    what_fails_hands_nothing_over,
    an_attempt_that_was_there_before_is_given_no_second_job,
    who_is_gone_gets_no_job,
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_law_holds(law: Callable[[Hand], None], hand: Hand) -> None:
    """Each is broken by taking its fence out, below."""
    law(hand)


def without_a_look_at_the_queue(patch: pytest.MonkeyPatch) -> None:
    kept = turns.who_waits

    def careless(tx: Transaction) -> Any:
        changes, tx.changes = tx.changes, {}
        found = kept(tx)
        tx.changes = changes
        return found

    patch.setattr(turns, "who_waits", careless)


def without_a_look_at_the_instance(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(turns, "_may_claim", lambda _tx, _wanted: True)


def without_a_look_at_what_blocks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(applying, "place_new", lambda *_: (State.QUEUED, None))


def offered_to_parts_too(patch: pytest.MonkeyPatch) -> None:
    kept = Keeper._batch

    def careless(self: Keeper, requests: Any, answers: Any, do: Any, tx: Transaction) -> None:
        tx.waiting = self.parking.claims()
        kept(self, requests, answers, do, tx)

    patch.setattr(Keeper, "_batch", careless)


def without_a_look_at_the_attempt(patch: pytest.MonkeyPatch) -> None:
    kept = turns._opened
    patch.setattr(turns, "_opened", lambda *given: kept(*given) or True)


def offered_to_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Parking, "claims", lambda self: [parked.wanted for parked in self.waiting])


FENCES = [
    without_a_look_at_the_queue,
    without_a_look_at_the_instance,
    without_a_look_at_what_blocks,
    offered_to_parts_too,
    without_a_look_at_the_attempt,
    offered_to_all,
]


@pytest.mark.parametrize(("law", "remove"), [*zip(LAWS, FENCES, strict=True)], ids=lambda each: each.__name__)
def test_without_its_fence_the_law_is_broken(
    law: Callable[[Hand], None],
    remove: Callable[[pytest.MonkeyPatch], None],
    hand: Hand,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each fence taken out once."""
    remove(monkeypatch)
    with pytest.raises(AssertionError):
        law(hand)
