"""How often: so many in a span of time."""

from __future__ import annotations

import re
from dataclasses import dataclass

UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}


@dataclass(frozen=True, slots=True)
class Rate:
    """So many (`count`) in so many `seconds`: that many may come at once, then evenly."""

    count: int
    seconds: float

    @classmethod
    def of(cls, text: str) -> Rate:
        """Read "100/minute". Raises ValueError with a hint."""
        found = re.fullmatch(r"\s*([1-9][0-9]{0,8})\s*/\s*([a-z]+?)s?\s*", text) if isinstance(text, str) else None
        if not found or found[2] not in UNITS:
            raise ValueError(f"write a number and second, minute, hour or day, as in 100/minute, not {text!r}")
        return cls(int(found[1]), UNITS[found[2]])

    def __str__(self) -> str:
        unit = next(name for name, seconds in UNITS.items() if seconds == self.seconds)
        return f"{self.count}/{unit}"
