"""The drop-in for uWSGI's decorators: one import changed, and the same function is durable."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from webspool import uwsgidecorators
from webspool.errors import ArgumentsDoNotFit, NotBytes, TaskDefinitionError
from webspool.records import Order
from webspool.task import SPOOL_OK, Discard, Retry, SpoolRequest, current, registry
from webspool.uwsgidecorators import NotHere, spool, spoolforever, spoolraw

SECRET_ROOM = "나의 비밀 방"
REFERENCE = Path(__file__).parents[1] / "docs" / "reference" / "uwsgidecorators.md"


class Handle:
    id, state, result = "j_0", "queued", None

    def wait(self, seconds: float) -> str:
        return self.state


class Notebook:
    """An instance that writes down what it is given."""

    def __init__(self) -> None:
        self.requests: list[SpoolRequest] = []

    def spool(self, request: SpoolRequest) -> Handle:
        self.requests.append(request)
        return Handle()

    @property
    def last(self) -> SpoolRequest:
        return self.requests[-1]

    def run_last(self, number: int = 1, **changes: Any) -> Any:
        """Call the task as a runner does, for an attempt of that number."""
        order = replace(order_for(self.last, number), **changes)
        token = current.set(order)
        try:
            if order.calling == "bytes":
                return self.last.task.function(dict(order.arguments))
            return self.last.task.function(**order.arguments)
        finally:
            current.reset(token)


def order_for(request: SpoolRequest, number: int = 1) -> Order:
    given = {"job": request.id or "j_0", "task": request.task.name, "attempt": "a_0", "number": number}
    given |= {"calling": request.calling, "arguments": dict(request.arguments), "delivery": None, "created_at": 1.0}
    return Order(**given)


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    known, before = registry.tasks, registry.instance
    registry.tasks, registry.instance = {}, Notebook()
    yield registry.instance
    registry.tasks, registry.instance = known, before


def echo(message: Any) -> Any:
    return message


def test_calling_the_function_orders_a_run(notebook: Notebook) -> None:
    """With uWSGI's decorators a call is an order; `.f` is the function itself."""
    echoed = spool(echo)
    job = echoed({b"room": SECRET_ROOM.encode()})
    assert (job.id, notebook.last.task.name, notebook.last.calling) == ("j_0", "echo", "bytes")
    assert notebook.last.arguments == {"room": SECRET_ROOM}
    assert echoed.f({"a": "1"}) == {"a": "1"}


def test_spool_as_a_method_is_the_same_on_the_object_and_on_the_function(notebook: Notebook) -> None:
    """`.spool` is uWSGI's older spelling, and it stands on the plain function too."""
    echoed = spool(echo)
    echoed.spool({b"a": b"1"})
    echo.spool(a="1")  # type: ignore[attr-defined]
    assert [request.arguments for request in notebook.requests] == [{"a": "1"}] * 2


@pytest.mark.parametrize(("decorate", "ending"), [(spool, "-2"), (spoolforever, "-1"), (spoolraw, None)])
def test_the_task_sees_the_dictionary_that_uwsgi_gives(notebook: Notebook, decorate: Any, ending: str | None) -> None:
    """Text in, text out, uWSGI's own keys before the caller's, `at` and the like left in (measured on uWSGI 2.0.30)."""
    seen = []
    decorate(lambda message: seen.append(message), name="seen")({b"a": b"1", b"at": b"5", b"priority": b"3"}, body="본")
    notebook.run_last()
    extra = {"spooler_task_name": "j_0", "ud_spool_func": "<lambda>"} | ({"ud_spool_ret": ending} if ending else {})
    assert seen == [extra | {"a": "1", "at": "5", "priority": "3", "body": "본"}]
    assert next(iter(seen[0])) == "spooler_task_name"


def test_bytes_that_are_no_text_reach_the_task(notebook: Notebook) -> None:
    """uWSGI's module fails on them for ever (UnicodeDecodeError, measured); here they come as surrogates."""
    spool(echo)({b"raw": b"\xff\xfe"})
    assert notebook.run_last()["raw"].encode("utf-8", "surrogateescape") == b"\xff\xfe"


def test_a_value_over_64_kib_is_whole(notebook: Notebook) -> None:
    """uWSGI silently keeps its length modulo 65,536 (70,000 became 4,464, measured)."""
    spool(echo)(a="x" * 70_000)
    assert len(notebook.run_last()["a"]) == 70_000


@pytest.mark.parametrize("wrong", [{"a": 1}, {1: "a"}, {"a": None}, {"a": 1.5}, {"a": [1]}, {"body": 3}, "abc", 5])
def test_what_is_neither_bytes_nor_text_is_a_value_error(notebook: Notebook, wrong: Any) -> None:
    """The type of error that uWSGI raises, with a sentence that names the task."""
    with pytest.raises(ValueError, match="echo") as raised:
        spool(echo)(wrong)
    assert isinstance(raised.value, NotBytes)
    assert notebook.requests == []


@pytest.mark.parametrize("at", [b"1795228530", "1795228530", 1795228530, b"1795228530.0"])
@pytest.mark.parametrize("beside", [True, False])
def test_at_is_honoured_in_bytes_text_and_numbers(notebook: Notebook, at: Any, beside: bool) -> None:
    """Inside the dictionary or beside it."""
    spool(echo)({b"a": b"1"}, at=at) if beside else spool(echo)({b"a": b"1", b"at": at})
    assert notebook.last.options.due_at == 1795228530.0


def test_an_unreadable_at_is_refused(notebook: Notebook) -> None:
    """uWSGI runs it at once (measured); what was to wait must not run early. Empty means at once, there and here."""
    with pytest.raises(ArgumentsDoNotFit, match="soon"):
        spool(echo)({b"at": b"soon"})
    spool(echo)({b"at": b""})
    assert notebook.last.options.due_at is None


def test_a_lower_uwsgi_priority_goes_first_and_all_go_before_none(notebook: Notebook) -> None:
    """uWSGI sorts directories by number; the ledger begins the higher priority first."""
    for given in ({b"priority": b"0"}, {b"priority": b"7"}, {"priority": 5000}, {}):
        spool(echo)(given)
    ranks = [request.options.priority for request in notebook.requests]
    assert ranks == sorted(ranks, reverse=True)
    assert len(set(ranks)) == 4
    with pytest.raises(ArgumentsDoNotFit, match="high"):
        spool(echo)(priority="high")


def test_a_spooler_directory_is_accepted_and_kept(notebook: Notebook) -> None:
    """There is one pool, so it chooses nothing; the task still sees it."""
    spool(echo)({b"spooler": b"/elsewhere"})
    assert notebook.last.arguments == {"spooler": "/elsewhere"}


def test_what_the_task_returns_is_judged_as_uwsgi_would(notebook: Notebook) -> None:
    """Bare numbers count for a drop-in task; strict_uwsgi ignores them, as uWSGI's own @spool does."""
    spool(lambda message: -1, name="honoured")({})
    assert notebook.last.task.bare_returns
    assert notebook.run_last() == -1
    spool(lambda message: -1, name="ignored", strict_uwsgi=True)({})
    assert notebook.run_last() is SPOOL_OK


def test_a_drop_in_task_takes_the_settings_of_any_task(notebook: Notebook) -> None:
    """With or without parentheses, and by another name."""
    made = spool(max_attempts=3, timeout=5, name="other")(echo)
    assert (made.task.name, made.task.policy.max_attempts, made.task.policy.timeout) == ("other", 3, 5)
    assert set(registry.tasks) == {"other"}


def test_a_coroutine_function_is_refused(notebook: Notebook) -> None:
    """It would be called and never awaited."""

    async def later(message: Any) -> None:
        await asyncio.sleep(0)

    with pytest.raises(TaskDefinitionError, match="coroutine"):
        spool(later)


def test_pass_arguments_travels_as_json_to_any_signature(notebook: Notebook) -> None:
    """Positional-only and variable arguments included; uWSGI pickles them."""

    def takes(first: int, /, *rest: str, **named: Any) -> Any:
        return first, rest, named

    made = spool(pass_arguments=True)(takes)
    made(1, SECRET_ROOM, x=[1, None], at=b"99", priority="2", spooler="/x")
    assert notebook.last.calling == "keywords"
    assert notebook.last.options.due_at == 99.0
    assert notebook.last.options.priority > 0
    assert notebook.run_last() == (1, (SECRET_ROOM,), {"x": [1, None]})


def test_a_parameter_named_at_is_an_argument(notebook: Notebook) -> None:
    """The function's own names come first (uWSGI takes them away from it)."""
    spool(lambda at: at, pass_arguments=True, name="own")(at="noon")
    assert notebook.last.options.due_at is None
    assert notebook.run_last() == "noon"


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2), {}), ((object(),), {}), (((1, 2),), {})])
def test_arguments_that_do_not_fit_raise_at_the_caller(notebook: Notebook, args: Any, kwargs: Any) -> None:
    """Too few, too many, or not of JSON's types: never found out by the runner."""

    def takes_one(value: Any) -> None: ...

    with pytest.raises(ArgumentsDoNotFit, match="takes_one"):
        spool(pass_arguments=True)(takes_one)(*args, **kwargs)


def test_a_round_that_succeeds_is_followed_by_the_next(notebook: Notebook) -> None:
    """A job a round, each ending; whatever it returns (uWSGI: SPOOL_RETRY for ever)."""
    spoolforever(lambda message: -1, name="round", pause=30)({b"a": b"1", b"priority": b"1"})
    first = notebook.last
    assert notebook.run_last() is SPOOL_OK
    assert notebook.last.arguments == first.arguments
    assert notebook.last.options.priority == first.options.priority
    assert notebook.last.options.due_at == pytest.approx(time.time() + 30, abs=5)


def test_a_round_that_is_repeated_does_not_fork_the_chain(notebook: Notebook) -> None:
    """The next round's id comes from this job; each round of the chain has another."""
    made = spoolforever(lambda message: None, name="round")
    made({})
    ids = []
    for _ in range(3):
        notebook.run_last(job="j_first")
        ids.append(notebook.last.id)
    assert len(set(ids)) == 1
    notebook.run_last(created_at=2.0)
    assert notebook.last.id not in ids
    assert notebook.last.id is not None
    assert len(notebook.last.id) == 34


@pytest.mark.parametrize(
    ("fault", "number", "followed"),
    [
        (ValueError("a try is left"), 1, False),
        (ValueError("the last try"), 2, True),
        (Discard("useless"), 1, True),
        (Retry(after=1), 1, False),
        (Retry(after=1, charge=False), 2, False),
        (KeyError("never tried again"), 1, True),
    ],
)
def test_a_round_that_fails_is_followed_once_it_is_over(
    notebook: Notebook, fault: Exception, number: int, followed: bool
) -> None:
    """While it will be tried again itself, there is no next one."""

    def failing(message: Any) -> None:
        raise fault

    spoolforever(max_attempts=2, discard_on=(KeyError,))(failing)({})
    with pytest.raises(type(fault)):
        notebook.run_last(number)
    assert len(notebook.requests) == 1 + followed


def test_a_chain_with_arguments_carries_them_on(notebook: Notebook) -> None:
    """pass_arguments works for rounds too."""
    spoolforever(lambda a, b: None, pass_arguments=True, name="round")(1, b=2)
    first = notebook.last.arguments
    notebook.run_last()
    assert notebook.last.arguments == first == {"args": [1], "kwargs": {"b": 2}}


def test_everything_can_be_imported_and_decorated_without_uwsgi() -> None:
    """One app.py for a server and for a PC: what needs uWSGI says so when it is called."""
    thread, lock, harakiri = uwsgidecorators.thread, uwsgidecorators.lock, uwsgidecorators.harakiri
    for decorated in (thread(echo), lock(echo), harakiri(3)(echo)):
        with pytest.raises(NotHere, match="needs uWSGI"):
            decorated(1)
    with pytest.warns(RuntimeWarning, match="@timer registers nothing"):
        assert uwsgidecorators.timer(3)(echo) is echo


def test_what_would_never_run_is_explained_where_it_is_used() -> None:
    """With lazy-apps a function under @mule or @postfork never runs (measured); an error is better than silence."""
    with pytest.raises(NotHere, match="mule"):
        uwsgidecorators.mule(1)(echo)
    with pytest.raises(ImportError, match="registry"):
        _ = uwsgidecorators.spooler_functions
    with pytest.raises(AttributeError):
        _ = uwsgidecorators.nothing_of_the_sort


def names_of_uwsgis_module() -> set[str]:
    script = """
import sys, types
fake = types.ModuleType("uwsgi"); fake.masterpid = lambda: 1; sys.modules["uwsgi"] = fake
import uwsgidecorators
print(*(name for name in dir(uwsgidecorators) if not name.startswith("_")))
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(told.stdout.split())


def test_every_public_name_of_uwsgis_module_has_a_row() -> None:
    """Ours, passed through, or explained: nothing is missing, and the table says what the code does."""
    pytest.importorskip("pyuwsgi")
    rows = dict(
        (name.strip("` "), kind.strip())
        for name, kind, *_ in (line[1:].split("|") for line in REFERENCE.read_text().splitlines() if line[:3] == "| `")
    )
    kinds = dict.fromkeys(uwsgidecorators.OURS, "ours") | dict.fromkeys(uwsgidecorators.PASSED, "passed through")
    assert rows == kinds | dict.fromkeys(uwsgidecorators.EXPLAINED, "explained")
    assert set(rows) == names_of_uwsgis_module()
