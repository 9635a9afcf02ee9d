"""Times as people write and read them: RFC 3339, or how long ago."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

LONGEST_SECONDS = 100 * 366 * 86400.0
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def read_moment(text: str, *, now: float | None = None) -> float:
    """Unix seconds of `2026-01-31T12:00:00Z`, or of `90s`, `30m`, `2h`, `7d` ago. Raises ValueError."""
    text = text.strip()
    if ago := re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", text):
        return (time.time() if now is None else now) - float(ago[1]) * UNITS[ago[2]]
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no time; write 2026-01-31T12:00:00Z, or how long ago: 90s, 30m, 2h, 7d"
        ) from None


def read_length(text: str) -> float:
    """Seconds of `90`, `90s`, `10m`, `2h`, `1d`. Raises ValueError."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw]?)", text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no length of time; write 90, 10m, 2h, 1d")
    seconds = float(found[1]) * UNITS[found[2] or "s"]
    if seconds > LONGEST_SECONDS:
        raise ValueError(f"{text!r} is longer than a hundred years")
    return seconds


def read_due(text: str) -> float:
    """Unix seconds of `2026-01-31T12:00:00Z`; without a zone it is UTC. Raises ValueError."""
    try:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no time; write 2026-01-31T12:00:00Z") from None
