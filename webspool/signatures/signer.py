"""Signing a request the way its sender would: the verifier's mirror, from the same data."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace

from webspool.records import WebhookRequest, new_id
from webspool.signatures import tokens
from webspool.signatures.algorithms import made
from webspool.signatures.messages import messages
from webspool.signatures.places import KEY_IN_PATH, Reading, bare, found_in, places_in, put, put_in, with_document
from webspool.signatures.presets import scheme_of
from webspool.signatures.scheme import Scheme
from webspool.signatures.template import names_in
from webspool.signatures.times import written


def sign(
    scheme: str | Scheme,
    secret: str,
    request: WebhookRequest,
    *,
    event_id: str | None = None,
    event_type: str | None = None,
    now: float | None = None,
    private_key: str | None = None,
    base: str = "",
) -> WebhookRequest:
    """`request` with the proof that `scheme` asks for, and the event's id and type where the sender puts them.

    A key goes where the URL says <key>, else into the query. `now` is Unix seconds, else the clock's. For a public
    key's scheme `secret` is the private key; where a certificate proves, `private_key` is its.
    `base` is what the sender has before the request's own path, for senders that sign addresses. Raises ValueError for
    an unknown scheme, and for a secret or a body with which it cannot be signed.
    """
    known = scheme_of(scheme)
    if known is None:
        raise ValueError(f"{scheme!r} is no scheme")
    now = time.time() if now is None else now
    faults = []
    request = replace(request, url=base + request.url)
    for way in known.ways:
        whole = replace(
            way,
            event_id=way.event_id or known.event_id,
            event_type=way.event_type or known.event_type,
        )
        try:
            signed = _signed(whole, secret, _named(whole, request, event_id, event_type), now, private_key)
            return replace(signed, url=signed.url[len(base) :])
        except ValueError as fault:
            faults.append(str(fault))
    raise ValueError(faults[0])


def _named(scheme: Scheme, request: WebhookRequest, event_id: str | None, event_type: str | None) -> WebhookRequest:
    """The request with the event's names; an id that is signed is made up where nobody gives one."""
    reading = Reading(request)
    for places, value in ((scheme.event_id, event_id), (scheme.event_type, event_type)):
        given = places_in(places)
        values = [value] if value is not None and len(given) == 1 else (value or "").split(".", len(given) - 1)
        for place, each in zip(given, values, strict=False):
            if each:
                request = put(request, place, each)
    for place in places_in(scheme.event_id):
        if place in names_in(scheme.template) and reading.first(place) is None and event_id is None:
            request = put(request, place, new_id("msg"))
    return request


def _signed(way: Scheme, secret: str, request: WebhookRequest, now: float, private: str | None) -> WebhookRequest:
    if not way.needs_secret:
        return request
    if way.each is not None:
        return _each_signed(way, secret, request, now)
    request, moment = _timed(way, request, now)
    if way.digest is not None:
        request = put(request, way.digest, hashlib.sha256(request.body).hexdigest())
    proof = _proof(way, secret, Reading(request), moment, now, private)
    return put(request, _best_place(way, request), _written_proof(way, proof, moment))


def _timed(way: Scheme, request: WebhookRequest, now: float) -> tuple[WebhookRequest, bytes | None]:
    """The request with a time of signing; one that stands there already is left."""
    if way.time is None:
        return request, None
    moment = written(now, way.unit)
    if way.time.startswith("part:"):
        return request, moment.encode()
    if Reading(request).first(way.time) is None:
        request = put(request, way.time, moment, number=way.unit != "iso")
    found = Reading(request).first(way.time)
    if found is None:
        raise ValueError(f"the body has no room for {way.time}")
    return request, found


def _proof(way: Scheme, secret: str, reading: Reading, moment: bytes | None, now: float, private: str | None) -> str:
    if way.algorithm.startswith("jwt-"):
        claims = {"iat": int(now), "exp": int(now) + tokens.SECONDS}
        return tokens.token_for(claims, way.algorithm, way.key, secret).decode()
    texts = messages(way, reading, secret, moment)
    if not texts:
        raise ValueError("the request lacks what this sender signs")
    key, kind = (secret, way.key) if way.certificate is None else (private or "", "pem")
    return made(way.algorithm, way.encoding, kind, key, texts[0]).decode("utf-8", "surrogatepass")


def _written_proof(way: Scheme, proof: str, moment: bytes | None) -> str:
    if way.separator and way.time is not None and way.time.startswith("part:"):
        return f"{way.time[5:]}={(moment or b'').decode()}{way.separator}{way.prefix}{proof}"
    return way.prefix + proof


def _best_place(way: Scheme, request: WebhookRequest) -> str:
    if "path" in way.places and KEY_IN_PATH in request.url:
        return "path"
    return next((place for place in way.places if place != "path"), "path")


def _each_signed(way: Scheme, secret: str, request: WebhookRequest, now: float) -> WebhookRequest:
    """The request with a proof in every item of its list; a list of one is made where there is none."""
    document = Reading(request).document
    if not isinstance(document, dict):
        raise ValueError(f"the body is no JSON object with {way.each}")
    if not list(found_in(document, way.each or "")):
        put_in(document, way.each or "", {})
    for item in found_in(document, way.each or ""):
        proof = _proof(way, secret, Reading(request).within(item), None, now, None)
        put_in(item, bare(way.places[0]), way.prefix + proof)
    return with_document(request, document)
