"""Checking a request against a scheme, and signing one the way its sender would. No I/O, no clock."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote_to_bytes

from webspool.records import Headers, WebhookRequest
from webspool.signatures.presets import scheme_of
from webspool.signatures.scheme import Scheme

MISSING = "signature_missing"
INVALID = "signature_invalid"
KEY_IN_PATH = "<key>"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a sender's handshake wants to hear."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request is its sender's, why not, and what the sender calls the event."""

    accepted: bool
    cause: str | None = None
    event_id: str | None = field(default=None, repr=False)
    event_type: str | None = field(default=None, repr=False)
    reply: Answer | None = None


def check(scheme: str | Scheme, secrets: Iterable[str], request: WebhookRequest, now: float) -> Verdict:
    """Whether `request` carries the proof that `scheme` asks for, made with any of `secrets`.

    `now` is Unix seconds. Never raises: what cannot be read is not accepted.
    """
    try:
        known = scheme_of(scheme)
        return Verdict(False, INVALID) if known is None else _judged(known, secrets, request)
    except Exception:  # a sender's bytes or a user's own Scheme must not become a 5xx
        return Verdict(False, INVALID)


def sign(
    scheme: str | Scheme,
    secret: str,
    request: WebhookRequest,
    *,
    event_id: str | None = None,
    event_type: str | None = None,
) -> WebhookRequest:
    """`request` with the proof that `scheme` asks for, and the event's id and type where the sender puts them.

    A key goes where the URL says <key>, else into the query. Raises ValueError for an unknown scheme.
    """
    known = scheme_of(scheme)
    if known is None:
        raise ValueError(f"{scheme!r} is no scheme")
    for place, value in ((known.event_id, event_id), (known.event_type, event_type)):
        if place is not None and value is not None:
            request = _with(request, place, value)
    if not known.needs_secret:
        return request
    proof = known.prefix + _proof(known, secret.encode(), request.body).decode()
    return _with(request, _best_place(known, request), proof)


def _judged(scheme: Scheme, secrets: Iterable[str], request: WebhookRequest) -> Verdict:
    if scheme.needs_secret:
        given = [found for place in scheme.places for found in _read(place, request)]
        if not any(given):
            return Verdict(False, MISSING)
        if not _matches(scheme, given, _keys(secrets), request.body):
            return Verdict(False, INVALID)
    return Verdict(True, None, _named(scheme.event_id, request), _named(scheme.event_type, request))


def _keys(secrets: Iterable[str]) -> list[bytes]:
    several = [secrets] if isinstance(secrets, str) else secrets  # one string must not become one-letter secrets
    return [secret.encode("utf-8", "surrogatepass") for secret in several if secret]


def _matches(scheme: Scheme, given: list[bytes], keys: list[bytes], body: bytes) -> bool:
    prefix = scheme.prefix.encode()
    bare = [text[len(prefix) :] for text in given if text[: len(prefix)].lower() == prefix.lower()]
    found = False
    for key in keys:
        proof = _proof(scheme, key, body)
        for text in bare:
            found |= hmac.compare_digest(text, proof)
    return found


def _proof(scheme: Scheme, key: bytes, body: bytes) -> bytes:
    if scheme.sends_secret:
        return key
    digest = hmac.digest(key, body, scheme.algorithm)
    return base64.b64encode(digest) if scheme.encoding == "base64" else digest.hex().encode()


def _named(place: str | None, request: WebhookRequest) -> str | None:
    if place is None:
        return None
    value = next(iter(_read(place, request)), b"")
    return value.decode("utf-8", "replace").strip() or None


def _read(place: str, request: WebhookRequest) -> Iterable[bytes]:
    kind, _, name = place.partition(":")
    if kind == "header":
        return _readings(request.headers.get(name, ""))
    path, _, query = request.url.partition("#")[0].partition("?")
    if kind == "path":
        return [_unquoted(path.rpartition("/")[2])]
    return _query_values(query, name)


def _readings(text: str) -> list[bytes]:
    """The bytes a header's text stands for: servers hand them over as Latin-1, whatever they were."""
    if text.isascii():
        return [text.encode()]
    utf8 = text.encode("utf-8", "surrogatepass")
    try:
        return [text.encode("latin-1"), utf8]
    except UnicodeEncodeError:
        return [utf8]


def _query_values(query: str, name: str) -> Iterator[bytes]:
    wanted = name.encode()
    for pair in query.split("&"):
        field_name, _, value = pair.partition("=")
        if _unquoted(field_name) == wanted:
            yield _unquoted(value.replace("+", " "))


def _unquoted(text: str) -> bytes:
    return unquote_to_bytes(text.encode("utf-8", "surrogatepass"))


def _best_place(scheme: Scheme, request: WebhookRequest) -> str:
    if "path" in scheme.places and KEY_IN_PATH in request.url:
        return "path"
    return next(place for place in scheme.places if place != "path")


def _with(request: WebhookRequest, place: str, value: str) -> WebhookRequest:
    kind, _, name = place.partition(":")
    if kind == "header":
        others = [pair for pair in _pairs(request) if pair[0].lower() != name.lower()]
        return replace(request, headers=Headers([*others, (name, value)]))
    if kind == "path":
        return replace(request, url=request.url.replace(KEY_IN_PATH, quote(value, safe="")))
    joint = "&" if "?" in request.url else "?"
    return replace(request, url=f"{request.url}{joint}{quote(name)}={quote(value, safe='')}")


def _pairs(request: WebhookRequest) -> Iterable[tuple[str, str]]:
    headers = request.headers
    return headers.pairs if isinstance(headers, Headers) else headers.items()
