"""Laws of answers: the sender hears in time, whatever the source's function does, and the webhook stays stored."""

from __future__ import annotations

import ctypes
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask, current_app, request

from tests.conditions import wait_until
from webspool import Answer, Source, Webspool, task, when
from webspool.answering import MOST_STUCK, Answerer
from webspool.policy import Policy
from webspool.records import Delivery, Headers
from webspool.source import Chosen
from webspool.task import Task, TimeLimitExceeded
from webspool.testing import inline, signed_request

DELIVERY = Delivery("d_1", "slack", "POST", "/hooks/slack", Headers({}), 0.0, stored_body=b"{}")
USUAL = Answer("the usual")


class House:
    """An answerer with what it told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.answerer = Answerer(lambda happening, /, **facts: self.told.append((happening, facts)))

    def ask(self, function: Any, **settings: Any) -> Answer | None:
        settings = {"answer_seconds": 0.1, "answer_fallback": USUAL} | settings
        return self.answerer.answer(Source("slack", verify="none", answer=function, **settings), DELIVERY)


@pytest.fixture
def house() -> Iterator[House]:
    """Nothing that it asked runs on beside later tests: Python 3.11 cannot parse a file while another thread tells a
    traceback (CPython issue 106905).
    """
    yield House()
    for thread in threading.enumerate():
        if thread.name == "webspool answer":
            thread.join(30)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    ("value", "body", "kind"),
    [
        ({"text": "나"}, '{"text": "나"}'.encode(), "application/json"),
        ([1], b"[1]", "application/json"),
        ("나", "나".encode(), "text/plain; charset=utf-8"),
        (b"\0", b"\0", "application/octet-stream"),
        (Answer("<a/>", 201, {"content-type": "text/xml"}), b"<a/>", "text/xml"),
    ],
)
def test_what_a_function_returns_is_the_answer(house: House, value: Any, body: bytes, kind: str) -> None:
    """Its kind follows from the value unless the answer names one."""
    found = house.ask(lambda delivery: value, answer_seconds=5)
    assert found is not None
    fields = {name.lower(): told for name, told in found.fields().items()}
    assert (found.content(), fields["content-type"], fields["x-content-type-options"]) == (body, kind, "nosniff")
    assert house.told == []


def test_a_function_gets_the_delivery_and_may_leave_the_answer_to_us(house: House) -> None:
    """None is no answer of its own; a fixed one needs no function."""
    assert house.ask(lambda delivery: delivery.id, answer_seconds=5) == Answer("d_1")
    assert house.ask(lambda delivery: None, answer_seconds=5, answer_fallback=None) is None
    assert house.ask(USUAL, answer_fallback=None) is USUAL


def block_in_sleep(_delivery: Delivery) -> None:
    time.sleep(1)


def block_in_c(_delivery: Delivery) -> None:
    ctypes.CDLL(None).sleep(1)


def block_in_a_lock(_delivery: Delivery) -> None:
    threading.Event().wait(1)


def run_for_ever(_delivery: Delivery) -> None:
    while True:
        pass


def refuse_to_end(_delivery: Delivery) -> None:
    end = time.monotonic() + 1
    while time.monotonic() < end:
        try:
            time.sleep(0.01)
        except TimeLimitExceeded:
            continue


@pytest.mark.parametrize("function", [block_in_sleep, block_in_c, block_in_a_lock, run_for_ever, refuse_to_end])
def test_a_function_that_is_late_does_not_hold_the_answer(house: House, function: Callable[[Delivery], None]) -> None:
    """Asleep, in C, at a lock, in a loop, or deaf: the sender hears the fallback, and the operator that it was late."""
    answered = threading.Event()
    asking = threading.Thread(target=lambda: (house.ask(function) is USUAL) and answered.set())
    asking.start()
    assert answered.wait(30)
    ((happening, facts),) = house.told
    assert (happening, facts["source"], facts["delivery"]) == ("answer_late", "slack", "d_1")


def test_a_loop_in_python_is_ended(house: House) -> None:
    """It would take the worker's processor time for ever."""
    ended = threading.Event()

    def loop(_delivery: Delivery) -> None:
        try:
            run_for_ever(_delivery)
        finally:
            ended.set()

    assert house.ask(loop) is USUAL
    assert ended.wait(30)


def test_while_too_many_hang_none_is_asked(house: House) -> None:
    """Threads that nothing ends are not piled up; once they have ended, functions are asked again."""
    gate = threading.Event()

    def wait(_delivery: Delivery) -> None:
        while not gate.is_set():
            try:
                gate.wait()
            except TimeLimitExceeded:
                continue

    for _ in range(MOST_STUCK):
        house.ask(wait, answer_seconds=0.01)
    assert house.ask(lambda delivery: "quick", answer_seconds=5) is USUAL
    assert len(house.told) == MOST_STUCK + 1
    gate.set()
    wait_until(lambda: house.ask(lambda delivery: "quick", answer_seconds=5) == Answer("quick"), 10)


def leave(_delivery: Delivery) -> None:
    raise SystemExit(1)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda delivery: delivery.json["no"], "KeyError: 'no'"),
        (lambda delivery: Answer(status=500), "the status is 500"),
        (lambda delivery: Answer("", headers={"X-A": "1\r\nX-B: 2"}), "no line of Latin-1 text"),
        (lambda delivery: Answer("", headers={"X A": "1"}), "'X A' is no header"),
        (lambda delivery: Answer("", headers={"Content-Length": "1"}), "'Content-Length' is no header"),
        (lambda delivery: object(), "the body is a object"),
        (lambda delivery: {"a": float("nan")}, "the body is a dict"),
        (lambda delivery: "a" * (2 << 20), "more than 1048576"),
        (lambda delivery: Answer("x", 204), "has no body"),
        (leave, "SystemExit"),
    ],
)
def test_a_function_that_fails_is_told_and_the_fallback_given(house: House, function: Any, why: str) -> None:
    """With its traceback, for the operator only."""
    assert house.ask(function, answer_seconds=5) is USUAL
    ((happening, facts),) = house.told
    assert happening == "answer_failed"
    assert why in facts["why"]


def test_a_fixed_answer_that_is_none_is_told_and_left_out(house: House) -> None:
    """Where nobody has typed `webspool check`: the webhook is stored, so that the usual answer is right."""
    assert house.ask(Answer(status=500), answer_fallback=None) is None
    ((happening, facts),) = house.told
    assert (happening, "the status is 500" in facts["why"]) == ("answer_failed", True)


def test_the_guard_spans_the_call_and_a_little_more() -> None:
    """Where the engine has one; it is let go when the function has ended."""
    spans: list[Any] = []

    @contextmanager
    def guard(seconds: float) -> Any:
        spans.append(seconds)
        yield
        spans.append("over")

    answerer = Answerer(lambda happening, /, **facts: None, guard=guard)
    answerer.answer(Source("slack", verify="none", answer=lambda delivery: "a"), DELIVERY)
    assert spans == [7.0, "over"]


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"answer": "text"}, "answer is 'text', not an Answer(...) or a function"),
        ({"answer": Answer(status=302)}, "answer: the status is 302"),
        ({"answer": Answer("a", headers={"A": "\n"})}, "answer: the header A"),
        ({"answer": len, "answer_fallback": len}, "answer_fallback is <built-in function len>, not an Answer(...)"),
        (
            {"answer": Answer("a"), "answer_fallback": Answer("a")},
            "answer_fallback is given, but answer is no function",
        ),
        ({"answer_seconds": 0}, "answer_seconds is 0"),
        ({"answer_seconds": 31}, "at most 30"),
    ],
)
def test_an_answer_that_cannot_be_given_is_a_fault_of_the_source(settings: dict[str, Any], hint: str) -> None:
    """Before anything starts."""
    (fault,) = Source("slack", verify="none", **settings).faults()
    assert hint in fault


def test_conditions_that_are_late_start_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a stranger sends may hang a regular expression; those that are quick choose, in the caller's context."""
    monkeypatch.setattr("webspool.answering.CONDITION_SECONDS", 0.1)
    made = Task(lambda delivery: None, "made", Policy())
    slow = house.answerer.chosen(Source("slow", verify="none", on={"*": when(block_in_sleep, made)}), DELIVERY)
    assert (slow.tasks, slow.failed) == ([], [("all", "they took longer than 0.1 s")])
    monkeypatch.setattr("webspool.answering.CONDITION_SECONDS", 10.0)
    with Flask("asked").test_request_context("/a"):
        source = Source("quick", verify="none", on={"*": when(lambda delivery: request.path == "/a", made)})
        assert house.answerer.chosen(source, DELIVERY) == Chosen([made], [])


# ── in an app ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_sender_hears_it_after_the_commit_and_a_copy_again(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job is in the ledger when the function is asked, in the app's context; a refused webhook asks nobody."""
    monkeypatch.setenv("WEBSPOOL_INSTANCE", str(tmp_path))
    app = Flask("answering")
    hooks, asked = Webspool(app), []

    @task(name="answered")
    def answered(delivery: Delivery) -> None: ...

    def command(delivery: Delivery) -> dict[str, Any]:
        asked.append((delivery.id, hooks.counts()["queued"], current_app.name, delivery.data["n"]))
        return {"text": f"number {delivery.data['n']}"}

    hooks.add(Source("slack", verify="github", secrets=["literal:s"], answer=command, on={"*": answered}))
    hooks.add(Source("fixed", verify="none", answer=Answer("<Response/>", headers={"Content-Type": "text/xml"})))
    with inline(app):
        client = app.test_client()
        first, again = (client.open(**_signed("slack", {"n": 7}, event_id="e1")) for _ in range(2))
        assert [(reply.status_code, reply.json) for reply in (first, again)] == [(200, {"text": "number 7"})] * 2
        assert asked == [(asked[0][0], 1, "answering", 7)] * 2
        assert client.open(**_signed("slack", {"n": 7}, secret="wrong")).status_code == 401
        assert len(asked) == 2
        fixed = client.post("/hooks/fixed", data=b"a=1")
        assert (fixed.status_code, fixed.mimetype, fixed.data) == (200, "text/xml", b"<Response/>")
        json.loads(client.post("/hooks/nobody").data)


def _signed(source: str, body: dict[str, Any], **more: Any) -> dict[str, Any]:
    return signed_request(source, body, **more)
