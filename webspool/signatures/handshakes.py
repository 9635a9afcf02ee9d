"""What senders ask before they send: each challenge answered from the request alone, echoes checked first.

A handshake of `GREETINGS` is not signed and is answered before verification; one of `QUESTIONS` is signed, and is
answered after it. A function gives the answer, the cause of a refusal, or None when the request is not that question.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from webspool.signatures.algorithms import any_equal, encoded
from webspool.signatures.places import Reading

TOKEN = re.compile(rb"[A-Za-z0-9._~:+/=-]{1,512}")
SENTENCE = re.compile(rb"[A-Za-z0-9 ._~:,;+/=()-]{1,2048}")
ORIGIN = re.compile(rb"[A-Za-z0-9.:/-]{1,255}|\*")
INVALID = "signature_invalid"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a sender's handshake wants to hear."""

    status: int
    headers: dict[str, str]
    body: bytes


def _plain(body: bytes, status: int = 200) -> Answer:
    return Answer(status, {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}, body)


def _json(payload: dict[str, object]) -> Answer:
    headers = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"}
    return Answer(200, headers, json.dumps(payload).encode())


def _empty(status: int = 200, **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


Asked = Answer | str | None
Greeting = Callable[[Reading, Sequence[str], Sequence[str]], Asked]


def greeted(names: str, reading: Reading, secrets: Sequence[str], tokens: Sequence[str]) -> Asked:
    """The answer to an unsigned question of these handshakes (names with + between), or None when it is none."""
    for name in names.split("+"):
        if name in GREETINGS:
            methods, answer = GREETINGS[name]
            if reading.request.method in methods and (asked := answer(reading, secrets, tokens)) is not None:
                return asked
    return None


def answered(names: str, reading: Reading, secret: str) -> Answer | None:
    """The answer to a signed question of these handshakes; `secret` is the one that proved it."""
    for name in names.split("+"):
        if name in QUESTIONS and (answer := QUESTIONS[name](reading, secret)) is not None:
            return answer
    return None


def methods_of(names: str | None) -> frozenset[str]:
    """The methods by which these handshakes may ask."""
    known = (GREETINGS[name][0] for name in (names or "").split("+") if name in GREETINGS)
    return frozenset(method for methods in known for method in methods)


def _echo(value: bytes | None, allowed: re.Pattern[bytes] = TOKEN) -> bytes | None:
    return value if value is not None and allowed.fullmatch(value) else None


# ── asked without a signature ───────────────────────────────────────────────────────────────────────────────────────


def _hub(reading: Reading, tokens: Sequence[str], *, compared: bool) -> bytes | str | None:
    """hub.challenge of a subscription: echoed only to whoever knows the verify token, where there is one."""
    if (reading.first("query:hub.mode") or b"") not in (b"subscribe", b"unsubscribe"):
        return None
    token = reading.first("query:hub.verify_token") or b""
    known = any([any_equal([token], each.encode()) for each in tokens if each])
    if (compared or tokens) and not known:
        return INVALID
    return _echo(reading.first("query:hub.challenge")) or INVALID


def _meta(reading: Reading, _secrets: Sequence[str], tokens: Sequence[str]) -> Asked:
    found = _hub(reading, tokens, compared=True)
    return _plain(found) if isinstance(found, bytes) else found


def _strava(reading: Reading, _secrets: Sequence[str], tokens: Sequence[str]) -> Asked:
    found = _hub(reading, tokens, compared=True)
    return _json({"hub.challenge": found.decode()}) if isinstance(found, bytes) else found


def _websub(reading: Reading, _secrets: Sequence[str], tokens: Sequence[str]) -> Asked:
    """W3C WebSub, 5.3: only a topic that was asked for is confirmed; `tokens` are these topics."""
    if reading.first("query:hub.mode") == b"denied":
        return _empty()
    topic = reading.first("query:hub.topic") or b""
    found = _hub(reading, (), compared=False)
    if isinstance(found, bytes) and not any([any_equal([topic], each.encode()) for each in tokens if each]):
        return INVALID
    return _plain(found) if isinstance(found, bytes) else found


def _dropbox(reading: Reading, _secrets: Sequence[str], _tokens: Sequence[str]) -> Asked:
    if (given := reading.first("query:challenge")) is None:
        return None
    found = _echo(given)
    return INVALID if found is None else _plain(found)


def _graph(reading: Reading, _secrets: Sequence[str], _tokens: Sequence[str]) -> Asked:
    if (given := reading.first("query:validationToken|query:validationtoken")) is None:
        return None
    found = _echo(given, SENTENCE)
    return INVALID if found is None else _plain(found)


def _x(reading: Reading, secrets: Sequence[str], _tokens: Sequence[str]) -> Asked:
    """X has its own webhooks signed the same way, so whatever is signed here must never look like one."""
    if (given := reading.first("query:crc_token")) is None:
        return None
    found = _echo(given)
    if found is None or not secrets:
        return INVALID
    digest = hmac.digest(secrets[0].encode(), found, "sha256")
    return _json({"response_token": "sha256=" + encoded(digest, "base64").decode()})


def _head(_reading: Reading, _secrets: Sequence[str], _tokens: Sequence[str]) -> Asked:
    return _empty()


def _okta(reading: Reading, _secrets: Sequence[str], _tokens: Sequence[str]) -> Asked:
    if (given := reading.first("header:X-Okta-Verification-Challenge")) is None:
        return None
    found = _echo(given)
    return INVALID if found is None else _json({"verification": found.decode()})


def _monday(reading: Reading, _secrets: Sequence[str], _tokens: Sequence[str]) -> Asked:
    """Only a body that holds nothing but the challenge is one: everything else must be proven."""
    document = reading.document
    if not isinstance(document, dict) or set(document) != {"challenge"}:
        return None
    found = _echo(reading.first("body:challenge"))
    return INVALID if found is None else _json({"challenge": found.decode()})


def _asana(reading: Reading, _secrets: Sequence[str], _tokens: Sequence[str]) -> Asked:
    given = reading.first("header:X-Hook-Secret")
    if given is None or reading.first("header:X-Hook-Signature") is not None:
        return None
    found = _echo(given)
    return INVALID if found is None else _empty(X_Hook_Secret=found.decode())


def _cloudevents(reading: Reading, _secrets: Sequence[str], tokens: Sequence[str]) -> Asked:
    """CloudEvents HTTP Webhook, 4.1: an origin is allowed when the source names it (`tokens`)."""
    if (given := reading.first("header:WebHook-Request-Origin")) is None:
        return None
    found = _echo(given, ORIGIN)
    if found is None or not any([any_equal([found], each.encode()) for each in tokens if each]):
        return INVALID
    return _empty(WebHook_Allowed_Origin=found.decode(), Allow="POST")


# ── asked with a signature ──────────────────────────────────────────────────────────────────────────────────────────


def _slack(reading: Reading, _secret: str) -> Answer | None:
    if reading.first("body:type") != b"url_verification":
        return None
    found = _echo(reading.first("body:challenge"))
    return None if found is None else _plain(found)


def _zoom(reading: Reading, secret: str) -> Answer | None:
    if reading.first("body:event") != b"endpoint.url_validation":
        return None
    found = _echo(reading.first("body:payload.plainToken"))
    if found is None:
        return None
    return _json({"plainToken": found.decode(), "encryptedToken": hmac.digest(secret.encode(), found, "sha256").hex()})


def _discord(reading: Reading, _secret: str) -> Answer | None:
    """An interaction's PING has no event in it; the webhook events' PING is type 0 and wants no body."""
    kind, event = reading.first("body:type"), reading.first("body:event")
    if kind == b"1" and event is None:
        return _json({"type": 1})
    return _empty(204) if kind == b"0" else None


def _xero(reading: Reading, _secret: str) -> Answer | None:
    document = reading.document
    return _empty() if isinstance(document, dict) and document.get("events") == [] else None


GREETINGS: dict[str, tuple[tuple[str, ...], Greeting]] = {
    "meta": (("GET",), _meta),
    "strava": (("GET",), _strava),
    "websub": (("GET",), _websub),
    "dropbox": (("GET",), _dropbox),
    "graph": (("POST",), _graph),
    "x": (("GET",), _x),
    "head": (("HEAD",), _head),
    "okta": (("GET",), _okta),
    "monday": (("POST",), _monday),
    "asana": (("POST",), _asana),
    "cloudevents": (("OPTIONS",), _cloudevents),
}
QUESTIONS: dict[str, Callable[[Reading, str], Answer | None]] = {
    "slack": _slack,
    "zoom": _zoom,
    "discord": _discord,
    "xero": _xero,
}
KNOWN = (*GREETINGS, *QUESTIONS)
