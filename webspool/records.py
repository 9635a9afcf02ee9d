"""The words of the house as frozen records: requests, deliveries, jobs, attempts, outcomes and the states."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from webspool import cloudevents, traces
from webspool.errors import UnparsableBody
from webspool.forms import Form, FormFile, read_form, says_form
from webspool.kept import kept
from webspool.payloads import decoded, inflated, media_type, parse_json, parse_xml, says_json, says_xml
from webspool.sealing import plain, unsealed

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


def new_id(prefix: str) -> str:
    """A fresh time-ordered random id: `prefix_` and a UUIDv7 (RFC 9562, 5.7) in hexadecimal, 74 random bits."""
    random = _Randomness.digits()
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}7{random[:3]}{_VARIANT[random[3]]}{random[4:]}"


_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}


class _Randomness:
    """Random digits for ids, of which the kernel is asked for a hundred at once; a fork draws its own."""

    _process = -1
    _left: Iterator[str] = iter(())

    @classmethod
    def digits(cls) -> str:
        """19 hexadecimal ones. Threads take each their own: one step of an iterator is one step of Python."""
        if cls._process == os.getpid() and (found := next(cls._left, None)) is not None:
            return found
        drawn = os.urandom(1000).hex()
        found, *left = [drawn[at : at + 19] for at in range(0, 2000, 20)]
        cls._left, cls._process = iter(left), os.getpid()
        return found


def ids_behind(id: str, prefix: str, count: int) -> list[str]:
    """Ids for what is made together with `id`, a fresh one of ours: as unlike any other as that is."""
    first = int(id.partition("_")[2], 16) + 1
    return [f"{prefix}_{number.to_bytes(16, 'big').hex()}" for number in range(first, first + count)]


def new_ids(prefix: str, count: int) -> list[str]:
    """So many of them, one at least, each sorted behind the one before."""
    first = new_id(prefix)
    return [first, *ids_behind(first, prefix, count - 1)] if count > 1 else [first]


def is_id(text: str, prefix: str) -> bool:
    """Whether a text has the form of such an id."""
    return re.fullmatch(rf"{prefix}_[0-9a-f]{{32}}", text) is not None


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


@dataclass(slots=True)  # not frozen: one is made for every attempt, and a frozen one takes four times as long to make
class Outcome:
    """What one attempt came to, as seen by the process that supervised it; nobody changes it.

    `result` is JSON text or None. `error` is one line, `traceback` the whole text. `after_seconds` is the wait a
    `Retry` asked for. `charge` False means that the attempt does not count against `max_attempts`. `began_at` and
    `ended_at` are Unix seconds, where whoever ran it has told them.
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
    began_at: float | None = field(default=None, compare=False)
    ended_at: float | None = field(default=None, compare=False)


class Headers(Mapping[str, str]):
    """Header fields of one request, looked up without regard to case, kept in their order and spelling."""

    __slots__ = ("_first", "_pairs", "_text")

    def __init__(self, pairs: Iterable[tuple[str, str]] | Mapping[str, str] = ()) -> None:
        items = pairs.items() if isinstance(pairs, Mapping) else pairs
        self._pairs: tuple[tuple[str, str], ...] | None = tuple([(str(name), str(value)) for name, value in items])
        self._first: dict[str, str] | None = None
        self._text: str | None = None

    @classmethod
    def of(cls, pairs: list[tuple[str, str]]) -> Headers:
        """Pairs of text, taken as they are."""
        headers = cls.__new__(cls)  # there is nothing to be looked at
        headers._pairs, headers._first, headers._text = tuple(pairs), None, None
        return headers

    @classmethod
    def stored(cls, text: str) -> Headers:
        """Those that a ledger holds as JSON; they are read when somebody asks for one, which many tasks never do."""
        headers = cls.__new__(cls)  # there are no pairs to be copied
        headers._pairs = headers._first = None
        headers._text = text
        return headers

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        if self._pairs is None:
            self._pairs = tuple([(name, value) for name, value in json.loads(self._text or "[]")])
        return self._pairs

    @property
    def text(self) -> str:
        """All of them as JSON, a list of pairs."""
        if self._text is None:
            self._text = json.dumps(self.pairs)
        return self._text

    def mention(self, word: str) -> bool:
        """Whether a word in lower case stands anywhere in them: without reading them, where they are stored ones."""
        if self._first is None and self._text is not None:
            return word in self._text.lower()
        return True

    def _by_name(self) -> dict[str, str]:
        if self._first is None:
            self._first = {name.lower(): value for name, value in reversed(self.pairs)}
        return self._first

    def __getitem__(self, name: str) -> str:
        return self._by_name()[name.lower()]

    def get(self, name: str, default: Any = None) -> Any:
        """As any mapping's, without an exception on the way."""
        return (self._first or self._by_name()).get(name.lower(), default)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _ in self.pairs))

    def __len__(self) -> int:
        return len(self._by_name())

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

    @kept
    def query(self) -> dict[str, str]:
        """The query's fields; of a repeated one the last."""
        text = self.url.partition("#")[0].partition("?")[2]  # urlsplit raises at hosts that a sender may write
        return dict(parse_qsl(text, keep_blank_values=True, errors="replace"))

    @kept
    def json(self) -> Any:
        """The body as JSON, inflated and parsed once for all who look into it. Raises UnparsableBody."""
        encoding = self.headers.get("Content-Encoding", "")
        return parse_json(inflated(self.body, encoding, "the webhook") if encoding else self.body, "the webhook")


@dataclass(frozen=True)
class Delivery:
    """The durable record of one accepted webhook; what a task started by a source is called with.

    `received_at` is Unix seconds. `body` is the raw bytes as the sender signed them. What else a body holds is read
    when it is asked for; a body that is of another kind raises UnparsableBody, which says what to read instead.
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

    @kept
    def body(self) -> bytes:
        """The raw bytes as the sender signed them. Raises BodySealed when they are encrypted and no key fits."""
        stored = self.stored_body if isinstance(self.stored_body, bytes) else self.stored_body.read_bytes()
        return unsealed(stored, self.id)

    @kept
    def traceparent(self) -> str | None:
        """The sender's place in a trace (W3C Trace Context), None when it told none that is valid."""
        if isinstance(self.headers, Headers) and not self.headers.mention(traces.HEADER):
            return None
        found = traces.read(self.headers.get(traces.HEADER))
        return None if found is None else str(found)

    @kept
    def content_type(self) -> str:
        return media_type(self.headers.get("Content-Type", ""))

    @kept
    def content(self) -> bytes:
        """The body without its Content-Encoding (gzip, deflate). Raises UnparsableBody."""
        encoding = self.headers.get("Content-Encoding")
        return inflated(self.body, encoding, self.id) if encoding else self.body

    @kept
    def text(self) -> str:
        """The content as text, by its charset or as UTF-8; undecodable bytes become the replacement character."""
        return decoded(self.content, self._parameter("charset"))

    @kept
    def query(self) -> dict[str, str]:
        """The query's fields; of a repeated one the last."""
        return WebhookRequest(self.method, self.url, {}).query

    @kept
    def form(self) -> dict[str, str]:
        """The form's text fields (urlencoded or multipart); of a repeated one the last. Raises UnparsableBody."""
        self._expect_a_form()
        return self._form[0]

    @kept
    def files(self) -> dict[str, FormFile]:
        """The multipart form's files, held in memory; of a repeated name the last. Raises UnparsableBody.

        Names are the sender's words, never paths to write to.
        """
        self._expect_a_form()
        return self._form[1]

    @kept
    def json(self) -> Any:
        """The content as JSON; GitHub's and Slack's `payload=` form field is looked into. Raises UnparsableBody."""
        if "payload" in self._form[0] and not self._looks_like_an_object():
            return parse_json(self._form[0]["payload"].encode("utf-8", "replace"), self.id)
        if not says_json(self.content_type) and (hint := self._hint()):
            self._refuse_unless(self._looks_like_json(), "JSON", hint)
        return parse_json(self.content, self.id)

    @kept
    def xml(self) -> Element:
        """The root element of an XML body (xml.etree). Raises UnparsableBody; entities are refused."""
        if not says_xml(self.content_type) and (hint := self._hint()):
            self._refuse_unless(self.content.lstrip()[:1] == b"<", "XML", hint)
        return parse_xml(self.content, self.id)

    @kept
    def cloudevent(self) -> dict[str, Any]:
        """The attributes of a CloudEvent and its `data`, however it was sent. Raises UnparsableBody."""
        if self.content_type == cloudevents.STRUCTURED:
            return cloudevents.read_structured(self.json, self.id)
        why = (
            f"it has no ce-specversion header and is {self.content_type or 'of no type'}, not {cloudevents.STRUCTURED}"
        )
        if not cloudevents.is_binary(self.headers):
            raise UnparsableBody(delivery=self.id, kind="a CloudEvent", why=why)
        return cloudevents.read_binary(self.headers, self.json if says_json(self.content_type) else self.content)

    @kept
    def data(self) -> dict[str, Any]:
        """One dict, whatever the kind: the JSON object, else the form, else the query; a CloudEvent's data.

        JSON that is no object comes as {"value": ...}. Raises UnparsableBody.
        """
        if not self._holds_json():
            return dict(self._form[0] or self.query)
        found = self.cloudevent["data"] if self.content_type == cloudevents.STRUCTURED else self.json
        return found if isinstance(found, dict) else {"value": found}

    @kept
    def _form(self) -> Form:
        """Empty for a body that is none."""
        if not says_form(self.content_type):
            return {}, {}
        return read_form(self.content, self.headers["Content-Type"], self.id)

    def _expect_a_form(self) -> None:
        if not says_form(self.content_type) and self.body:
            self._refuse_unless(False, "a form", self._hint() or "read .body")

    def _refuse_unless(self, fits: bool, kind: str, hint: str) -> None:
        if not fits:
            why = f"it says it is {self.content_type or 'of no type'}; {hint}"
            raise UnparsableBody(delivery=self.id, kind=kind, why=why)

    def _hint(self) -> str | None:
        """What a body of this kind is read by."""
        if says_json(self.content_type):
            return "read .json or .data"
        if says_form(self.content_type):
            return "read .form and .files"
        if says_xml(self.content_type):
            return "read .xml or .text"
        return "read .text" if self.content_type.startswith("text/") else "read .body" if self.content_type else None

    def _holds_json(self) -> bool:
        if says_json(self.content_type) or self._form[0].get("payload", "")[:1] == "{":
            return True
        return self._looks_like_an_object()

    def _looks_like_an_object(self) -> bool:
        """`curl -d` calls JSON a form."""
        return self.content.lstrip()[:1] == b"{" and self.content.rstrip()[-1:] == b"}"

    def _looks_like_json(self) -> bool:
        return self.content.lstrip()[:1] in (b"{", b"[", b'"')

    def _parameter(self, name: str) -> str:
        """A parameter of the Content-Type, as `charset`."""
        told = (each.partition("=") for each in self.headers.get("Content-Type", "").split(";")[1:])
        return next((value.strip().strip('"') for key, _, value in told if key.strip().lower() == name), "")


def delivery_of(id: str, stored: Mapping[str, Any], body: bytes) -> Delivery:
    """A webhook as it is stored, or is about to be: what is asked before any task is called with it."""
    headers = Headers.stored(stored["headers"])
    named = (stored["event_id"], stored["event_type"])
    return Delivery(id, stored["source"], stored["method"], stored["url"], headers, time.time(), *named, plain(body))


@dataclass(frozen=True)
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

    def unpacked(self) -> Order:
        """Itself: on its way to another process it is bytes (see `orders`)."""
        return self
