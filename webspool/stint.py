"""What a spooler does between two turns at the ledger: one attempt, or several quick ones in a row."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from webspool.batch import MOST, QUICK_SECONDS
from webspool.capture import Capture
from webspool.ledger.operations import Answer, Operation, ending
from webspool.ledger.output import Piece
from webspool.orders import Packed
from webspool.policy import Policy, Standing, judge
from webspool.records import Ending, Outcome, new_id
from webspool.telemetry import lines_together

AGAIN_SECONDS = 1.0


class Claim(msgspec.Struct, frozen=True):
    """A job that is ours to run; `origin` is where it comes from, as log lines tell it."""

    order: Packed
    standing: Standing
    origin: dict[str, str]


def claims_in(answer: Answer, now: float, bodies: Path) -> list[Claim]:
    """The jobs that a turn was answered with, none if there were none. `now` is Unix seconds."""
    if not answer.values["order"]:
        return []
    found, packed, at = [], answer.body, 0
    for given in (answer.values["order"], *answer.values.get("further", ())):
        text, body = given["lengths"]
        middle, end = at + text, at + text + body
        order = Packed(
            given["job"],
            given["task"],
            given["attempt"],
            given["number"],
            packed[at:middle],
            packed[middle:end],
            bodies,
        )
        at = end
        standing = Standing(given["attempts"], given["interruptions"], max(0.0, now - given["created_at"]))
        found.append(Claim(order, standing, given["origin"]))
    return found


@dataclass(slots=True)
class Finished:
    """What is to be recorded: attempts that have ended, the last of their output, and attempts that never began."""

    ends: list[dict[str, Any]] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    back: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.ends or self.back)

    @property
    def first(self) -> str:
        """The attempt to be named where one is enough."""
        return str(self.ends[0]["attempt"]) if self.ends else self.back[0]


def turn_of(finished: Finished, wanted: dict[str, Any] | None) -> Operation:
    """The turn that records it, and claims what is wanted."""
    given: dict[str, Any] = {"end": finished.ends[-1] if finished.ends else None, "claim": wanted}
    if len(finished.ends) > 1:
        given["earlier"] = finished.ends[:-1]
    if finished.back:
        given["back"] = finished.back
    if finished.pieces:
        given["output"] = [piece.placed() for piece in finished.pieces]
    return Operation(new_id("t"), "turn", given, b"".join([piece.bytes for piece in finished.pieces]))


class Pace:
    """How many jobs to claim at once: as many as are done within a moment, going by how long the last ones took."""

    def __init__(self) -> None:
        self._seconds = QUICK_SECONDS

    def note(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        """What became of a stint of so many seconds. After one that was not quick, or not good, jobs come singly."""
        if seconds < QUICK_SECONDS and outcomes[-1].ending is Ending.SUCCEEDED:
            self._seconds = (self._seconds + seconds / len(outcomes)) / 2
        else:
            self._seconds = QUICK_SECONDS

    @property
    def most(self) -> int:
        return max(1, min(MOST, int(QUICK_SECONDS / 2 / self._seconds)))


class Stint:
    """Claims that are run in a row, and what is known of them.

    `capture` makes what takes an attempt's output; `record` brings what there is into the ledger while one is still
    running, and says whether it could; `interruption` tells whether an attempt is to be ended; `say` tells what begins
    and ends. `cap` is in bytes.
    """

    def __init__(
        self,
        claims: Sequence[Claim],
        policies: Sequence[Policy],
        capture: Callable[[Packed], Capture],
        say: Callable[..., None],
        *,
        cap: Callable[[], int],
        interruption: Callable[[str], Outcome | None],
        record: Callable[[Finished], bool],
    ) -> None:
        self.claims, self.policies, self._capture, self._say = claims, policies, capture, say
        self._cap, self._interruption, self._record = cap, interruption, record
        self._captures: dict[int, Capture] = {}
        self._finished = Finished()
        self._begun = self._ended = 0
        self._kept = len(claims)
        self._record_at = float("inf")

    # ── while it runs ───────────────────────────────────────────────────────────────────────────────────────────

    def sent(self) -> None:
        """The runner has what it needs: one that runs alone has begun. What a row of quick ones is told of later."""
        if len(self.claims) == 1:
            self.begin(0)

    def begin(self, number: int) -> None:
        """An attempt has begun; told once."""
        if number >= self._begun:
            self._begun = number + 1
            claim = self.claims[number]
            self._say("attempt_started", **_facts(claim, number=claim.order.number))

    def take(self, number: int, data: bytes) -> None:
        """Some of its output."""
        self._output_of(number).take(data)

    def tick(self, number: int) -> Outcome | None:
        """Hand on what it has written, and see whether it is to end."""
        self.begin(number)
        output = self._output_of(number)
        output.keep_at_most(self._cap())
        output.hand_on()
        self._record_soon()
        return self._interruption(self.claims[number].order.attempt)

    def _output_of(self, number: int) -> Capture:
        """Made when there is some, or when it takes its time."""
        output = self._captures.get(number)
        if output is None:
            output = self._captures[number] = self._capture(self.claims[number].order)
        return output

    def slow(self, ended: Sequence[Outcome], kept: int) -> None:
        """One takes its time: what was done before it is recorded at once, and what waits behind it given back."""
        self._note(ended)
        if len(ended) < kept:
            self.begin(len(ended))
        self._give_back_from(kept)
        self._record_at = time.monotonic()
        self._record_soon()

    def _record_soon(self) -> None:
        if not self._finished or time.monotonic() < self._record_at:
            return
        if self._record(self._finished):
            self._finished, self._record_at = Finished(), float("inf")
        else:
            self._record_at = time.monotonic() + AGAIN_SECONDS

    # ── when it is over ─────────────────────────────────────────────────────────────────────────────────────────

    def finished(self, outcomes: Sequence[Outcome]) -> Finished:
        """What is still to be recorded, now that these were its outcomes and no other was begun."""
        self._note(outcomes)
        self._give_back_from(len(outcomes))
        return self._finished

    def _give_back_from(self, number: int) -> None:
        if number < self._kept:
            self._finished.back += [claim.order.attempt for claim in self.claims[number : self._kept]]
            self._kept = number

    def _note(self, outcomes: Sequence[Outcome]) -> None:
        if len(outcomes) > 1:
            with lines_together():
                self._note_each(outcomes)
        else:
            self._note_each(outcomes)

    def _note_each(self, outcomes: Sequence[Outcome]) -> None:
        for number in range(self._ended, len(outcomes)):
            self.begin(number)
            self._finished.ends.append(self._ended_as(number, outcomes[number]))
        self._ended = max(self._ended, len(outcomes))

    def _ended_as(self, number: int, outcome: Outcome) -> dict[str, Any]:
        claim = self.claims[number]
        order, verdict = claim.order, judge(outcome, self.policies[number], claim.standing)
        ended = ending(order.attempt, outcome, verdict)
        if (output := self._captures.get(number)) is not None:
            if (piece := output.close()) is not None:
                self._finished.pieces.append(piece)
            ended["output_bytes"], ended["output_cut"] = output.size, output.cut
        if len(self.claims) > 1 and outcome.began_at is not None:
            ended["began_at"], ended["ended_at"] = outcome.began_at, outcome.ended_at
        told = _facts(claim, outcome=outcome.ending, state=verdict.state, error=outcome.error)
        self._say("attempt_ended", **told)
        return ended


def _facts(claim: Claim, **more: Any) -> dict[str, Any]:
    """What is told of an attempt."""
    order = claim.order
    return {"task": order.task, "job": order.job, "attempt": order.attempt, **more, **claim.origin}
