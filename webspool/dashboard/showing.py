"""How values look on a page: times, durations, sizes, ids, JSON, bodies."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from datetime import datetime
from typing import Any

from markupsafe import Markup

from webspool.dashboard.words import later, say

HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
ESCAPES = re.compile(
    "\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\\\)?"
    "|[PX^_][^\x1b]{0,4096}(?:\x1b\\\\)?|[ -/]*[0-~])"
)
STEPS = ((86400.0, later("{n} d")), (3600.0, later("{n} h")), (60.0, later("{n} min")), (1.0, later("{n} s")))
PRETTY_BYTES, SHOWN_BYTES = 512 << 10, 64 << 10
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def seconds_of(moment: str | None) -> float | None:
    """Unix seconds of an RFC 3339 time."""
    return None if moment is None else datetime.fromisoformat(moment).timestamp()


def ago(moment: str | None) -> Markup:
    """A time as a distance from now, with the exact one behind it."""
    if moment is None:
        return Markup("–")
    distance = time.time() - (seconds_of(moment) or 0.0)
    if abs(distance) < 1:
        text = say("now")
    else:
        length = duration(abs(distance), coarse=True)
        text = say("{length} ago", length=length) if distance > 0 else say("in {length}", length=length)
    return Markup('<time datetime="{0}" title="{1}">{2}</time>').format(moment, when(moment), text)


def when(moment: str | None) -> str:
    """A time to the second, UTC."""
    return "–" if moment is None else f"{moment[:10]} {moment[11:19]} UTC"


def clock(moment: str | None) -> str:
    """The time of day with milliseconds, UTC."""
    return "–" if moment is None else moment[11:23]


def duration(seconds: float | None, *, coarse: bool = False) -> str:
    """A duration in two or three digits."""
    if seconds is None:
        return "–"
    if not coarse and seconds < 60:
        if seconds < 0.9995:
            milliseconds = seconds * 1000
            return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    for step, text in STEPS:
        if seconds >= step:
            return say(text, n=f"{seconds / step:.0f}" if coarse or seconds / step >= 10 else f"{seconds / step:.1f}")
    return say("{n} s", n=1)


def size(number: float | None) -> str:
    """Bytes in a unit that suits them."""
    if number is None:
        return "–"
    unit = 0
    while number >= 1024 and unit < len(UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return f"{number:.0f} {UNITS[unit]}" if unit == 0 or number >= 100 else f"{number:.1f} {UNITS[unit]}"


def percent(share: float | None) -> str:
    if share is None:
        return "–"
    return f"{share:.0%}" if share in (0, 1) or 0.1 <= share < 0.995 else f"{share:.1%}"


def short(identifier: str | None) -> str:
    """The end of an id, which tells neighbours apart; its beginning is the time."""
    return "" if not identifier else f"{identifier[:2]}…{identifier[-6:]}"


def harmless(text: str) -> str:
    """Text whose control characters are written out; colours of terminals are taken away."""
    return HARMFUL.sub(_written_out, ESCAPES.sub("", text.replace("\r\n", "\n")))


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(0x2400 + code) if code < 0x20 else "␡" if code == 0x7F else f"\\u{code:04x}"


def as_json(value: Any) -> str:
    """JSON with indents, harmless."""
    return harmless(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def body(data: bytes) -> str:
    """A payload as text: JSON with indents, a form a field a line, anything else as it is; its beginning only."""
    if len(data) <= PRETTY_BYTES:
        with suppress(ValueError, RecursionError):
            return as_json(json.loads(data))
    text = data[:SHOWN_BYTES].decode("utf-8", "backslashreplace")
    return harmless(text) + ("\n…" if len(data) > SHOWN_BYTES else "")


FILTERS = {each.__name__: each for each in (ago, body, when, clock, duration, size, percent, short, harmless, as_json)}
