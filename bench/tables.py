"""What was measured, as tables: medians with the least and the most, ratios of paired rounds, the machine's head."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from bench.noise import Noise, worst
from bench.peers import PEERS

Found = dict[str, Any]

COLUMNS = {
    "accepted_per_second": "accepted/s",
    "done_per_second": "done/s",
    "start_p50_ms": "POST to start p50, ms",
    "start_p99_ms": "p99, ms",
    "answer_p99_ms": "POST to answer p99, ms",
    "memory_mib": "PSS, MiB",
}
BACKLOG = "*"


def printed(found: Found) -> str:
    """Head and figures of any measurement; of stacks also how ours stand to each peer's."""
    noise = worst([each if isinstance(each, Noise) else Noise(**each) for each in found["noise"]])
    parts = [*head(found["machine"], noise), ""]
    match found["what"]:
        case "compare":
            parts += figures(found["rounds"])
            if any(row["stack"] == "webspool" for row in found["rounds"]):
                parts += ["", *(ratios(found["rounds"]) if not noise.faults else [UNTOLD])]
        case "flat":
            parts += flatness(found)
        case what:
            parts += [what, *listed(found["figures"])]
    return "\n".join(parts)


def flatness(found: Found) -> list[str]:
    """The filled ledger beside the empty one, the operator's questions, and the pruner's bites."""
    rows = []
    for which in ("empty", "filled"):
        own = [row for row in found["rounds"] if row["ledger"] == which]
        rows.append([f"{which} ledger", *(spread([row[name] for row in own]) for name in COLUMNS)])
    pairs = list(zip(*([r for r in found["rounds"] if r["ledger"] == w] for w in ("filled", "empty")), strict=True))
    rows.append(["filled / empty", *(spread(_ratios(pairs, name), "{:.2f}") for name in COLUMNS)])
    slowest = sorted(found["lists_ms"].items(), key=lambda item: -item[1])
    return [
        *table(["webspool", *COLUMNS.values()], rows),
        "",
        f"{len(slowest)} questions, the slowest first, in milliseconds:",
        *(f"  {milliseconds:8.1f}  {words}" for words, milliseconds in slowest),
        "commands from typing to the end:",
        *(f"  {milliseconds:8.1f}  webspool {words}" for words, milliseconds in found["commands_ms"].items()),
        "pruning, milliseconds for which a bite holds the writer:",
        *listed(found["pruning"]),
    ]


def listed(figures: Found, indent: str = "  ") -> list[str]:
    """Names and values, one a line."""
    told = []
    for name, value in figures.items():
        if isinstance(value, dict):
            told += [f"{indent}{name}", *listed(value, f"{indent}  ")]
        else:
            told.append(f"{indent}{name:32}{value:,.2f}" if isinstance(value, float) else f"{indent}{name:32}{value:,}")
    return told


UNTOLD = "Ratios are not told: the machine was not still (see above). Stop what else runs, and measure again."


def head(machine: Found, noise: Noise) -> list[str]:
    """The machine, and whether it was still; when it was not, that comes first."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    told = [
        f"{machine['date']}, {machine['processors']} processors, {machine['system']}, Python {machine['python']} "
        f"(10,000 small objects {machine['python_ms']} ms), one flush of 4 KiB {machine['fsync_ms']} ms; "
        "load generator on the same machine",
        versions,
        f"noise: {noise.spread:.2f} x the median in one of twenty pieces of work, others {noise.others:.2f} of a core, "
        f"stolen {noise.stolen:.1%}",
    ]
    if machine.get("flush_ms"):
        told.append(f"EACH FLUSH OF A STACK WAS MADE TO TAKE {machine['flush_ms']:g} ms AT LEAST")
    if noise.faults:
        told.insert(0, f"THIS MACHINE WAS NOT STILL, the figures are worth little: {'; '.join(noise.faults)}.")
    return told


def figures(rounds: Sequence[Found]) -> list[str]:
    """A row a stack: the median of its rounds, in brackets the least and the most."""
    titles = ["stack", *COLUMNS.values()]
    rows = []
    for name in _stacks(rounds):
        own = [row for row in rounds if row["stack"] == name]
        mark = BACKLOG if any(row["behind"] for row in own) else ""
        rows.append(
            [PEERS[name].title + mark, *(spread([row[column] for row in own if column in row]) for column in COLUMNS)]
        )
    told = table(titles, rows)
    if any(row["behind"] for row in rounds):
        told.append(f"{BACKLOG} still behind when the time for draining was over")
    return [f"medians of {_count(rounds)} rounds in turn; in brackets the least and the most", "", *told]


def ratios(rounds: Sequence[Found]) -> list[str]:
    """Ours by theirs, each round by itself."""
    ours = {row["round"]: row for row in rounds if row["stack"] == "webspool"}
    rows = []
    for name in _stacks(rounds):
        pairs = [(ours[row["round"]], row) for row in rounds if row["stack"] == name and row["round"] in ours]
        if name != "webspool" and pairs:
            cells = [spread(_ratios(pairs, column), "{:.2f}") for column in COLUMNS]
            rows.append([f"webspool / {PEERS[name].title}", *cells])
    return table(["ratio in the same round", *COLUMNS.values()], rows)


def _ratios(pairs: Sequence[tuple[Found, Found]], column: str) -> list[float]:
    return [mine[column] / its[column] for mine, its in pairs if mine.get(column) and its.get(column)]


def _stacks(rounds: Iterable[Found]) -> list[str]:
    return list(dict.fromkeys(row["stack"] for row in rounds))


def _count(rounds: Sequence[Found]) -> int:
    return len({row["round"] for row in rounds})


def spread(values: Sequence[float], form: str = "") -> str:
    """The median, and between which it lies."""
    if not values:
        return "-"
    median, least, most = (_told(each, form) for each in (statistics.median(values), min(values), max(values)))
    return median if len(values) == 1 else f"{median} ({least} to {most})"


def _told(value: float, form: str) -> str:
    if form:
        return form.format(value)
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown, its columns aligned for the eye."""
    widths = [max(len(row[column]) for row in [titles, *rows]) for column in range(len(titles))]
    ruled = [titles, ["-" * width for width in widths], *rows]
    return [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in ruled
    ]
