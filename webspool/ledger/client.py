"""How a process brings an operation into the ledger: through the keeper, or directly when the keeper is gone."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw

from webspool.errors import LedgerUnavailable
from webspool.ledger.database import LOCKED, SHORT_BUSY_SECONDS
from webspool.ledger.direct import Hand, OwnHand
from webspool.ledger.inbox import KeeperGone, Route
from webspool.ledger.operations import Answer, Operation
from webspool.ledger.output import Piece, pieces_in, write_directly

PATIENCE_SECONDS = 0.7
BUSY_SECONDS = 0.8
ANSWERED_WITHIN_SECONDS = PATIENCE_SECONDS + BUSY_SECONDS
HUNG_SECONDS = 4.0
IMPATIENCE_SECONDS = 0.25
ASKED_AGAIN_SECONDS = 0.5
RETURN_SECONDS = 0.25
"""A keeper that was killed is back sooner than a deputy begins to write."""
RETURN_PAUSE_SECONDS = 0.005


class Client:
    """Operations in, answers out. `route` None: there is no keeper, every operation is direct.

    `hand` writes directly; where none is given, this process itself.

    `on_hung` is called when the keeper has left us without an answer for some seconds (their number is given);
    `on_reach` when we begin to write directly (False), and when the keeper answers again (True); when it returns
    False nobody was told yet, and it is called at the next operation that the keeper does not answer.

    What is out of order is waited for once, so that who comes next does not wait for all who came before: for half a
    second a keeper that did not answer is not asked, and a ledger that could not be written is told as such at once.
    """

    def __init__(
        self,
        ledger: Path,
        outputs: Path,
        route: Route | None,
        on_hung: Callable[[float], None] | None = None,
        on_reach: Callable[[bool], bool | None] | None = None,
        hand: Hand | None = None,
    ) -> None:
        self.ledger, self.outputs, self.route = ledger, outputs, route
        self._hand = hand or OwnHand(ledger)
        self.direct_calls = 0
        self._on_hung, self._on_reach = on_hung, on_reach
        self._unanswered_since: float | None = None
        self._within_reach = True
        self._reaching, self._writing = threading.Lock(), threading.Lock()
        self._ask_again_at = 0.0
        self._shut_until = 0.0
        self._fault: str | None = None

    def call(self, operation: Operation, *, patience: float = PATIENCE_SECONDS) -> Answer:
        """Do it, within `patience` seconds by the keeper, else directly. Raises LedgerUnavailable: it was not done.

        Directly is safe only because the keeper drops an operation whose deadline has passed, and looks at the
        deadline under the same write lock which the direct transaction has to take.
        """
        if self.route is None:
            return self.call_directly(operation)
        now = time.monotonic()
        if now < self._ask_again_at:
            return self.call_directly(operation)
        if self._unanswered_since is not None:
            patience = min(patience, IMPATIENCE_SECONDS)
        timed = operation.until(now + patience)
        try:
            answer = self._asked(timed, now + RETURN_SECONDS)
        except KeeperGone:
            return self.call_directly(operation, begun=now)
        except LedgerUnavailable:
            self._note_reach(True)
            raise
        if not self._within_reach or self._unanswered_since is not None:
            self._note_reach(True)
        return answer

    def _asked(self, operation: Operation, until: float) -> Answer:
        """The keeper's answer; the next one's, when it is gone and who would write in its place is not ready either."""
        assert self.route is not None
        try:
            return self.route.ask(operation)
        except KeeperGone:
            self._note_silence(operation)
        until = min(until, operation.deadline)
        if time.monotonic() < operation.deadline:  # the connection was to one that has ended; the next may be there
            with suppress(KeeperGone):
                return self.route.ask(operation)
        self._note_reach(False)
        while not self._hand.ready and time.monotonic() < until:
            time.sleep(RETURN_PAUSE_SECONDS)
            with suppress(KeeperGone):
                return self.route.ask(operation)
        raise KeeperGone

    def _note_reach(self, within: bool) -> None:
        """A keeper that says it could not write has answered too."""
        if within:
            self._unanswered_since, self._ask_again_at = None, 0.0
        with self._reaching:
            if within is not self._within_reach and (self._on_reach is None or self._on_reach(within) is not False):
                self._within_reach = within

    def _note_silence(self, operation: Operation) -> None:
        """A keeper that takes what it is sent and does not answer, again and again, hangs."""
        now = time.monotonic()
        if now < operation.deadline:
            return
        self._ask_again_at, since = now + ASKED_AGAIN_SECONDS, self._unanswered_since
        if since is None:
            self._unanswered_since = now
        elif now - since > HUNG_SECONDS and self._on_hung is not None:
            self._unanswered_since = None
            self._on_hung(now - since)

    def call_directly(self, operation: Operation, *, begun: float = -math.inf) -> Answer:
        """Without the keeper.

        `begun` (monotonic seconds): since when the operation is under way; what the keeper did not take of its time is
        there for waiting.
        """
        self.direct_calls += 1
        if pieces := pieces_of(operation):
            self._keep_directly(pieces)
        give_up = max(time.monotonic() + BUSY_SECONDS, begun + ANSWERED_WITHIN_SECONDS)
        self._refuse_while_shut()
        with self._turn_to_write(give_up):
            try:
                answer = self._written(operation, give_up)
            except LedgerUnavailable as told:
                if self.route is not None:
                    self._fault, self._shut_until = told.why, time.monotonic() + ASKED_AGAIN_SECONDS
                raise
            self._fault = None
        return answer

    def _refuse_while_shut(self) -> None:
        fault = self._fault
        if fault is not None and time.monotonic() < self._shut_until:
            raise LedgerUnavailable(ledger=self.ledger, why=fault)

    @contextmanager
    def _turn_to_write(self, give_up: float) -> Iterator[None]:
        """The threads of a process go one by one: SQLite's lock has no queue, and many who try would starve some."""
        if not self._writing.acquire(timeout=max(give_up - time.monotonic(), 0.0)):
            raise LedgerUnavailable(ledger=self.ledger, why=LOCKED)
        try:
            yield
        finally:
            self._writing.release()

    def _written(self, operation: Operation, give_up: float) -> Answer:
        """What could not be written a moment ago is tried shortly."""
        return self._hand.write(operation, time.monotonic() + SHORT_BUSY_SECONDS if self._fault else give_up)

    def tell(self, operation: Operation) -> bool:
        """Say something that may be lost (a refusal, a piece of output); nobody waits for it."""
        if self.route is not None and self.route.tell(operation):
            return True
        if pieces := pieces_of(operation):
            return self._keep_directly(pieces)
        return False

    def _keep_directly(self, pieces: list[Piece]) -> bool:
        try:
            write_directly(self.outputs, pieces)
        except (apsw.Error, OSError):
            return False
        return True

    def pushed(self) -> list[dict[str, Any]]:
        """What the keeper said unasked."""
        return [] if self.route is None else self.route.pushed()

    def connected(self) -> bool:
        """Whether the keeper, if there is one, can say something unasked."""
        return self.route is None or self.route.connected()


def pieces_of(operation: Operation) -> list[Piece]:
    """The pieces of output that an operation carries. Raises TypeError when they are none."""
    placed = operation.arguments.get("output")
    return pieces_in(placed, operation.body) if placed else []


__all__ = ["Client", "LedgerUnavailable", "Operation", "pieces_of"]
