"""What became of jobs whose process died: its runner's group is killed, its open attempts are ended, told why."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from webspool.errors import LedgerUnavailable
from webspool.ledger.database import Row, Transaction
from webspool.ledger.inbox import Inbox, Request
from webspool.ledger.operations import ending
from webspool.ledger.turns import end, give_back
from webspool.policy import Policy, Standing, judge
from webspool.processes import Identity, boot_id, kill_session, open_pidfd
from webspool.records import Ending, Outcome
from webspool.slate import begun, path_of, remove
from webspool.telemetry import Say

VERDICT_AFTER_SECONDS = 0.2


class Transact(Protocol):
    """One transaction of the keeper's."""

    def __call__(self, work: Callable[[Transaction], None], *, flush: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class Member:
    """A spooler and the session of its runner, as the ledger knows them."""

    process: str
    instance: str
    identity: Identity
    runner_pid: int
    runner_start: int


class Rescuer:
    """Watches the spoolers. Who lives on after its master's death finishes its job: rescue goes by identity."""

    def __init__(self, instance: str, inbox: Inbox, transact: Transact, say: Say, slates: Path | None = None) -> None:
        self.instance, self.inbox, self.transact, self.say = instance, inbox, transact, say
        self.slates = slates
        self.watched: dict[str, Member] = {}
        self._looked_after: set[str] = set()
        self._judged_at: dict[str, float] = {}
        self.next_look = math.inf
        self.ending: Callable[[], bool] = lambda: False

    def present(self) -> int:
        """How many spoolers of this instance are in their claim loop."""
        return sum(member.instance == self.instance for member in self.watched.values())

    def look_back(self) -> None:
        """At the keeper's start: watch who lives, rescue the jobs of who does not."""
        self.transact(self.read)
        self.look_around(at_once=True)

    def read(self, tx: Transaction) -> None:
        """Watch whom the ledger names and we do not: one joined directly, one died with a claim on its way to us."""
        for row in [*tx.all("live_processes"), *tx.all("processes_with_open_attempts")]:
            if row[0] not in self.watched:
                self._meet(_member(row))

    def meet(self, requests: list[Request]) -> None:
        """Watch the processes that have just joined."""
        for request in requests:
            if request.operation.verb == "join":
                self._meet(_joined(request.operation.arguments))

    def _meet(self, member: Member) -> None:
        known = self.watched.get(member.process)
        self.watched[member.process] = member
        if known is None:
            self._watch(member)

    def _watch(self, member: Member) -> None:
        descriptor = open_pidfd(member.identity.pid, member.identity.start)
        if descriptor is None or not self.inbox.watch(descriptor, partial(self._ended, member.process, descriptor)):
            self._looked_after.add(member.process)

    def _ended(self, process: str, descriptor: int) -> None:
        self.inbox.unwatch(descriptor)
        self._looked_after.add(process)
        if member := self.watched.get(process):
            kill_session(member.runner_pid, member.runner_start)
        self.look_around()

    def look_around(self, *, at_once: bool = False) -> None:
        """Rescue the jobs of those that run no more, among those whose end nobody tells us, or has told us."""
        self.next_look = math.inf
        looked_at = [self.watched[process] for process in self._looked_after & self.watched.keys()]
        for member in [each for each in looked_at if not each.identity.alive]:
            if not at_once and self._too_early(member):
                continue
            try:
                self.rescue(member)
            except LedgerUnavailable as fault:  # it stays watched: a second later we look again
                self.say("rescue_postponed", spooler=member.identity.pid, why=fault.why)
                return
            del self.watched[member.process]
            self._looked_after.discard(member.process)

    def _too_early(self, member: Member) -> bool:
        """A reload of uWSGI's kills the spoolers, then tells the keeper: until it has, they seem to have died alone."""
        if self.ending() or member.instance != self.instance:
            return False
        now = time.monotonic()
        judged_at = self._judged_at.setdefault(member.process, now + VERDICT_AFTER_SECONDS)
        if now < judged_at:
            self.next_look = min(self.next_look, judged_at)
            return True
        del self._judged_at[member.process]
        return False

    def rescue(self, member: Member) -> None:
        """End the open attempts of a dead spooler; what its runner had not begun is queued again."""
        kill_session(member.runner_pid, member.runner_start)
        last = self._begun_last(member)
        rescued: list[dict[str, Any]] = []

        def work(tx: Transaction) -> None:
            cut = self._was_cut(tx, member)
            for row in tx.all("open_attempts_with_jobs", process=member.process):
                if last is not None and row[0] > last:
                    give_back(tx, row[0])
                    continue
                ended = _judged(row, _outcome(member, cut=cut), tx.now)
                end(tx, ended)
                rescued.append({"job": row[1], "task": row[2], "state": ended["state"], "why": ended["error"]})
            tx.run("end_process", id=member.process, now=tx.now)

        self.transact(work)
        if self.slates is not None:
            remove(path_of(self.slates, member.process))
        self.say("spooler_ended", spooler=member.identity.pid, jobs=len(rescued))
        for facts in rescued:
            self.say("job_rescued", **facts)

    def _begun_last(self, member: Member) -> str | None:
        """The attempt that its runner began last; None when that is not known."""
        if self.slates is None or member.identity.boot != boot_id():
            return None
        return begun(path_of(self.slates, member.process))

    def _was_cut(self, tx: Transaction, member: Member) -> bool:
        """Whether it ended with its whole instance, or because that is stopping; else it died alone."""
        if member.instance != self.instance or self.ending():
            return True
        standing = tx.standing(self.instance)
        return standing is not None and bool(standing[0])


def _outcome(member: Member, *, cut: bool) -> Outcome:
    pid = member.identity.pid
    why = f"cut: the instance of its spooler {pid} ended" if cut else f"its spooler {pid} was killed"
    return Outcome(Ending.INTERRUPTED, error=why, cut=cut)


def _judged(row: Row, outcome: Outcome, now: float) -> dict[str, Any]:
    attempt, _job, _task, attempts, interruptions, created_at, policy = row
    known = Policy.from_dict(json.loads(policy)) if policy else Policy()
    return ending(attempt, outcome, judge(outcome, known, Standing(attempts, interruptions, now - created_at)))


def _member(row: Row) -> Member:
    process, instance, _pid, _start, runner_pid, runner_start = row
    return Member(process, instance or "", _identity(process), runner_pid or 0, runner_start or 0)


def _identity(process: str) -> Identity:
    """Who that is; a name that says nothing is no process that runs."""
    try:
        return Identity.read(process)
    except ValueError:
        return Identity("unreadable", 0, 0)


def _joined(given: dict[str, Any]) -> Member:
    process = given["process"]
    return _member((process, given["instance"], 0, 0, given["runner_pid"], given["runner_start"]))
