"""What errors have in common: their text without what varies from job to job."""

from __future__ import annotations

import re
from functools import lru_cache

SPENT = re.compile(r"^\d+ of \d+ attempts spent: ")
VARYING = re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-fA-F]{8,}\b|\d+|'[^']{0,200}'|\"[^\"]{0,200}\"")
EXCEPTION = re.compile(r"([A-Za-z_][\w.]{0,100})(?::|$)")
LONGEST = 500


def first_line(error: str) -> str:
    """The first line of an error, without what was put before it."""
    return next(iter(SPENT.sub("", error).strip().splitlines()), "")


@lru_cache(maxsize=4096)
def likeness(error: str) -> str:
    """The first line of an error without numbers, addresses, and what stands in quotes."""
    return VARYING.sub("…", first_line(error)[:LONGEST])


def exception_of(error: str) -> str:
    """The exception that an error begins with; empty when it begins with none."""
    found = EXCEPTION.match(first_line(error))
    return found[1] if found else ""
