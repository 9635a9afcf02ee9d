"""What stays small however much there is: a bite of pruning, the keeper's memory, a large body's copies."""

from __future__ import annotations

import io
import json
import tracemalloc
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.fire import House
from tests.operations import accept, join, start, turn
from tests.test_keeper import HERE, TASKS, Hand, values_of
from webspool.intake import Refused, read_body
from webspool.keep.prune import ROWS_IN_A_BITE, Pruner, Retention
from webspool.ledger.client import Client
from webspool.ledger.database import Database
from webspool.records import WebhookRequest
from webspool.signatures import check, sign
from webspool.source import Source

MIB = 1 << 20


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    client = Client(made.ledger, made.outputs, None)
    client.call(start())
    client.call(join(HERE, TASKS))
    return made


def test_a_bite_of_pruning_looks_at_a_hundred_rows_however_much_is_old(house: House) -> None:
    """Even when time stands still: the writer is held for a bounded while, and the rest is left to the next bite."""
    hand = Hand(house)
    hand.batch(*(accept("free") for _ in range(3 * ROWS_IN_A_BITE)))
    hand.keeper.run(lambda: True)
    database = Database(house.ledger)
    database.connection.execute("UPDATE job SET state = 'succeeded', created_at = 1, finished_at = 2")
    database.connection.execute("UPDATE delivery SET received_at = 1")
    pruner = Pruner(Retention(), house.root / "bodies", clock=lambda: 1e9)
    bites = []
    while not pruner.rests:
        with database.transaction(flush=False) as tx:
            gone = pruner.bite(tx)
        bites.append(gone.jobs + gone.deliveries)
    database.close()
    assert sum(bites) == 6 * ROWS_IN_A_BITE
    assert max(bites) <= ROWS_IN_A_BITE


def test_the_keepers_memory_does_not_grow_with_what_waits(house: House) -> None:
    """What was accepted is on disk, and nowhere else."""
    hand = Hand(house)
    held: list[int] = []
    tracemalloc.start()
    try:
        for _ in range(3):
            for _ in range(10):
                hand.batch(*(accept("free", body=b"x" * 4096) for _ in range(50)))
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[2] - held[1] < 500 * 4096 / 10
    (request,) = hand.put(turn(HERE))
    hand.keeper.round()
    assert values_of(request)["order"] is not None
    hand.keeper.run(lambda: True)


class Waiting:
    """An engine that waits for bodies as long as they take."""

    def bounded(self, seconds: float) -> Any:
        return nullcontext()

    def read_chunked(self, environ: Any, cap: int, seconds: float) -> bytes:
        raise NotImplementedError


def reading(body: bytes, length: int) -> bytes:
    environ = {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(length), "REQUEST_METHOD": "POST"}
    return read_body(environ, Source("any", verify="none"), 64 * MIB, Waiting())


def test_a_large_body_is_held_once_while_it_is_read() -> None:
    """Not in pieces and then again as a whole."""
    body = b"x" * (16 * MIB)
    tracemalloc.start()
    try:
        found = reading(body, len(body))
        height = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == body
    assert height < 1.5 * len(body)


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 200_000])
def test_a_body_of_any_size_is_read_whole_or_refused(size: int) -> None:
    """What was announced and did not come is no body."""
    body = bytes(range(256)) * (size // 256 + 1)
    assert reading(body, size) == body[:size]
    with pytest.raises(Refused):
        reading(body[:size], size + 1)


def test_a_large_body_is_not_taken_apart_to_learn_its_type() -> None:
    """Of GitHub's the action is one field; Python's objects of all the others would take several times its size."""
    body = json.dumps({"filling": ["x" * 50] * 60_000, "action": "opened"}).encode()
    bare = WebhookRequest("POST", "/hooks/github", {"Content-Type": "application/json"}, body)
    request = sign("github", "s", bare, event_id="e", event_type="issues")
    tracemalloc.start()
    try:
        verdict = check("github", ["s"], request, 0.0)
        height = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert verdict.event_type == "issues.opened"
    assert height < len(body) / 10
