"""A fence is a part of the code that keeps one law; here are the ways to take one out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from webspool.ledger.database import STATEMENTS

Removal = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Fence:
    """A part of the ledger that keeps one law, and how the ledger looks without it."""

    name: str
    remove: Removal


def without(statement: str, text: str, instead: str = "") -> Removal:
    """A named statement that has lost some of its words."""

    def remove(patch: pytest.MonkeyPatch) -> None:
        assert text in STATEMENTS[statement], f"{statement} has no {text!r}"
        patch.setitem(STATEMENTS, statement, STATEMENTS[statement].replace(text, instead))

    return remove


def nothing(*_: Any, **__: Any) -> None:
    """In the place of a function that did something."""


def replaced(function: Callable[..., Any], instead: Callable[..., Any], *houses: Any) -> Callable[..., None]:
    """Another function under a name, wherever it was imported to."""

    def remove(patch: pytest.MonkeyPatch) -> None:
        for house in houses:
            patch.setattr(house, function.__name__, instead)

    return remove


def both(*removals: Removal) -> Removal:
    def remove(patch: pytest.MonkeyPatch) -> None:
        for each in removals:
            each(patch)

    return remove
