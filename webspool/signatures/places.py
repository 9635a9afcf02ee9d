"""Where a request holds something: header, query, path, body field. Reading it, and putting it there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlencode

from webspool.errors import UnparsableBody
from webspool.payloads import field_of_json, media_type
from webspool.records import Headers, WebhookRequest

KEY_IN_PATH = "<key>"
KINDS = ("header", "query", "body", "other")
FORM = "application/x-www-form-urlencoded"
MAX_FIELDS = 10_000
LARGE_BYTES = 1 << 20
LISTS_AND_MARKS = (b"[", b"\xef", b"\xff", b"\xfe", b"\0")
"""How JSON begins that is no object in plain UTF-8: a list, or the mark of another encoding."""


def bare(place: str) -> str:
    """The name of a place without its kind."""
    return place.partition(":")[2]


def is_place(place: object) -> bool:
    """Whether this is "header:NAME", "query:NAME", "body:FIELD", "other:FIELD" or "path", or several with | between."""
    if not isinstance(place, str):
        return False
    return all(each == "path" or (each.partition(":")[0] in KINDS and bare(each) != "") for each in place.split("|"))


def places_in(given: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The places that name an event: none, one, or several that are joined."""
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else given


class Reading:
    """One request, read as far as a scheme asks: the body is parsed once, and only for a scheme that looks inside.

    A compressed body holds nothing until its sender is `proven`: strangers have nothing inflated.
    """

    __slots__ = ("_document", "_parsed", "_proven", "request")

    def __init__(self, request: WebhookRequest, *, proven: bool = False) -> None:
        self.request = request
        self._proven = proven
        self._parsed = False
        self._document: Any = None

    def within(self, document: Any) -> Reading:
        """The same request with one item of the body as its document."""
        inner = Reading(self.request)
        inner._parsed, inner._document = True, document
        return inner

    @property
    def document(self) -> Any:
        """What the body says: JSON, a form's fields, or the JSON in a form's field `payload`; None when unreadable."""
        if not self._parsed:
            readable = self._proven or "Content-Encoding" not in self.request.headers
            self._parsed, self._document = True, document_of(self.request) if readable else None
        return self._document

    def values(self, place: str) -> list[bytes]:
        """What stands in a place: several values for a repeated field or a header of doubtful encoding."""
        if "|" in place:
            return next((found for each in place.split("|") if any(found := self.values(each))), [])
        kind, _, name = place.partition(":")
        if kind == "header":
            return _readings(self.request.headers.get(name, ""))
        if kind == "body":
            return [_text(value) for value in found_in(self._on_the_way(name), name)]
        if kind == "other":
            return _other_names(self.document, name)
        path, _, query = self.request.url.partition("#")[0].partition("?")
        if kind == "path":
            return [_unquoted(path.rpartition("/")[2])]
        return list(_query_values(query, name))

    def _on_the_way(self, path: str) -> Any:
        """What the body says; of a large one as much as this path leads to."""
        step, body = path.partition(".")[0], self.request.body
        small = self._parsed or len(body) <= LARGE_BYTES or "Content-Encoding" in self.request.headers
        if small or step == "*" or is_form(self.request):
            return self.document
        lead = body[:64].lstrip()[:1]
        if lead != b"{":
            return self.document if lead in LISTS_AND_MARKS else None
        try:
            return {step: field_of_json(body, step, "the webhook")}
        except UnparsableBody:
            return None

    def first(self, place: str) -> bytes | None:
        """The first value in a place; None when nothing is there."""
        if "*" in place:
            return b",".join(self.values(place)) or None
        return next((value for value in self.values(place) if value), None)

    def text(self, place: str) -> str:
        """The first value in a place as text; empty when nothing is there."""
        kind, name = _usual(place)
        if kind == "header":
            value = self.request.headers.get(name, "")
            if value.isascii():
                return value.strip()
        elif kind == "body" and isinstance(document := self._on_the_way(name), dict):
            held = document.get(name)
            return "" if held is None else _text(held).decode("utf-8", "replace").strip()
        return (self.first(place) or b"").decode("utf-8", "replace").strip()


@lru_cache(maxsize=1024)
def _usual(place: str) -> tuple[str, str]:
    """The kind and the name of a place that is one header, or one field at the top of the body; else no kind."""
    kind, _, name = place.partition(":")
    unusual = {"header": "|", "body": "|.*"}.get(kind)
    return (kind, name) if unusual is not None and not set(unusual) & set(name) else ("", "")


def document_of(request: WebhookRequest) -> Any:
    """The body as JSON or form fields; None when it is neither."""
    if is_form(request):
        fields = form_fields(request)
        in_form = [name for name, _ in fields] == ["payload"]
        return _json(replace(request, body=fields[0][1].encode())) if in_form else dict(fields)
    return _json(request)


def _json(request: WebhookRequest) -> Any:
    try:
        return request.json
    except UnparsableBody:
        return None


def is_form(request: WebhookRequest) -> bool:
    """Whether the body says it is a URL-encoded form."""
    return media_type(request.headers.get("Content-Type", "")) == FORM


def form_fields(request: WebhookRequest) -> list[tuple[str, str]]:
    """A form's fields in their order. Raises ValueError when there are too many."""
    text = request.body.decode("utf-8", "replace")
    return parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=MAX_FIELDS)


def found_in(document: Any, path: str) -> Iterator[Any]:
    """Every value at a dotted path of a JSON document."""
    step, _, rest = path.partition(".")
    for value in _steps(document, step):
        if rest:
            yield from found_in(value, rest)
        elif value is not None:
            yield value


def _steps(document: Any, step: str) -> Iterable[Any]:
    if isinstance(document, dict):
        return document.values() if step == "*" else ([document[step]] if step in document else [])
    if isinstance(document, list):
        if step == "*":
            return document
        return document[int(step) : int(step) + 1] if step.isascii() and step.isdigit() else []
    return []


def _text(value: Any) -> bytes:
    """A JSON value as the sender would sign it: text as it is, the rest as JSON writes it."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "replace")


def _other_names(document: Any, name: str) -> list[bytes]:
    """The name of the first field that is not the one named."""
    names = document if isinstance(document, dict) else ()
    return [each.encode("utf-8", "replace") for each in names if each != name][:1]


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


# ── putting something there ─────────────────────────────────────────────────────────────────────────────────────────


def put(request: WebhookRequest, place: str, value: str, *, number: bool = False) -> WebhookRequest:
    """The request with a value in a place. A body that holds no fields stays as it is; `number` is for JSON."""
    kind, _, name = place.partition("|")[0].partition(":")
    if kind == "header":
        others = [pair for pair in _pairs(request) if pair[0].lower() != name.lower()]
        return replace(request, headers=Headers([*others, (name, value)]))
    if kind == "body":
        return _with_field(request, name, int(value) if number else value)
    if kind == "other":
        return _with_field(request, value, {})
    if kind == "path":
        return replace(request, url=request.url.replace(KEY_IN_PATH, quote(value, safe="")))
    joint = "&" if "?" in request.url else "?"
    return replace(request, url=f"{request.url}{joint}{quote(name)}={quote(value, safe='')}")


def _with_field(request: WebhookRequest, path: str, value: Any) -> WebhookRequest:
    if is_form(request):
        others = [pair for pair in form_fields(request) if pair[0] != path]
        return replace(request, body=urlencode([*others, (path, value)]).encode())
    document = document_of(request) if request.body else {}
    if not isinstance(document, dict):
        return request
    put_in(document, path, value)
    return with_document(request, document)


def with_document(request: WebhookRequest, document: Any) -> WebhookRequest:
    """The request with this JSON for a body."""
    return replace(request, body=json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())


def put_in(document: Any, path: str, value: Any) -> None:
    """Set the value at a dotted path, making what is missing on the way; numbers and * are items of a list."""
    step, _, rest = path.partition(".")
    listed = _is_index(step)
    where: Any = 0 if step == "*" else int(step) if listed else step
    if isinstance(document, list) and listed:
        document.extend({} for _ in range(where + 1 - len(document)))
    elif not isinstance(document, dict) or listed:
        return
    if not rest:
        document[where] = value
        return
    usual: Any = [] if _is_index(rest.partition(".")[0]) else {}
    if isinstance(document, dict) and not isinstance(document.get(where), dict | list):
        document[where] = usual
    put_in(document[where], rest, value)


def _is_index(step: str) -> bool:
    return step == "*" or (step.isascii() and step.isdigit() and len(step) < 4)


def _pairs(request: WebhookRequest) -> Iterable[tuple[str, str]]:
    headers = request.headers
    return headers.pairs if isinstance(headers, Headers) else headers.items()
