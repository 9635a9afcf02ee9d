"""A Hypothesis machine over `apply` on a real ledger file, with a crash after every step."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.ledger_file import Clock, Crash, File, empty_ledger
from tests.ledger_laws import Snapshot, breaches
from webspool.keep.rescue import Member, Rescuer
from webspool.ledger.admission import release_due
from webspool.ledger.apply import apply
from webspool.ledger.database import Transaction
from webspool.ledger.inbox import QueueInbox
from webspool.ledger.operations import Answer, Operation, ending
from webspool.policy import MAX_INTERRUPTIONS, Policy, Standing, judge
from webspool.processes import Identity
from webspool.records import FINISHED, LEGAL_MOVES, WAITING, Ending, Outcome, State
from webspool.telemetry import silent

POLICIES = {
    "free": Policy(max_attempts=3, max_age=5000),
    "one": Policy(max_attempts=2, concurrency=1),
    "two": Policy(max_attempts=2, concurrency=2),
    "once": Policy(max_attempts=1),
}
TASKS = [*POLICIES, *POLICIES, "stranger"]
SOURCES = ["github", "shop"]
PAUSES = ["all", "task:one", "task:free", "source:github"]

OUTCOMES = [
    Outcome(Ending.SUCCEEDED, result="1"),
    Outcome(Ending.FAILED, error="ValueError: no"),
    Outcome(Ending.TIMED_OUT, error="over time"),
    Outcome(Ending.DISCARDED, error="useless"),
    Outcome(Ending.SNOOZED, error="later", after_seconds=7.0),
    Outcome(Ending.SNOOZED, error="polled", after_seconds=3.0, charge=False),
    Outcome(Ending.INTERRUPTED, error="killed", signal=9),
    Outcome(Ending.INTERRUPTED, error="drained", cut=True),
]
FAULTS = st.sampled_from(["none", "none", "none", "repeated", "lost", "crashed", "crashed, not repeated", "bad batch"])
AT = st.integers(0, 2)
OUTCOME = st.sampled_from([OUTCOMES[0], OUTCOMES[0], *OUTCOMES])
TASK = st.sampled_from(TASKS)
KEY = st.sampled_from([None, None, "a", "b"])
DELAY = st.sampled_from([0.0, 0.0, 0.0, 4.0, 60.0])
PRIORITY = st.sampled_from([0, 0, 0, 5])
Wish = tuple[str, str | None, float, int]
JOBS = st.lists(st.tuples(TASK, KEY, DELAY, PRIORITY), max_size=3)


@dataclass
class Process:
    """A spooler as it sees itself: the order it runs, and the end it could not yet record."""

    id: str
    instance: str
    order: dict[str, Any] | None = None
    unrecorded: dict[str, Any] | None = None


@dataclass
class Done:
    """An operation that was answered, for later repetition."""

    operation: Operation
    answer: Answer = field(repr=False)


class LedgerMachine(RuleBasedStateMachine):
    """Whatever callers, operators, processes, time and crashes do, the laws of the ledger hold after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="ledger-")
        path = Path(self.folder) / "ledger.db"
        path.write_bytes(empty_ledger())
        self.clock = Clock()
        self.file = File(path, self.clock)
        self.numbers = count(1)
        self.processes: list[Process] = []
        self.orphans: list[Process] = []
        self.done: list[Done] = []
        self.acknowledged: set[str] = set()
        self.rounds: dict[str, int] = {}

    def id(self, prefix: str) -> str:
        return f"{prefix}_{next(self.numbers):05d}"

    # ── doing ───────────────────────────────────────────────────────────────────────────────────────────────────

    def do(self, operation: Operation, fault: str = "none", *, direct: bool = False) -> Answer | None:
        """Apply an operation; None: its caller never heard of it, whether it was done or not."""
        before = self.file.seen()
        if fault.startswith("crashed"):
            self._crash(operation, before)
            if fault == "crashed, not repeated":
                return None
        answer: Answer = self.file.transact(partial(self._apply, operation, direct=direct, bad=fault == "bad batch"))
        if fault == "lost":
            return None
        if fault == "repeated":
            self._repeat(operation, answer)
        return answer

    def _apply(self, operation: Operation, tx: Transaction, *, direct: bool, bad: bool) -> Answer:
        tx.direct = direct
        if bad:
            self._spoil(tx)
        with tx.savepoint():
            return apply(tx, operation)

    def _spoil(self, tx: Transaction) -> None:
        """Another operation of the batch fails after it has written."""
        try:
            with tx.savepoint():
                apply(tx, self.spooled("one", "a", 0.0, 9))
                apply(tx, Operation(self.id("x"), "act", {"verb": "pause", "names": ["all"], "actor": "bad"}))
                raise Crash
        except Crash:
            return

    def _crash(self, operation: Operation, before: Snapshot) -> None:
        try:
            self.file.transact(partial(self._apply, operation, direct=False, bad=False), crash=True)
        except Crash:
            assert self.file.seen() == before, "a crash before the commit left something behind"

    def _repeat(self, operation: Operation, first: Answer) -> None:
        before = self.file.seen()
        again = self.file.transact(partial(self._apply, operation, direct=False, bad=False))
        assert again == first, f"{operation.verb} repeated was answered otherwise: {again} after {first}"
        assert self.file.seen() == before, f"{operation.verb} repeated changed the ledger"

    # ── set-up ──────────────────────────────────────────────────────────────────────────────────────────────────

    @initialize()
    def an_instance_starts(self) -> None:
        self.start()
        self.processes = [self.join(POLICIES) for _ in range(3)]

    def start(self) -> None:
        self.instance = self.id("m")
        entry = {"host": "here", "boot": "b", "pid": 1, "start": 1, "engine": "spool"}
        self.do(Operation(self.instance, "start", entry))

    def join(self, tasks: dict[str, Policy], process: Process | None = None, fault: str = "none") -> Process:
        process = process or Process(f"b:{next(self.numbers)}:1", self.instance)
        given = {"process": process.id, "instance": process.instance, "pid": 1, "start": 1, "runner_pid": 0}
        given |= {"runner_start": 0, "generation": 1}
        tables = {name: policy.as_dict() for name, policy in tasks.items()}
        self.do(Operation(self.id("p"), "join", given | {"tasks": tables}), fault)
        return process

    # ── senders and the instance's own code ─────────────────────────────────────────────────────────────────────

    @rule(
        source=st.sampled_from(SOURCES),
        event=st.sampled_from([None, "e1", "e2", "e3"]),
        jobs=JOBS,
        redelivery=st.sampled_from(["retry", "retry", "ignore"]),
        fault=FAULTS,
    )
    def a_webhook_comes(
        self,
        source: str,
        event: str | None,
        jobs: list[Wish],
        redelivery: str,
        fault: str,
    ) -> None:
        given = {"source": source, "method": "POST", "url": "/", "headers": {}, "remote": None, "event_id": event}
        given |= {"event_type": "push", "body_file": False, "body_size": 1, "body_sha256": "x"}
        given |= {"jobs": [self.job(*each) for each in jobs], "redelivery": redelivery}
        operation = Operation(self.id("d"), "accept", given, b"x")
        answer = self.do(operation, fault)
        if answer is not None:
            self.acknowledge(operation, answer)

    def acknowledge(self, operation: Operation, answer: Answer) -> None:
        self.done.append(Done(operation, answer))
        self.acknowledged |= {answer.values["delivery"], *(job["id"] for job in answer.values["jobs"])}

    def job(self, task: str, key: str | None, delay: float, priority: int) -> dict[str, Any]:
        due_at = self.clock.now + delay if delay else None
        return {"id": self.id("j"), "task": task, "key": key, "due_at": due_at, "priority": priority}

    def spooled(self, task: str, key: str | None, delay: float, priority: int) -> Operation:
        given = self.job(task, key, delay, priority)
        return Operation(given.pop("id"), "spool", given | {"calling": "keywords", "arguments": "{}"})

    @rule(task=TASK, key=KEY, delay=DELAY, priority=PRIORITY, fault=FAULTS)
    def a_job_is_spooled(self, task: str, key: str | None, delay: float, priority: int, fault: str) -> None:
        operation = self.spooled(task, key, delay, priority)
        answer = self.do(operation, fault)
        if answer is not None:
            self.done.append(Done(operation, answer))
            self.acknowledged.add(answer.values["job"])

    @rule(wishes=st.lists(st.tuples(TASK, KEY, DELAY, PRIORITY), min_size=3, max_size=8))
    def many_jobs_are_spooled(self, wishes: list[Wish]) -> None:
        for wish in wishes:
            self.a_job_is_spooled(*wish, fault="none")

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def an_old_operation_is_repeated(self, data: st.DataObject) -> None:
        """Long after, when its jobs have moved on, the same id still means the same."""
        done = data.draw(st.sampled_from(self.done))
        before = self.file.seen()
        again = self.do(done.operation)
        assert again is not None
        assert self.file.seen() == before, f"{done.operation.verb} repeated late changed the ledger"
        assert identity(again) == identity(done.answer), f"{again} is not {done.answer}"

    # ── processes ───────────────────────────────────────────────────────────────────────────────────────────────

    @rule(at=AT, outcome=OUTCOME, claim=st.booleans(), fault=FAULTS, direct=st.booleans())
    def a_process_takes_its_turn(self, at: int, outcome: Outcome, claim: bool, fault: str, direct: bool) -> None:
        self.turn(self.processes[at], outcome, claim=claim, fault=fault, direct=direct)

    @rule(
        turns=st.lists(st.tuples(AT, OUTCOME, FAULTS), min_size=3, max_size=12),
        seconds=st.sampled_from([0.0, 1.0, 8.0]),
    )
    def a_stretch_of_work_is_done(self, turns: list[tuple[int, Outcome, str]], seconds: float) -> None:
        for at, outcome, fault in turns:
            self.turn(self.processes[at], outcome, fault=fault)
            self.clock.now += seconds
            self.due_jobs_are_released(most=100)
            self.the_laws_hold()

    def turn(
        self, process: Process, outcome: Outcome, *, claim: bool = True, fault: str = "none", direct: bool = False
    ) -> None:
        """End what the process runs, and claim."""
        if process.order is not None:
            process.unrecorded, process.order = self.end_of(process.order, outcome), None
        wanted = self.wanted(process) if claim else None
        if wanted is None and process.unrecorded is None:
            return
        answer = self.do(
            Operation(self.id("t"), "turn", {"end": process.unrecorded, "claim": wanted}), fault, direct=direct
        )
        if answer is None:
            return
        assert answer.values["kept"], "an end that came in time was not kept"
        process.unrecorded, process.order = None, answer.values["order"]
        if wanted is not None:
            self.judge_the_claim(process)

    def wanted(self, process: Process) -> dict[str, Any]:
        return {"attempt": self.id("a"), "process": process.id, "instance": process.instance, "generation": 1}

    def end_of(self, order: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
        standing = Standing(order["attempts"], order["interruptions"], self.clock.now - order["created_at"])
        return ending(order["attempt"], outcome, judge(outcome, POLICIES[order["task"]], standing, chance=lambda: 0.5))

    def judge_the_claim(self, process: Process) -> None:
        """The best job was given, and none only when there is none that may be given."""
        seen = self.file.seen()
        queued = [rank(job) for job in seen.jobs_in(State.QUEUED)]
        mine = next(row for row in seen.instance if row["id"] == process.instance)
        may_claim = not mine["stopping"] and mine["ended_at"] is None
        if process.order is None:
            assert not (queued and may_claim), f"nothing was given to {process}, though jobs are queued"
            return
        assert may_claim, "a job was given to a process of an instance that stops or has ended"
        given = next(job for job in seen.job if job["id"] == process.order["job"])
        assert all(rank(given) < other for other in queued), f"{given['id']} was given before a better one"
        assert given["due_at"] <= self.clock.now, "a job was given before its time"

    @rule(at=AT, alone=st.booleans(), fault=st.sampled_from(["none", "crashed"]))
    def a_process_is_killed(self, at: int, alone: bool, fault: str) -> None:
        """The keeper finds it dead: alone, or (for it belongs to another instance) with all of its own."""
        dead = self.processes[at]
        self.rescue(dead, self.instance if alone else "another", crash=fault == "crashed")
        self.processes[at] = self.join(self.known(), Process(f"b:{next(self.numbers)}:1", self.instance))

    def rescue(self, dead: Process, keeper_of: str, *, crash: bool = False) -> None:
        rescuer = Rescuer(keeper_of, QueueInbox(), partial(self.file.transact, crash=crash), silent)
        member = Member(dead.id, dead.instance, Identity("b", 1, 1), 0, 0)
        try:
            rescuer.rescue(member)
        except Crash:
            self.rescue(dead, keeper_of)

    @rule()
    def the_instance_is_started_anew(self) -> None:
        """Processes of the old one that are busy live on as orphans: they end their job, or are found dead."""
        known = self.known()
        self.orphans += [process for process in self.processes if process.order is not None]
        for process in self.processes:
            if process.order is None:
                self.rescue(process, "another")
        self.start()
        self.processes = [self.join(known) for _ in self.processes]

    @precondition(lambda self: self.orphans)
    @rule(outcome=OUTCOME, dies=st.booleans(), claim=st.booleans(), fault=FAULTS)
    def an_orphan_ends(self, outcome: Outcome, dies: bool, claim: bool, fault: str) -> None:
        orphan = self.orphans[0]
        if not dies:
            self.turn(orphan, outcome, claim=claim, fault=fault)
        if dies or orphan.unrecorded is None:
            self.rescue(self.orphans.pop(0), self.instance)

    @rule(stopping=st.sampled_from([True, False, False]), fault=FAULTS)
    def the_instance_is_told_to_stop(self, stopping: bool, fault: str) -> None:
        self.do(Operation(self.id("s"), "stop", {"instance": self.instance, "stopping": stopping}), fault)

    @precondition(lambda self: any(row["ended_at"] for row in self.file.seen().attempt))
    @rule(data=st.data(), outcome=OUTCOME)
    def an_end_comes_late(self, data: st.DataObject, outcome: Outcome) -> None:
        """Its attempt was closed by another: the outcome is noted there, and nothing else moves."""
        before = self.file.seen()
        closed = data.draw(st.sampled_from([row for row in before.attempt if row["ended_at"] is not None]))
        order = {
            "attempt": closed["id"],
            "task": "free",
            "attempts": 1,
            "interruptions": 0,
            "created_at": self.clock.now,
        }
        operation = Operation(self.id("t"), "turn", {"end": self.end_of(order, outcome), "claim": None})
        answer = self.do(operation, "repeated")
        assert answer is not None
        assert answer.values["kept"] == (closed["outcome"] == outcome.ending)
        assert without_late(self.file.seen()) == without_late(before), "an end that came late changed the ledger"

    # ── the code, the operator, time ────────────────────────────────────────────────────────────────────────────

    def known(self) -> dict[str, Policy]:
        """The tasks as the last one to join knew them."""
        rows = {row["name"]: row for row in self.file.seen().task if row["known"]}
        return {name: with_limit(POLICIES[name], row["concurrency"]) for name, row in rows.items()}

    @rule(
        at=AT,
        forgotten=st.sampled_from([None, None, None, *POLICIES]),
        name=st.sampled_from(["one", "two", "free"]),
        limit=st.sampled_from([None, 1, 2]),
        fault=FAULTS,
    )
    def other_code_joins(self, at: int, forgotten: str | None, name: str, limit: int | None, fault: str) -> None:
        tasks = POLICIES | {name: with_limit(POLICIES[name], limit)}
        self.join({task: tasks[task] for task in tasks if task != forgotten}, self.processes[at], fault)

    @precondition(lambda self: self.file.seen().job)
    @rule(
        data=st.data(),
        verb=st.sampled_from(["retry", "retry", "cancel", "discard"]),
        delay=st.sampled_from([0.0, 0.0, 30.0]),
        fault=FAULTS,
    )
    def an_operator_acts(self, data: st.DataObject, verb: str, delay: float, fault: str) -> None:
        seen = self.file.seen()
        wished = {"retry": FINISHED, "cancel": {State.RUNNING}, "discard": WAITING}[verb]
        known = [job["id"] for job in seen.job]
        fitting = [job["id"] for job in seen.jobs_in(*wished)] or known
        jobs = data.draw(st.lists(st.sampled_from(fitting) | st.sampled_from(known), min_size=1, max_size=3))
        given = {"verb": verb, "jobs": jobs, "delay_seconds": delay, "actor": "test"}
        self.act(given, fault)

    @rule(name=st.sampled_from(PAUSES), fault=FAULTS)
    def an_operator_pauses(self, name: str, fault: str) -> None:
        self.act({"verb": "pause", "names": [name], "actor": "test"}, fault)

    @rule(names=st.sampled_from([[name] for name in PAUSES] + [PAUSES] * 4), fault=FAULTS)
    def an_operator_resumes(self, names: list[str], fault: str) -> None:
        self.act({"verb": "resume", "names": names, "actor": "test"}, fault)

    @precondition(lambda self: self.file.seen().delivery)
    @rule(data=st.data(), task=TASK, fault=FAULTS)
    def an_operator_replays(self, data: st.DataObject, task: str, fault: str) -> None:
        delivery = data.draw(st.sampled_from([row["id"] for row in self.file.seen().delivery]))
        given = {"delivery": delivery, "jobs": [self.job(task, None, 0.0, 0)], "actor": "test"}
        self.act(given, fault, verb="replay")

    def act(self, given: dict[str, Any], fault: str, *, verb: str = "act") -> None:
        operation = Operation(self.id("x"), verb, given)
        answer = self.do(operation, fault)
        if answer is not None:
            self.done.append(Done(operation, answer))

    @rule(seconds=st.sampled_from([0.5, 5.0, 70.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(most=st.sampled_from([1, 100]))
    def due_jobs_are_released(self, most: int) -> None:
        self.file.transact(partial(release_due, most=most))

    # ── what holds ──────────────────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def the_laws_hold(self) -> None:
        illegal = [move for move in self.file.moves() if move[2] not in LEGAL_MOVES[State(move[1])]]
        assert not illegal, f"illegal moves: {illegal}"
        seen = self.file.seen()
        assert not (broken := breaches(seen)), broken
        self.rounds_are_bounded(seen)
        known = {row["id"] for row in [*seen.job, *seen.delivery]}
        assert self.acknowledged <= known, f"acknowledged but absent: {self.acknowledged - known}"

    def rounds_are_bounded(self, seen: Snapshot) -> None:
        for job in seen.job:
            if job["task"] in POLICIES:
                assert job["attempts"] - job["base"] <= POLICIES[job["task"]].max_attempts, job
            assert job["interruptions"] < MAX_INTERRUPTIONS or job["state"] in FINISHED, job

    def teardown(self) -> None:
        try:
            self.everything_ends()
        finally:
            self.file.close()
            shutil.rmtree(self.folder)

    def everything_ends(self) -> None:
        """From any state: nothing paused, every task known, time going on, processes that succeed: all jobs end."""
        if not self.processes:
            return
        self.start()
        for name in PAUSES:
            self.act({"verb": "resume", "names": [name], "actor": "test"}, "none")
        everything = POLICIES | {"stranger": Policy()}
        for orphan in [*self.processes, *self.orphans]:
            self.rescue(orphan, self.instance)
        worker = self.join(everything)
        for _ in range(1000):
            unfinished = [job for job in self.file.seen().job if job["state"] not in FINISHED]
            if not unfinished:
                return
            self.drive(worker, unfinished)
        raise AssertionError(f"these reach no end: {unfinished}")

    def drive(self, worker: Process, unfinished: list[dict[str, Any]]) -> None:
        waiting = [job["due_at"] for job in unfinished if job["state"] == State.SCHEDULED]
        if len(waiting) == len(unfinished):
            self.clock.now = max(self.clock.now, min(waiting))
        self.due_jobs_are_released(most=100)
        if worker.order is not None and worker.order["task"] == "stranger":
            worker.order = worker.order | {"task": "free"}
        self.turn(worker, OUTCOMES[0])
        self.the_laws_hold()


def rank(job: dict[str, Any]) -> tuple[float, float, int]:
    """The order in which jobs are begun: higher priority, earlier due, accepted before."""
    return (-job["priority"], job["due_at"], job["seq"])


def with_limit(policy: Policy, limit: int | None) -> Policy:
    return Policy.from_dict(policy.as_dict() | {"concurrency": limit})


def identity(answer: Answer) -> dict[str, Any]:
    """What an answer says for ever: all but where its jobs stand just now."""
    values = {name: value for name, value in answer.values.items() if name != "state"}
    if "jobs" in values:
        values["jobs"] = [(job["id"], job["task"]) for job in values["jobs"]]
    return values


def without_late(seen: Snapshot) -> Snapshot:
    attempts = [row | {"late": None} for row in seen.attempt]
    return Snapshot(seen.tables | {"attempt": attempts})
