"""What reads a sender's bytes, each as a target: given bytes, it must keep its law."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from webspool.addresses import client_of
from webspool.errors import UnparsableBody
from webspool.forms import MULTIPART, URLENCODED, read_form
from webspool.intake import webhook
from webspool.payloads import decoded, inflated, parse_json, parse_xml
from webspool.records import Delivery, Headers, WebhookRequest
from webspool.redaction import safe_headers, safe_url
from webspool.routing import Condition
from webspool.signatures import PRESETS, certificate_wanted, check, named

NAMES = sorted(PRESETS)
NOW = 1_700_000_000.0


def signatures(given: Any) -> None:
    """No bytes make a verdict fail, and no stranger is believed."""
    name = NAMES[given.ConsumeIntInRange(0, len(NAMES) - 1)]
    headers = {
        place.partition(":")[2]: text(given, 80) for place in PRESETS[name].places if place.startswith("header:")
    }
    headers |= {"Content-Type": text(given, 40), text(given, 20): text(given, 40)}
    request = WebhookRequest("POST", "/hooks/x?" + text(given, 60), headers, rest(given))
    verdict = check(name, ["the-secret"], request, NOW, tokens=["token"])
    assert name == "none" or verdict.reply is not None or not verdict.accepted, name
    certificate_wanted(name, request)
    named(name, request)
    safe_headers(request.headers, PRESETS[name])
    safe_url(request.url, PRESETS[name])


def headers(given: Any) -> None:
    """What a server hands over becomes a request, whatever it is; the client's address is one, or None."""
    environ = {
        "REQUEST_METHOD": text(given, 10),
        "PATH_INFO": latin(given, 40),
        "QUERY_STRING": latin(given, 40),
        "CONTENT_TYPE": latin(given, 60),
        "HTTP_X_FORWARDED_FOR": latin(given, 80),
        "HTTP_FORWARDED": latin(given, 120),
        "REMOTE_ADDR": "192.0.2.1",
    }
    request = webhook(environ, b"")
    _ = request.query
    for header in ("X-Forwarded-For", "Forwarded"):
        for proxies in (0, 1, 3):
            client_of(environ, proxies, header)
    told = Headers(request.headers)
    delivery = Delivery("d", "s", request.method, request.url, told, 0.0, stored_body=rest(given))
    for part in ("text", "form", "files", "json", "xml", "cloudevent", "data", "query"):
        with contextlib.suppress(UnparsableBody):
            getattr(delivery, part)


def payloads(given: Any) -> None:
    """Each reader reads, or says that it cannot."""
    kind, body = given.ConsumeIntInRange(0, 5), rest(given)
    readers: list[Callable[[], Any]] = [
        lambda: parse_json(body, "d"),
        lambda: parse_xml(body, "d"),
        lambda: inflated(body, "gzip", "d"),
        lambda: read_form(body, f"{MULTIPART}; boundary=b", "d"),
        lambda: read_form(body, URLENCODED, "d"),
        lambda: decoded(body, "euc-kr"),
    ]
    with contextlib.suppress(UnparsableBody):
        readers[kind]()


def conditions(given: Any) -> None:
    """A condition is read, or told why not."""
    list(Condition(text(given, 60)).faults())


TARGETS: dict[str, Callable[[Any], None]] = {
    "signatures": signatures,
    "headers": headers,
    "payloads": payloads,
    "conditions": conditions,
}


def text(given: Any, most: int) -> str:
    return str(given.ConsumeUnicode(given.ConsumeIntInRange(0, most)))


def latin(given: Any, most: int) -> str:
    """As WSGI hands bytes over (PEP 3333)."""
    return bytes(given.ConsumeBytes(given.ConsumeIntInRange(0, most))).decode("latin-1")


def rest(given: Any) -> bytes:
    return bytes(given.ConsumeBytes(given.remaining_bytes()))
