"""The rows of the matrix, each a function that breaks one thing."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaos import rows

if TYPE_CHECKING:
    from chaos.run import Run

Play = Callable[["Run"], dict[str, Any] | None]


class NotHere(Exception):
    """This machine cannot play the row: what it needs is told."""


@dataclass(frozen=True)
class Row:
    """`number` is the row's in the matrix, `broken` what is done to the instance, `promise` what holds all the same.

    A row that has several instances judged returns their outcome; else the checker judges the one that it had.
    """

    number: str
    name: str
    broken: str
    promise: str
    play: Play

    @property
    def place(self) -> tuple[int, str]:
        """Where it stands: 2 before 10, 4a before 4b."""
        digits = "".join(sign for sign in self.number if sign.isdigit())
        return int(digits or 0), self.number


ROWS: dict[str, Row] = {}


def row(number: int | str, name: str, *, broken: str, promise: str) -> Callable[[Play], Row]:
    """Make a function a row of that number ("4b": one of several of row 4)."""

    def register(play: Play) -> Row:
        made = Row(str(number), name, broken, promise, play)
        assert made.number not in ROWS, f"two rows have the number {made.number}"
        ROWS[made.number] = made
        return made

    return register


def all_rows() -> list[Row]:
    """Every row, in the matrix's order."""
    for module in pkgutil.iter_modules(rows.__path__, "chaos.rows."):
        importlib.import_module(module.name)
    return sorted(ROWS.values(), key=lambda each: each.place)
