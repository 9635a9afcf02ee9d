"""Why a request was believed or not, for a person: what was signed, which value was compared, what would have fitted.

Nothing here holds a secret, nor the proof that would have been right.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from webspool.records import WebhookRequest
from webspool.signatures.algorithms import is_public
from webspool.signatures.engine import check, proof_and_time
from webspool.signatures.messages import messages
from webspool.signatures.places import Reading
from webspool.signatures.scheme import SENT, Scheme
from webspool.signatures.template import names_in
from webspool.signatures.times import seconds_of

HIDDEN = "***"
SIGNATURE_CAUSES = ("signature_missing", "signature_invalid")


@dataclass(frozen=True, slots=True)
class Explained:
    """One way of a scheme, and what it found in a request.

    `signed` is the text that was signed as this side sees it, None where it holds the secret or a part of it is
    absent (`lacks`). `off_seconds` is how long before now it was signed.
    """

    proof: str
    given: tuple[str, ...]
    template: str
    signed: bytes | None
    lacks: tuple[str, ...]
    signed_at: float | None
    off_seconds: float | None
    tolerance: float


def explained(scheme: Scheme, request: WebhookRequest, now: float) -> list[Explained]:
    """What each way of a scheme looked at. Never raises."""
    return [_of_way(way, Reading(request), now) for way in scheme.ways]


def described(way: Scheme) -> str:
    """How a proof is made and where it stands, in words."""
    kind = "the secret itself" if way.algorithm in SENT else way.algorithm
    encoding = "" if way.algorithm in (*SENT, "none") or way.algorithm.startswith("jwt") else f" in {way.encoding}"
    prefix = f" after {way.prefix!r}" if way.prefix else ""
    return f"{kind}{encoding}{prefix}, in {' or '.join(way.places)}"


def _of_way(way: Scheme, reading: Reading, now: float) -> Explained:
    given: list[bytes] = []
    time: bytes | None = None
    with suppress(Exception):
        given, time = proof_and_time(way, reading)
    moment = None if time is None else seconds_of(time, way.unit)
    names = list(names_in(way.template))
    hides = way.algorithm in (*SENT, "none") or way.algorithm.startswith("jwt") or "secret" in names
    signed = None
    with suppress(Exception):
        texts = [] if hides or way.each is not None else messages(way, reading, "", time)
        signed = texts[0] if texts else None
    shown = tuple(HIDDEN if way.algorithm in SENT else text.decode("utf-8", "replace") for text in given)
    return Explained(
        proof=described(way),
        given=shown,
        template="" if way.algorithm in (*SENT, "none") or way.algorithm.startswith("jwt") else way.signed,
        signed=signed,
        lacks=tuple(name for name in names if ":" in name and reading.first(name) is None),
        signed_at=moment,
        off_seconds=None if moment is None else now - moment,
        tolerance=way.tolerance if way.time is not None else 0,
    )


# ── what would have fitted ──────────────────────────────────────────────────────────────────────────────────────────


def suspicions(
    scheme: Scheme,
    secrets: Sequence[str],
    request: WebhookRequest,
    others: Mapping[str, Sequence[str]],
    certificates: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """What would make a proof that does not fit fit, tried out: the usual causes, a sentence each.

    `others` are the secrets of other sources by their names.
    """
    timeless = _without_window(scheme)

    def fits(known: Iterable[str], changed: WebhookRequest) -> bool:
        return check(timeless, known, changed, 0.0, certificates=certificates).accepted

    for why, body in _bodies(request.body):
        if fits(secrets, replace(request, body=body)):
            yield f"it fits a body {why}: something on the way changed the body (a proxy, a tunnel, a debugger)"
    for why, url in _addresses(request, scheme):
        if fits(secrets, replace(request, url=url)):
            yield f"it fits the address {why}: set WEBSPOOL_PUBLIC_URL to what the sender calls"
    for why, change in SECRET_SLIPS:
        changed = [slip for each in secrets if (slip := change(each)) not in ("", each)]
        if changed and fits(changed, request):
            yield f"it fits the secret {why}: copy the secret again"
    for name, known in others.items():
        if fits(known, request):
            yield f"it fits a secret of the source {name}: the address or the secret belongs there"
    for why, other in _schemes(scheme):
        if check(_without_window(other), secrets, request, 0.0).accepted:
            yield f"it fits {why}: the sender is set up in another way than this source says"


def _without_window(scheme: Scheme) -> Scheme:
    return replace(scheme, tolerance=0, handshake=None, or_else=tuple(map(_without_window, scheme.or_else)))


def _bodies(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Bodies that may have been signed in place of this one."""
    yield "without the line end at its end", body.rstrip(b"\r\n")
    yield "with a line end at its end", body + b"\n"
    yield "with CR LF line ends", body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    yield "with LF line ends", body.replace(b"\r\n", b"\n")
    with suppress(ValueError, RecursionError):
        document = json.loads(body)
        yield "without spaces in its JSON", json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
        yield "without spaces and with \\u escapes", json.dumps(document, separators=(",", ":")).encode()
        yield "with spaces after , and :", json.dumps(document, ensure_ascii=False).encode()
        yield "with spaces after , and :, and \\u escapes", json.dumps(document).encode()
        yield "indented by two", json.dumps(document, indent=2, ensure_ascii=False).encode()
        yield "without spaces, its keys sorted", json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def _addresses(request: WebhookRequest, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Addresses that may have been signed in place of this one."""
    if not scheme.reads_url:
        return
    url = request.url
    path, mark, query = url.partition("?")
    yield "with / at its end", path.rstrip("/") + "/" + mark + query
    yield "without / at its end", path.rstrip("/") + mark + query
    yield "without its query", path
    yield "without percent signs", unquote(url)
    yield "with percent signs", quote(url, safe=":/?&=%")
    if url.startswith("https://"):
        yield "with http://", "http://" + url[8:]
    if url.startswith("http://"):
        yield "with https://", "https://" + url[7:]


SECRET_SLIPS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("without the blanks around it", str.strip),
    ("without the quotes around it", lambda secret: secret.strip("\"'")),
    ("without whsec_", lambda secret: secret.removeprefix("whsec_")),
    ("with a line end", lambda secret: secret + "\n"),
)


def _schemes(scheme: Scheme) -> Iterator[tuple[str, Scheme]]:
    """Other ways to write the same kind of proof."""
    if is_public(scheme.algorithm) or scheme.algorithm in (*SENT, "none") or scheme.algorithm.startswith("jwt"):
        return
    for encoding in ("hex", "HEX", "base64", "base64url"):
        if encoding != scheme.encoding:
            yield f"the encoding {encoding}", replace(scheme, encoding=encoding, or_else=())
    for algorithm in ("sha1", "sha256", "sha512"):
        if algorithm != scheme.algorithm:
            yield f"the hash {algorithm}", replace(scheme, algorithm=algorithm, prefix="", or_else=())
    if scheme.prefix:
        yield f"a proof without {scheme.prefix!r}", replace(scheme, prefix="", or_else=())
