"""The reference of Python names is whole, and has every parameter with its default."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import webspool
from webspool import testing
from webspool.engines.inline import InlineEngine
from webspool.handle import Job
from webspool.task import Task

PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "python.md").read_text()
TOLD = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
OWNERS: dict[str, Any] = {"task": Task, "job": Job, "Webspool": webspool.Webspool, "engine": InlineEngine}


def test_every_public_name_has_a_row() -> None:
    """And no row names what is not there."""
    plain = {re.split(r"\(", told)[0] for told in TOLD if "." not in told.partition("(")[0]}
    assert plain == {*webspool.__all__, "inline", "signed_request"}


def test_every_row_has_the_parameters_of_the_code() -> None:
    """In their order, with their defaults; a name without parentheses takes what its own page tells."""
    for told in TOLD:
        name = told.partition("(")[0]
        owner, _, member = name.rpartition(".")
        found = getattr(OWNERS[owner] if owner else (testing if hasattr(testing, name) else webspool), member or name)
        if "(" in told:
            assert told == f"{name}{parameters(found, method=bool(owner))}"


def parameters(found: Any, *, method: bool) -> str:
    given = list(inspect.signature(found).parameters.values())[int(method) :]
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in given]
    return str(inspect.Signature(bare)).replace("<factory>", "{}")
