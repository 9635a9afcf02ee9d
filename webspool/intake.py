"""A request's raw bytes as WSGI has them, under a cap and a deadline; what is refused early is read and thrown away."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import lru_cache
from io import BytesIO
from typing import Any, Protocol

from webspool.records import Headers, WebhookRequest
from webspool.source import Source

READ_AT_ONCE = 1 << 16
BODY_SECONDS = 10.0
SLOWEST_BYTES_A_SECOND = 50_000
THROWN_AWAY_AT_MOST = 64 << 20
THROWING_AWAY_SECONDS = 10.0

OF_THE_BODY = {"CONTENT_TYPE": "Content-Type", "CONTENT_LENGTH": "Content-Length"}
DIGITS_OF_A_LENGTH = 18

Environ = Mapping[str, Any]


class Refused(Exception):
    """The body was not taken, for one of the causes of receive.REFUSALS."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class Reading(Protocol):
    """How an engine's server hands bodies over."""

    def bounded(self, seconds: float) -> AbstractContextManager[None]: ...
    def read_chunked(self, environ: Environ, cap: int, seconds: float) -> bytes: ...


def webhook(environ: Environ, body: bytes) -> WebhookRequest:
    """The request, with the URL as the sender wrote it."""
    raw = environ.get("REQUEST_URI") or environ.get("RAW_URI")
    url = raw if isinstance(raw, str) else _url(environ)
    return WebhookRequest(environ["REQUEST_METHOD"], url, _headers(environ), body)


def _url(environ: Environ) -> str:
    """The URL of a server that does not hand on what was written: the decoded path."""
    path = str(environ.get("PATH_INFO", "")).encode("latin-1").decode("utf-8", "replace")
    query = environ.get("QUERY_STRING", "")
    return f"{path}?{query}" if query else path


def _headers(environ: Environ) -> Headers:
    named = _named(tuple(environ))
    return Headers.of([(name, value) for key, name in named if (value := environ[key]) or key not in OF_THE_BODY])


@lru_cache(maxsize=64)
def _named(keys: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The keys that stand for headers (PEP 3333), with their names: those of one sender are always the same."""
    found = [(key, name) for key in keys if (name := _header(key)) is not None]
    return (*found, *((key, name) for key, name in OF_THE_BODY.items() if key in keys))


def _header(key: str) -> str | None:
    if not key.startswith("HTTP_") or key.removeprefix("HTTP_") in OF_THE_BODY:
        return None
    return key.removeprefix("HTTP_").replace("_", "-").title()


def is_chunked(environ: Environ) -> bool:
    return "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()


def read_body(environ: Environ, source: Source, cap: int, engine: Reading) -> bytes:
    """The body of at most `cap` bytes. Raises Refused."""
    if is_chunked(environ):
        return _chunked(environ, source, cap, engine)
    length = _length(environ)
    if length is None:
        raise Refused("length_invalid")
    if length > cap:
        throw_away_body(environ)
        raise Refused("payload_too_large")
    try:
        with engine.bounded(BODY_SECONDS + length / SLOWEST_BYTES_A_SECOND):
            return _whole(environ, length)
    except OSError:  # a TimeoutError, or the client has gone
        raise Refused("request_timeout") from None


def _length(environ: Environ) -> int | None:
    """The length that was told; None when that is not one number (RFC 9112, 6.3): uWSGI hands two on as "2, 5"."""
    text = environ.get("CONTENT_LENGTH") or "0"
    return int(text[:DIGITS_OF_A_LENGTH]) if text.isascii() and text.isdigit() else None


def _whole(environ: Environ, length: int) -> bytes:
    stream = environ["wsgi.input"]
    piece: bytes = stream.read(min(READ_AT_ONCE, length)) if length else b""
    if len(piece) == length:
        return piece
    whole = BytesIO()  # unlike pieces that are joined, it holds a large body once
    arrived = whole.write(piece)
    while piece and arrived < length and (piece := stream.read(min(READ_AT_ONCE, length - arrived))):
        arrived += whole.write(piece)
    if arrived < length:
        raise Refused("request_timeout")
    return whole.getvalue()


def _chunked(environ: Environ, source: Source, cap: int, engine: Reading) -> bytes:
    """uWSGI reads an unparsable chunk as the end of the body: only a signature tells that all has come."""
    if not source.scheme.covers_body:
        raise Refused("length_required")
    try:
        body = engine.read_chunked(environ, cap, BODY_SECONDS)
    except TimeoutError:
        raise Refused("request_timeout") from None
    except OSError:
        raise Refused("unparsable_body") from None
    if len(body) > cap:
        raise Refused("payload_too_large")
    return body


def throw_away_body(environ: Environ) -> None:
    """Read what the client still sends, within limits: a connection closed on unread bytes would lose our answer."""
    left = 0 if is_chunked(environ) else min(_length(environ) or 0, THROWN_AWAY_AT_MOST)
    give_up = time.monotonic() + THROWING_AWAY_SECONDS
    stream = environ["wsgi.input"]
    try:
        while left > 0 and time.monotonic() < give_up and (piece := stream.read(min(READ_AT_ONCE, left))):
            left -= len(piece)
    except OSError:
        return
