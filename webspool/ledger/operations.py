"""What callers ask of the ledger: one operation, its frame on the keeper's socket, and its answer."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from webspool import frames
from webspool.policy import Verdict
from webspool.records import Outcome

DURABLE = frozenset(
    {"accept", "spool", "act", "note", "replay", "order", "start", "join", "renew"}
    | {"log_out", "put_user", "remove_user", "put_token", "remove_token"}
)


class Operation(NamedTuple):
    """One thing to be done to the ledger, once: doing it again under the same `id` changes nothing.

    `deadline` is in seconds of the monotonic clock: past it the keeper drops the operation, and its caller may do
    it directly. `body` is what JSON cannot carry: a webhook's body, a piece of output.
    """

    id: str
    verb: str
    arguments: dict[str, Any]
    body: bytes = b""
    deadline: float = math.inf

    @property
    def durable(self) -> bool:
        """Whether its commit must be on disk before it is answered."""
        return self.verb in DURABLE

    def until(self, deadline: float) -> Operation:
        """The same with that deadline."""
        return Operation(self.id, self.verb, self.arguments, self.body, deadline)

    def frame(self) -> bytes:
        deadline = None if math.isinf(self.deadline) else self.deadline
        return frames.encode({"id": self.id, "do": self.verb, "with": self.arguments, "by": deadline}, self.body)

    @classmethod
    def from_frame(cls, message: dict[str, Any], body: bytes) -> Operation:
        """What a frame says. Raises KeyError or TypeError when it is no operation."""
        deadline = math.inf if message["by"] is None else message["by"] + 0.0
        if not isinstance(message["id"], str) or not isinstance(message["with"], dict):
            raise TypeError("an operation has an id and arguments by name")
        return cls(message["id"], message["do"], message["with"], body, deadline)


class Answer(NamedTuple):
    """What an operation came to, and the bytes that go with it (a claimed delivery's body)."""

    values: dict[str, Any]
    body: bytes = b""


def ending(attempt: str, outcome: Outcome, verdict: Verdict) -> dict[str, Any]:
    """The end of an attempt as `turn` writes it: what happened, and what the job becomes by the verdict."""
    return {
        "attempt": attempt,
        "outcome": outcome.ending,
        "error": outcome.error,
        "traceback": outcome.traceback,
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "result": outcome.result,
        "state": verdict.state,
        "wait_seconds": verdict.wait_seconds,
        "charged": verdict.charged,
        "cut": verdict.cut,
        "cause": verdict.cause,
    }
