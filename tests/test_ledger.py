"""The plain laws of the ledger, each on a real file under a clock of ours."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.fences import Fence, both, replaced, without
from tests.ledger_laws import Snapshot, breaches
from tests.operations import accept, act, end_of, join, spool, start, stop, turn
from webspool import frames
from webspool.errors import LedgerRefused, LedgerUnavailable
from webspool.ledger import admission, membership
from webspool.ledger.admission import release_due
from webspool.ledger.apply import apply
from webspool.ledger.client import Client
from webspool.ledger.database import Database, Transaction
from webspool.ledger.operations import Answer, Operation
from webspool.policy import Policy
from webspool.records import Ending, Outcome, State

TASKS = {"free": Policy(first_wait=5, jitter=0), "one": Policy(concurrency=1, first_wait=5, jitter=0)}
SUCCEEDED = Outcome(Ending.SUCCEEDED, result="1")
FAILED = Outcome(Ending.FAILED, error="ValueError: no")
DISCARDED = Outcome(Ending.DISCARDED, error="useless")


class Ledger:
    """A ledger with an instance and two processes, p and q."""

    def __init__(self, path: Path) -> None:
        self.path, self.now = path, 1_700_000_000.0
        self.database = Database(path, clock=lambda: self.now)
        self.do(start())
        self.do(join("p", TASKS))
        self.do(join("q", TASKS))

    def do(self, operation: Operation) -> Answer:
        with self.database.transaction(flush=False) as tx:
            answer = apply(tx, operation)
        assert not breaches(self.seen())
        return answer

    def seen(self) -> Snapshot:
        return Snapshot.of(self.database.connection)

    def job(self, id: str) -> dict[str, Any]:
        return next(job for job in self.seen().job if job["id"] == id)

    def accept(self, *tasks: str, **given: Any) -> list[str]:
        return [job["id"] for job in self.do(accept(*tasks, **given)).values["jobs"]]

    def claim(self, process: str = "p", **given: Any) -> dict[str, Any] | None:
        order: dict[str, Any] | None = self.do(turn(process, **given)).values["order"]
        return order

    def end(self, order: dict[str, Any] | None, outcome: Outcome = SUCCEEDED, *, then: str | None = None) -> Any:
        assert order is not None
        ended = end_of(order, outcome, TASKS[order["task"]])
        return self.do(turn(then or "", end=ended, claim=then is not None)).values

    def run(self, outcome: Outcome = SUCCEEDED) -> str:
        order = self.claim()
        self.end(order, outcome)
        assert order is not None
        return str(order["job"])

    def release_due(self) -> None:
        with self.database.transaction(flush=False) as tx:
            release_due(tx, most=100)


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
    order, given = ledger.do(turn("p")).values["order"], ledger.do(turn("q")).body
    assert given == body
    assert (order["delivery"]["id"], order["delivery"]["event_id"]) == (operation.id, "e")


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


def test_a_replay_makes_new_jobs_linked_to_the_old_ones_and_changes_no_first_answer(ledger: Ledger) -> None:
    """The accept, repeated after it, has its own jobs only."""
    operation = accept("free")
    first = ledger.do(operation).values["jobs"]
    again = {"delivery": operation.id, "jobs": [{"id": "j_again", "task": "free"}], "actor": "test"}
    assert ledger.do(Operation("x_1", "replay", again)).values["status"] == "replayed"
    assert ledger.job("j_again")["parent"] == first[0]["id"]
    assert [job["id"] for job in ledger.do(operation).values["jobs"]] == [first[0]["id"]]
    missing = Operation("x_2", "replay", again | {"delivery": "d_none"})
    assert ledger.do(missing).values["status"] == "not_found"


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
    assert ledger.do(operation).body == b"hello"


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


# ── laws with their fences ──────────────────────────────────────────────────────────────────────────────────────


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


def look_at_running_ones(patch: pytest.MonkeyPatch) -> None:
    """As if another had claimed the job since it was looked for."""
    without("next_queued", "state = 'queued'", "state IN ('queued', 'running')")(patch)


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


def test_a_claim_takes_only_what_is_queued_still(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim is a compare-and-set, whatever the look before it said."""
    look_at_running_ones(monkeypatch)
    a_claim_takes_only_what_is_queued_still(ledger)


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
        Fence("the claim compares", both(look_at_running_ones, without("claim_job", " AND state = 'queued'"))),
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


# ── the file ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_must_be_on_disk_before_it_is_answered_is_flushed_and_what_need_not_is_not(ledger: Ledger) -> None:
    """FULL syncs the write-ahead log at the commit, NORMAL does not."""
    for flush, level in [(True, 2), (False, 1), (True, 2)]:
        with ledger.database.transaction(flush=flush) as tx:
            assert tx.connection.execute("PRAGMA synchronous").fetchall() == [(level,)]
    durable = {verb for verb in ("accept", "spool", "act", "replay", "turn") if Operation("", verb, {}).durable}
    assert durable == {"accept", "spool", "act", "replay"}


def test_a_ledger_that_another_holds_is_told_as_unavailable(ledger: Ledger) -> None:
    """And nothing was stored."""
    other = Database(ledger.path, busy_seconds=0.01)
    client = Client(ledger.path, ledger.path.with_name("output.db"), None)
    with ledger.database.transaction(flush=False):
        with pytest.raises(LedgerUnavailable, match="write lock"), other.transaction(flush=True):
            pass
        with pytest.raises(LedgerUnavailable):
            client.call(accept("free"))
    assert ledger.seen().delivery == []
    client.call(accept("free"))
    assert len(ledger.seen().delivery) == 1
    other.close()


def test_a_full_disk_is_told_as_unavailable_and_leaves_nothing_behind(ledger: Ledger) -> None:
    """The next operation that fits is done."""
    (pages,) = ledger.database.connection.execute("PRAGMA page_count").fetchone() or (0,)
    ledger.database.connection.execute(f"PRAGMA max_page_count = {pages}")
    before = ledger.seen()
    with pytest.raises(LedgerUnavailable, match="disk is full"):
        ledger.do(accept("free", body=b"x" * 1_000_000))
    assert ledger.seen() == before
    ledger.database.connection.execute("PRAGMA max_page_count = 1000000")
    ledger.accept("free")


def test_a_file_that_is_no_ledger_or_of_tomorrow_is_not_opened(tmp_path: Path) -> None:
    """Each with what it is."""
    (tmp_path / "text").write_bytes(b"not a database, but long enough to be looked at. " * 100)
    with pytest.raises(LedgerUnavailable, match="NotADB"):
        Database(tmp_path / "text")
    with pytest.raises(LedgerUnavailable, match="opened"):
        Database(tmp_path)
    later = Database(tmp_path / "later")
    later.connection.execute("PRAGMA user_version = 9999")
    later.close()
    with pytest.raises(LedgerRefused, match="9999"):
        Database(tmp_path / "later")


def test_an_sqlite_that_can_lose_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """3.7.0 to 3.51.2 have the WAL-reset bug."""
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    with pytest.raises(LedgerRefused, match="WAL-reset"):
        Database(tmp_path / "ledger.db")


def open_and_spool(path: Path, barrier: Any) -> None:
    """One of many processes that find no ledger yet."""
    barrier.wait()
    Client(path, path.with_name("output.db"), None).call(spool("free"))


def test_a_ledger_opened_by_many_processes_at_once_is_made_once(tmp_path: Path) -> None:
    """Whoever comes first makes it; all can write."""
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(6)
    many = [fork.Process(target=open_and_spool, args=(tmp_path / "ledger.db", barrier)) for _ in range(6)]
    for process in many:
        process.start()
    for process in many:
        process.join(20)
    assert [process.exitcode for process in many] == [0] * 6
    made = Database(tmp_path / "ledger.db")
    assert len(Snapshot.of(made.connection).job) == 6
    made.close()


def test_an_operation_travels_in_a_frame_as_it_is() -> None:
    """Deadline and bytes included."""
    for operation in [accept("free", body=b"\x00\xff"), replace(turn("p"), deadline=12.5)]:
        ((message, body),) = frames.Decoder().feed(operation.frame())
        assert Operation.from_frame(message, body) == operation
