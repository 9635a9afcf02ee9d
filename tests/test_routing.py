"""Laws of conditions: which deliveries of a type start a task, and what is wrong with a condition before any comes."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webspool import when
from webspool.policy import Policy
from webspool.records import Delivery, Headers
from webspool.routing import Condition
from webspool.source import Source
from webspool.task import Task

PUSH = {"ref": "refs/heads/main", "commits": [{"id": 1, "added": ["a.py"]}], "forced": False, "size": 0}
MAIN = "ref == 'refs/heads/main'"


def made(name: str) -> Task[Any, Any]:
    return Task(lambda delivery: None, name, Policy())


deploy, audit, alert = made("deploy"), made("audit"), made("alert")


def delivery(data: Any = PUSH, event_type: str | None = "push", body: bytes | None = None, **headers: str) -> Delivery:
    told = Headers({"Content-Type": "application/json"} | headers)
    body = json.dumps(data).encode() if body is None else body
    return Delivery("d_1", "github", "POST", "/hooks/github?room=7", told, 0.0, "e1", event_type, body)


def source(**settings: Any) -> Source:
    return Source("github", **({"verify": "none"} | settings))


def started(table: dict[str, Any], given: Delivery, **settings: Any) -> list[str]:
    return [task.name for task in source(on=table, **settings).chosen(given).tasks]


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (MAIN, True),
        ("ref != 'refs/heads/main'", False),
        ("starts_with(ref, 'refs/heads/')", True),
        ("commits[?contains(added, 'a.py')]", True),
        ("commits[].added[] | contains(@, 'b.py')", False),
        ("forced", False),
        ("!forced && size == `0`", True),
        ("size", True),
        ("missing.deeper", False),
        ("header('x-room') == '7' || header('nothing')", True),
        ("header('nothing')", False),
        ("query('room') == '7'", True),
        ("event_type() == 'push'", True),
        (lambda delivery: delivery.data["ref"].endswith("main"), True),
        (lambda delivery: delivery.headers.get("X-Room") == "8", False),
        (lambda delivery: [], False),
    ],
)
def test_a_condition_is_asked_of_payload_headers_and_query(condition: Any, holds: bool) -> None:
    """JMESPath's truth for expressions (0 is true), Python's for functions."""
    assert Condition(condition).holds(delivery(**{"X-Room": "7"})) is holds


def test_tasks_start_only_where_their_condition_holds() -> None:
    """Alone, in a list, several under one condition; what has none starts as ever, each task once."""
    other = delivery(PUSH | {"ref": "refs/heads/other"})
    table = {"push": [audit, when(MAIN, [deploy, alert])], "pu*": when("ref", deploy)}
    assert started(table, delivery()) == ["audit", "deploy", "alert"]
    assert started(table, other) == ["audit", "deploy"]
    assert started({"push": when(MAIN, deploy)}, other) == []


def test_a_condition_of_the_source_holds_for_all_of_it() -> None:
    """And then those of the table."""
    assert started({"*": audit}, delivery(), when=MAIN) == ["audit"]
    assert started({"*": audit}, delivery({}), when=MAIN) == []
    assert started({"*": when("forced", audit)}, delivery(), when=MAIN) == []


def test_default_is_what_no_pattern_took_whatever_the_conditions() -> None:
    """A condition narrows what its pattern starts, not what the pattern takes."""
    table = {"push": when("forced", deploy), "DEFAULT": alert}
    assert started(table, delivery()) == []
    assert started(table, delivery(event_type="star")) == ["alert"]


def test_a_condition_that_raises_does_not_hold_and_is_told() -> None:
    """The others are asked all the same; what could not be read is no error of ours."""
    given_source = source(
        on={"*": [when(lambda delivery: delivery.data["no"], deploy), when("length(size)", alert), audit]}
    )
    chosen = given_source.chosen(delivery())
    assert [task.name for task in chosen.tasks] == ["audit"]
    (_, first), (name, second) = chosen.failed
    assert first == "KeyError: 'no'"
    assert name == "length(size)"
    assert "JMESPathTypeError" in second
    ((_, unread),) = source(when="ref").chosen(delivery(body=b"{")).failed
    assert unread.startswith("UnparsableBody")


def test_a_condition_used_twice_is_asked_once() -> None:
    """It may be slow."""
    asked = []
    condition = when(lambda delivery: not asked.append(1), [deploy, audit])
    assert started({"push": condition, "*": condition}, delivery()) == ["deploy", "audit"]
    assert asked == [1]


def test_a_form_and_a_query_are_asked_by_their_fields() -> None:
    """The payload is `delivery.data`."""
    form = Headers({"Content-Type": "application/x-www-form-urlencoded"})
    body = urlencode({"command": "/deploy"}).encode()
    sent = Delivery("d_1", "slack", "POST", "/hooks/slack", form, 0.0, stored_body=body)
    assert Condition("command == '/deploy'").holds(sent)


@pytest.mark.parametrize(
    ("condition", "hint"),
    [
        ("ref == ", "character 8 on: it ends too soon"),
        ("ref = 'a'", "character 5"),
        ("ref == 'a' )", "character 12 on"),
        ("", "empty"),
        ("size > 5", "`5`"),
        ('ref == "refs/heads/main"', "text stands in single quotes: 'refs/heads/main'"),
        ("lower(ref)", "no function lower()"),
        ("a && [b, starts_with(ref)]", "starts_with() takes 2 arguments, not 1"),
        ("merge()", "merge() takes 1 argument, not 0"),
        (7, "not a JMESPath text or a function"),
    ],
)
def test_a_condition_that_cannot_be_read_is_refused_at_start(condition: Any, hint: str) -> None:
    """With the place, and what to write."""
    (fault,) = source(on={"push": when(condition, deploy)}).faults()
    assert fault.startswith("source github: on['push']: the condition ")
    assert hint in fault
    (fault,) = source(when=condition).faults()
    assert hint in fault


def test_what_is_no_task_is_told_behind_a_condition_too() -> None:
    """As in the plain table."""
    assert "is not a task" in source(on={"push": when("ref", print)}).faults()[0]
    assert source(on={"push": [audit, when(MAIN, [deploy])]}, when="commits").faults() == []


@given(st.text(max_size=30))
def test_no_text_makes_the_check_of_a_condition_fail(text: str) -> None:
    """It is read, or told why not; what is accepted can be asked."""
    if not list(Condition(text).faults()):
        asked = source(on={"*": when(text, deploy)}).chosen(delivery())
        assert len(asked.tasks) + len(asked.failed) <= 1


def test_only_a_source_with_conditions_has_its_payload_read() -> None:
    """What is not used costs nothing."""
    assert not source(on={"push": [deploy, audit]}).conditional
    assert source(on={"push": [deploy, when("a", audit)]}).conditional
    assert source(when="a").conditional
