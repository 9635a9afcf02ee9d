"""What a source's sender is answered in place of webspool's own words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

LARGEST_BODY = 1 << 20
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(r"[\x20-\x7e\xa0-\xff\t]*")
OURS = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "trailer"})
WITHOUT_BODY = (204, 205)


@dataclass(frozen=True)
class Answer:
    """An answer to a webhook that is stored: `body` is text, bytes, or a dict or list that goes as JSON.

    `status` is 200 to 299: the webhook is on disk already, whatever is said. The Content-Type is that of the body
    unless `headers` name one.
    """

    body: Any = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def faults(self) -> Iterator[str]:
        """What is wrong with it, a sentence each."""
        if isinstance(self.status, bool) or self.status not in range(200, 300):
            yield f"the status is {self.status!r}, not 200 to 299: what is stored must not be sent again"
        for name, value in self.headers.items():
            if not isinstance(name, str) or not TOKEN.fullmatch(name) or name.lower() in OURS:
                yield f"{name!r} is no header that can be set"
            elif not isinstance(value, str) or not VALUE.fullmatch(value):
                yield f"the header {name} has the value {value!r}, which is no line of Latin-1 text"
        try:
            size = len(self.content())
        except (TypeError, ValueError, RecursionError) as fault:
            kind = type(self.body).__name__
            yield f"the body is a {kind}, not text, bytes, or a dict or list of JSON values ({fault})"
            return
        if size > LARGEST_BODY:
            yield f"the body has {size} bytes, more than {LARGEST_BODY}"
        if size and self.status in WITHOUT_BODY:
            yield f"an answer of status {self.status} has no body (RFC 9110)"

    def content(self) -> bytes:
        """The body's bytes. Raises TypeError, ValueError."""
        if isinstance(self.body, str | bytes):
            return self.body.encode() if isinstance(self.body, str) else self.body
        if not isinstance(self.body, dict | list):
            raise TypeError("it is none of these")
        return json.dumps(self.body, ensure_ascii=False, allow_nan=False).encode()

    def fields(self) -> dict[str, str]:
        """Its headers, those that follow from the body included; no browser is to guess what it is."""
        named = {name.lower() for name in self.headers}
        kind = "text/plain; charset=utf-8" if isinstance(self.body, str) else "application/octet-stream"
        own = {"Content-Type": "application/json" if isinstance(self.body, dict | list) else kind}
        added = own | {"X-Content-Type-Options": "nosniff"}
        return {**self.headers, **{name: value for name, value in added.items() if name.lower() not in named}}


def answer_of(value: Any) -> Answer:
    """What a function returned, as an answer. Raises ValueError that says why it is none."""
    answer = value if isinstance(value, Answer) else Answer(value)
    if faults := list(answer.faults()):
        raise ValueError("; ".join(faults))
    return answer
