"""A ledger on a real file under a clock of ours, with an instance and two processes, p and q."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.ledger_laws import Snapshot, breaches
from tests.operations import accept, end_of, join, start, turn
from webspool.ledger.admission import release_due
from webspool.ledger.apply import apply
from webspool.ledger.database import Database
from webspool.ledger.operations import Answer, Operation
from webspool.policy import Policy
from webspool.records import Ending, Outcome

TASKS = {"free": Policy(first_wait=5, jitter=0), "one": Policy(concurrency=1, first_wait=5, jitter=0)}
SUCCEEDED = Outcome(Ending.SUCCEEDED, result="1")
FAILED = Outcome(Ending.FAILED, error="ValueError: no")
DISCARDED = Outcome(Ending.DISCARDED, error="useless")


class Ledger:
    """A ledger with an instance and two processes, p and q."""

    def __init__(self, path: Path) -> None:
        self.path, self.now = path, 1_700_000_000.0
        self.database = Database(path, clock=lambda: self.now)
        self.do(start())
        self.do(join("p", TASKS))
        self.do(join("q", TASKS))

    def do(self, operation: Operation) -> Answer:
        with self.database.transaction(flush=False) as tx:
            answer = apply(tx, operation)
        assert not breaches(self.seen())
        return answer

    def seen(self) -> Snapshot:
        return Snapshot.of(self.database.connection)

    def job(self, id: str) -> dict[str, Any]:
        return next(job for job in self.seen().job if job["id"] == id)

    def accept(self, *tasks: str, **given: Any) -> list[str]:
        return [job["id"] for job in self.do(accept(*tasks, **given)).values["jobs"]]

    def claim(self, process: str = "p", **given: Any) -> dict[str, Any] | None:
        order: dict[str, Any] | None = self.do(turn(process, **given)).values["order"]
        return order

    def end(self, order: dict[str, Any] | None, outcome: Outcome = SUCCEEDED, *, then: str | None = None) -> Any:
        assert order is not None
        ended = end_of(order, outcome, TASKS[order["task"]])
        return self.do(turn(then or "", end=ended, claim=then is not None)).values

    def run(self, outcome: Outcome = SUCCEEDED) -> str:
        order = self.claim()
        self.end(order, outcome)
        assert order is not None
        return str(order["job"])

    def release_due(self) -> None:
        with self.database.transaction(flush=False) as tx:
            release_due(tx, most=100)


def replay(delivery: str, job: str) -> Operation:
    given = {"delivery": delivery, "jobs": [{"id": job, "task": "free"}], "actor": "test"}
    return Operation(f"x_{job}", "replay", given)
