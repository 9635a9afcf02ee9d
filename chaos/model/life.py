"""The life of one event's job: accepted, claimed, called, ended, while anything may crash, stop, or come late.

Copies of one webhook come to workers, and spoolers claim. All go by way of the keeper, with a deadline, or directly
when the keeper is gone or the deadline has passed, which it may at any time. One step of one actor is one move; who
holds the write lock makes the others wait. `Rules` has the fences: each can be taken out, and then a law is broken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chaos.model.state import DEAD, Disk, Operation, Spooler, State, fresh


@dataclass(frozen=True)
class Rules:
    """What keeps the laws; True is how it is done."""

    commit_before_answer: bool = True
    deadline_under_the_lock: bool = True
    ids_are_idempotent: bool = True
    counted_before_the_call: bool = True
    called_before_the_end: bool = True
    ghosts_are_closed: bool = True
    accepts_are_flushed: bool = True
    what_was_there_is_flushed: bool = True
    the_dead_are_rescued: bool = True


Move = tuple[str, State]
FINAL = ("acked", "refused", "gone")


@dataclass(frozen=True)
class Life:
    """The moves of the model. `most` is the limit of attempts."""

    begin: State
    most: int = 2
    rules: Rules = Rules()

    def moves(self, state: State) -> Iterator[Move]:
        """Everything that can happen next without a fault."""
        yield from self._keeper(state)
        for number in range(len(state.workers)):
            yield from self._worker(state, number)
        for number in range(len(state.spoolers)):
            yield from self._spooler(state, number)

    def faults(self, state: State) -> Iterator[Move]:
        """Everything that can go wrong next."""
        if state.stops and state.keeper == "up":
            yield "the keeper is stopped", state._replace(keeper="stopped", stops=state.stops - 1)
        if state.crashes:
            fewer = state._replace(crashes=state.crashes - 1)
            if state.keeper != "dead":
                yield "the keeper is killed", _without_keeper(fewer)
            for number, phase in enumerate(state.workers):
                if phase not in ("idle", *FINAL):
                    yield f"worker {number} is killed", _worker(fewer, number, "gone")
            for number, spooler in enumerate(state.spoolers):
                if spooler != Spooler():
                    yield f"spooler {number} is killed", _without_spooler(fewer, number)
        if state.cuts:
            yield "the power is cut", _without_power(state)

    # ── the keeper ──────────────────────────────────────────────────────────────────────────────────────────────

    def _keeper(self, state: State) -> Iterator[Move]:
        if state.keeper == "dead":
            yield "a keeper begins", state._replace(keeper="up")
        elif state.keeper == "stopped":
            yield "the keeper is resumed", state._replace(keeper="up")
            yield "the hung keeper is ended", _without_keeper(state)
        elif state.flushing is not None:
            yield "the keeper's flush is over", self._flushed(state)
            for operation, late in state.inbox:
                if operation.who == "spooler" and not late:
                    yield f"the keeper does beside the flush: {_told(operation)}", self._beside(state, operation)
                elif operation.who == "worker" and not late and state.behind is None:
                    yield f"the keeper commits beside the flush: {_told(operation)}", self._behind(state, operation)
        elif state.owed is not None:
            operation, answer = state.owed
            yield f"the keeper answers {_told(operation)}", self._hear(state._replace(owed=None), operation, answer)
        elif state.transaction is not None:
            yield f"the keeper commits {_told(state.transaction)}", self._commit(state, state.transaction)
        else:
            for entry in state.inbox:
                yield from self._take(state._replace(inbox=state.inbox - {entry}), entry[0])
            if state.now.attempt and state.now.owner == DEAD and self.rules.the_dead_are_rescued:
                yield "the keeper rescues the job of the dead", state._replace(now=self._rescued(state.now))

    def _take(self, state: State, operation: Operation) -> Iterator[Move]:
        begun = state._replace(transaction=operation)
        if not self.rules.commit_before_answer:
            begun = _owing(begun, operation, self.apply(state.now, operation)[1])
        yield f"the keeper begins {_told(operation)}", begun

    def _commit(self, state: State, operation: Operation) -> State:
        now, answer = self.apply(state.now, operation)
        flushes = operation.who == "worker" and self.rules.accepts_are_flushed
        done = state._replace(now=now, flushing=now if flushes else None, transaction=None)
        return _owing(done, operation, answer) if self.rules.commit_before_answer else done

    def _beside(self, state: State, operation: Operation) -> State:
        """A turn of the same batch as an accept is answered as soon as that is committed."""
        now, answer = self.apply(state.now, operation)
        done = state._replace(now=now, inbox=state.inbox - {(operation, False)})
        return self._hear(done, operation, answer)

    def _behind(self, state: State, operation: Operation) -> State:
        """An accept that comes during a flush is owed until another, which begins when that is over."""
        now, answer = self.apply(state.now, operation)
        waits = _waits(state, operation)
        done = state._replace(now=now, inbox=state.inbox - {(operation, False)})
        return done._replace(behind=(operation, answer) if waits else None)

    def _flushed(self, state: State) -> State:
        assert state.flushing is not None
        done = state._replace(flushed=state.flushing, flushing=None)
        if state.behind is None:
            return done
        again = done._replace(flushing=state.now, owed=state.behind, behind=None)
        return again if state.owed is None else self._hear(again, *state.owed)

    def _rescued(self, disk: Disk) -> Disk:
        job = "dead" if disk.charged >= self.most else "queued"
        return _closed(disk, job, disk.charged)

    def _hear(self, state: State, operation: Operation, answer: bool) -> State:
        """An answer comes to whoever waits for it still."""
        if not _waits(state, operation):
            return state
        if operation.who == "worker":
            return _worker(state, operation.number, "stored")
        return self._told(state, operation, answer)

    # ── a worker ────────────────────────────────────────────────────────────────────────────────────────────────

    def _worker(self, state: State, number: int) -> Iterator[Move]:
        operation, phase = Operation("worker", number), state.workers[number]
        if phase == "idle":
            sent = _sent(state, operation)
            yield f"copy {number} comes", _worker(sent, number, "asked" if state.keeper != "dead" else "direct")
        elif phase == "asked":
            if _may_be_late(state, operation):
                yield f"the deadline of worker {number} passes", _worker(self._late(state, operation), number, "direct")
        elif phase == "direct":
            if state.transaction is not None:
                yield f"worker {number} finds the ledger locked: 503", _worker(state, number, "refused")
            else:
                now, _ = self.apply(state.now, operation)
                flushes = self.rules.accepts_are_flushed and (now != state.now or self.rules.what_was_there_is_flushed)
                stored = _on_disk(state._replace(now=now)) if flushes else state._replace(now=now)
                yield f"worker {number} stores directly", _worker(stored, number, "stored")
        elif phase == "stored":
            yield f"worker {number} answers 202", _worker(state, number, "acked")

    # ── a spooler ───────────────────────────────────────────────────────────────────────────────────────────────

    def _spooler(self, state: State, number: int) -> Iterator[Move]:
        spooler = state.spoolers[number]
        match spooler.phase:
            case "free":
                yield from self._ask(state, number, spooler)
            case "asked":
                assert spooler.operation is not None
                operation, direct = spooler.operation, spooler._replace(phase="direct")
                if _may_be_late(state, operation):
                    yield (
                        f"the deadline of spooler {number} passes",
                        _spooler(self._late(state, operation), number, direct),
                    )
            case "direct":
                yield from self._directly(state, number, spooler)
            case "ordered":
                called = spooler._replace(phase="calling")
                yield f"spooler {number} calls", _spooler(state, number, called)._replace(runs=state.runs + 1)
            case "calling":
                yield from self._called(state, number, spooler)

    def _ask(self, state: State, number: int, spooler: Spooler) -> Iterator[Move]:
        wanted = fresh(state, number)
        if spooler.end is None and state.now.job in ("succeeded", "dead"):
            return  # it would ask for ever
        operation = spooler.operation or Operation("spooler", number, spooler.end, spooler.outcome, wanted)
        phase = "asked" if state.keeper != "dead" else "direct"
        asking = spooler._replace(phase=phase, operation=operation)
        yield f"spooler {number} asks: {_told(operation)}", _spooler(_sent(state, operation), number, asking)

    def _directly(self, state: State, number: int, spooler: Spooler) -> Iterator[Move]:
        assert spooler.operation is not None
        if state.transaction is not None:
            again = spooler.operation if spooler.end else None  # an end is tried again, a claim is given up
            waits = spooler._replace(phase="free", operation=again)
            yield f"spooler {number} finds the ledger locked", _spooler(state, number, waits)
            return
        now, answer = self.apply(state.now, spooler.operation)
        done = _on_disk(state._replace(now=now))
        yield f"spooler {number} does it directly", self._told(done, spooler.operation, answer)

    def _told(self, state: State, operation: Operation, answer: bool) -> State:
        """A spooler hears what became of its turn; without the rule it records the end first, and calls then."""
        heard = Spooler("ordered", order=operation.claim) if answer else Spooler()
        if answer and not self.rules.called_before_the_end and operation.end is None:
            heard = Spooler("free", end=operation.claim, outcome="succeeded", order=operation.claim)
        before = state.spoolers[operation.number]
        if before.order is not None and before.phase != "calling" and not self.rules.called_before_the_end:
            heard = Spooler("ordered", order=before.order)
        return _spooler(state, operation.number, heard)

    def _called(self, state: State, number: int, spooler: Spooler) -> Iterator[Move]:
        ended = Spooler("free", end=spooler.order, outcome="succeeded")
        if not self.rules.called_before_the_end:
            ended = Spooler()
        yield f"the task succeeds in spooler {number}", _spooler(state, number, ended)._replace(done=True)
        failed = ended._replace(outcome="failed") if ended.end else ended
        excused = _spooler(state, number, failed)._replace(excuses=state.excuses + 1)
        yield f"the task fails in spooler {number}", excused

    def _late(self, state: State, operation: Operation) -> State:
        """What is late is dropped; it does not matter when, so that it is gone at once."""
        if (operation, False) not in state.inbox:
            return state
        late = frozenset() if self.rules.deadline_under_the_lock else frozenset({(operation, True)})
        return state._replace(inbox=state.inbox - {(operation, False)} | late)

    # ── the ledger ──────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self, disk: Disk, operation: Operation) -> tuple[Disk, bool]:
        """The ledger after an operation, and whether it gave a job."""
        if operation.who == "worker":
            if disk.deliveries and self.rules.ids_are_idempotent:
                return disk, False
            job = "queued" if disk.job == "none" else disk.job
            return disk._replace(deliveries=disk.deliveries + 1, job=job), False
        if operation.end is not None:
            disk = self._end(disk, operation)
        return self._claim(disk, operation)

    def _end(self, disk: Disk, operation: Operation) -> Disk:
        if disk.attempt != operation.end:
            return disk
        charged = disk.charged + (not self.rules.counted_before_the_call)
        spent = "dead" if charged >= self.most else "queued"
        return _closed(disk, "succeeded" if operation.outcome == "succeeded" else spent, charged)

    def _claim(self, disk: Disk, operation: Operation) -> tuple[Disk, bool]:
        if operation.claim is None or operation.claim == disk.attempt:
            return disk, operation.claim is not None
        if operation.claim in disk.closed:
            return disk, False
        before = self.rules.counted_before_the_call
        if disk.attempt and disk.owner == operation.number and self.rules.ghosts_are_closed:
            disk = _closed(disk, "queued", disk.charged - before)
        if disk.job != "queued":
            return disk, False
        running = disk._replace(job="running", attempt=operation.claim, owner=operation.number)
        return running._replace(charged=disk.charged + before), True


# ── changes of a state ──────────────────────────────────────────────────────────────────────────────────────────────


def _closed(disk: Disk, job: str, charged: int) -> Disk:
    closed = disk.closed | {disk.attempt} if disk.attempt else disk.closed
    return disk._replace(job=job, attempt=None, owner=DEAD, charged=charged, closed=closed)


def _worker(state: State, number: int, phase: str) -> State:
    workers = (*state.workers[:number], phase, *state.workers[number + 1 :])
    return state._replace(workers=workers)


def _spooler(state: State, number: int, spooler: Spooler) -> State:
    return state._replace(spoolers=(*state.spoolers[:number], spooler, *state.spoolers[number + 1 :]))


def _sent(state: State, operation: Operation) -> State:
    return state if state.keeper == "dead" else state._replace(inbox=state.inbox | {(operation, False)})


def _may_be_late(state: State, operation: Operation) -> bool:
    """It is on its way still; and of each asker one is late at a time, so that states are finite."""
    late = any(late and entry[:2] == operation[:2] for entry, late in state.inbox)
    on_its_way = (operation, False) in state.inbox or state.transaction == operation or _is_owed(state, operation)
    return on_its_way and not late


def _waits(state: State, operation: Operation) -> bool:
    if operation.who == "worker":
        return state.workers[operation.number] == "asked"
    if operation.number == DEAD:
        return False
    spooler = state.spoolers[operation.number]
    return spooler.phase == "asked" and spooler.operation == operation


def _owing(state: State, operation: Operation, answer: bool) -> State:
    """The answer that the keeper has to give; one for which nobody waits any more is as good as given."""
    return state._replace(owed=(operation, answer) if _waits(state, operation) else None)


def _is_owed(state: State, operation: Operation) -> bool:
    return any(each is not None and each[0] == operation for each in (state.owed, state.behind))


def _on_disk(state: State) -> State:
    """Who writes directly flushes all that is in the log, more than the keeper's flush that is under way."""
    return state._replace(flushed=state.now, flushing=state.flushing and state.now)


def _without_keeper(state: State) -> State:
    """Whoever waits for it finds the connection ended."""
    return state._replace(
        keeper="dead",
        transaction=None,
        owed=None,
        behind=None,
        flushing=None,
        inbox=frozenset(),
        workers=tuple("direct" if phase == "asked" else phase for phase in state.workers),
        spoolers=tuple(each._replace(phase="direct") if each.phase == "asked" else each for each in state.spoolers),
    )


def _without_spooler(state: State, number: int) -> State:
    """Its runner dies with it; another begins in its place, which is another process. What it asked may be done yet."""

    def of_the_dead(operation: Operation) -> Operation:
        mine = (operation.who, operation.number) == ("spooler", number)
        return operation._replace(number=DEAD) if mine else operation

    dead = _spooler(state, number, Spooler())
    return dead._replace(
        now=_orphaned(dead.now, number),
        flushed=_orphaned(dead.flushed, number),
        flushing=dead.flushing and _orphaned(dead.flushing, number),
        transaction=state.transaction and of_the_dead(state.transaction),
        owed=None if state.owed and of_the_dead(state.owed[0]) != state.owed[0] else state.owed,
        inbox=frozenset((of_the_dead(operation), late) for operation, late in state.inbox),
        excuses=state.excuses + 1,
    )


def _orphaned(disk: Disk, number: int) -> Disk:
    return disk._replace(owner=DEAD) if disk.owner == number else disk


def _without_power(state: State) -> State:
    """What was not flushed is gone, and every process."""
    dead = _without_keeper(state)
    for number, phase in enumerate(state.workers):
        dead = _worker(dead, number, phase if phase in ("idle", *FINAL) else "gone")
    for number in range(len(state.spoolers)):
        dead = _spooler(dead, number, Spooler())
    flushed = dead.flushed._replace(owner=DEAD)
    return dead._replace(now=flushed, flushed=flushed, cuts=state.cuts - 1, excuses=state.excuses + 1)


def _told(operation: Operation) -> str:
    if operation.who == "worker":
        return f"the accept of worker {operation.number}"
    end = f"the end ({operation.outcome}) of {operation.end} and " if operation.end else ""
    return f"{end}the claim {operation.claim}"
