"""Charts as plain numbers for an SVG: bars that stand on each other, and lines over a logarithmic height."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from webspool.dashboard.showing import duration

WIDTH, HEIGHT = 600.0, 120.0
GAP = 0.18


@dataclass(frozen=True, slots=True)
class Bar:
    """One rectangle; `kind` colours it."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A line across the chart with its label; `y` counts from the top, in per cent."""

    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line through the points that are known, in one or several pieces."""

    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn."""

    bars: Sequence[Bar] = ()
    lines: Sequence[Line] = ()
    ticks: Sequence[Tick] = ()


def bars(points: Sequence[Sequence[tuple[str, float]]]) -> Chart:
    """For each point its parts (kind, number), the first at the bottom."""
    top = _round_up(max((sum(number for _, number in parts) for parts in points), default=0.0))
    step = WIDTH / max(len(points), 1)
    drawn = []
    for place, parts in enumerate(points):
        floor = HEIGHT
        for kind, number in parts:
            height = HEIGHT * number / top
            floor -= height
            if height:
                drawn.append(Bar(round(step * (place + GAP / 2), 2), round(floor, 2), round(step * (1 - GAP), 2),
                                 round(height, 2), kind))  # fmt: skip
    return Chart(bars=drawn, ticks=[Tick(0.0, f"{top:g}"), Tick(50.0, f"{top / 2:g}"), Tick(100.0, "0")])


def lines(series: Sequence[tuple[str, Sequence[float | None]]]) -> Chart:
    """For each kind its durations in seconds, None where there is none."""
    known = [value for _, values in series for value in values if value is not None]
    if not known:
        return Chart()
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)) + 1e-9)
    high = max(high, low + 1)
    ticks = [Tick(100.0 * (high - power) / (high - low), duration(10.0**power)) for power in range(low, high + 1)]
    step = WIDTH / max(max(len(values) for _, values in series), 1)

    def path(values: Sequence[float | None]) -> str:
        pieces, pen = [], "M"
        for place, value in enumerate(values):
            if value is None:
                pen = "M"
                continue
            x, y = step * (place + 0.5), HEIGHT * (high - math.log10(value)) / (high - low)
            alone = pen == "M" and (place + 1 == len(values) or values[place + 1] is None)
            pieces.append(f"{pen}{x - 1 if alone else x:.1f} {y:.1f}" + (f"L{x + 1:.1f} {y:.1f}" if alone else ""))
            pen = "L"
        return "".join(pieces)

    return Chart(lines=[Line(kind, path(values)) for kind, values in series], ticks=ticks[:: max(1, len(ticks) // 4)])


def _round_up(number: float) -> float:
    """The next of 1, 2, 4, 10, 20, 40, 100 ... that is not smaller; 1 for nothing."""
    if number <= 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(number))
    return next(power * step for step in (1, 2, 4, 10) if power * step >= number)
