"""@task and .spool: what is refused at the caller, and what reaches the instance."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webspool.errors import ArgumentsDoNotFit, NoInstance, NotBytes, TaskDefinitionError
from webspool.policy import Policy
from webspool.task import (
    SPOOL_IGNORE,
    SPOOL_OK,
    SPOOL_RETRY,
    Retry,
    SpoolRequest,
    as_json,
    from_bytes,
    not_json,
    registry,
    takes_one_delivery,
    task,
)

same_house = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass
class Handle:
    """A job that was handed over."""

    id: str = "j_1"
    state: str = "queued"
    result: Any = None

    def wait(self, seconds: float) -> str:
        return self.state


@dataclass
class Collecting:
    """An instance that keeps what it is handed."""

    requests: list[SpoolRequest] = field(default_factory=list)

    def spool(self, request: SpoolRequest) -> Handle:
        self.requests.append(request)
        return Handle()


@pytest.fixture
def instance() -> Iterator[Collecting]:
    """A registry with no tasks, bound to an instance that collects."""
    before, bound = dict(registry.tasks), registry.instance
    registry.tasks.clear()
    collecting = Collecting()
    registry.bind(collecting)
    yield collecting
    registry.tasks.clear()
    registry.tasks.update(before)
    registry.bind(bound)


def report(month: int, title: str = "") -> str:
    return f"{title}{month}"


def test_a_task_is_called_like_its_function(instance: Collecting) -> None:
    """Calling it orders nothing."""
    assert task(report)(11, title="month ") == "month 11"
    assert instance.requests == []


def test_a_task_has_its_functions_name_or_the_one_given(instance: Collecting) -> None:
    """It is stored by that name."""
    assert task(report).name == "report"
    assert task(name="monthly")(report).name == "monthly"
    assert set(registry.tasks) == {"report", "monthly"}


def test_the_settings_of_a_task_are_its_policy(instance: Collecting) -> None:
    """Those not given are the defaults of Policy."""
    assert task(max_attempts=8, timeout=None)(report).policy == Policy(max_attempts=8, timeout=None)


def test_two_functions_cannot_have_one_name_but_one_may_be_defined_twice(instance: Collecting) -> None:
    """A module that is imported anew is no second task."""
    task(report)
    task(report)
    with pytest.raises(TaskDefinitionError, match=r"report .*both have that name"):
        task(name="report")(lambda: None)


def generator() -> Iterator[int]:
    yield 1


async def coroutine() -> None:
    """Not a task."""


@pytest.mark.parametrize(
    ("function", "given", "why"),
    [
        (report, {"max_attempts": 0}, "max_attempts is 0"),
        (report, {"timeout": 0, "jitter": 3}, "timeout is 0.*jitter is 3"),
        (report, {"attempts": 3}, "attempts"),
        (report, {"discard_on": "ValueError"}, "discard_on"),
        (report, {"retry_on": (ValueError, 3)}, "retry_on"),
        (coroutine, {}, "asyncio.run"),
        (generator, {}, "runs none of its body"),
        (3, {}, "no function"),
    ],
)
def test_a_task_that_cannot_be_kept_is_refused_where_it_is_defined(
    function: Any, given: dict[str, Any], why: str, instance: Collecting
) -> None:
    """The message names the task and every fault."""
    with pytest.raises(TaskDefinitionError, match=why):
        task(**given)(function)


def test_spooled_keywords_reach_the_instance_as_they_are(instance: Collecting) -> None:
    """The instance gets task, arguments and options; the caller gets a job."""
    made = task(report)
    assert made.options(priority=5, key="a").spool(month=11).id == "j_1"
    (request,) = instance.requests
    assert (request.task.name, request.calling, request.arguments) == ("report", "keywords", {"month": 11})
    assert (request.task.options_given, request.options.priority, request.options.key) == (request.options, 5, "a")


def test_options_are_for_the_next_spool_only(instance: Collecting) -> None:
    """The task itself stays as it was."""
    made = task(report)
    made.options(priority=5).spool(month=1)
    made.spool(month=2)
    assert [request.options.priority for request in instance.requests] == [5, 0]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"month": 1, "colour": "red"},
        {"title": "x"},
        {"month": object()},
        {"month": (1, 2)},
        {"month": {1: 2}},
        {"month": b"1"},
        {"month": math.nan},
        {"month": math.inf},
        {"month": [1, {"a": {2}}]},
        {"month": datetime.now(UTC)},
    ],
)
def test_arguments_that_do_not_fit_raise_at_the_caller(arguments: dict[str, Any], instance: Collecting) -> None:
    """The signature or JSON cannot hold them; the error names task and argument, and nothing is spooled."""
    with pytest.raises(ArgumentsDoNotFit, match="report") as caught:
        task(report).spool(**arguments)
    assert isinstance(caught.value, TypeError)
    assert any(name in str(caught.value) for name in [*arguments, "month"])
    assert instance.requests == []


def test_positional_arguments_are_refused_with_a_hint(instance: Collecting) -> None:
    """By name, so that a later parameter does not change what was stored."""
    with pytest.raises(ArgumentsDoNotFit, match="by name"):
        task(report).spool(11)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**300), 10**300) | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(plain)
def test_what_json_is_said_to_hold_comes_back_as_it_went_in(value: Any) -> None:
    """Lone surrogates and large whole numbers included; NaN and infinities are refused."""
    if not_json(value) is None:
        assert json.loads(as_json({"value": value}))["value"] == value
    else:
        with pytest.raises(ValueError, match="JSON compliant"):
            as_json({"value": value})


@same_house
@given(st.dictionaries(st.binary(), st.binary()))
def test_bytes_reach_the_task_as_text_that_can_be_turned_back(instance: Collecting, given_: dict[bytes, bytes]) -> None:
    """uWSGI's own form: undecodable bytes survive the way through JSON."""
    instance.requests.clear()
    task(report).spool(given_)
    (request,) = instance.requests
    assert request.calling == "bytes"
    stored = json.loads(as_json(request.arguments))
    back = {
        key.encode("utf-8", "surrogateescape"): value.encode("utf-8", "surrogateescape")
        for key, value in stored.items()
    }
    assert back == given_
    assert from_bytes(b"\xff") == "\udcff"


@pytest.mark.parametrize("given_", [{"a": b"1"}, {b"a": "1"}, {b"a": 1}, {b"a": None}])
def test_a_dictionary_that_is_not_all_bytes_is_refused_like_uwsgi_does(given_: Any, instance: Collecting) -> None:
    """With a ValueError, and nothing is spooled."""
    with pytest.raises(NotBytes) as caught:
        task(report).spool(given_)
    assert isinstance(caught.value, ValueError)
    assert instance.requests == []


def test_at_and_delay_may_stand_beside_the_arguments(instance: Collecting) -> None:
    """As a short cut for options."""
    before = time.time()
    task(report).spool(month=1, delay=30)
    task(report).spool(month=1, at=5000.5)
    task(report).spool(month=1, at=datetime(2030, 1, 1, tzinfo=UTC))
    delayed, at, dated = [request.options.due_at for request in instance.requests]
    assert before + 30 <= delayed <= time.time() + 30
    assert at == 5000.5
    assert dated == datetime(2030, 1, 1, tzinfo=UTC).timestamp()
    assert all(request.arguments == {"month": 1} for request in instance.requests)


def test_a_parameter_called_delay_is_the_tasks_own(instance: Collecting) -> None:
    """Then the option stands in options."""

    def wait(delay: float) -> None:
        """A task with a parameter of that name."""

    task(wait).options(delay=60).spool(delay=3)
    (request,) = instance.requests
    assert request.arguments == {"delay": 3}
    assert request.options.due_at is not None


@pytest.mark.parametrize(
    "options",
    [
        {"at": 1, "delay": 1},
        {"at": datetime(2030, 1, 1)},
        {"at": "tomorrow"},
        {"delay": math.nan},
        {"delay": True},
        {"priority": 1.5},
        {"priority": True},
        {"priority": 1 << 70},
        {"key": 5},
        {"key": "\ud800"},
        {"at": math.inf},
    ],
)
def test_options_of_another_kind_raise_at_the_caller(options: dict[str, Any], instance: Collecting) -> None:
    """A naive time, a fraction of a priority, a key that is no text."""
    with pytest.raises(ArgumentsDoNotFit, match="report"):
        task(report).options(**options)


def test_without_an_instance_spooling_says_what_to_do(instance: Collecting) -> None:
    """Nothing is lost in silence."""
    registry.bind(None)
    with pytest.raises(NoInstance, match=r"Webspool\(app\)"):
        task(report).spool(month=1)


def test_a_task_of_a_source_takes_one_delivery(instance: Collecting) -> None:
    """What cannot be called with one positional argument is named."""
    assert takes_one_delivery(task(name="one")(lambda delivery: None)) is None
    assert takes_one_delivery(task(name="more")(lambda delivery, *rest, room=1: None)) is None
    assert "none" in (takes_one_delivery(task(name="none")(lambda: None)) or "")
    assert "two" in (takes_one_delivery(task(name="two")(lambda a, b: None)) or "")


def test_uwsgis_return_values_are_objects_that_count_like_its_constants() -> None:
    """So that a task may return the number -1 as its result."""
    assert [int(each) for each in (SPOOL_OK, SPOOL_RETRY, SPOOL_IGNORE)] == [-2, -1, 0]
    assert SPOOL_RETRY != -1
    assert repr(SPOOL_OK) == "SPOOL_OK"


def test_a_retry_says_when_and_whether_it_counts() -> None:
    """The reason may be left out."""
    asked = Retry(after=5, charge=False)
    assert (asked.after, asked.charge, str(asked)) == (5.0, False, "asked to run again after 5 s")
    assert str(Retry("not yet", after=1)) == "not yet"
