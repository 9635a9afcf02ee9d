"""What commands write: JSON and text for people, on standard output; messages on standard error."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import click

# Control characters, also those of 8-bit terminals, and what turns the writing direction around.
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
COLOURS = {
    "succeeded": "green",
    "accepted": "green",
    "running": "cyan",
    "scheduled": "blue",
    "blocked": "yellow",
    "interrupted": "yellow",
    "dead": "red",
    "failed": "red",
    "timed_out": "red",
    "refused": "red",
}
NARROWEST = 30
INDENT = "    "


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its heading and how its text is got from a row."""

    heading: str
    text: Callable[[dict[str, Any]], Any]
    right: bool = False


def say(message: str) -> None:
    """A message to the person, not part of the answer."""
    click.echo(harmless(message), err=True)


def write_json(value: Any) -> None:
    """One JSON document."""
    click.echo(to_json(value, indent=2))


def write_json_list(values: Iterable[Any]) -> None:
    """A JSON list, an element a line, written as the elements come."""
    begun = False
    for value in values:
        click.echo((",\n" if begun else "[\n") + to_json(value), nl=False)
        begun = True
    click.echo("\n]" if begun else "[]")


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON in which every character can be printed: what could command a terminal is escaped."""
    return HARMFUL.sub(_json_escape, json.dumps(value, ensure_ascii=False, indent=indent, default=str))


def _json_escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def harmless(text: str) -> str:
    """Text that cannot command a terminal: its control characters are written out (tabs and new lines stay)."""
    return HARMFUL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def one_line(value: Any) -> str:
    """A value as one harmless line; a dash when there is none."""
    if value is None or value == "":
        return "-"
    return harmless(" ".join(str(value).split("\n", 1)[0].split("\t")))


def moment(time: str | None) -> str:
    """An RFC 3339 time as a table shows it: to the second."""
    return "-" if time is None else f"{time[:10]} {time[11:19]}Z"


# ── tables ──────────────────────────────────────────────────────────────────────────────────────────────────────


def write_table(rows: Sequence[dict[str, Any]], columns: Sequence[Column]) -> None:
    """Aligned columns under their headings; on a terminal the last one is cut to fit, or has lines of its own."""
    lines = [[column.heading for column in columns]]
    lines += [[one_line(column.text(row)) for column in columns] for row in rows]
    widths = [max(width(line[place]) for line in lines) for place in range(len(columns))]
    room = _room() - sum(widths[:-1]) - 2 * (len(widths) - 1)
    below = room < min(widths[-1], NARROWEST)
    for number, line in enumerate(lines):
        last = "" if below else cut(line[-1], room)
        padded = [_padded(*each) for each in zip([*line[:-1], last], widths, columns, strict=True)]
        click.echo("  ".join(emphasised(text, heading=number == 0) for text in [*padded[:-1], padded[-1].rstrip()]))
        if below and line[-1] != "-":
            click.echo(emphasised(INDENT + cut(line[-1], _room() - len(INDENT)), heading=number == 0))


def _room() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize


def _padded(text: str, wide: int, column: Column) -> str:
    space = " " * (wide - width(text))
    return space + text if column.right else text + space


def emphasised(text: str, *, heading: bool = False) -> str:
    """Text with the colour of its state; click takes colours out again where there is no terminal."""
    if "NO_COLOR" in os.environ:
        return text
    if heading:
        return click.style(text, dim=True)
    colour = COLOURS.get(text.strip().partition(" ")[0])
    return click.style(text, fg=colour) if colour else text


def width(text: str) -> int:
    """How many columns of a terminal the text takes: Korean, Chinese and Japanese letters take two."""
    return len(text) if text.isascii() else sum(map(_letter_width, text))


def _letter_width(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me", "Cf") or "\u1160" <= letter <= "\u11ff":  # joined to the one before
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def cut(text: str, wide: int) -> str:
    """At most so many columns of the text, with an ellipsis for what is left out."""
    if width(text) <= wide:
        return text
    taken, used = [], 1
    for letter in text:
        used += _letter_width(letter)
        if used > wide:
            break
        taken.append(letter)
    return "".join(taken) + "…"


def write_fields(fields: Iterable[tuple[str, Any]]) -> None:
    """Names and values, one a line; what there is none of is left out."""
    known = [(name, value) for name, value in fields if value not in (None, "", [], {})]
    wide = max((width(name) for name, _ in known), default=0)
    for name, value in known:
        lines = harmless(str(value)).splitlines() or [""]
        click.echo(f"{name + ' ' * (wide - width(name))}  {emphasised(lines[0])}")
        for line in lines[1:]:
            click.echo(f"{' ' * wide}  {line}")
