"""The text that a sender signed, put together from a request; several when the address is not known for sure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from urllib.parse import urlsplit

from webspool.records import WebhookRequest
from webspool.signatures.places import Reading, form_fields, is_form
from webspool.signatures.scheme import Scheme
from webspool.signatures.template import filled

PORTS = {"http": 80, "https": 443}
DECODED = {
    f"%{ord(sign):02X}": sign for sign in ":/?@!$'()*,;"
}  # HubSpot signs its address with these decoded, and no others


def messages(way: Scheme, reading: Reading, secret: str, time: bytes | None) -> list[bytes]:
    """What may have been signed; none when a part of it is absent."""
    if way.signed == "{body}":
        return [reading.request.body]
    urls = addresses(reading.request) if way.reads_url else [""]
    found = (filled(way.template, Filler(reading, secret, time, url)) for url in urls)
    return list(dict.fromkeys(text for text in found if text is not None))


class Filler:
    """The value of each field of a template, for one request and one guess at its address."""

    __slots__ = ("reading", "secret", "time", "url")

    def __init__(self, reading: Reading, secret: str, time: bytes | None, url: str) -> None:
        self.reading, self.secret, self.time, self.url = reading, secret, time, url

    def __call__(self, name: str) -> bytes | None:
        request = self.reading.request
        match name:
            case "body":
                return request.body
            case "time":
                return self.time
            case "secret":
                return self.secret.encode("utf-8", "surrogatepass")
            case "crc32":
                return str(zlib.crc32(request.body)).encode()
            case "method":
                return request.method.encode()
            case "url":
                return _bytes(self.url)
            case "decoded_url":
                return _bytes(_decoded(self.url))
            case "path" | "query":
                path, _, query = request.url.partition("#")[0].partition("?")
                return _bytes(urlsplit(path).path if name == "path" else query)
            case "form":
                return _sorted_form(request)
        return self.reading.first(name)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decoded(url: str) -> str:
    for code, sign in DECODED.items():
        url = url.replace(code, sign).replace(code.lower(), sign)
    return url


def _sorted_form(request: WebhookRequest) -> bytes | None:
    """A form's names and values without anything between, sorted and each pair once; None for another body."""
    if not request.body:
        return b""
    if not is_form(request):
        return None
    return "".join(name + value for name, value in sorted(set(form_fields(request)))).encode("utf-8", "replace")


def addresses(request: WebhookRequest) -> list[str]:
    """The addresses under which a sender may know this one: as given, without its port, with the usual port."""
    url = request.url.partition("#")[0]
    if url.lower().startswith(("http://", "https://")):
        return list(dict.fromkeys(_with_ports(url)))
    host = request.headers.get("Host", "localhost")
    return [each for scheme in ("https", "http") for each in _with_ports(f"{scheme}://{host}{url}")]


def _with_ports(url: str) -> Iterator[str]:
    yield url
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    name = host.rpartition(":")[0] if parts.port is not None else host.removesuffix(":")
    login = parts.netloc[: len(parts.netloc) - len(host)]
    rest = url[url.index("//") + 2 + len(parts.netloc) :]
    for netloc in (name, f"{name}:{PORTS[parts.scheme.lower()]}"):
        yield f"{parts.scheme}://{login}{netloc}{rest}"
