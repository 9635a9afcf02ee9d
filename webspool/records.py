"""The words of the house as frozen records: requests, deliveries, jobs, attempts, outcomes and the states."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from webspool.errors import UnparsableBody


def new_id(prefix: str) -> str:
    """A fresh time-ordered random id: `prefix_` and a UUIDv7 (RFC 9562, 5.7) in hexadecimal, 74 random bits."""
    random = int.from_bytes(os.urandom(10), "big")
    value = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | (random >> 68 & 0xFFF) << 64
    return f"{prefix}_{value | 0b10 << 62 | random & 0x3FFFFFFFFFFFFFFF:032x}"


class State(StrEnum):
    """Where a job stands."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    BLOCKED = "blocked"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    CANCELLED = "cancelled"


FINISHED = frozenset({State.SUCCEEDED, State.DEAD, State.CANCELLED})
WAITING = frozenset({State.SCHEDULED, State.QUEUED, State.BLOCKED})

LEGAL_MOVES: Mapping[State, frozenset[State]] = {
    State.SCHEDULED: frozenset({State.QUEUED, State.BLOCKED, State.CANCELLED, State.DEAD}),
    State.QUEUED: frozenset({State.RUNNING, State.BLOCKED, State.CANCELLED, State.DEAD}),
    State.BLOCKED: frozenset({State.QUEUED, State.BLOCKED, State.CANCELLED, State.DEAD}),
    State.RUNNING: frozenset(
        {State.SUCCEEDED, State.SCHEDULED, State.QUEUED, State.BLOCKED, State.DEAD, State.CANCELLED}
    ),
    State.SUCCEEDED: frozenset(),
    State.DEAD: frozenset({State.SCHEDULED, State.QUEUED, State.BLOCKED}),
    State.CANCELLED: frozenset({State.SCHEDULED, State.QUEUED, State.BLOCKED}),
}


class Ending(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"
    DISCARDED = "discarded"
    SNOOZED = "snoozed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to, as seen by the process that supervised it.

    `result` is JSON text or None. `error` is one line, `traceback` the whole text. `after_seconds` is the wait a
    `Retry` asked for. `charge` False means that the attempt does not count against `max_attempts`.
    """

    ending: Ending
    result: str | None = None
    error: str | None = None
    traceback: str | None = None
    after_seconds: float | None = None
    charge: bool = True
    cut: bool = False
    exit_code: int | None = None
    signal: int | None = None


class Headers(Mapping[str, str]):
    """Header fields of one request, looked up without regard to case, kept in their order and spelling."""

    __slots__ = ("_first", "pairs")

    def __init__(self, pairs: Iterable[tuple[str, str]] | Mapping[str, str] = ()) -> None:
        items = pairs.items() if isinstance(pairs, Mapping) else pairs
        self.pairs: tuple[tuple[str, str], ...] = tuple((str(name), str(value)) for name, value in items)
        self._first: dict[str, str] = {}
        for name, value in self.pairs:
            self._first.setdefault(name.lower(), value)

    def __getitem__(self, name: str) -> str:
        return self._first[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)

    def __repr__(self) -> str:
        return f"<Headers {len(self.pairs)} fields>"


@dataclass(frozen=True)
class WebhookRequest:
    """One HTTP request from a source, as it arrived: `body` is the raw bytes, `url` the whole URL or path and query."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""

    def __post_init__(self) -> None:
        if not isinstance(self.headers, Headers):
            object.__setattr__(self, "headers", Headers(self.headers))

    @cached_property
    def query(self) -> dict[str, str]:
        """The query's fields; of a repeated one the last."""
        text = self.url.partition("#")[0].partition("?")[2]  # urlsplit raises at hosts that a sender may write
        return dict(parse_qsl(text, keep_blank_values=True, errors="replace"))


def parse_json(text: bytes, of: str) -> Any:
    """`text` as JSON, closed to what breaks a program later: deep nesting, huge integers, NaN, repeated keys.

    Raises UnparsableBody naming `of` when it is not JSON of that kind.
    """
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unique_keys)
    except RecursionError:
        raise UnparsableBody(delivery=of, kind="JSON", why="it nests too deeply") from None
    except ValueError as fault:
        raise UnparsableBody(delivery=of, kind="JSON", why=fault) from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value (RFC 8259, 6)")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object holds the same key twice")
    return found


@dataclass(frozen=True)
class Delivery:
    """The durable record of one accepted webhook; what a task started by a source is called with.

    `received_at` is Unix seconds. `body` is the raw bytes as the sender signed them.
    """

    id: str
    source: str
    method: str
    url: str
    headers: Mapping[str, str]
    received_at: float
    event_id: str | None = None
    event_type: str | None = None
    stored_body: bytes | Path = field(default=b"", repr=False)

    @cached_property
    def body(self) -> bytes:
        return self.stored_body if isinstance(self.stored_body, bytes) else self.stored_body.read_bytes()

    @cached_property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @cached_property
    def text(self) -> str:
        """The body as UTF-8 text; undecodable bytes become the replacement character."""
        return self.body.decode("utf-8", "replace")

    @cached_property
    def query(self) -> dict[str, str]:
        """The query's fields; of a repeated one the last."""
        return WebhookRequest(self.method, self.url, {}).query

    @cached_property
    def form(self) -> dict[str, str]:
        """The form's text fields (urlencoded or multipart); of a repeated one the last."""
        return read_form(self)[0]

    @cached_property
    def files(self) -> dict[str, FormFile]:
        """The multipart form's files, held in memory; names are the sender's words, never paths to write to."""
        return read_form(self)[1]

    @cached_property
    def json(self) -> Any:
        """The body as JSON; GitHub's and Slack's `payload=` form field is looked into. Raises UnparsableBody."""
        in_form = "payload" in self.form and not self._looks_like_an_object()
        return parse_json(self.form["payload"].encode() if in_form else self.body, self.id)

    @cached_property
    def data(self) -> dict[str, Any]:
        """One dict, whatever the kind: the JSON object, else the form, else the query.

        JSON that is no object comes as {"value": ...}. Raises UnparsableBody.
        """
        if self._holds_json():
            return self.json if isinstance(self.json, dict) else {"value": self.json}
        return dict(self.form or self.query)

    def _holds_json(self) -> bool:
        if says_json(self.content_type) or self.form.get("payload", "")[:1] == "{":
            return True
        return self._looks_like_an_object()

    def _looks_like_an_object(self) -> bool:
        """`curl -d` calls JSON a form."""
        return self.body.lstrip()[:1] == b"{" and self.body.rstrip()[-1:] == b"}"


@dataclass(frozen=True)
class FormFile:
    """One file of a multipart form."""

    filename: str
    content_type: str
    body: bytes = field(repr=False)


def says_json(content_type: str) -> bool:
    """Whether a media type announces JSON (RFC 6838's +json suffix included)."""
    return content_type == "application/json" or content_type.endswith("+json")


def read_form(delivery: Delivery) -> tuple[dict[str, str], dict[str, FormFile]]:
    """The text fields and files of a delivery's form body; empty for another kind of body."""
    if delivery.content_type == "application/x-www-form-urlencoded":
        pairs = parse_qsl(delivery.body.decode("utf-8", "replace"), keep_blank_values=True, errors="replace")
        return dict(pairs), {}
    if delivery.content_type == "multipart/form-data":
        return _read_multipart(delivery)
    return {}, {}


def _read_multipart(delivery: Delivery) -> tuple[dict[str, str], dict[str, FormFile]]:
    head = b"Content-Type: " + delivery.headers["Content-Type"].encode("utf-8", "replace") + b"\r\n\r\n"
    fields: dict[str, str] = {}
    files: dict[str, FormFile] = {}
    for part in BytesParser(policy=HTTP).parsebytes(head + delivery.body).iter_parts():
        name = str(part.get_param("name", "", "Content-Disposition"))
        raw = part.get_payload(decode=True)
        content = raw if isinstance(raw, bytes) else b""
        filename = part.get_filename()
        if filename is None:
            fields[name] = content.decode("utf-8", "replace")
        else:
            files[name] = FormFile(filename, part.get_content_type(), content)
    return fields, files


@dataclass(frozen=True, slots=True)
class Order:
    """One job as handed to whoever runs it: what to call, with what, and the attempt it is called for.

    `calling` says how the task is called: "delivery", "keywords" (arguments is a JSON object of keyword
    arguments) or "bytes" (a JSON object of text, uWSGI's byte form decoded).
    """

    job: str
    task: str
    attempt: str
    number: int
    calling: str
    arguments: dict[str, Any]
    delivery: Delivery | None
    created_at: float
