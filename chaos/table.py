"""The outcome of the rows as a table that fits into docs/reliability.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chaos.row import Row

COLUMNS = (
    "row",
    "what was broken",
    "how often",
    "sent",
    "acked",
    "duplicates",
    "jobs ended",
    "lost",
    "run without ack",
    "longest recovery",
    "verdict",
)


def table(outcomes: Sequence[tuple[Row, dict[str, Any]]]) -> str:
    """A line for each row, and under it what did not hold."""
    lines = [_cells(COLUMNS), _cells(["---"] * len(COLUMNS))]
    lines += [_cells(_row(row, found)) for row, found in outcomes]
    for row, found in outcomes:
        lines += [f"\nrow {row.number}, {row.name}: {breach}" for breach in found["breaches"]]
    return "\n".join(lines)


def _cells(words: Sequence[str]) -> str:
    return f"| {' | '.join(words)} |"


def _row(row: Row, found: dict[str, Any]) -> list[str]:
    longest = found.get("longest_recovery")
    return [
        row.number,
        row.broken,
        ", ".join(f"{number} {what}" for what, number in found.get("harm", {}).items()) or "-",
        _told(found.get("requests")),
        _told(found.get("acked")),
        _told(found.get("duplicates")),
        ", ".join(f"{number} {state}" for state, number in found.get("ended", {}).items()) or "-",
        _told(found.get("lost")),
        _told(found.get("run_without_ack")),
        "-" if longest is None else f"{longest:.1f} s",
        "broken" if found["breaches"] else "skipped" if "skipped" in found else "kept",
    ]


def _told(figure: Any) -> str:
    return "-" if figure is None else str(figure)
