"""The filters that commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from webspool.config import Config
from webspool.errors import NotFound, WrongKind
from webspool.ledger import reading
from webspool.ledger.reading import Filters
from webspool.moments import read_moment
from webspool.records import State

F = TypeVar("F", bound=Callable[..., Any])

KINDS = {"d": "delivery", "j": "job", "r": "refusal"}
TAKERS = {
    "delivery": "webspool delivery and webspool replay take it",
    "job": "webspool job, retry, cancel and discard take it",
    "refusal": "webspool delivery and webspool replay take it",
}
SHOWN = 50


class Moment(click.ParamType[float]):
    """A time: RFC 3339, or how long ago."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return read_moment(value)
        except ValueError as fault:
            self.fail(str(fault), param, ctx)


OPTIONS: dict[str, Callable[[Any], Any]] = {
    "state": click.option(
        "--state",
        "states",
        multiple=True,
        type=click.Choice([state.value for state in State]),
        help="Jobs in that state.",
    ),
    "task": click.option("--task", help="Jobs of the task of that name."),
    "source": click.option("--source", help="What came from the source of that name."),
    "type": click.option("--type", help="Events of that type; * stands for anything."),
    "since": click.option("--since", type=Moment(), help="Not before: 2026-01-31T12:00:00Z, or 30m, 2h, 7d ago."),
    "until": click.option("--until", type=Moment(), help="Before: a time written in the same ways."),
    "error": click.option("--error", help="With that text in the error, in upper or lower case."),
    "text": click.option("--text", help="With that text in the payload or the arguments, exactly so."),
    "refused": click.option("--refused", is_flag=True, help="Webhooks that were refused."),
}
OF_JOBS = ("state", "task", "source", "type", "since", "until", "error", "text")
OF_WEBHOOKS = (*OF_JOBS, "refused")


def filtered(*names: str) -> Callable[[F], F]:
    """Give a command these filters; it gets them as keyword arguments."""

    def decorate(function: F) -> F:
        for name in reversed(names):
            function = OPTIONS[name](function)
        return function

    return decorate


def paged(function: F) -> F:
    """Give a command --limit and --after."""
    function = click.option("--after", metavar="ID", help="Go on after that one, the last of the page before.")(
        function
    )
    return click.option(
        "--limit",
        type=click.IntRange(1),
        help=f"At most so many. Default: {SHOWN}, with --json all.",
    )(function)


as_json = click.option("--json", "json_wanted", is_flag=True, help="JSON on standard output.")


def filters_of(given: dict[str, Any]) -> Filters:
    """The filters among a command's keyword arguments."""
    states = tuple(State(state) for state in given.get("states", ()))
    names = ("task", "source", "type", "since", "until", "error", "text")
    narrowed: dict[str, Any] = {name: given.get(name) for name in names}
    return Filters(states=states, **narrowed)


def refuse_filters_of_jobs(given: dict[str, Any]) -> None:
    """A refused webhook has no jobs and no type: a filter that asks for them would find nothing, or all."""
    for name, option in (("states", "--state"), ("task", "--task"), ("type", "--type")):
        if given.get(name):
            raise click.UsageError(f"a refused webhook has no jobs and no type; {option} does not go with --refused")


def kind_of(given: str) -> str:
    """What an id is of. Raises NotFound for what is no id."""
    prefix, _, rest = given.partition("_")
    if prefix not in KINDS or not rest:
        raise NotFound(kind="delivery, job or refusal", id=given)
    return KINDS[prefix]


def expect(given: str, *kinds: str) -> str:
    """The kind of an id, which must be one of these. Raises WrongKind, NotFound."""
    kind = kind_of(given)
    if kind not in kinds:
        raise WrongKind(id=given, kind=kind, hint=TAKERS[kind])
    return kind


def place_after(config: Config, kind: str, given: str | None) -> int | None:
    """The `seq` that --after names, by an id or as a number."""
    if given is None or given.isdecimal():
        return None if given is None else int(given)
    expect(given, kind)
    return reading.position(config, kind, given)
