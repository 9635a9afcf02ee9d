"""What one webhook may cost, counted and not timed: statements, pages of the log, flushes, round trips, log lines."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.fire import House, NoEngine
from tests.operations import accept, end_of, join, start, turn
from tests.test_receive import Desk
from webspool.batch import MOST
from webspool.keep import Keeper
from webspool.ledger.client import Client
from webspool.ledger.inbox import QueuedRequest, QueueInbox
from webspool.ledger.log import Log
from webspool.ledger.operations import Operation
from webspool.perform import Performer, Post
from webspool.policy import Policy
from webspool.processes import Identity
from webspool.records import Ending, Outcome, new_id
from webspool.source import Source
from webspool.telemetry import silent

ME = str(Identity.of(os.getpid()))
SPOOLERS = [f"{ME}#{number}" for number in range(4)]
SUCCEEDED = Outcome(Ending.SUCCEEDED)
WARM_UP, ROUNDS, SETTLED = 20, 50, 5
BODY = b"x" * 1024

# What they are in truth stands behind; a little room is left for what SQLite does now and then (a page that splits).
MOST_STATEMENTS_OF_A_WEBHOOK = 9  # 3 accept, 3 claim, 2 end, and its part of what is once a batch
MOST_STATEMENTS_WHEN_AWAITED = 4  # 3 accept, 1 claim: the job is handed over as it is written
MOST_STATEMENTS_OF_A_BATCH = 8  # begin, data_version, commit, counters by state
MOST_PAGES_IN_A_BATCH_OF_FOUR = 27.0  # 24
MOST_PAGES_OF_ONE = 18.0  # 16


class Busy:
    """A keeper turned by hand whose four spoolers are always busy: each batch accepts jobs and ends as many."""

    def __init__(self, house: House) -> None:
        client = Client(house.ledger, house.outputs, None)
        client.call(start())
        for spooler in SPOOLERS:
            client.call(join(spooler, {"free": Policy()}))
        self.inbox = QueueInbox()
        self.keeper = Keeper(house.folders, self.inbox, NoEngine(), silent, "the-instance")
        self.keeper._next_tick = self.keeper._next_bite = float("inf")  # a bite of pruning has statements of its own
        self.held: dict[str, dict[str, Any]] = {}
        self.statements: list[str] = []
        self.keeper.database.connection.exec_trace = self._note
        for _ in range(3):
            self.batch(4, 0)
        for _ in range(WARM_UP):
            self.batch(4, 4)
        self.statements.clear()

    def _note(self, _cursor: Any, statement: str, _bindings: Any) -> bool:
        self.statements.append(" ".join(statement.split()))
        return True

    @property
    def log_pages(self) -> int:
        return self.keeper.database.log_pages

    def batch(self, accepted: int, turned: int) -> None:
        """One round of the keeper's for so many webhooks and turns."""
        webhooks = [accept("free", body=BODY, event_id=new_id("e")) for _ in range(accepted)]
        turns = {spooler: self._turn(spooler) for spooler in SPOOLERS[:turned]}
        requests = self.put(*webhooks, *turns.values())
        self.keeper.round()
        for spooler, request in zip(turns, requests[accepted:], strict=True):
            self.held[spooler] = request.wait().values["order"]

    def put(self, *operations: Operation) -> list[QueuedRequest]:
        requests = [QueuedRequest(operation) for operation in operations]
        for request in requests:
            self.inbox.put(request)
        return requests

    def work_off(self) -> None:
        """Nothing is queued any more, and all spoolers wait but the first."""
        while self.keeper.database.connection.execute("SELECT 1 FROM job WHERE state = 'queued'").fetchall():
            self.batch(0, 4)
        self.put(*(self._turn(spooler) for spooler in SPOOLERS[1:]))
        self.keeper.round()

    def awaited(self) -> None:
        """A webhook for which the first spooler waits, which has ended its last job before."""
        (claim,) = self.put(self._turn(SPOOLERS[0]))
        self.keeper.round()
        self.statements.clear()
        self.batch(1, 0)
        self.held[SPOOLERS[0]] = claim.wait().values["order"]

    def _turn(self, spooler: str) -> Operation:
        order = self.held.pop(spooler, None)
        return turn(spooler, end=end_of(order, SUCCEEDED) if order else None)


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Busy]:
    made = Busy(House(tmp_path))
    yield made
    made.keeper.checkpointer.close()
    made.keeper.database.close()
    made.keeper.outputs.close()


@pytest.mark.parametrize("size", [1, 4])
def test_a_webhook_takes_nine_statements_and_a_batch_eight_more(busy: Busy, size: int) -> None:
    """From the accept to the end of its attempt, while all goes well."""
    for _ in range(ROUNDS):
        busy.batch(size, size)
    most = ROUNDS * (size * MOST_STATEMENTS_OF_A_WEBHOOK + MOST_STATEMENTS_OF_A_BATCH)
    assert len(busy.statements) <= most, busy.statements[-3 * most // ROUNDS :]


def test_of_eight_webhooks_in_a_batch_and_a_claim_each_takes_seven_statements(busy: Busy) -> None:
    """3 accept, 2 claim and 2 end; one looks for all that a claim takes, as nobody else asks for some of it."""
    held: list[dict[str, Any]] = []
    for number in range(ROUNDS):
        webhooks = [QueuedRequest(accept("free", body=BODY, event_id=new_id("e"))) for _ in range(MOST)]
        ends = [end_of(order, SUCCEEDED) for order in held]
        attempts = {"attempt": new_id("a"), "further": [new_id("a") for _ in range(MOST - 1)]}
        asked = turn(SPOOLERS[0], end=ends[-1] if ends else None, **attempts)
        request = QueuedRequest(asked._replace(arguments=asked.arguments | {"earlier": ends[:-1]}))
        for each in [*webhooks, request]:
            busy.inbox.put(each)
        busy.statements.clear()
        busy.keeper.round()
        values = request.wait().values
        held = [values["order"], *values.get("further", [])]
        if number >= SETTLED:
            assert len(held) == len(ends) == MOST
            assert len(busy.statements) <= MOST * 7 + 1 + MOST_STATEMENTS_OF_A_BATCH, busy.statements


def test_a_webhook_for_which_a_spooler_waits_takes_four_statements(busy: Busy) -> None:
    """It is handed over in the transaction that accepts it: nobody looks for it, and it is written once."""
    busy.work_off()
    for _ in range(ROUNDS):
        busy.awaited()
        assert len(busy.statements) <= MOST_STATEMENTS_WHEN_AWAITED + MOST_STATEMENTS_OF_A_BATCH, busy.statements


@pytest.mark.parametrize("awaited", [False, True])
def test_no_statement_is_prepared_anew(busy: Busy, *, awaited: bool) -> None:
    """SQLite asks its authorizer while it prepares one: each is ready from the first time on."""
    prepared: list[Any] = []
    if awaited:
        busy.work_off()
    busy.keeper.database.connection.authorizer = lambda *asked: (prepared.append(asked), apsw.SQLITE_OK)[1]
    for ready in (False, True):
        for _ in range(SETTLED):
            busy.awaited() if awaited else busy.batch(4, 4)
        assert bool(prepared) is not ready
        prepared.clear()


def test_no_savepoint_is_made_and_nothing_is_asked_twice_while_all_goes_well(busy: Busy) -> None:
    """Pauses, tasks and the instance's standing are known from before."""
    busy.batch(4, 4)
    strange = [each for each in busy.statements if re.search(r"SAVEPOINT|FROM (pause|task|instance|slot)\b", each)]
    assert strange == []


@pytest.mark.parametrize(("size", "most"), [(1, MOST_PAGES_OF_ONE), (4, MOST_PAGES_IN_A_BATCH_OF_FOUR)])
def test_a_batch_writes_few_pages(busy: Busy, size: int, most: float) -> None:
    """Every index that a webhook is entered into is a page more."""
    busy.keeper.checkpointer.close()
    busy.keeper.database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    busy.batch(size, size)
    before = busy.log_pages
    for _ in range(ROUNDS):
        busy.batch(size, size)
    assert (busy.log_pages - before) / ROUNDS <= most


def test_a_batch_is_flushed_when_it_accepts_and_only_then(busy: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends and claims are committed; a power cut may repeat them."""
    flushed: list[str] = []
    kept = Log.flush
    monkeypatch.setattr(Log, "flush", lambda self: (flushed.append("flush"), kept(self)))
    for accepts, turns in [(1, 4), (4, 0), (0, 4)]:
        busy.batch(accepts, turns)
        flushed.append(f"{accepts} accepted")
    assert flushed == ["flush", "1 accepted", "flush", "4 accepted", "0 accepted"]


def test_no_statement_of_the_way_of_a_webhook_scans_a_table(busy: Busy) -> None:
    """However many rows wait or have ended: an index, or nothing to search."""
    busy.batch(4, 4)
    plans = apsw.Connection(str(busy.keeper.folders.ledger), flags=apsw.SQLITE_OPEN_READONLY)
    for statement in set(busy.statements):
        if statement.split()[0] not in ("INSERT", "UPDATE", "SELECT", "DELETE"):
            continue
        plan = plans.execute(
            f"EXPLAIN QUERY PLAN {statement}", (None,) * len(set(re.findall(r"\?\d+", statement)))
        ).fetchall()
        scans = [row[3] for row in plan if row[3].startswith("SCAN") and "USING INDEX" not in row[3]]
        assert scans == [], statement
    plans.close()


# ── round trips and lines ───────────────────────────────────────────────────────────────────────────────────────


def test_a_webhook_is_one_round_trip_and_one_line_of_the_log(tmp_path: Path) -> None:
    """The worker's part."""
    desk = Desk(tmp_path)
    assert desk.post(Source("github", verify="github", secrets=["literal:It's a Secret to Everybody"])).status == 200
    assert [operation.verb for operation in desk.ledger.called] == ["accept"]
    assert desk.ledger.told == []
    assert len(desk.happenings) == 1


class Counting(Client):
    """A client that counts what it is asked."""

    called = told = 0

    def call(self, operation: Operation, **given: Any) -> Any:
        self.called += 1
        return super().call(operation, **given)

    def tell(self, operation: Operation) -> bool:
        self.told += 1
        return super().tell(operation)


class QuickRunner:
    """Runs nothing, and prints a line about it."""

    pid = start_time = 0
    alive, generation, retired = True, 1, None

    def hello(self, _seconds: float) -> dict[str, Policy]:
        return {"free": Policy()}

    def call(self, _order: Any, _policy: Policy, on_output: Any, _tick: Any = None) -> Outcome:
        on_output(b"done\n")
        return SUCCEEDED

    def kill(self) -> None:
        """Nothing runs."""


def test_a_job_is_one_round_trip_and_two_lines_of_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The spooler's part: the end of one, its output and the claim of the next travel together."""
    house = House(tmp_path)
    client = Counting(house.ledger, house.outputs, None)
    client.call(start())
    lines: list[str] = []
    post = Post(ME, "the-instance", os.getpid(), 0, tmp_path)
    performer = Performer(client, post, QuickRunner, lambda happening, /, **_: lines.append(happening))
    performer.ready()
    for _ in range(10):
        client.call(accept("free"))
    client.called = 0
    performer.perform(lambda: len(lines) >= 20)
    assert (client.called, client.told) == (11, 0)
    assert lines == ["attempt_started", "attempt_ended"] * 10
    assert len(capfd.readouterr().err.splitlines()) == 10
