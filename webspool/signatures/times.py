"""The time of signing, as senders write it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

WRITTEN = re.compile(rb"[0-9]{1,17}")


def seconds_of(text: bytes, unit: str) -> float | None:
    """Unix seconds of a time written in "s", "ms" or "iso"; None when it is not written so."""
    if unit == "iso":
        return _of_iso(text)
    if not WRITTEN.fullmatch(text):
        return None
    return int(text) / 1000 if unit == "ms" else int(text)


def _of_iso(text: bytes) -> float | None:
    try:
        moment = datetime.fromisoformat(text.decode("ascii"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def written(now: float, unit: str) -> str:
    """Unix seconds as a sender writes them."""
    if unit == "iso":
        return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(int(now * 1000) if unit == "ms" else int(now))
