"""The keeper's verb: commit what has arrived as one batch, release what is due, rescue what was lost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from webspool.errors import LedgerUnavailable
from webspool.keep.clocks import Clocks
from webspool.keep.flushing import Answered, Flusher
from webspool.keep.parking import Parking
from webspool.keep.prune import Gone, Pruner, Retention
from webspool.keep.removing import Remover
from webspool.keep.rescue import Rescuer
from webspool.ledger.admission import follow_the_clock, release_due
from webspool.ledger.apply import apply
from webspool.ledger.checkpoints import Checkpointer
from webspool.ledger.client import pieces_of
from webspool.ledger.database import UNFIT_VALUES, Database, StatementFailed, Transaction, explained
from webspool.ledger.distrust import reason, recover
from webspool.ledger.happenings import Happenings, Told
from webspool.ledger.inbox import Inbox, Request
from webspool.ledger.membership import unknown_tasks
from webspool.ledger.operations import Answer, Operation
from webspool.ledger.output import Outputs
from webspool.ledger.refusals import Refusals
from webspool.ledger.tallies import Tallies
from webspool.records import new_id
from webspool.telemetry import Say, listen

BUSY_SECONDS = 0.5
PARKED_SECONDS = 1.5
TICK_SECONDS = 1.0
BITE_EVERY_SECONDS = 0.1
DUE_AT_ONCE = 200
SHORTEST_WAIT = 0.0005
AFTER_A_JUMP_SECONDS = 3600.0
_QUEUEING = ("accept", "spool", "turn")
"""Verbs that bring a waiting claim a job in one way only: it becomes queued, and is counted."""

Applying = Callable[[Transaction, Operation], Answer]


class BadOperation(Exception):
    """One operation of a batch cannot be done; the others are."""


class Waker(Protocol):
    """What the keeper needs of an engine: that every spooler has come into its claim loop."""

    def wake(self, present: int) -> None: ...


@dataclass(frozen=True)
class Folders:
    """Where the keeper finds the ledger, the output and the large bodies."""

    ledger: Path
    outputs: Path
    bodies: Path


class Keeper:
    """The one process that writes the ledger in batches. Nothing is lost when it is not there."""

    def __init__(
        self,
        folders: Folders,
        inbox: Inbox,
        engine: Waker,
        say: Say,
        instance: str,
        retention: Retention = Retention(),  # noqa: B008
    ) -> None:
        self.folders = folders
        self.recovered = recover(folders.ledger, cached=True)
        self.database = Database(folders.ledger, busy_seconds=BUSY_SECONDS)
        self.outputs = Outputs(folders.outputs)
        self.inbox, self.engine, self.say = inbox, engine, say
        self.checkpointer = Checkpointer(folders.ledger, say)
        self.refusals = Refusals()
        self.tallies = Tallies()
        self.happenings = Happenings()
        self.clocks = Clocks()
        self.pruner = Pruner(retention, folders.bodies)
        self.remover = Remover(folders.bodies)
        self.rescuer = Rescuer(instance, inbox, self.transact, say, folders.bodies.with_name("begun"))
        self.parking = Parking()
        self.flusher = Flusher(self.database, inbox, self._flushed)
        self._held: list[Request] = []  # to be committed when the flush that is under way is over
        self.broken: str | None = None
        self.chores: list[Callable[[], None]] = []
        self._next_tick = 0.0
        self._next_bite = 0.0
        self._next_due = 0.0
        self._unknown: set[str] = set()

    def run(self, until: Callable[[], bool]) -> None:
        """Serve until told to end, or until the database can no longer be trusted (`broken`)."""
        unheard = listen(self.happenings.note)
        if self.recovered is not None:
            self.say("ledger_recovered", why=self.recovered)
        self.tallies.add("process:keeper", "started", 1)
        self.rescuer.look_back()
        while self.broken is None and not until():
            self.round()
        self.flusher.close()
        if self._held:
            self._commit(self._held)
        unheard()
        self.parking.send_away()
        self.remover.close()
        self.checkpointer.close()
        self.database.close(keep_log=self.broken is not None)
        self.outputs.close()

    def begin_no_more(self, *, undo: bool = False) -> None:
        """Give no further job to this instance, whose end has been announced; or again."""
        stop = Operation(new_id("x"), "stop", {"instance": self.rescuer.instance, "stopping": not undo})

        def mark(tx: Transaction) -> None:
            apply(tx, stop)

        with suppress(LedgerUnavailable):
            self.transact(mark)

    def round(self) -> None:
        """Wait for operations or the next timer, then do all that is there."""
        requests = self._arrived()
        if by := self.clocks.jumped():
            self._follow_the_clock(by)
        if told := [request for request in requests if not request.awaited]:
            self._hear(told)
        if asked := [request for request in requests if request.awaited]:
            self._commit(asked)
        self._look_at_the_clocks()
        self.checkpointer.look(self.database)

    def _arrived(self) -> list[Request]:
        """What has arrived; who was about to send more, and is kept from it only by us, may: batches cost, not parts.

        On a machine with a processor to spare nobody is, and this takes no time.
        """
        requests = self.inbox.collect(self._patience())
        if requests and hasattr(os, "sched_yield"):
            os.sched_yield()
            requests += self.inbox.collect(0.0)
        return self._due_now(requests)

    def _due_now(self, requests: list[Request]) -> list[Request]:
        """While a flush is under way, what needs one of its own would not be answered sooner if it were committed at
        once: it becomes one batch when that is over. Unless somebody waits for the jobs that it may bring.
        """
        if self.flusher.busy and not self.parking:
            self._held += [request for request in requests if request.operation.durable]
            return [request for request in requests if not request.operation.durable]
        held, self._held = self._held, []
        return held + requests

    def _patience(self) -> float:
        now = time.monotonic()
        waits = [self._next_tick - now, self._next_bite - now, self._next_due - time.time()]
        waits.append(self.rescuer.next_look - now)
        if self.parking:
            waits.append(self.parking.next_dismissal() - now)
        return max(min(waits), SHORTEST_WAIT)

    # ── what has arrived ────────────────────────────────────────────────────────────────────────────────────────

    def _hear(self, told: list[Request]) -> None:
        self.refusals.add(request.operation for request in told if request.operation.verb == "refuse")
        self.happenings.hear(request.operation for request in told if request.operation.verb == "happened")
        self._write_output(told)

    def _commit(self, requests: list[Request]) -> None:
        """One transaction for all that has arrived. What must be on disk first is answered after the flush.

        Jobs are given out before it: a power cut may repeat a job anyway, and so may a sender who was not answered.
        """
        answers: list[Answered] = []
        self._write_output(requests)  # first: who reads that a job has ended finds all that it printed
        try:
            self._do_all(requests, answers)
        except LedgerUnavailable as fault:
            self._give_up([*requests, *(request for request, _ in answers)], str(fault.why))
            return
        durable = [each for each in answers if each[0].operation.durable]
        at_once = [each for each in answers if not each[0].operation.durable]
        for request, answer in sorted(at_once, key=_orders_first):
            request.answer(answer)
        if durable:
            self.tallies.add("keeper:", "operations", len(requests))
            self._answer_flushed(durable)
        self._follow_all(at_once)

    def _answer_flushed(self, durable: list[Answered]) -> None:
        """These are answered as soon as they are on disk."""
        if self.flusher.takes(durable):
            return
        try:
            self._flush()
        except LedgerUnavailable as fault:
            self._give_up([request for request, _ in durable], str(fault.why))
            return
        self._answer(durable)

    def _answer(self, durable: list[Answered]) -> None:
        for request, answer in durable:
            request.answer(answer)
        self._follow_all(durable)

    def _flushed(self, promised: list[Answered], owed: list[Answered], fault: LedgerUnavailable | None) -> None:
        """A flush beside us is over."""
        if fault is not None:
            held, self._held = self._held, []
            self._note_broken(fault)
            self._give_up([*(request for request, _ in (*promised, *owed)), *held], str(fault.why))
            return
        self.tallies.take([("keeper:", "flush", self.database.flush_seconds)])
        self._answer(promised)
        if owed:
            self._answer_flushed(owed)

    def _follow_all(self, answers: list[Answered]) -> None:
        self.rescuer.meet([request for request, _ in answers])
        for request, answer in answers:
            self._follow(request.operation, answer)

    def _follow(self, operation: Operation, answer: Answer) -> None:
        """What follows from an operation outside of the ledger."""
        match operation.verb:
            case "stop":
                self.say("draining" if operation.arguments["stopping"] else "draining_undone")
            case "renew":
                self.say("code_renewed", generation=operation.arguments["generation"])
                self.parking.send_away()  # to come back at once, and hear of it
            case "cut":
                for attempt, process in answer.values["attempts"]:
                    self.inbox.push(process, {"cut": attempt})

    def _do_all(self, requests: list[Request], answers: list[Answered]) -> None:
        """A batch in which all goes well needs no savepoints. One that fails is done again, with one for each part."""
        waited = self.parking.waiting.copy()
        try:
            self.transact(partial(self._batch, requests, answers, apply))
        except BadOperation:
            answers.clear()
            self.parking.waiting = waited
            self.transact(partial(self._batch, requests, answers, _apply_apart))

    def _batch(self, requests: list[Request], answers: list[Answered], do: Applying, tx: Transaction) -> None:
        if self.parking and do is apply:  # what is undone alone would have to be taken back from who was handed it
            tx.waiting = self.parking.claims()
        for request in requests:
            answer = self._answered(tx, request, do)
            if answer is not None:
                answers.append((request, answer))
        answers.extend(self.parking.answers(tx.handed))
        # what none of these has queued is nothing for those who wait
        if self.parking and (_freed(tx) or any(request.operation.verb not in _QUEUEING for request in requests)):
            answers.extend(self.parking.serve(tx))

    def _answered(self, tx: Transaction, request: Request, do: Applying) -> Answer | None:
        """The operation's answer, if there is one yet: a claim may have to wait, what is late is dropped."""
        if request.operation.deadline < time.monotonic():
            return None
        try:
            answer = do(tx, request.operation)
        except Exception as fault:
            if isinstance(fault, StatementFailed) and not isinstance(fault, UNFIT_VALUES):
                raise
            if do is apply:
                raise BadOperation from fault
            self.say("operation_failed", verb=request.operation.verb, fault=repr(fault))
            request.fail(f"{type(fault).__name__}: {fault}")
            return None
        wanted = request.operation.arguments.get("claim")
        if not wanted or answer.values["order"] or answer.values.get("renew"):
            return answer
        self.parking.enter(request, answer, min(self._dismissal(), request.operation.deadline - 0.2))
        return None

    def _dismissal(self) -> float:
        """When a claim that is parked now is sent away: with a tick, so that an idle keeper wakes once for all."""
        longest = time.monotonic() + PARKED_SECONDS
        return self._next_tick if longest - TICK_SECONDS <= self._next_tick <= longest else longest

    def transact(self, work: Callable[[Transaction], None], *, flush: bool = False) -> None:
        """One transaction. Raises LedgerUnavailable; a database that failed to write is not trusted again."""
        try:
            with self.database.transaction(flush=False) as tx:
                work(tx)
                if "jobs.scheduled" in tx.changes:
                    self._set_timer(tx)
        except LedgerUnavailable as fault:
            self._note_broken(fault)
            raise
        self.tallies.take(tx.happened)
        if flush:
            self._flush()

    def _flush(self) -> None:
        """Have on disk all that was committed. Raises LedgerUnavailable."""
        try:
            self.database.flush()
        except LedgerUnavailable as fault:
            self._note_broken(fault)
            raise
        self.tallies.take([("keeper:", "flush", self.database.flush_seconds)])

    def _note_broken(self, fault: LedgerUnavailable) -> None:
        if fault.broken:
            self._break(str(fault.why))

    def _break(self, why: str) -> None:
        self.broken = why
        self.say("ledger_broken", why=why)

    def _set_timer(self, tx: Transaction) -> None:
        row = tx.one("next_due")
        self._next_due = row[0] if row else float("inf")

    def _give_up(self, requests: list[Request], why: str) -> None:
        """Nothing of it was stored: who asked hears that and nothing else; who waits for a job is sent away."""
        self.say("ledger_unavailable", why=why, operations=len(requests))
        failed = {id(request): request for request in requests}
        for request in failed.values():
            request.fail(why)
        self.parking.send_away(but=failed.keys())
        self._next_due = time.time() + TICK_SECONDS

    def _write_output(self, requests: list[Request]) -> None:
        try:
            pieces = [piece for request in requests for piece in pieces_of(request.operation)]
            if pieces:
                self.outputs.write(pieces)
        except StatementFailed as fault:
            self.say("output_lost", why=explained(fault), pieces=len(pieces))
        except TypeError as fault:
            self.say("output_lost", why=str(fault))

    # ── what time brings ────────────────────────────────────────────────────────────────────────────────────────

    def _look_at_the_clocks(self) -> None:
        if self._next_due <= time.time():
            self._release()
        now = time.monotonic()
        if self.parking:
            self.parking.dismiss(now)
        if now >= self.rescuer.next_look:
            self.rescuer.look_around()
        if now >= self._next_tick:
            self._next_tick = now + TICK_SECONDS
            self._tick()
        if now >= self._next_bite:
            self._prune()
            self._next_bite = self._next_tick if self.pruner.rests else time.monotonic() + BITE_EVERY_SECONDS

    def _follow_the_clock(self, by: float) -> None:
        """It was set: waits last as long as they were meant to, due times stay what they are."""
        self.say("clock_jumped", by_seconds=round(by, 3))
        self.pruner.rest(AFTER_A_JUMP_SECONDS)
        with suppress(LedgerUnavailable):
            self.transact(partial(follow_the_clock, by=by))
        self._next_due = 0.0

    def _release(self) -> None:
        """Scheduled jobs whose time has come are queued, and given out, in one transaction."""
        answers: list[Answered] = []

        def due(tx: Transaction) -> None:
            release_due(tx, most=DUE_AT_ONCE)
            self._set_timer(tx)
            answers.extend(self.parking.serve(tx))

        self._transact_and_answer(due, answers)

    def _tick(self) -> None:
        """What must be true again at least each second, whatever was lost."""
        if (why := reason(self.folders.ledger)) is not None:  # a direct write of another process has failed
            self._break(why)
            return
        self.engine.wake(self.rescuer.present())
        for chore in self.chores:
            chore()
        answers: list[Answered] = []
        unknown: set[str] = set()
        troubles: list[Told] = []

        def second(tx: Transaction) -> None:
            self.refusals.flush(tx)
            self.tallies.flush(tx)
            troubles.extend(self.happenings.flush(tx))
            self._set_timer(tx)
            self.rescuer.read(tx)
            unknown.update(unknown_tasks(tx))
            if self.parking and tx.one("any_queued"):
                answers.extend(self.parking.serve(tx))
            for attempt, process in tx.all("cancelling_attempts"):
                self.inbox.push(process, {"interrupt": attempt})

        if self._transact_and_answer(second, answers):
            self._tell_unknown(unknown)
        else:
            self.happenings.give_back(troubles)
        self.rescuer.look_around()

    def _prune(self) -> None:
        """Some of what is old goes, in a transaction of its own, so short that nobody waits for it."""
        if self.pruner.rests:
            return
        gone: list[Gone] = []
        with suppress(LedgerUnavailable):
            self.transact(lambda tx: gone.append(self.pruner.bite(tx)))
            self._clean_away(gone[0])

    def _tell_unknown(self, tasks: set[str]) -> None:
        """Each task that has become unknown while jobs wait for it is told once."""
        for task in sorted(tasks - self._unknown):
            self.say("task_unknown", task=task)
        self._unknown = tasks

    def _clean_away(self, gone: Gone) -> None:
        """What belonged to deleted rows goes after them: a crash in between leaves litter, never a hole."""
        self.remover.remove(gone.bodies)
        if gone.attempts:
            self.outputs.forget(gone.attempts)

    def _transact_and_answer(self, work: Callable[[Transaction], None], answers: list[Answered]) -> bool:
        try:
            self.transact(work)
        except LedgerUnavailable as fault:
            self._give_up([request for request, _ in answers], str(fault.why))
            return False
        for request, answer in answers:
            request.answer(answer)
        return True


def _apply_apart(tx: Transaction, operation: Operation) -> Answer:
    """An operation that is undone alone when it fails."""
    with tx.savepoint():
        return apply(tx, operation)


def _freed(tx: Transaction) -> bool:
    """Whether something became ready to run in this transaction."""
    return tx.changes.get("jobs.queued", 0) > 0


def _orders_first(answered: tuple[Request, Answer]) -> bool:
    """A job begins sooner if its spooler hears of it before its sender is answered."""
    return not answered[1].values.get("order")
