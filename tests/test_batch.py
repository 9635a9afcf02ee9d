"""Several orders at once in one runner: each has its own outcome and output, and what was not begun comes back."""

from __future__ import annotations

import gc
import json
import math
import time
import weakref
from collections.abc import Sequence
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conditions import wait_until
from tests.runner_house import LONG, House, house  # noqa: F401 - a fixture
from webspool import batch, frames
from webspool.batch import Batch, Splitter
from webspool.orders import Packed, order_frame, ordered, outcome_frame, packed
from webspool.policy import Policy
from webspool.records import Delivery, Ending, Headers, Order, Outcome, new_id

CODE = """
@task
def say(words, times=1):
    print(words * times, end="")
    return words

@task
def fail():
    raise ValueError("no")

@task
def die():
    os.kill(os.getpid(), signal.SIGKILL)

@task
def leave():
    threading.Thread(target=time.sleep, args=(60,)).start()

@task(timeout=1, grace=0.1)
def hang():
    time.sleep(60)

@task
def append(words, file):
    with open(file, "a") as diary:
        diary.write(words + " ")
    return words

@task
def wait(gate):
    while not os.path.exists(gate):
        time.sleep(0.001)
"""


class Watching:
    """Hears of a batch; what is slow may go on once it has been told (`gate`)."""

    def __init__(self, outcome: Outcome | None = None, gate: Path | None = None) -> None:
        self.output: dict[int, bytes] = {}
        self.told: list[tuple[list[Ending], int]] = []
        self.ticks: list[int] = []
        self.outcome, self.gate = outcome, gate

    def take(self, number: int, data: bytes) -> None:
        self.output[number] = self.output.get(number, b"") + data

    def sent(self) -> None:
        """Nothing is left to be done."""

    def tick(self, number: int) -> Outcome | None:
        self.ticks.append(number)
        return self.outcome

    def slow(self, ended: Sequence[Outcome], kept: int) -> None:
        self.told.append(([each.ending for each in ended], kept))
        if self.gate is not None:
            self.gate.touch()


class Batches:
    """A runner that is handed several orders."""

    def __init__(self, house: House) -> None:  # noqa: F811
        self.house, self.runner = house, house.serve(CODE)
        self.watching = Watching()

    def run(self, *orders: tuple[str, dict[str, Any]], watching: Watching | None = None) -> list[str]:
        """How they ended."""
        made = [self._packed(number, *order) for number, order in enumerate(orders)]
        policies = [self.house.policies.get(task, Policy()) for task, _ in orders]
        self.watching = watching or Watching()
        self.outcomes = self.runner.call_several(made, policies, self.watching)
        return [str(each.ending) for each in self.outcomes]

    def _packed(self, number: int, task: str, arguments: dict[str, Any]) -> Packed:
        attempt = new_id("a")
        text = packed(("j", task, attempt, number, "keywords", 0.0), json.dumps(arguments))
        return Packed("j", task, attempt, number, text, b"", Path())


@pytest.fixture
def batches(house: House, monkeypatch: pytest.MonkeyPatch) -> Batches:  # noqa: F811
    monkeypatch.setattr(batch, "QUICK_SECONDS", LONG)  # on a busy machine too
    return Batches(house)


def say(words: str, times: int = 1) -> tuple[str, dict[str, Any]]:
    return "say", {"words": words, "times": times}


def waiting(gate: Path) -> tuple[str, dict[str, Any]]:
    return "wait", {"gate": str(gate)}


def test_each_order_of_a_batch_has_its_own_result_and_output(batches: Batches) -> None:
    """However little or much it prints, and batch after batch."""
    for _ in range(3):
        batches.run(say("a"), say(""), say("b\n", 20_000), say("c"), say("\0"))
        assert [each.result for each in batches.outcomes] == ['"a"', '""', '"b\\n"', '"c"', '"\\u0000"']
        assert batches.watching.output == {0: b"a", 2: b"b\n" * 20_000, 3: b"c", 4: b"\0"}
    assert batches.runner.stray == 0


def test_output_that_fills_the_pipe_is_read(batches: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its order is then a slow one."""
    monkeypatch.setattr(batch, "QUICK_SECONDS", 0.01)
    batches.run(say("a"), say("b" * 10, 60_000), say("c"))
    assert batches.watching.output[1] == b"b" * 600_000
    assert len(batches.outcomes) == 2


def test_a_result_too_long_for_one_piece_of_a_pipe_comes_whole(batches: Batches) -> None:
    """It ends the batch, and what lay behind it is not begun."""
    assert batches.run(say("a"), say("b" * 10_000), say("c")) == ["succeeded", "succeeded"]
    assert batches.outcomes[1].result == json.dumps("b" * 10_000)


def test_the_times_are_those_of_each_order(batches: Batches) -> None:
    """One behind the other."""
    before = time.time()
    batches.run(say("a"), say("b"), say("c"))
    moments = [moment for each in batches.outcomes for moment in (each.began_at or 0.0, each.ended_at or 0.0)]
    moments = [before, *moments, time.time()]
    assert moments == sorted(moments)


def test_what_lies_behind_a_slow_order_comes_back_at_once(
    batches: Batches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not when it has ended; what was done before it is told then."""
    monkeypatch.setattr(batch, "QUICK_SECONDS", 0.5)
    gate = tmp_path / "gate"
    watching = Watching(gate=gate)
    assert batches.run(say("a"), waiting(gate), say("b"), say("c"), watching=watching) == ["succeeded"] * 2
    assert watching.told == [([Ending.SUCCEEDED], 2)]
    assert watching.output == {0: b"a"}
    assert batches.run(say("d"), say("e")) == ["succeeded"] * 2
    assert batches.watching.output == {0: b"d", 1: b"e"}


def test_a_runner_begins_nothing_behind_an_order_that_was_taken_back(batches: Batches) -> None:
    """It may get one between two that its spooler takes: both take from the front of the queue."""
    first, second, third = (batches._packed(number, *say(words)) for number, words in enumerate("abc"))
    batches.runner.queue([order_frame(third, limit=math.inf, row=2)])
    batches.runner.send(memoryview(order_frame(first, limit=math.inf, row=2)))
    ((said, _body),) = wait_until(batches.runner.receive)
    assert (said["attempt"], said["result"]) == (first.attempt, '"a"')
    batches.runner.drain(lambda data: batches.watching.take(0, data))
    assert batches.watching.output == {0: b"a"}
    batches.runner.queue([order_frame(each, limit=math.inf, row=row) for row, each in enumerate((second, third), 1)])
    assert batches.runner.take_back() == 1
    assert batches.runner.take_back() is None
    assert batches.run(say("d"), say("e")) == ["succeeded"] * 2


def test_whenever_orders_are_taken_back_each_is_run_or_given_back(
    batches: Batches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never recorded as what became of another, never run and given back: at every moment of a batch."""
    for turn in range(300):
        monkeypatch.setattr(batch, "QUICK_SECONDS", turn % 30 * 0.00002)
        diary = tmp_path / f"diary {turn}"
        batches.run(*(("append", {"words": str(number), "file": str(diary)}) for number in range(8)))
        ran = diary.read_text().split()
        assert ran == [json.loads(each.result or "") for each in batches.outcomes] == list("01234567"[: len(ran)])


def test_what_became_of_another_attempt_is_not_taken_for_this_ones(batches: Batches) -> None:
    """A job that is recorded as done and never ran would be lost."""
    mark, mine, other = b"mark", batches._packed(0, *say("a")), batches._packed(1, *say("b"))
    made = Batch(batches.runner, [mine], [Policy()], Watching(), mark)
    for order in (other, mine, mine):
        made._output.take(
            mark + outcome_frame(order.attempt, Outcome(Ending.SUCCEEDED, result=order.attempt), None, 1, 2)
        )
    assert [each.result for each in made._ended] == [mine.attempt]


@pytest.mark.parametrize(
    ("task", "ending"), [("fail", "failed"), ("die", "interrupted"), ("leave", "succeeded"), ("hang", "timed_out")]
)
def test_whatever_is_no_plain_success_ends_the_batch(
    batches: Batches, task: str, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done counts, what it came to is told, and what lies behind it is begun by nobody."""
    monkeypatch.setattr(batch, "QUICK_SECONDS", 0.5)
    assert batches.run(say("a"), say("b"), (task, {}), say("c")) == ["succeeded", "succeeded", ending]
    assert {0: b"a", 1: b"b"}.items() <= batches.watching.output.items()
    assert 3 not in batches.watching.output
    assert batches.runner.alive is (task in ("fail", "hang"))
    if batches.runner.alive:
        assert batches.run(say("d"), say("e")) == ["succeeded"] * 2


def test_a_slow_order_can_be_interrupted(batches: Batches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own number."""
    monkeypatch.setattr(batch, "QUICK_SECONDS", 0.5)
    cancelled = Outcome(Ending.INTERRUPTED, error="cancelled", charge=False)
    watching = Watching(outcome=cancelled)
    assert batches.run(say("a"), waiting(tmp_path / "never"), say("b"), watching=watching) == [
        "succeeded",
        "interrupted",
    ]
    assert batches.outcomes[1] == cancelled
    assert set(watching.ticks) == {1}


def test_a_dead_runner_begins_nothing(batches: Batches) -> None:
    """So that nothing is charged."""
    batches.runner.process.kill()
    assert batches.run(say("a"), say("b")) == ["interrupted"]
    assert not batches.outcomes[0].charge


def test_nothing_of_a_batch_waits_for_the_garbage_collector(batches: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its orders hold whole webhooks."""
    made: list[weakref.ref[Batch]] = []
    begin = Batch.__init__
    monkeypatch.setattr(
        Batch, "__init__", lambda self, *given: (made.append(weakref.ref(self)), begin(self, *given))[1]
    )
    gc.disable()
    try:
        assert batches.run(say("a"), say("b")) == ["succeeded"] * 2
        assert [each() for each in made] == [None]
    finally:
        gc.enable()


def test_an_order_is_unpacked_as_the_frozen_record_that_it_was() -> None:
    headers = Headers([("Content-Type", "text/plain")])
    delivery = Delivery("d", "github", "POST", "/hooks/x", headers, 1.5, "72d3162e", None, b"body")
    order = Order("j", "say", "a", 3, "keywords", {"words": "a"}, delivery, 2.5)
    frame = order_frame(order, limit=12.5, row=2)
    ((message, body),) = frames.Decoder().feed(frame)
    found = ordered(message, body, Path())
    assert (found.limit, found.row) == (12.5, 2)
    assert found.order.delivery is not None
    assert found.order.delivery.headers == headers
    assert replace(found.order, delivery=replace(found.order.delivery, headers=headers)) == order
    assert (repr(found.order), found.order.delivery.body) == (repr(order), b"body")
    with pytest.raises(FrozenInstanceError):
        found.order.number = 4  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        found.order.delivery.source = "x"  # type: ignore[misc]


MARK = b"\0mark\0\0mark"
PIECES = st.lists(st.binary(max_size=9) | st.sampled_from([MARK[:4], MARK[:-1], b"\0"]) | st.just(None), max_size=8)


@given(PIECES, st.lists(st.integers(1, 12), min_size=1, max_size=10))
def test_output_is_told_from_marked_frames_however_it_is_cut(pieces: list[bytes | None], sizes: list[int]) -> None:
    """None stands for a frame; not a byte is lost, and none comes on the wrong side of one."""
    written = b"".join(MARK + frames.encode({"n": 1}) if each is None else each for each in pieces)
    got: list[bytes] = [b""]
    splitter = Splitter(MARK, lambda data: got.append(got.pop() + data), lambda _frame: got.append(b""))
    at = turn = 0
    while at < len(written):
        size = sizes[turn % len(sizes)]
        splitter.take(written[at : at + size])
        at, turn = at + size, turn + 1
    splitter.close()
    expected = [b""]
    for each in pieces:
        expected = [*expected, b""] if each is None else [*expected[:-1], expected[-1] + each]
    assert got == expected
