"""The raw bytes of the request at hand, under a cap and a deadline; what is refused early is read and thrown away."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import Protocol

from flask import request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from webspool.records import Headers, WebhookRequest
from webspool.source import Source

READ_AT_ONCE = 1 << 16
BODY_SECONDS = 30.0
SLOWEST_BYTES_A_SECOND = 50_000
THROWN_AWAY_AT_MOST = 64 << 20
THROWING_AWAY_SECONDS = 10.0


class Refused(Exception):
    """The body was not taken, for one of the causes of receive.REFUSALS."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class Reading(Protocol):
    """How an engine's server hands bodies over."""

    def bounded(self, seconds: float) -> AbstractContextManager[None]: ...
    def read_chunked(self, environ: dict[str, object], cap: int, seconds: float) -> bytes: ...


def webhook(body: bytes) -> WebhookRequest:
    """The request at hand, with the URL as the sender wrote it."""
    raw = request.environ.get("REQUEST_URI") or request.environ.get("RAW_URI")
    url = raw if isinstance(raw, str) else request.full_path.removesuffix("?")
    return WebhookRequest(request.method, url, Headers(list(request.headers.items())), body)


def is_chunked() -> bool:
    return "chunked" in request.headers.get("Transfer-Encoding", "").lower()


def read_body(source: Source, cap: int, engine: Reading) -> bytes:
    """The body of at most `cap` bytes. Raises Refused."""
    if is_chunked():
        return _chunked(source, cap, engine)
    length = request.content_length or 0
    if length > cap:
        throw_away_body()
        raise Refused("payload_too_large")
    try:
        with engine.bounded(BODY_SECONDS + length / SLOWEST_BYTES_A_SECOND):
            return _whole(length)
    except TimeoutError:
        raise Refused("request_timeout") from None
    except RequestEntityTooLarge:
        raise Refused("payload_too_large") from None
    except (ClientDisconnected, OSError):
        raise Refused("request_timeout") from None


def _whole(length: int) -> bytes:
    pieces, arrived = [], 0
    while arrived < length and (piece := request.stream.read(min(READ_AT_ONCE, length - arrived))):
        pieces.append(piece)
        arrived += len(piece)
    if arrived < length:
        raise Refused("request_timeout")
    return b"".join(pieces)


def _chunked(source: Source, cap: int, engine: Reading) -> bytes:
    """uWSGI reads an unparsable chunk as the end of the body: only a signature tells that all has come."""
    if not source.scheme.covers_body:
        raise Refused("length_required")
    try:
        body = engine.read_chunked(request.environ, cap, BODY_SECONDS)
    except TimeoutError:
        raise Refused("request_timeout") from None
    except OSError:
        raise Refused("unparsable_body") from None
    if len(body) > cap:
        raise Refused("payload_too_large")
    return body


def throw_away_body() -> None:
    """Read what the client still sends, within limits: a connection closed on unread bytes would lose our answer."""
    left = 0 if is_chunked() else min(request.content_length or 0, THROWN_AWAY_AT_MOST)
    give_up = time.monotonic() + THROWING_AWAY_SECONDS
    try:
        while left > 0 and time.monotonic() < give_up and (piece := request.stream.read(min(READ_AT_ONCE, left))):
            left -= len(piece)
    except (ClientDisconnected, RequestEntityTooLarge, OSError):
        return
