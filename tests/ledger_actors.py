"""Whoever uses a ledger, as the machine plays them: callers whose answers are lost, processes, operators."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine

from tests.ledger_file import Clock, Crash, File, empty_ledger
from tests.ledger_laws import Snapshot, breaches
from webspool.keep.rescue import Member, Rescuer
from webspool.ledger.admission import release_due
from webspool.ledger.apply import apply
from webspool.ledger.database import Transaction
from webspool.ledger.inbox import QueueInbox
from webspool.ledger.operations import Answer, Operation, ending
from webspool.ledger.turns import Claimed
from webspool.policy import MAX_INTERRUPTIONS, Policy, Standing, judge
from webspool.processes import Identity, boot_id
from webspool.records import FINISHED, LEGAL_MOVES, Ending, Outcome, State
from webspool.slate import Slate, path_of, prepare
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
    Outcome(Ending.INTERRUPTED, error="cancelled while it ran", charge=False),
]


@dataclass
class Process:
    """A spooler as it sees itself: the order it runs, those that lie behind it, and what it could not yet record."""

    id: str
    instance: str
    order: dict[str, Any] | None = None
    behind: list[dict[str, Any]] = field(default_factory=list)
    unrecorded: dict[str, Any] | None = None


@dataclass
class Done:
    """An operation that was answered, for later repetition."""

    operation: Operation
    answer: Answer = field(repr=False)


class Actors(RuleBasedStateMachine):
    """The callers of one ledger, what they believe, and what they check; the machine says what they do."""

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

    def id(self, prefix: str) -> str:
        return f"{prefix}_{next(self.numbers):05d}"

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

    def acknowledge(self, operation: Operation, answer: Answer) -> None:
        self.done.append(Done(operation, answer))
        self.acknowledged |= {answer.values["delivery"], *(job["id"] for job in answer.values["jobs"])}

    def job(self, task: str, key: str | None, delay: float, priority: int) -> dict[str, Any]:
        due_at = self.clock.now + delay if delay else None
        return {"id": self.id("j"), "task": task, "key": key, "due_at": due_at, "priority": priority}

    def spooled(self, task: str, key: str | None, delay: float, priority: int) -> Operation:
        given = self.job(task, key, delay, priority)
        return Operation(given.pop("id"), "spool", given | {"calling": "keywords", "arguments": "{}"})

    def turn(
        self,
        process: Process,
        outcome: Outcome,
        *,
        claim: bool = True,
        fault: str = "none",
        direct: bool = False,
        further: int = 0,
        ran: int = 0,
    ) -> None:
        """End what the process runs, and claim.

        Of the orders behind the first it has run so many too, all but the last of them well; others it gives back.
        """
        if process.order is not None:
            process.unrecorded = self.finished([process.order, *process.behind], 1 + ran, outcome)
            process.order, process.behind = None, []
        wanted = self.wanted(process, further) if claim else None
        if wanted is None and process.unrecorded is None:
            return
        given = (process.unrecorded or {"end": None}) | {"claim": wanted}
        answer = self.do(Operation(self.id("t"), "turn", given), fault, direct=direct)
        if answer is None:
            return
        assert answer.values["kept"], "an end that came in time was not kept"
        process.unrecorded, process.order = None, answer.values["order"]
        process.behind = answer.values.get("further", [])
        if wanted is not None:
            self.judge_the_claim(process)
        if wanted is not None and process.behind:
            self.judge_the_share(process, wanted)

    def come(self, operation: Operation, waiting: list[Process], fault: str) -> Answer | None:
        """A job comes while these processes wait; the sender hears nothing when its answer is lost."""
        wanted = [self.wanted(process) for process in waiting]
        handed: list[tuple[dict[str, Any], Claimed]] = []

        def give(tx: Transaction) -> Answer:
            tx.waiting = list(wanted)
            answer = apply(tx, operation)
            handed[:] = tx.handed
            return answer

        if fault == "crashed":
            before = self.file.seen()
            with suppress(Crash):
                self.file.transact(give, crash=True)
            assert self.file.seen() == before, "a crash before the commit left something behind"
        answer: Answer = self.file.transact(give)
        for claim, claimed in handed:
            process = waiting[wanted.index(claim)]
            process.order = claimed.values
            self.judge_the_claim(process)
        return None if fault == "lost" else answer

    def finished(self, orders: list[dict[str, Any]], ran: int, outcome: Outcome) -> dict[str, Any]:
        *earlier, last = orders[:ran]
        ended = [self.end_of(order, OUTCOMES[0]) for order in earlier]
        back = [order["attempt"] for order in orders[ran:]]
        return {"earlier": ended, "end": self.end_of(last, outcome), "back": back}

    def wanted(self, process: Process, further: int = 0) -> dict[str, Any]:
        wanted = {"attempt": self.id("a"), "process": process.id, "instance": process.instance, "generation": 1}
        return wanted | {"further": [self.id("a") for _ in range(further)], "among": 2} if further else wanted

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
        for order in (process.order, *process.behind):
            given = next(job for job in seen.job if job["id"] == order["job"])
            assert all(rank(given) < other for other in queued), f"{given['id']} was given before a better one"
            assert given["due_at"] <= self.clock.now, "a job was given before its time"

    def judge_the_share(self, process: Process, wanted: dict[str, Any]) -> None:
        """What lies behind another can wait, can be tried again, and is no more than a fair part of what waits."""
        seen = self.file.seen()
        assert len(process.behind) <= len(wanted["further"])
        waited = len(seen.jobs_in(State.QUEUED)) + len(process.behind)
        assert len(process.behind) <= waited // wanted["among"], "others are left without"
        for order in (process.order, *process.behind):
            assert order is not None
            job = next(job for job in seen.job if job["id"] == order["job"])
            task = next(row for row in seen.task if row["name"] == job["task"])
            assert (job["number"], job["interruptions"], job["key"]) == (1, 0, None), f"{job} is not fresh"
            assert task["concurrency"] is None, f"{job} holds a place"
            assert json.loads(task["policy"])["max_attempts"] > 1, f"{job} may be run only once"

    def rescue(self, dead: Process, keeper_of: str, *, crash: bool = False) -> None:
        """Its runner had begun the first of its orders, and noted so."""
        folder = Path(self.folder)
        if dead.order is not None:
            Slate(prepare(path_of(folder, dead.id))).note(dead.order["attempt"])
        rescuer = Rescuer(keeper_of, QueueInbox(), partial(self.file.transact, crash=crash), silent, folder)
        member = Member(dead.id, dead.instance, Identity(boot_id(), 1, 1), 0, 0)
        try:
            rescuer.rescue(member)
        except Crash:
            self.rescue(dead, keeper_of)
            return
        seen = {job["id"]: job for job in self.file.seen().job}
        for order in dead.behind:
            assert seen[order["job"]]["attempts"] == 0, f"{order} was never begun, and is charged"

    def known(self) -> dict[str, Policy]:
        """The tasks as the last one to join knew them."""
        rows = {row["name"]: row for row in self.file.seen().task if row["known"]}
        return {name: with_limit(POLICIES[name], row["concurrency"]) for name, row in rows.items()}

    def act(self, given: dict[str, Any], fault: str, *, verb: str = "act") -> None:
        operation = Operation(self.id("x"), verb, given)
        answer = self.do(operation, fault)
        if answer is not None:
            self.done.append(Done(operation, answer))

    def release_due(self, most: int = 100) -> None:
        self.file.transact(partial(release_due, most=most))

    def check(self) -> None:
        """The laws of the ledger, and what was promised to callers."""
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
        self.release_due()
        if worker.order is not None and worker.order["task"] == "stranger":
            worker.order = worker.order | {"task": "free"}
        self.turn(worker, OUTCOMES[0])
        self.check()


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
