"""The spooler's verb, the whole life of an attempt: claim, call, judge, end and claim the next.

The attempt is charged by the claim, before any user code; the claim is awaited, so that nothing runs that the
ledger does not know; its end and the next claim travel in one round trip.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from webspool import tracing
from webspool.batch import Watcher
from webspool.capture import Capture
from webspool.disk import OUTPUT_CAP
from webspool.doubt import RESTS, Advice, Doubt
from webspool.errors import LedgerUnavailable, RunnerBroken
from webspool.ledger.client import Client
from webspool.ledger.operations import Answer, Operation
from webspool.ledger.output import Piece
from webspool.orders import Packed
from webspool.policy import Policy
from webspool.records import Ending, Outcome, new_id, new_ids
from webspool.stint import Claim, Finished, Pace, Stint, claims_in, turn_of
from webspool.telemetry import Say, write_stderr

CLAIM_PATIENCE = 2.0
MEANWHILE_PATIENCE = 0.5
POLL_SECONDS = 0.1
UNRECORDED_SECONDS = 60.0
LONGEST_WAIT = 1.0
LONGEST_MENDING = 10.0
CUT_BY_RELOAD = "cut: it ran longer than the drain limit of a reload"


class Runner(Protocol):
    """Where the task runs: a child process, or a thread of this one."""

    @property
    def pid(self) -> int: ...
    @property
    def start_time(self) -> int: ...
    @property
    def alive(self) -> bool: ...
    @property
    def generation(self) -> int: ...
    @property
    def retired(self) -> str | None: ...
    def hello(self, seconds: float) -> dict[str, Policy]: ...
    def call(
        self,
        order: Packed,
        policy: Policy,
        on_output: Callable[[bytes], None],
        tick: Callable[[], Outcome | None] | None = ...,
    ) -> Outcome: ...
    def kill(self) -> None: ...


@runtime_checkable
class TakesSeveral(Protocol):
    """A runner that can be handed so many orders at once. To ask this of one takes a while: once is enough."""

    @property
    def most(self) -> int: ...
    def call_several(self, orders: Sequence[Packed], policies: Sequence[Policy], watcher: Watcher) -> list[Outcome]: ...


@dataclass(frozen=True, slots=True)
class Post:
    """Who performs: a process of an instance, `among` so many that do, and where large bodies lie."""

    process: str
    instance: str
    pid: int
    start: int
    bodies: Path
    among: int = 1


class Performer:
    """One spooler's work. Tasks run in `start_runner()`'s runner, which is replaced when it dies.

    `output_cap()` is how many bytes of an attempt's output are kept at present.
    """

    def __init__(
        self,
        client: Client,
        post: Post,
        start_runner: Callable[[], Runner],
        say: Say,
        clock: Callable[[], float] = time.time,
        output_cap: Callable[[], int] = lambda: OUTPUT_CAP,
    ) -> None:
        self.client, self.post, self.say, self._clock = client, post, say, clock
        self._output_cap = output_cap
        self._start_runner = start_runner
        self._runner: Runner | None = None
        self._takes_several: TakesSeveral | None = None
        self._policies: dict[str, Policy] = {}
        self._generation = 1
        self._mending = 1.0
        self._renewal = Renewal()
        self._doubt = Doubt()
        self._pace = Pace()

    def perform(self, until: Callable[[], bool]) -> None:
        """Run jobs until told to stop; the job at hand is finished and recorded first."""
        finished = Finished()
        while not until():
            if finished and not self._may_go_on():
                self.turn(finished, claim_next=False)
                finished = Finished()
            elif finished and self._doubt.asks:
                self.turn(finished, claim_next=False)
                finished = Finished()
                self._look_at_others()
            if not finished and not self.ready():
                continue
            claims = self.turn(finished)
            finished = self.run(claims) if claims else Finished()
        if finished:
            self.turn(finished, claim_next=False)

    def close(self) -> None:
        """Let the runner go."""
        if self._runner is not None:
            self._runner.kill()
            self._runner = self._takes_several = None

    def run(self, claims: Sequence[Claim]) -> Finished:
        """One attempt, or several quick ones in a row."""
        policies, begun = [self._policies[claim.order.task] for claim in claims], time.monotonic()
        stint = Stint(
            claims,
            policies,
            self._capture,
            self.say,
            cap=self._output_cap,
            interruption=self._interruption,
            record=self._record_meanwhile,
        )
        outcomes = self.call(claims, policies, stint)
        took = time.monotonic() - begun
        self._pace.note(outcomes, took)
        seconds = took / len(outcomes)
        for claim, outcome in zip(claims, outcomes, strict=False):
            self._doubt.note(claim.order.task, outcome, seconds)
        return stint.finished(outcomes)

    def call(self, claims: Sequence[Claim], policies: Sequence[Policy], stint: Stint) -> list[Outcome]:
        """Run the tasks in the runner; whatever becomes of one is an outcome."""
        assert self._runner is not None
        if self._takes_several is not None:
            outcomes = self._takes_several.call_several([claim.order for claim in claims], policies, stint)
        else:
            stint.begin(0)
            order, policy = claims[0].order, policies[0]
            outcomes = [self._runner.call(order, policy, lambda data: stint.take(0, data), lambda: stint.tick(0))]
        if self._runner.retired:
            order = claims[len(outcomes) - 1].order
            self.say("runner_retired", task=order.task, job=order.job, left=self._runner.retired)
        return outcomes

    # ── the ledger ──────────────────────────────────────────────────────────────────────────────────────────────

    def turn(self, finished: Finished, *, claim_next: bool = True) -> list[Claim]:
        """Record what has ended and claim what is next, in one round trip."""
        operation = turn_of(finished, self._wanted() if claim_next else None)
        direct = self.client.direct_calls
        answer = self._recorded(operation, finished) if finished else self._asked(operation)
        if answer is None:
            return []
        claims = claims_in(answer, self._clock(), self.post.bodies)
        if not claims:
            self._renewal.hear(answer)
            if self.client.direct_calls != direct:
                time.sleep(POLL_SECONDS)
        return claims

    def _wanted(self) -> dict[str, Any]:
        post = self.post
        most = 1 if self._takes_several is None else min(self._pace.most, self._takes_several.most)
        first, *further = new_ids("a", most)
        wanted: dict[str, Any] = {
            "attempt": first,
            "process": post.process,
            "instance": post.instance,
            "generation": self._generation,
            "tried": self._renewal.tried,
        }
        if further:
            wanted["further"], wanted["among"] = further, post.among
        return wanted

    def _asked(self, operation: Operation) -> Answer | None:
        """A claim alone: without an answer nothing runs."""
        try:
            return self.client.call(operation, patience=CLAIM_PATIENCE)
        except LedgerUnavailable as fault:
            self.say("claim_failed", why=fault.why)
            time.sleep(POLL_SECONDS)
            return None

    def _record_meanwhile(self, finished: Finished) -> bool:
        """Whether it could be recorded while a task runs, which is not to go unwatched for long."""
        try:
            self.client.call(turn_of(finished, None), patience=MEANWHILE_PATIENCE)
        except LedgerUnavailable:
            return False
        return True

    def _recorded(self, operation: Operation, finished: Finished) -> Answer:
        """An end: tried again until it is in the ledger; after a minute we exit, and rescue repeats the job."""
        give_up, wait = time.monotonic() + UNRECORDED_SECONDS, POLL_SECONDS
        while True:
            try:
                return self.client.call(operation, patience=CLAIM_PATIENCE)
            except LedgerUnavailable as fault:
                self.say("end_not_recorded", why=fault.why, attempt=finished.first)
                if time.monotonic() + wait > give_up:
                    raise
                time.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT)

    # ── the runner ──────────────────────────────────────────────────────────────────────────────────────────────

    def _has_runner(self) -> bool:
        return self._runner is not None and self._runner.alive

    def _may_go_on(self) -> bool:
        return self._has_runner() and not self._renewal.due(self._generation)

    def ready(self) -> bool:
        """A living runner whose tasks the ledger knows. One that cannot import the user's code claims nothing.

        When there is new code, a runner of it takes over from the one before only once it has imported it.
        """
        if self._doubt.rest_seconds:
            time.sleep(min(POLL_SECONDS, self._doubt.rest_seconds))
            return False
        if self._may_go_on():
            return True
        try:
            self._take_on(self._start_runner())
        except RunnerBroken as fault:
            return self._went_wrong(fault)
        except OSError as fault:  # no process, no descriptor is left to be had
            return self._went_wrong(RunnerBroken(app="the app", why=str(fault)))
        except LedgerUnavailable as fault:
            self.close()
            return self._mend(fault)
        self._mending = 1.0
        return True

    def _take_on(self, fresh: Runner) -> None:
        policies = fresh.hello(60.0)
        self.close()
        self._runner, self._policies, self._generation = fresh, policies, fresh.generation
        told = tracing.Switch.spans is not None  # a span's times are those of the lines that tell of it
        self._takes_several = fresh if isinstance(fresh, TakesSeveral) and not told else None
        self._renewal.settle(fresh.generation)
        self._join(tasks={name: policy.as_dict() for name, policy in policies.items()})

    def _went_wrong(self, fault: RunnerBroken) -> bool:
        """New code that cannot be imported: what ran before runs on, later we try again. Else nothing is claimed."""
        self._renewal.fail(self._mending)
        if not self._has_runner():
            self.close()
        with suppress(LedgerUnavailable):
            self._join(broken=fault.why)
        return self._mend(fault)

    def _mend(self, fault: Exception) -> bool:
        """Whether there is a runner all the same; without one some time passes before another is begun."""
        serves_on = self._has_runner()
        self.say("runner_broken", why=str(fault), again_in_seconds=self._mending, serves_on=serves_on)
        if not serves_on:
            time.sleep(self._mending)
        self._mending = min(self._mending * 2, LONGEST_MENDING)
        return serves_on

    def _look_at_others(self) -> None:
        """All that we ran of late failed at once. Does it here only? Then a fresh runner, and else some rest."""
        doubt = self._doubt
        asked = Operation(new_id("q"), "compare", {"process": self.post.process, "tasks": sorted(doubt.tasks)})
        try:
            elsewhere = self.client.call(asked).values
        except LedgerUnavailable:
            return
        match doubt.advise(elsewhere["succeeded"], elsewhere["failed"]):
            case Advice.RENEW:
                self.close()
                self.say("runner_doubted", failures=doubt.failures, error=doubt.error)
            case Advice.REST:
                self.close()
                told = f"the last {doubt.failures} attempts failed in it at once, and succeed elsewhere: {doubt.error}"
                self.say("spooler_rests", seconds=doubt.rest_seconds, failures=doubt.failures, error=doubt.error)
                with suppress(LedgerUnavailable):
                    self._join(broken=RESTS + told)

    def _join(self, **told: Any) -> None:
        runner, post = self._runner, self.post
        given = {
            "process": post.process,
            "instance": post.instance,
            "pid": post.pid,
            "start": post.start,
            "runner_pid": runner.pid if runner else 0,
            "runner_start": runner.start_time if runner else 0,
            "generation": self._generation,
            "tried": self._renewal.tried,
        }
        self.client.call(Operation(new_id("p"), "join", given | told))

    def _interruption(self, attempt: str) -> Outcome | None:
        """What the keeper says unasked about this attempt; a keeper that began meanwhile is told where to say it."""
        if not self.client.connected():
            self.client.tell(Operation(new_id("h"), "present", {"process": self.post.process}))
        for message in self.client.pushed():
            if message.get("interrupt") == attempt:
                return Outcome(Ending.INTERRUPTED, error="cancelled by an operator while it ran", charge=False)
            if message.get("cut") == attempt:
                return Outcome(Ending.INTERRUPTED, error=CUT_BY_RELOAD, cut=True)
        return None

    # ── what is told ────────────────────────────────────────────────────────────────────────────────────────────

    def _capture(self, order: Packed) -> Capture:
        def keep(piece: Piece) -> None:
            self.client.tell(Operation(new_id("o"), "output", {"output": [piece.placed()]}, piece.bytes))

        return Capture(order.attempt, f"[{order.task} {order.job}] ", self._output_cap(), keep, write_stderr)


class Renewal:
    """What the ledger said of newer code, and what became of trying it. Times in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.newest = self.tried = 0
        self._again = math.inf

    def hear(self, answer: Answer) -> None:
        self.newest = max(self.newest, answer.values.get("renew", 0))

    def due(self, generation: int) -> bool:
        """Whether a runner of newer code is to be begun beside the one of that generation."""
        return self.newest > generation and (self.newest > self.tried or time.monotonic() >= self._again)

    def settle(self, generation: int) -> None:
        """A runner of that generation has begun; when it is not the newest, nothing newer is there to be run."""
        self.tried, self._again = max(self.newest, generation), math.inf

    def fail(self, again_in_seconds: float) -> None:
        self.tried, self._again = self.newest, time.monotonic() + again_in_seconds
