"""Filters as they stand in an address, the same as the commands': ?state=dead&task=deploy&since=2h&error=timeout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import request
from werkzeug.datastructures import MultiDict

from webspool.ledger.reading import Filters
from webspool.moments import read_moment
from webspool.records import State

SHOWN, SHOWN_AT_MOST = 50, 500
LONGEST = 500
WORDS = ("task", "source", "type", "error", "text")
TIMES = ("since", "until")
NAMES = ("state", *WORDS, *TIMES)


@dataclass(frozen=True)
class Asked:
    """What was asked for. `given` is as it was written, `faults` says by name what cannot be read."""

    filters: Filters
    given: Mapping[str, Any]
    faults: Mapping[str, str] = field(default_factory=dict)

    @property
    def query(self) -> dict[str, Any]:
        """The given fields as they go into an address."""
        return {name: value for name, value in self.given.items() if value}

    def without(self, *names: str) -> dict[str, Any]:
        return {name: value for name, value in self.query.items() if name not in names}

    @property
    def narrowed(self) -> bool:
        return bool(self.query)


def asked(names: tuple[str, ...] = NAMES, form: bool = False) -> Asked:
    """The filters of the request at hand, of its query or of its form."""
    return filters_in(request.form if form else request.args, names)


def filters_in(fields: MultiDict[str, str], names: tuple[str, ...] = NAMES) -> Asked:
    """The filters among fields, and how much of what they find is asked for."""
    given: dict[str, Any] = {name: fields.get(name, "").strip() for name in names if name != "state"}
    given |= {"state": [each for each in fields.getlist("state") if each]} if "state" in names else {}
    faults = {name: f"{name} is longer than {LONGEST} letters" for name in given if len(given[name]) > LONGEST}
    values: dict[str, Any] = {name: given[name] or None for name in WORDS if name in names and name not in faults}
    for name in TIMES:
        if given.get(name) and name not in faults:
            try:
                values[name] = read_moment(given[name])
            except ValueError as fault:
                faults[name] = str(fault)
    states = given.get("state", [])
    if strange := [each for each in states if each not in list(State)]:
        faults["state"] = f"{strange[0]!r} is no state; there are {', '.join(State)}"
    values["states"] = tuple(State(each) for each in states if each in list(State))
    for name, low, high, default in (("after", 0, 2**62, None), ("limit", 1, SHOWN_AT_MOST, SHOWN)):
        values[name] = _number(fields.get(name), name, low, high, default, faults)
    return Asked(Filters(**values), given, faults)


def _number(text: str | None, name: str, low: int, high: int, default: int | None, faults: dict[str, str]) -> Any:
    if not text:
        return default
    if not text.isdecimal() or len(text) > 20 or not low <= int(text) <= high:
        faults[name] = f"{name} is a number from {low} to {high}"
        return default
    return int(text)
