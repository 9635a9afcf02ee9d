"""What senders ask before they send: each challenge answered from the request alone, echoes checked first.

A handshake of `GREETINGS` is not signed and is answered before verification; one of `QUESTIONS` is signed, and is
answered after it. A function gives the answer, the cause of a refusal, or None when the request is not that question.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from webspool.signatures.algorithms import any_equal, encoded
from webspool.signatures.places import Reading

TOKEN = re.compile(rb"[A-Za-z0-9._~:+/=-]{1,512}")
SENTENCE = re.compile(rb"[A-Za-z0-9 ._~:,;+/=()!@#$%*?|\[\]{}^-]{1,2048}")
ORIGIN = re.compile(rb"[A-Za-z0-9.:/-]{1,255}|\*")
RATE = re.compile(rb"[0-9]{1,9}|\*")
INVALID = "signature_invalid"
SNS_HOST = r"sns\.[a-z]{2}(-[a-z]+)+-[0-9]\.amazonaws\.com(\.cn)?"
SNS_ADDRESS = re.compile(rf"https://{SNS_HOST}/[A-Za-z0-9?&=:/._%+-]{{1,2048}}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a sender's handshake wants to hear.

    `captured` is a secret that the sender has told, for the operator to see: nobody has proven that it is the sender's.
    `visit` is the address by whose opening the sender is answered, on a host that the handshake trusts.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    captured: str | None = field(default=None, repr=False)
    visit: str | None = field(default=None, repr=False)


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


def _known(given: bytes | None, known: Sequence[str]) -> bool:
    """Whether this is one of the texts that are known; all are compared, each in constant time."""
    texts = [each.encode("utf-8", "surrogatepass") for each in known if each]
    return given is not None and any([any_equal([given], text) for text in texts])


def _challenge(reading: Reading, modes: tuple[bytes, ...], *, known: bool) -> bytes | str | None:
    """hub.challenge of a subscription, for whoever knows what is asked for."""
    if (reading.first("query:hub.mode") or b"") not in modes:
        return None
    return (_echo(reading.first("query:hub.challenge")) or INVALID) if known else INVALID


def _meta(reading: Reading, secrets: Sequence[str], tokens: Sequence[str]) -> Asked:
    """Compared is the verify token; a source that names none compares its secrets."""
    known = _known(reading.first("query:hub.verify_token"), tokens or secrets)
    found = _challenge(reading, (b"subscribe",), known=known)
    return _plain(found) if isinstance(found, bytes) else found


def _strava(reading: Reading, secrets: Sequence[str], tokens: Sequence[str]) -> Asked:
    """Compared is the verify token; a source that names none compares its secrets."""
    known = _known(reading.first("query:hub.verify_token"), tokens or secrets)
    found = _challenge(reading, (b"subscribe",), known=known)
    return _json({"hub.challenge": found.decode()}) if isinstance(found, bytes) else found


def _websub(reading: Reading, _secrets: Sequence[str], tokens: Sequence[str]) -> Asked:
    """W3C WebSub, 5.3: where the source names topics (`tokens`) only these are confirmed."""
    if reading.first("query:hub.mode") == b"denied":
        return _empty()
    known = not tokens or _known(reading.first("query:hub.topic"), tokens)
    found = _challenge(reading, (b"subscribe", b"unsubscribe"), known=known)
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
    if found is None:
        return INVALID
    return replace(_empty(X_Hook_Secret=found.decode()), captured=found.decode())


def _notion(reading: Reading, _secrets: Sequence[str], _tokens: Sequence[str]) -> Asked:
    """The first request tells the token that later ones are signed with; nothing proves it, so a person looks at it."""
    document = reading.document
    if not isinstance(document, dict) or reading.first("header:X-Notion-Signature") is not None:
        return None
    if set(document) != {"verification_token"}:
        return None
    found = _echo(reading.first("body:verification_token"))
    return INVALID if found is None else replace(_empty(), captured=found.decode())


def _cloudevents(reading: Reading, _secrets: Sequence[str], tokens: Sequence[str]) -> Asked:
    """CloudEvents HTTP Webhook, 4.1: where the source names origins (`tokens`) only these may send.

    The question guards against floods, it lets nobody in: events prove themselves by the access token.
    """
    if (given := reading.first("header:WebHook-Request-Origin")) is None:
        return None
    found = _echo(given, ORIGIN)
    if found is None or (tokens and not _known(found, tokens)):
        return INVALID
    allowed = _empty(WebHook_Allowed_Origin=found.decode(), Allow="POST")
    rate = _echo(reading.first("header:WebHook-Request-Rate"), RATE)
    return (
        allowed if rate is None else replace(allowed, headers=allowed.headers | {"WebHook-Allowed-Rate": rate.decode()})
    )


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


def _sns(reading: Reading, _secret: str) -> Answer | None:
    """A subscription is confirmed by opening the address that the signed message names, on Amazon's own host only."""
    if reading.first("body:Type") != b"SubscriptionConfirmation":
        return None
    address = (reading.first("body:SubscribeURL") or b"").decode("utf-8", "replace")
    return replace(_empty(), visit=address) if SNS_ADDRESS.fullmatch(address) else None


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
    "notion": (("POST",), _notion),
    "cloudevents": (("OPTIONS",), _cloudevents),
}
QUESTIONS: dict[str, Callable[[Reading, str], Answer | None]] = {
    "slack": _slack,
    "zoom": _zoom,
    "discord": _discord,
    "xero": _xero,
    "sns": _sns,
}
CAPTURES = frozenset({"asana", "notion"})
KNOWN = (*GREETINGS, *QUESTIONS)
