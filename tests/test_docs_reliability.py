"""The page on reliability has every row of the matrix, and every rule of the model."""

from __future__ import annotations

from pathlib import Path

from chaos.row import all_rows

PAGE = (Path(__file__).parents[1] / "docs" / "reliability.md").read_text()


def test_every_row_has_its_outcome() -> None:
    """And no outcome is told of a row that is none."""
    table = PAGE.partition("## The outcome")[2].partition("##")[0]
    told = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    assert told[:1] == ["row"]
    assert [number for number in told[1:] if number != "---"] == [row.number for row in all_rows()]
