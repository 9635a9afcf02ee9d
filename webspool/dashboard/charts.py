"""Charts as plain numbers for an SVG: bars that stand on each other, and lines over a logarithmic height."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from webspool.dashboard.showing import duration

WIDTH, HEIGHT = 600.0, 120.0
GAP = 0.18
TOPS = (0.02, 0.1, 0.2, 0.5, 1.0)

Series = Sequence[tuple[str, Sequence[float | None]]]


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


def bars(points: Sequence[Sequence[tuple[str, float]]], *, snug: bool = False) -> Chart:
    """For each point its parts (kind, number), the first at the bottom. `snug`: the highest is as high as the chart."""
    highest = max((sum(number for _, number in parts) for parts in points), default=0.0)
    top = highest or 1.0 if snug else _round_up(highest)
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


def lines(series: Series) -> Chart:
    """For each kind its durations in seconds, None where there is none."""
    known = _known(series)
    if not known:
        return Chart()
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)) + 1e-9)
    high = max(high, low + 1)
    ticks = [Tick(100.0 * (high - power) / (high - low), duration(10.0**power)) for power in range(low, high + 1)]
    drawn = _drawn(series, lambda seconds: (high - math.log10(seconds)) / (high - low))
    return Chart(lines=drawn, ticks=ticks[:: max(1, len(ticks) // 4)])


def shares(series: Series) -> Chart:
    """For each kind its shares of a whole, 0 to 1, None where there is none."""
    known = _known(series)
    if not known:
        return Chart()
    top = next(each for each in TOPS if each >= max(known))
    ticks = [Tick(0.0, f"{top:.0%}"), Tick(50.0, f"{top / 2:.1%}".replace(".0%", "%")), Tick(100.0, "0")]
    return Chart(lines=_drawn(series, lambda share: 1 - share / top), ticks=ticks)


def _known(series: Series) -> list[float]:
    return [value for _, values in series for value in values if value is not None]


def _drawn(series: Series, place: Callable[[float], float]) -> list[Line]:
    """A line for each kind; `place` says how far from the top a value lies, 0 to 1."""
    step = WIDTH / max(len(values) for _, values in series)
    return [Line(kind, _path(values, step, place)) for kind, values in series]


def _path(values: Sequence[float | None], step: float, place: Callable[[float], float]) -> str:
    """A point that stands alone is a short line."""
    pieces, pen = [], "M"
    for number, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        x, y = step * (number + 0.5), HEIGHT * place(value)
        alone = pen == "M" and (number + 1 == len(values) or values[number + 1] is None)
        pieces.append(f"{pen}{x - 1 if alone else x:.1f} {y:.1f}" + (f"L{x + 1:.1f} {y:.1f}" if alone else ""))
        pen = "L"
    return "".join(pieces)


def _round_up(number: float) -> float:
    """The next of 1, 2, 4, 10, 20, 40, 100 ... that is not smaller; 1 for nothing."""
    if number <= 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(number))
    return next(power * step for step in (1, 2, 4, 10) if power * step >= number)
