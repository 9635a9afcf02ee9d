"""Checking a request against a scheme. No I/O, no clock: the time, and certificates, are arguments."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from webspool.records import WebhookRequest
from webspool.signatures import handshakes, tokens
from webspool.signatures.algorithms import any_equal, encoded, matches
from webspool.signatures.handshakes import Answer
from webspool.signatures.messages import messages
from webspool.signatures.places import Reading, found_in
from webspool.signatures.presets import scheme_of
from webspool.signatures.scheme import Scheme
from webspool.signatures.times import seconds_of

MISSING = "signature_missing"
INVALID = "signature_invalid"
OUTSIDE = "timestamp_outside_window"
PLAIN_ADDRESS = re.compile(r"[A-Za-z0-9:/._-]{1,512}")
MAX_PROOFS = 32
MAX_ITEMS = 1000
MAX_NAME_BYTES = 255


@dataclass(slots=True)  # not frozen: one is made for every webhook, and a frozen one takes four times as long to make
class Verdict:
    """Whether a request is its sender's, why not, and what the sender calls the event."""

    accepted: bool
    cause: str | None = None
    event_id: str | None = field(default=None, repr=False)
    event_type: str | None = field(default=None, repr=False)
    reply: Answer | None = None


def check(
    scheme: str | Scheme,
    secrets: Iterable[str],
    request: WebhookRequest,
    now: float,
    *,
    tokens: Iterable[str] = (),
    certificates: Mapping[str, str] | None = None,
) -> Verdict:
    """Whether `request` carries the proof that `scheme` asks for, made with any of `secrets`.

    `now` is Unix seconds. `tokens` are what handshakes compare (a verify token, a topic), `certificates` PEM texts by
    the address that `certificate_wanted` told. Never raises: what cannot be read is not accepted.
    """
    try:
        known = scheme_of(scheme)
        if known is None:
            return Verdict(False, INVALID)
        if known.plain:
            return Plain(known, secrets).check(request)
        return _judged(known, _several(secrets), Reading(request), now, tokens, certificates or {})
    except Exception:  # a sender's bytes or a user's own Scheme must not become a 5xx
        return Verdict(False, INVALID)


def named(scheme: str | Scheme, request: WebhookRequest) -> tuple[str | None, str | None]:
    """The event's id and type where the sender names them, without asking for a proof. Never raises."""
    known = scheme_of(scheme)
    if known is None:
        return None, None
    try:
        reading = Reading(request, proven=True)
        return _named(known.event_id, reading, whole=True), _named(known.event_type, reading)
    except Exception:  # what cannot be read is no name
        return None, None


def certificate_wanted(scheme: str | Scheme, request: WebhookRequest) -> str | None:
    """The address of the certificate that the request wants to be checked with, if the scheme trusts its host."""
    known = scheme_of(scheme)
    if known is None or known.certificate is None:
        return None
    try:
        return _trusted_address(known, Reading(request))
    except Exception:  # whatever cannot be read is no address
        return None


class Plain:
    """What `_judged` comes to for one HMAC over the raw body in one header: most of the traffic, in half the time.

    Made ready once for a scheme and its secrets, also of a source that many threads serve.
    """

    def __init__(self, scheme: Scheme, secrets: Iterable[str]) -> None:
        self._scheme, self._header, self._prefix = scheme, scheme.places[0][7:], scheme.prefix.lower().encode()
        keys = [secret.encode("utf-8", "surrogatepass") for secret in _several(secrets)]
        self._keyed = [hmac.new(key, digestmod=scheme.algorithm) for key in keys]

    def check(self, request: WebhookRequest) -> Verdict:
        """As `check`. Never raises."""
        try:
            return self._judged(request)
        except Exception:  # as there
            return Verdict(False, INVALID)

    def _judged(self, request: WebhookRequest) -> Verdict:
        header = request.headers.get(self._header, "").encode("utf-8", "surrogatepass")
        if not header:
            return Verdict(False, MISSING)
        length, found = len(self._prefix), False
        if header[:length].lower() == self._prefix:
            for keyed in self._keyed:
                made = keyed.copy()
                made.update(request.body)
                found |= hmac.compare_digest(header[length:], encoded(made.digest(), self._scheme.encoding))
        if not found:
            return Verdict(False, INVALID)
        reading, scheme = Reading(request, proven=True), self._scheme
        return Verdict(True, None, _named(scheme.event_id, reading, whole=True), _named(scheme.event_type, reading))


def _judged(
    scheme: Scheme,
    secrets: list[str],
    reading: Reading,
    now: float,
    spoken: Iterable[str],
    certificates: Mapping[str, str],
) -> Verdict:
    if scheme.handshake is not None:
        asked = handshakes.greeted(scheme.handshake, reading, secrets, _several(spoken))
        if asked is not None:
            return Verdict(False, asked) if isinstance(asked, str) else Verdict(True, reply=asked)
    worst = MISSING
    for way in scheme.ways:
        cause, secret = _proven(way, secrets, reading, now, certificates)
        if cause is None:
            return _accepted(scheme, way, secret, reading)
        worst = cause if worst != OUTSIDE and cause != MISSING else worst
    return Verdict(False, worst)


def _several(given: Iterable[str]) -> list[str]:
    """One string must not become one-letter secrets; the empty one is none."""
    return [each for each in ([given] if isinstance(given, str) else given) if each]


def _proven(
    way: Scheme, secrets: list[str], reading: Reading, now: float, certificates: Mapping[str, str]
) -> tuple[str | None, str]:
    """Why this way does not prove the request, or None and the secret that does."""
    if way.algorithm == "none":
        return None, ""
    if way.each is None:
        return _proven_once(way, secrets, reading, now, certificates)
    items = list(found_in(reading.document, way.each))
    if not items or len(items) > MAX_ITEMS:
        return MISSING, ""
    judged = [_proven_once(way, secrets, reading.within(item), now, certificates) for item in items]
    return next((each for each in judged if each[0] is not None), judged[0])


def _proven_once(
    way: Scheme, secrets: list[str], reading: Reading, now: float, certificates: Mapping[str, str]
) -> tuple[str | None, str]:
    items, time = proof_and_time(way, reading)
    if not any(items) or (way.time is not None and time is None):
        return MISSING, ""
    proofs = _bare(way.prefix.encode(), items)
    secret = next((each for each in secrets if _fits(way, each, reading, proofs, time, now, certificates)), None)
    if secret is None or not _same_digest(way, reading):
        return INVALID, ""
    if time is not None and not _in_window(way, time, now):
        return OUTSIDE, ""
    return None, secret


def proof_and_time(way: Scheme, reading: Reading) -> tuple[list[bytes], bytes | None]:
    """What stands where the proof may stand, in parts where it is a list, and the time of signing as it is written."""
    given = [value for place in way.places for value in reading.values(place)]
    items = given if not way.separator else _items(way, given)
    return items, None if way.time is None else _time_text(way, items, reading)


def _items(way: Scheme, given: list[bytes]) -> list[bytes]:
    separator = way.separator.encode()
    return [item.strip() for text in given for item in text.split(separator, MAX_PROOFS)[:MAX_PROOFS]]


def _bare(prefix: bytes, items: list[bytes]) -> list[bytes]:
    if not prefix:
        return items
    length, lower = len(prefix), prefix.lower()
    return [text[length:] for text in items if text[:length].lower() == lower]


def _time_text(way: Scheme, items: list[bytes], reading: Reading) -> bytes | None:
    place = way.time or ""
    if place.startswith("part:"):
        return next(iter(_bare(place[5:].encode() + b"=", items)), None)
    return reading.first(place)


def _fits(
    way: Scheme,
    secret: str,
    reading: Reading,
    proofs: list[bytes],
    time: bytes | None,
    now: float,
    certificates: Mapping[str, str],
) -> bool:
    """Whether this secret made one of the proofs; a secret that is no key for this way made none."""
    try:
        if way.algorithm.startswith("jwt-"):
            return any([_token_fits(way, secret, reading, text, now) for text in proofs[:MAX_PROOFS]])
        key, kind = secret, way.key
        if way.certificate is not None:
            address = _trusted_address(way, reading)
            if address is None:
                return False
            key, kind = certificates[address], "pem"
        found = [
            matches(way.algorithm, way.encoding, kind, key, text, proofs)
            for text in messages(way, reading, secret, time)
        ]
        return any(found)
    except (ValueError, KeyError):
        return False


def _token_fits(way: Scheme, secret: str, reading: Reading, token: bytes, now: float) -> bool:
    claims = tokens.claims_of(token, way.algorithm, way.key, secret)
    return claims is not None and tokens.timely(claims, now, way.tolerance)


def _same_digest(way: Scheme, reading: Reading) -> bool:
    if way.digest is None:
        return True
    body = hashlib.sha256(reading.request.body).hexdigest().encode()
    return any_equal([(reading.first(way.digest) or b"").lower()], body)


def _in_window(way: Scheme, time: bytes, now: float) -> bool:
    if not way.tolerance:
        return True
    seconds = seconds_of(time, way.unit)
    return seconds is not None and abs(now - seconds) <= way.tolerance


def _trusted_address(way: Scheme, reading: Reading) -> str | None:
    """A certificate's address when it is https, on the very host that the scheme names, and nothing else."""
    address = (reading.first(way.certificate or "") or b"").decode("ascii")
    parts = urlsplit(address)
    plain = parts.scheme == "https" and any(re.fullmatch(host, parts.netloc) for host in way.hosts)
    return address if plain and PLAIN_ADDRESS.fullmatch(address) else None


def _accepted(scheme: Scheme, way: Scheme, secret: str, reading: Reading) -> Verdict:
    if scheme.handshake is not None:
        reply = handshakes.answered(scheme.handshake, reading, secret)
        if reply is not None:
            return Verdict(True, reply=reply)
    if "Content-Encoding" in reading.request.headers:
        reading = Reading(reading.request, proven=True)
    event_id = _named(way.event_id or scheme.event_id, reading, whole=True)
    if event_id is None and way.time is not None:
        event_id = _digest_id(way, reading)
    return Verdict(True, None, event_id, _named(way.event_type or scheme.event_type, reading))


def _named(places: str | tuple[str, ...] | None, reading: Reading, *, whole: bool = False) -> str | None:
    """What the sender calls the event: the values in these places, with dots between; `whole`: all of them or none."""
    if places is None:
        return None
    if isinstance(places, str):
        return _short(reading.text(places)) or None
    found = [reading.text(place) for place in places]
    return None if whole and not all(found) else _short(".".join(text for text in found if text)) or None


def _short(name: str) -> str:
    if len(name) * 4 <= MAX_NAME_BYTES:
        return name
    raw = name.encode("utf-8", "surrogatepass")
    return name if len(raw) <= MAX_NAME_BYTES else f"sha256-{hashlib.sha256(raw).hexdigest()}"


def _digest_id(way: Scheme, reading: Reading) -> str | None:
    """An id for an event without one: the same bytes signed at the same time are the same event."""
    time = proof_and_time(way, reading)[1]
    if not time:
        return None
    return "sha256-" + hashlib.sha256(time + b"." + reading.request.body).hexdigest()
