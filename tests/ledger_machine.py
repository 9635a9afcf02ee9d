"""A Hypothesis machine over `apply` on a real ledger file, with a crash after every step."""

from __future__ import annotations

import shutil

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from tests.ledger_actors import (
    OUTCOMES,
    PAUSES,
    POLICIES,
    SOURCES,
    TASKS,
    Actors,
    Done,
    Process,
    identity,
    with_limit,
    without_late,
)
from webspool.ledger.operations import Operation
from webspool.records import FINISHED, WAITING, Outcome, State

FAULTS = st.sampled_from(["none", "none", "none", "repeated", "lost", "crashed", "crashed, not repeated", "bad batch"])
AT = st.integers(0, 2)
OUTCOME = st.sampled_from([OUTCOMES[0], OUTCOMES[0], *OUTCOMES])
TASK = st.sampled_from(TASKS)
KEY = st.sampled_from([None, None, "a", "b"])
DELAY = st.sampled_from([0.0, 0.0, 0.0, 4.0, 60.0])
FURTHER = st.sampled_from([0, 1, 3])
PRIORITY = st.sampled_from([0, 0, 0, 5])
Wish = tuple[str, str | None, float, int]
JOBS = st.lists(st.tuples(TASK, KEY, DELAY, PRIORITY), max_size=3)


class LedgerMachine(Actors):
    """Whatever callers, operators, processes, time and crashes do, the laws of the ledger hold after each step."""

    # ── set-up ──────────────────────────────────────────────────────────────────────────────────────────────────

    @initialize()
    def an_instance_starts(self) -> None:
        self.start()
        self.processes = [self.join(POLICIES) for _ in range(3)]

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
        operation = self.webhook(source, event, jobs, redelivery)
        answer = self.do(operation, fault)
        if answer is not None:
            self.acknowledge(operation, answer)

    def webhook(self, source: str, event: str | None, jobs: list[Wish], redelivery: str) -> Operation:
        given = {"source": source, "method": "POST", "url": "/", "headers": "[]", "remote": None, "event_id": event}
        given |= {"event_type": "push", "body_file": False, "body_size": 1, "body_sha256": "x"}
        given |= {"jobs": [self.job(*each) for each in jobs], "redelivery": redelivery}
        return Operation(self.id("d"), "accept", given, b"x")

    @rule(
        jobs=JOBS.filter(len),
        event=st.sampled_from([None, "e1", "e2"]),
        idle=st.integers(1, 3),
        fault=st.sampled_from(["none", "none", "lost", "crashed"]),
    )
    def a_webhook_comes_while_processes_wait(self, jobs: list[Wish], event: str | None, idle: int, fault: str) -> None:
        """Its jobs are handed to them, one each; what is left, or is not for them, they find as ever."""
        for process in self.processes[:idle]:
            self.turn(process, OUTCOMES[0])
        waiting = [process for process in self.processes[:idle] if process.order is None]
        operation = self.webhook("github", event, jobs, "retry")
        answer = self.come(operation, waiting, fault)
        if answer is not None:
            self.acknowledge(operation, answer)
        self.check()
        for process in waiting:
            if process.order is None:
                self.turn(process, OUTCOMES[0])

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

    @rule(at=AT, outcome=OUTCOME, claim=st.booleans(), fault=FAULTS, direct=st.booleans(), further=FURTHER, ran=FURTHER)
    def a_process_takes_its_turn(
        self, at: int, outcome: Outcome, claim: bool, fault: str, direct: bool, further: int, ran: int
    ) -> None:
        self.turn(self.processes[at], outcome, claim=claim, fault=fault, direct=direct, further=further, ran=ran)

    @rule(
        turns=st.lists(st.tuples(AT, OUTCOME, FAULTS, FURTHER, FURTHER), min_size=3, max_size=12),
        seconds=st.sampled_from([0.0, 1.0, 8.0]),
    )
    def a_stretch_of_work_is_done(self, turns: list[tuple[int, Outcome, str, int, int]], seconds: float) -> None:
        for at, outcome, fault, further, ran in turns:
            self.turn(self.processes[at], outcome, fault=fault, further=further, ran=ran)
            self.clock.now += seconds
            self.release_due()
            self.check()

    @rule(
        at=AT,
        count=st.integers(3, 8),
        turns=st.lists(st.tuples(OUTCOME, FAULTS, FURTHER, FURTHER), min_size=1, max_size=4),
        dies=st.booleans(),
    )
    def a_burst_is_worked_off(
        self, at: int, count: int, turns: list[tuple[Outcome, str, int, int]], dies: bool
    ) -> None:
        """Where many wait a process claims several, runs some of them, and gives the others back, unless it dies."""
        for _ in range(count):
            self.a_job_is_spooled("free", None, 0.0, 0, fault="none")
        for outcome, fault, further, ran in turns:
            self.turn(self.processes[at], outcome, fault=fault, further=further, ran=ran)
            self.check()
        if dies:
            self.a_process_is_killed(at, True, "none")

    @rule(at=AT, alone=st.booleans(), fault=st.sampled_from(["none", "crashed"]))
    def a_process_is_killed(self, at: int, alone: bool, fault: str) -> None:
        """The keeper finds it dead: alone, or (for it belongs to another instance) with all of its own."""
        dead = self.processes[at]
        self.rescue(dead, self.instance if alone else "another", crash=fault == "crashed")
        self.processes[at] = self.join(self.known(), Process(f"b:{next(self.numbers)}:1", self.instance))

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
        for process in self.processes:
            if process.order is None:
                self.turn(process, OUTCOMES[0])

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

    @rule(seconds=st.sampled_from([0.5, 5.0, 70.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(most=st.sampled_from([1, 100]))
    def due_jobs_are_released(self, most: int) -> None:
        self.release_due(most)

    # ── what holds ──────────────────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def the_laws_hold(self) -> None:
        self.check()

    def teardown(self) -> None:
        try:
            self.everything_ends()
        finally:
            self.file.close()
            shutil.rmtree(self.folder)
