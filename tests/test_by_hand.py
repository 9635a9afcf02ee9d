"""A task run by hand: values are read by its signature, `webspool run` makes one job, and the shipped ping."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.furnished import APP, SUCCEEDED, Furnished
from webspool import Discard, by_hand, uwsgidecorators
from webspool.errors import ArgumentsDoNotFit
from webspool.ledger import reading
from webspool.operate import Operator
from webspool.records import Ending, Outcome
from webspool.sample import kind_of
from webspool.task import Options, Task, registry, task

ROOT = Path(__file__).parents[1]
MORE = """
@task
def report(month: int, title="sales"):
    print("month", month)
"""


@pytest.fixture(autouse=True)
def _own_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "tasks", {})
    monkeypatch.setattr(registry, "instance", None)


class Odd:
    """Can be called, but nobody can say how."""

    __signature__ = "nonsense"

    def __call__(self) -> None: ...


def order(function: Callable[..., Any], **texts: str) -> dict[str, Any]:
    """What a task is given when this is typed."""
    return dict(by_hand.order_of_texts(task(function), texts, Options()).arguments)


# ── reading values ──────────────────────────────────────────────────────────────────────────────────────────────


def test_values_are_read_by_annotations() -> None:
    """A text stays one, also where it looks like a number."""

    def made(
        a: int, b: float, c: bool, d: str, e: list[int], f: dict[str, int], g: int | None, h: str | int
    ) -> None: ...

    typed = {"a": "-7", "b": "2.5", "c": "no", "d": "007", "e": "[1]", "f": '{"x": 1}', "g": "null", "h": "5"}
    assert order(made, **typed) == {
        "a": -7,
        "b": 2.5,
        "c": False,
        "d": "007",
        "e": [1],
        "f": {"x": 1},
        "g": None,
        "h": 5,
    }


def test_without_annotations_the_default_or_the_text_itself_decides() -> None:
    """Text that is JSON is what it says; other text is text."""

    def made(a: Any, b: Any = 3, c: Any = "x", **more: Any) -> None: ...

    made.__annotations__ = {}
    assert order(made, a="[1, 2]", b="4", c="5", d="true") == {"a": [1, 2], "b": 4, "c": "5", "d": True}
    assert order(made, a="plain words") == {"a": "plain words"}


def test_an_annotation_that_cannot_be_read_says_nothing() -> None:
    """The user's code is not ours to judge."""

    def made(a: Unheard.Of) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert order(made, a="1") == {"a": 1}


def test_a_function_of_any_kind_has_a_form() -> None:
    """Without a signature it takes anything; a default that is no JSON is shown as it is, odd choices are none."""

    def made(a: Any = {(1, 2): 3}, b: Literal[b"x"] = b"x", c: Any = float("nan")) -> None: ...  # noqa: B006

    parameters = by_hand.parameters_of(task(made))
    assert [each.shown_default for each in parameters] == ["{(1, 2): 3}", "b'x'", "NaN"]
    assert [each.kind for each in parameters[:2]] == [by_hand.Kind.OBJECT, by_hand.Kind.ANY]
    assert by_hand.takes_more(task(name="odd")(Odd()))


@pytest.mark.parametrize(
    ("texts", "faults"),
    [
        ({}, {"month": "it is needed"}),
        ({"month": "1e3"}, {"month": "'1e3' is no whole number"}),
        ({"month": "1", "to": "{"}, {"to": "it is no JSON list: "}),
        ({"month": "1", "to": "{}"}, {"to": "{} is no JSON list"}),
        ({"month": "1", "rate": "nan"}, {"rate": "'nan' is no number"}),
    ],
)
def test_what_does_not_fit_is_told_by_argument(texts: dict[str, str], faults: dict[str, str]) -> None:
    """All of it at once, before anything is stored."""

    def made(month: int, to: list[str] = [], rate: float = 1.0) -> None: ...  # noqa: B006

    with pytest.raises(ArgumentsDoNotFit) as told:
        order(made, **texts)
    assert told.value.faults.keys() == faults.keys()
    assert all(told.value.faults[name].startswith(why) for name, why in faults.items())


@pytest.mark.parametrize("text", ["[1]", "nonsense", "{" * 100_000, '{"a": NaN}', '{"a": 1, "b": 2}', '{"a": "1"}'])
def test_json_arguments_are_held_against_the_signature_too(text: str) -> None:
    """Whatever is wrong is an ArgumentsDoNotFit."""

    def made(a: int) -> None: ...

    with pytest.raises(ArgumentsDoNotFit):
        by_hand.order_of_json(task(made), text, Options())


def test_tasks_of_uwsgis_decorators_take_texts() -> None:
    """Their dictionary, or with pass_arguments its two parts."""

    @uwsgidecorators.spool
    def bare(env: Any) -> None: ...

    @uwsgidecorators.spool(pass_arguments=True)
    def passing(*args: Any, **kwargs: Any) -> None: ...

    found = by_hand.order_of_texts(registry.tasks["bare"], {"duration": "5"}, Options())
    assert (found.calling, found.arguments) == ("bytes", {"duration": "5"})
    found = by_hand.order_of_json(registry.tasks["passing"], '{"args": [1], "kwargs": {"a": 2}}', Options())
    assert (found.calling, found.arguments) == ("keywords", {"args": [1], "kwargs": {"a": 2}})
    with pytest.raises(ArgumentsDoNotFit):
        by_hand.order_of_json(registry.tasks["bare"], '{"duration": 5}', Options())


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"a": 1}', "application/json"),
        (b" [1", "application/json"),
        (b"3", "application/json"),
        (b"a=1&b=%20x", "application/x-www-form-urlencoded"),
        (b"plain = words", "text/plain; charset=utf-8"),
        (b"", "text/plain; charset=utf-8"),
        ("가".encode(), "text/plain; charset=utf-8"),
    ],
)
def test_what_somebody_typed_has_the_kind_that_it_looks_like(body: bytes, kind: str) -> None:
    """Broken JSON says that it is JSON, so that it is told."""
    assert kind_of(body) == kind


# ── webspool run ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def house(tmp_path: Path) -> Furnished:
    made = Furnished(tmp_path, ("deploy", "audit", "report"))
    (tmp_path / "app.py").write_text(APP + MORE)
    return made


def test_run_makes_one_job(house: Furnished) -> None:
    """Its id is printed; who ran it is kept."""
    result = house.webspool("run", "report", "month=11", "--delay", "1h", "--priority", "2", "--key", "k")
    job = reading.job(house.config, result.stdout.strip())
    assert (job["arguments"], job["state"], job["priority"], job["key"]) == ({"month": 11}, "scheduled", 2, "k")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["report"], 1, "month: it is needed"),
        (["report", "month=May"], 1, "month: 'May' is no whole number"),
        (["report", "month=5", "--at", "soon"], 1, "at: 'soon' is no time"),
        (["report", "month"], 2, "write NAME=VALUE"),
        (["report", "month=5", "--data", "{}"], 2, "give arguments or --data, not both"),
        (["nothing"], 1, "There is no task nothing in this instance's code; there are: audit, deploy, report."),
        (["deploy", "--source", "shop"], 2, "not started by shop, but by github"),
    ],
)
def test_what_cannot_be_run_is_told_and_nothing_is_stored(
    house: Furnished, words: list[str], code: int, told: str
) -> None:
    """The exit code says whether the words make sense."""
    result = house.webspool("run", *words)
    assert (result.exit_code, told in result.stderr) == (code, True), result.stderr
    assert house.json("jobs") == []


def test_run_of_a_task_that_webhooks_start_makes_a_delivery(house: Furnished) -> None:
    """What is typed is its payload; no other task of the source starts."""
    told = house.json("run", "deploy", "after=abc", "n=5", "--event", "push")
    job = reading.job(house.config, told["job"])
    delivery = reading.delivery(house.config, job["delivery"])
    assert json.loads(delivery["body"]) == {"after": "abc", "n": 5}
    assert (delivery["type"], [each["task"] for each in delivery["jobs"]]) == ("push", ["deploy"])


@pytest.mark.parametrize(("outcome", "code"), [(SUCCEEDED, 0), (Outcome(Ending.DISCARDED, error="of no use"), 1)])
def test_run_follow_ends_with_the_job(
    house: Furnished, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, code: int
) -> None:
    """What it printed on standard output, its end in the exit code."""
    ordered = Operator.run

    def ordered_and_run(operator: Operator, *given: Any) -> dict[str, Any]:
        told = ordered(operator, *given)
        house.run(outcome, output=b"month 1\n")
        return told

    monkeypatch.setattr(Operator, "run", ordered_and_run)
    result = house.webspool("run", "report", "month=1", "--follow")
    assert (result.exit_code, "month 1" in result.stdout) == (code, True)
    assert code == 0 or "It is dead: of no use" in result.stderr


# ── ping ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["tasks.py", "webspool/template/tasks.py"])
def ping(request: pytest.FixtureRequest) -> Task[Any, Any]:
    """The shipped example."""
    spec = importlib.util.spec_from_file_location("shipped", ROOT / request.param)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Task[Any, Any] = module.ping
    return found


def stand_in(folder: Path, lines: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program named ping that tells how it was called."""
    (folder / "ping").write_text(f"#!/bin/sh\n{lines}\n")
    (folder / "ping").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1", "::1", "a_b-c.local."])
def test_ping_runs_the_program_without_a_shell(
    ping: Task[Any, Any], host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its lines are printed."""
    stand_in(tmp_path, 'echo "$#: $@"; echo reply >&2', monkeypatch)
    ping(host)
    assert capfd.readouterr().out == f"3: -c 5 {host}\nreply\n"


@pytest.mark.parametrize(
    "host", ["-f", "--help", "a b", "a;id", "$(id)", "", "x\n", "-c", "é.example", "a" * 300, "/etc"]
)
def test_ping_takes_nothing_but_a_host(
    ping: Task[Any, Any], host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program is not even begun."""
    stand_in(tmp_path, f"touch {tmp_path}/called", monkeypatch)
    with pytest.raises(Discard, match="is no host's name"):
        ping(host)
    assert not (tmp_path / "called").exists()


def test_ping_tells_what_is_missing_or_went_wrong(
    ping: Task[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the program what to install; otherwise its exit code."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Discard, match="apt-get install iputils-ping"):
        ping("example.org")
    stand_in(tmp_path, "exit 2", monkeypatch)
    with pytest.raises(RuntimeError, match="exit code 2"):
        ping("example.org")
