"""A webhook of a source's as its sender would sign it, with the source's own secret: to try the source."""

from __future__ import annotations

import re
from uuid import uuid4

from webspool.config import Config
from webspool.errors import UnparsableBody
from webspool.payloads import parse_json
from webspool.records import Headers, WebhookRequest
from webspool.signatures import named, sign
from webspool.source import Source

JSON = "application/json"
FORM = re.compile(rb"[\w.%+\-\[\]]+=[^\s{\"]*")


def sample(
    config: Config,
    source: Source,
    body: bytes,
    *,
    event_type: str | None = None,
    event_id: str | None = None,
    content_type: str = JSON,
    secret: str | None = None,
    url: str | None = None,
) -> WebhookRequest:
    """The signed request. `event_id` is a fresh one unless given or in the body; `secret` a reference to sign with
    where the source holds a public key; `url` the base of the address that the sender knows.

    Raises ValueError when it cannot be signed, ConfigurationError when the secret is not there.
    """
    request = WebhookRequest(method_of(source), source.path, Headers([("Content-Type", content_type)]), body)
    event_id = event_id or (None if named(source.verify, request)[0] else str(uuid4()))
    used = config.secret(secret) if secret else config.secret(source.secrets[0]) if source.secrets else ""
    if source.scheme.asymmetric and not secret and "PRIVATE KEY" not in used:
        raise ValueError("the source's secret is a public key")
    base = (config.public_url or url or config.address.url or "http://localhost").rstrip("/")
    return sign(source.verify, used, request, event_id=event_id, event_type=event_type, base=base)


def method_of(source: Source) -> str:
    """By which method a source is sent to."""
    return "POST" if "POST" in source.methods else source.methods[0]


def kind_of(body: bytes) -> str:
    """The Content-Type that a body which somebody typed would have: JSON (also where it is broken), a form, or text."""
    text = body.strip()
    if FORM.fullmatch(text):
        return "application/x-www-form-urlencoded"
    try:
        parse_json(text, "body")
    except UnparsableBody:
        return JSON if text[:1] in (b"{", b"[") else "text/plain; charset=utf-8"
    return JSON
