"""Claims for which there was no job yet: they wait in the keeper until there is one, or are sent away."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from webspool.ledger.database import Transaction
from webspool.ledger.inbox import Request
from webspool.ledger.operations import Answer
from webspool.ledger.turns import Claimed, claim, given_out
from webspool.records import Ending


@dataclass(eq=False)
class Parked:
    """A claim for which there was no job yet; it is answered when there is one, or with nothing after a second."""

    request: Request
    wanted: dict[str, Any]
    kept: bool
    until: float

    @property
    def given_up(self) -> bool:
        """Whether nobody waits for a job any more: the caller is gone, or its time is over."""
        return self.request.gone or self.until < time.monotonic()


class Parking:
    """The spoolers that wait for a job; the one that came last is the first to get one."""

    def __init__(self) -> None:
        self.waiting: deque[Parked] = deque()

    def __bool__(self) -> bool:
        return bool(self.waiting)

    def enter(self, request: Request, answer: Answer, until: float) -> None:
        """Let the claim of a turn wait, which was answered with no job."""
        given = request.operation.arguments
        parked = Parked(request, given["claim"], answer.values["kept"], until)
        ended = given.get("end")
        if not ended or ended["outcome"] == Ending.SUCCEEDED:
            self.waiting.append(parked)
        else:
            self.waiting.appendleft(parked)  # others may fare better

    def serve(self, tx: Transaction) -> Iterator[tuple[Request, Answer]]:
        """Give out what is ready, in the transaction that made it so."""
        waiting: deque[Parked] = deque()
        some = True
        for parked in reversed(self.waiting):  # who has just run a job has it all at hand still
            if parked.given_up:
                yield parked.request, given_out(parked.kept, [])
            elif some and (claimed := claim(tx, parked.wanted)):
                yield parked.request, given_out(parked.kept, claimed)
            else:  # none is left, or this one may have none: its instance stops, its code is old
                some = some and tx.one("any_queued") is not None
                waiting.appendleft(parked)
        self.waiting = waiting

    def claims(self) -> list[dict[str, Any]]:
        """What those want who may be answered now, the next one's last: for a transaction to hand new jobs to."""
        return [parked.wanted for parked in self.waiting if not parked.given_up]

    def answers(self, handed: list[tuple[dict[str, Any], Claimed]]) -> Iterator[tuple[Request, Answer]]:
        """Those to claims that a transaction has answered, which wait no longer."""
        for wanted, claimed in handed:
            parked = next(parked for parked in self.waiting if parked.wanted is wanted)
            self.waiting.remove(parked)
            yield parked.request, given_out(parked.kept, [claimed])

    def next_dismissal(self) -> float:
        """When the first of those that wait is to be sent away."""
        return min(parked.until for parked in self.waiting)

    def dismiss(self, now: float) -> None:
        """Send away whose time is up."""
        waiting, self.waiting = self.waiting, deque()
        for parked in waiting:
            if parked.until <= now:
                parked.request.answer(given_out(parked.kept, []))
            else:
                self.waiting.append(parked)

    def send_away(self, *, but: Collection[int] = ()) -> None:
        """All of them; those in `but`, requests by their identity, have been answered."""
        for parked in self.waiting:
            if id(parked.request) not in but:
                parked.request.answer(given_out(parked.kept, []))
        self.waiting.clear()
