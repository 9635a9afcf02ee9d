"""Traces as W3C Trace Context has them: which webhook belongs to which trace, and the names of its spans.

Nothing of a trace is stored but the header that the sender wrote. Whoever tells of a delivery or an attempt names its
span by the delivery's or the attempt's own id, so that processes which never meet name the same span alike.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

HEADER = "traceparent"
VARIABLE = "TRACEPARENT"
LONGEST = 200
SAMPLED, FLAGS = 1, 3

# https://www.w3.org/TR/trace-context/#traceparent-header; of a later version more may follow
_WRITTEN = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True, slots=True)
class Trace:
    """A place in a trace: 32 hexadecimal digits of it, 16 of the span above, 8 bits of flags."""

    trace: str
    span: str
    flags: int = SAMPLED

    def __str__(self) -> str:
        return f"00-{self.trace}-{self.span}-{self.flags:02x}"


def read(text: str | None) -> Trace | None:
    """What a traceparent says; None when it is none, is there twice, or has an id of zeros."""
    found = _WRITTEN.fullmatch(text.strip(" \t")) if text and len(text) <= LONGEST else None
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
        return None
    if not int(found[2], 16) or not int(found[3], 16):
        return None
    return Trace(found[2], found[3], int(found[4], 16) & FLAGS)


def trace_of(id: str, above: Trace | None) -> str:
    """The trace of a delivery or a job: its sender's, else one of its own."""
    return above.trace if above else hashlib.blake2b(id.encode(), digest_size=16).hexdigest()


def span_of(id: str) -> str:
    """The span of a delivery, a job's order, or an attempt."""
    return hashlib.blake2b(id.encode(), digest_size=8).hexdigest()
