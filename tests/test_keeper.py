"""The keeper's laws: batches, deadlines, parked claims, time, and its door."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conditions import wait_until
from tests.fire import House, NoEngine
from tests.ledger_laws import breaches
from tests.operations import accept, act, body_in, end_of, join, refuse, spool, start, stop, turn
from webspool.errors import LedgerUnavailable
from webspool.keep import Keeper, parking
from webspool.keep.parking import Parking
from webspool.ledger.client import Client
from webspool.ledger.inbox import QueuedRequest, QueueInbox, QueueRoute
from webspool.ledger.log import Log
from webspool.ledger.operations import Answer, Operation
from webspool.ledger.output import Piece, read_pieces
from webspool.ledger.refusals import KEPT_A_KIND
from webspool.policy import Policy
from webspool.processes import Identity
from webspool.records import Ending, Outcome, State

TASKS = {"free": Policy()}
ME = str(Identity.of(os.getpid()))
HERE, THERE = f"{ME}#1", f"{ME}#2"
SUCCEEDED = Outcome(Ending.SUCCEEDED)
FAILED = Outcome(Ending.FAILED, error="ValueError: no")


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    Client(made.ledger, made.outputs, None).call(start())
    Client(made.ledger, made.outputs, None).call(join(HERE, TASKS))
    return made


class Hand:
    """A keeper turned by hand, round by round, with a queue as its door."""

    def __init__(self, house: House, inbox: QueueInbox | None = None) -> None:
        self.house, self.inbox = house, inbox or QueueInbox()
        self.happenings: list[tuple[str, dict[str, Any]]] = []
        self.keeper = Keeper(house.folders, self.inbox, NoEngine(), self._say, "the-instance")

    def _say(self, happening: str, /, **facts: Any) -> None:
        self.happenings.append((happening, facts))

    def put(self, *operations: Operation) -> list[QueuedRequest]:
        requests = [QueuedRequest(operation) for operation in operations]
        for request in requests:
            self.inbox.put(request)
        return requests

    def batch(self, *operations: Operation) -> list[Answer | str | None]:
        """One round for these operations: the answer of each, why it failed, or None when there is none yet."""
        requests = self.put(*operations)
        self.keeper.round()
        return [outcome_of(request) for request in requests]

    def order(self, process: str = HERE) -> dict[str, Any]:
        (answer,) = self.batch(turn(process))
        assert isinstance(answer, Answer)
        order: dict[str, Any] = answer.values["order"]
        return order


def outcome_of(request: QueuedRequest) -> Answer | str | None:
    return request._why or request._answer


def values_of(request: QueuedRequest) -> dict[str, Any]:
    answer = outcome_of(request)
    assert isinstance(answer, Answer), answer
    return answer.values


@pytest.fixture
def hand(house: House) -> Iterator[Hand]:
    made = Hand(house)
    yield made
    if made.keeper.broken is None:
        made.keeper.run(lambda: True)


# ── batches ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_bad_operation_fails_alone_and_its_batch_survives(hand: Hand) -> None:
    """A verb nobody knows, a value no row can hold, a field that is missing: each is told why."""
    good, spooled = accept("free"), spool("free")
    bad = [
        Operation("x_1", "dance", {}),
        accept("free", source=None),
        spool("free", priority=1 << 70),
        accept("free")._replace(arguments={}),
        act("explode", "j_1"),
    ]
    answers = hand.batch(bad[0], good, *bad[1:], spooled)
    assert [isinstance(answer, Answer) for answer in answers] == [False, True, False, False, False, False, True]
    assert all(isinstance(answer, str) for answer in answers if not isinstance(answer, Answer))
    seen = hand.house.seen()
    assert [row["id"] for row in seen.delivery] == [good.id]
    assert len(seen.job) == 2
    assert seen.counters["deliveries.accepted"] == 1
    assert not breaches(seen)


def test_a_job_is_given_out_before_the_flush_and_its_sender_answered_after_it(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its task waits for is a commit; what its sender waits for is the disk."""
    (claim,) = hand.put(turn(HERE))
    hand.keeper.round()
    (accepted,) = hand.put(accept("free"))
    seen: list[tuple[bool, bool]] = []
    monkeypatch.setattr(Log, "flush", lambda _log: seen.append((claim._answer is not None, accepted._answer is None)))
    hand.keeper.round()
    assert seen == [(True, True)]
    assert values_of(claim)["order"]["job"] == values_of(accepted)["jobs"][0]["id"]


def test_after_a_flush_that_failed_no_sender_is_answered_and_the_ledger_is_not_trusted(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job that was given out runs; its sender hears that nothing was stored, and sends it again."""
    (claim,) = hand.put(turn(HERE))
    hand.keeper.round()
    accepted, direct = accept("free"), Client(hand.house.ledger, hand.house.outputs, None)

    def fail(_log: Log) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Log, "flush", fail)
    (told,) = hand.batch(accepted)
    assert told == "its log could not be flushed: Input/output error"
    assert values_of(claim)["order"] is not None
    assert hand.keeper.broken == told
    with pytest.raises(LedgerUnavailable, match="disk failed to write"):
        direct.call(accepted)
    hand.keeper.run(lambda: True)


def test_a_batch_that_is_done_again_gives_each_claim_one_job(hand: Hand) -> None:
    """A claim that waited before it, one that came with it: what the first try gave and undid is not given twice."""
    (before,) = hand.put(turn(HERE))
    hand.keeper.round()
    claim, bad, *accepted = hand.put(turn(THERE), Operation("x_1", "dance", {}), accept("free"), accept("free"))
    hand.keeper.round()
    assert isinstance(outcome_of(bad), str)
    jobs = [values_of(each)["jobs"][0]["id"] for each in accepted]
    assert sorted([values_of(before)["order"]["job"], values_of(claim)["order"]["job"]]) == sorted(jobs)
    assert not hand.keeper.parking
    assert not breaches(hand.house.seen())


def a_late_operation_is_not_done(hand: Hand) -> None:
    """Its caller has given it up, and may have done it directly."""
    late = accept("free")._replace(deadline=time.monotonic() - 0.001)
    (answer,) = hand.batch(late)
    assert answer is None
    assert hand.house.seen().delivery == []


def a_claim_given_up_takes_no_job_away(hand: Hand) -> None:
    """A process claimed, heard nothing, claimed directly and runs: the first claim, found later, changes nothing."""
    given_up = turn(HERE)._replace(deadline=time.monotonic() - 0.001)
    direct = Client(hand.house.ledger, hand.house.outputs, None)
    direct.call(accept("free"))
    order = direct.call(turn(HERE)).values["order"]
    hand.batch(given_up)
    (job,) = hand.house.seen().job
    assert job["attempt"] == order["attempt"], "a running job was taken away"


def an_end_undone_with_its_batch_is_not_told_as_kept(hand: Hand) -> None:
    """Its process has to tell it again, or its job would run twice."""
    hand.batch(accept("free"))
    ending = turn(HERE, end=end_of(hand.order(), SUCCEEDED))
    connection = hand.keeper.database.connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone() or (0,)
    connection.execute(f"PRAGMA max_page_count = {pages}")
    requests = hand.put(ending, accept("free", body=b"x" * 1_000_000))
    hand.keeper.round()
    assert [request._why for request in requests] == ["the disk is full"] * 2
    assert requests[0]._answer is None, "an end that was undone was told as kept"
    connection.execute("PRAGMA max_page_count = 1000000")
    (again,) = hand.put(ending)
    hand.keeper.round()
    assert [job["state"] for job in hand.house.seen().job] == [State.SUCCEEDED]
    assert outcome_of(again) is None, "it waits for its next job now"


def a_claim_that_may_have_nothing_holds_up_no_other(hand: Hand) -> None:
    """An instance that stops has claims waiting still; a job goes to whoever may have it."""
    hand.batch(start("the-next", host="elsewhere"))
    stopping, going = hand.put(turn(HERE), turn(THERE, instance="the-next"))
    hand.keeper.round()
    hand.batch(stop())
    (accepted,) = hand.batch(accept("free"))
    assert isinstance(accepted, Answer)
    assert outcome_of(stopping) is None
    assert outcome_of(going) is not None, "the claim behind it waits"
    assert values_of(going)["order"]["job"] == accepted.values["jobs"][0]["id"]


LAWS = [
    a_late_operation_is_not_done,
    a_claim_given_up_takes_no_job_away,
    an_end_undone_with_its_batch_is_not_told_as_kept,
    a_claim_that_may_have_nothing_holds_up_no_other,
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_law_holds(law: Callable[[Hand], None], hand: Hand) -> None:
    """Each is broken by taking its fence out, below."""
    law(hand)


def without_deadlines(patch: pytest.MonkeyPatch) -> None:
    kept = Keeper._answered

    def careless(self: Keeper, tx: Any, request: Any, do: Any) -> Any:
        request.operation = request.operation._replace(deadline=float("inf"))
        return kept(self, tx, request, do)

    patch.setattr(Keeper, "_answered", careless)


def sent_away_all(patch: pytest.MonkeyPatch) -> None:
    def careless(self: Keeper, requests: list[Any], why: str) -> None:
        for request in requests:
            request.fail(why)
        self.parking.send_away()

    patch.setattr(Keeper, "_give_up", careless)


def first_in_line_only(patch: pytest.MonkeyPatch) -> None:
    def careless(self: Parking, tx: Any) -> Iterator[Any]:
        while self.waiting and (claimed := parking.claim(tx, self.waiting[0].wanted)):
            yield self.waiting.popleft().request, Answer({"kept": True, "order": claimed[0]}, claimed[1])

    patch.setattr(Parking, "serve", careless)
    patch.setattr(Parking, "claims", lambda _parking: [])


FENCES = [
    (without_deadlines, a_late_operation_is_not_done),
    (without_deadlines, a_claim_given_up_takes_no_job_away),
    (sent_away_all, an_end_undone_with_its_batch_is_not_told_as_kept),
    (first_in_line_only, a_claim_that_may_have_nothing_holds_up_no_other),
]


@pytest.mark.parametrize(("remove", "law"), FENCES, ids=lambda each: each.__name__)
def test_without_its_fence_the_law_is_broken(
    remove: Callable[[pytest.MonkeyPatch], None],
    law: Callable[[Hand], None],
    hand: Hand,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each fence taken out once."""
    remove(monkeypatch)
    with pytest.raises(AssertionError):
        law(hand)


# ── parked claims and time ──────────────────────────────────────────────────────────────────────────────────────


def test_a_parked_claim_is_answered_by_the_transaction_that_accepts(hand: Hand) -> None:
    """No wake-up is needed: the round that answers the sender answers the spooler."""
    (claim,) = hand.put(turn(HERE))
    hand.keeper.round()
    assert outcome_of(claim) is None
    (accepted,) = hand.batch(accept("free", body=b"hello"))
    assert isinstance(accepted, Answer)
    answer = outcome_of(claim)
    assert isinstance(answer, Answer)
    assert (answer.values["order"]["job"], body_in(answer)) == (accepted.values["jobs"][0]["id"], b"hello")


@pytest.mark.parametrize(("outcome", "served"), [(SUCCEEDED, 1), (FAILED, 0)])
def test_a_job_goes_to_who_has_just_run_one_well(hand: Hand, outcome: Outcome, served: int) -> None:
    """It has all at hand still; after a failure another may fare better."""
    names = [f"{HERE}#{number}" for number in range(2)]
    hand.batch(*(join(name, {"free": Policy()}) for name in names), accept("free"))
    (first,) = hand.put(turn(names[1]))
    hand.keeper.round()
    (other,) = hand.put(turn(names[0]))
    hand.keeper.round()
    (again,) = hand.put(turn(names[1], end=end_of(values_of(first)["order"], outcome)))
    hand.keeper.round()
    hand.batch(accept("free"))
    assert [outcome_of(claim) is not None for claim in (other, again)] == [served == 0, served == 1]


def test_a_parked_claim_is_answered_with_nothing_when_there_is_no_job(hand: Hand) -> None:
    """So that its spooler knows that the keeper lives, and looks whether it is to stop."""
    (claim,) = hand.put(turn(HERE))
    wait_until(lambda: hand.keeper.round() or outcome_of(claim))
    assert values_of(claim) == {"kept": True, "order": None}
    assert hand.house.seen().attempt == []


def test_each_parked_claim_is_answered_at_its_own_time(hand: Hand) -> None:
    """One with a short deadline is not kept waiting by one with a long deadline before it."""
    patient, hasty = hand.put(turn(HERE), turn(THERE)._replace(deadline=time.monotonic() + 0.3))
    wait_until(lambda: hand.keeper.round() or outcome_of(hasty))
    assert outcome_of(patient) is None
    assert time.monotonic() < hasty.operation.deadline


def test_the_end_of_a_keeper_sends_every_parked_claim_away(hand: Hand) -> None:
    """Nobody is left waiting for an answer that cannot come."""
    (claim,) = hand.put(turn(HERE))
    hand.keeper.round()
    hand.keeper.run(lambda: True)
    assert values_of(claim)["order"] is None
    hand.keeper.broken = "closed by this test"


def test_a_scheduled_job_is_given_out_when_its_time_has_come(hand: Hand) -> None:
    """The timer is the keeper's own, and the spooler that waits gets it in the same transaction."""
    due_at = time.time() + 0.2
    (claim,) = hand.put(turn(HERE))
    hand.batch(spool("free", due_at=due_at))
    assert outcome_of(claim) is None
    wait_until(lambda: hand.keeper.round() or outcome_of(claim))
    assert time.time() >= due_at
    assert values_of(claim)["order"] is not None


def test_a_job_that_was_spooled_directly_is_found_by_the_next_tick_or_claim(hand: Hand) -> None:
    """Who writes without the keeper cannot tell it."""
    (claim,) = hand.put(turn(HERE))
    hand.keeper.round()
    Client(hand.house.ledger, hand.house.outputs, None).call(spool("free"))
    wait_until(lambda: hand.keeper.round() or outcome_of(claim))
    assert values_of(claim)["order"] or hand.order()


def test_who_runs_a_job_that_is_cancelled_is_told_each_second_until_it_ends(hand: Hand) -> None:
    """A message that is lost is said again."""
    hand.batch(join(HERE, TASKS), accept("free"))
    order = hand.order()
    hand.batch(act("cancel", order["job"]))
    route = QueueRoute(hand.inbox, HERE)
    for _ in range(2):
        told = wait_until(lambda: hand.keeper.round() or route.pushed())
        assert {"interrupt": order["attempt"]} in told


# ── what may be lost ────────────────────────────────────────────────────────────────────────────────────────────


def test_refusals_are_counted_all_and_kept_the_last_of_each_kind(hand: Hand) -> None:
    """Strangers do not drive the writer: they wait for the tick, at most a hundred at once, a hundred a kind."""
    route = QueueRoute(hand.inbox)
    for number in range(1, 4):
        for _ in range(250):
            route.tell(refuse())
        wait_until(lambda told=250 * number: hand.keeper.round() or refused(hand) == told)
    route.tell(refuse("payload_too_large"))
    wait_until(lambda: hand.keeper.round() or refused(hand) == 751)
    kinds = [row["cause"] for row in hand.house.seen().refusal]
    assert kinds.count("signature_invalid") == KEPT_A_KIND
    assert kinds.count("payload_too_large") == 1


def refused(hand: Hand) -> int:
    return hand.house.seen().counters.get("deliveries.refused", 0)


@pytest.mark.parametrize("arguments", [{}, {"source": 1}, refuse().arguments | {"headers": 5, "source": None}])
def test_a_refusal_that_cannot_be_written_is_lost_and_nothing_else_is(hand: Hand, arguments: dict[str, Any]) -> None:
    """It does not fail the same tick for ever."""
    hand.inbox.put(QueuedRequest(Operation("r_1", "refuse", arguments), awaited=False))
    for _ in range(2):
        hand.keeper.round()
    assert isinstance(hand.batch(accept("free"))[0], Answer)
    QueueRoute(hand.inbox).tell(refuse())
    wait_until(lambda: hand.keeper.round() or hand.house.seen().refusal)


def test_output_that_is_told_is_kept_and_what_is_none_hurts_nobody(hand: Hand) -> None:
    """Nothing waits for it."""
    piece = Piece("a_1", 1, 1, 5.0, b"\x00line\n")
    route = QueueRoute(hand.inbox)
    route.tell(Operation("o_1", "output", {"output": [piece.placed()]}, piece.bytes))
    hand.keeper.round()
    placed = piece.placed()
    broken = ({"attempt": "a_1"}, [{"attempt": "a_1"}], [{"colour": 1}], "text", ["text"], [placed | {"number": None}])
    for each in broken:
        route.tell(Operation("o_2", "output", {"output": each}, b"x"))
        hand.keeper.round()
    assert read_pieces(hand.house.outputs, "a_1") == [piece]


# ── without the keeper ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_operation_is_done_directly_when_the_keeper_is_gone(house: House) -> None:
    """By the same function, under the same id; never a keeper, a dead one, and one that hangs."""
    inbox = QueueInbox()
    hanging = Client(house.ledger, house.outputs, QueueRoute(inbox))
    operation = accept("free")
    hanging.call(operation, patience=0.01)
    inbox.close()
    for client in (hanging, house.client()):
        assert client.call(operation).values["delivery"] == operation.id
    assert (hanging.direct_calls, len(house.seen().delivery)) == (2, 1)
