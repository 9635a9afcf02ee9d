"""What a body holds: JSON, text, XML, also compressed. Each reader is closed to what breaks a program later."""

from __future__ import annotations

import codecs
import json
import math
import re
import sys
import zlib
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import msgspec

from webspool.errors import UnparsableBody

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

DEEPEST = 200
MOST_VALUES = 2_000_000
LONGEST_INTEGER = 4300
INFLATED_AT_MOST = 64 << 20
INFLATED_FREELY = 1 << 20
LARGEST_RATIO = 100

_MANY = 1 << 20
_SAMPLED, _LONG_STRING = 1 << 16, 1000
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_TO_A_BRACKET = re.compile(rb'[^"\[\]{}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"\[\]{}]*+)*+', re.DOTALL)
_BEGINS_PLAINLY = re.compile(rb"[\[{][^\0]").match
_SPACE = re.compile(rb"[ \t\r\n]*+")
_BARE = re.compile(rb"[^,\]}\s]++")
_BRACKETS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS = bytes(each for each in range(256) if each not in b"[{]}")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")
_CHARSET = re.compile(r"utf_?(8|16|32)|ascii|latin_?1|iso8859|cp\d|euc_|shift_jis|big5|gb(2312|k|18030)|koi8|johab|uhc")


@lru_cache(maxsize=256)
def media_type(header: str) -> str:
    """What a Content-Type says, without its parameters, in lower case (RFC 9110, 8.3.1)."""
    return header.partition(";")[0].strip().lower()


def says_json(content_type: str) -> bool:
    """Whether a media type announces JSON (RFC 6838's +json suffix included)."""
    return content_type == "application/json" or content_type.endswith("+json")


def says_xml(content_type: str) -> bool:
    """Whether a media type announces XML (RFC 7303)."""
    return content_type in ("application/xml", "text/xml") or content_type.endswith("+xml")


# ── JSON ────────────────────────────────────────────────────────────────────────────────────────────────────────


def parse_json(text: bytes, of: str) -> Any:
    """`text` as JSON, closed to deep nesting, huge numbers, NaN, infinities and repeated keys.

    Raises UnparsableBody naming `of` when it is not JSON of that kind.
    """
    try:
        if text.count(b"[") + text.count(b"{") > DEEPEST:
            _refuse_excess(text)
        encoding = "utf-8" if _BEGINS_PLAINLY(text) else json.detect_encoding(text)
        return _decoder.decode(text.decode(encoding, "surrogatepass"))
    except RecursionError:
        raise UnparsableBody(delivery=of, kind="JSON", why="it nests too deeply") from None
    except ValueError as fault:
        raise UnparsableBody(delivery=of, kind="JSON", why=fault if text.strip() else "it is empty") from None


def field_of_json(text: bytes, name: str, of: str) -> Any:
    """The value of one field of a JSON object, None when it has none; the rest is passed over, and never built.

    For a large body, which as Python's objects takes several times its size. Raises UnparsableBody naming `of` for what
    is no such object, or has the field twice.
    """
    try:
        found = _values_quickly(text, name)
        if found is None:
            found = [text[begin:end] for key, begin, end in _fields(text) if parse_json(key, of) == name]
    except ValueError as fault:
        raise UnparsableBody(delivery=of, kind="JSON", why=fault) from None
    if len(found) > 1:
        raise UnparsableBody(delivery=of, kind="JSON", why=f"the key {name!r} is there twice")
    return parse_json(found[0], of) if found else None


def _values_quickly(text: bytes, name: str) -> list[bytes] | None:
    """The values of one field at the speed of C, where there is one at most; None where that cannot be told so.

    It is thirty times as fast in a list of many objects, and slower where a few long strings are all there is.
    """
    sampled = min(len(text), _SAMPLED)
    if text.count(b'"', 0, sampled) * _LONG_STRING < sampled or not _PLAIN_NAME.fullmatch(name):
        return None
    if text.count(b'"%b"' % name.encode()) > 1 or (b"\\u00" in text and _ESCAPED_ASCII.search(text)):
        return None  # it may be there twice, once in another spelling
    try:
        value = _only(name).decode(text).value
    except (msgspec.DecodeError, RecursionError):
        return None
    return [] if value is msgspec.UNSET else [bytes(value)]


@lru_cache(maxsize=64)
def _only(name: str) -> msgspec.json.Decoder[Any]:
    """Reads one field of an object, as it is written, and passes over all others."""
    fields = [("value", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET)]
    return msgspec.json.Decoder(msgspec.defstruct("Only", fields, rename={"value": name}))


def _fields(text: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The keys of an object, and where their values begin and end."""
    at = _after(text, _at_sign(text, 0, b"{"))
    while text[at : at + 1] != b"}":
        end = _value_end(text, at)
        key, at = text[at:end], _after(text, _at_sign(text, _after(text, end), b":"))
        end = _value_end(text, at)
        yield key, at, end
        at = _after(text, end)
        if text[at : at + 1] != b"}":
            at = _after(text, _at_sign(text, at, b","))
    if text[at + 1 :].strip():
        raise ValueError("something follows the object")


def _after(text: bytes, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _at_sign(text: bytes, at: int, sign: bytes) -> int:
    """Behind the sign that stands here, maybe after a space. Raises ValueError when another does."""
    at = _after(text, at)
    if text[at : at + 1] != sign:
        raise ValueError(f"there is no {sign.decode()} at {at}")
    return at + 1


def _value_end(text: bytes, at: int) -> int:
    """Where the value ends that begins here. Raises ValueError when it does not."""
    lead = text[at : at + 1]
    if lead in (b"{", b"["):
        return _bracket_end(text, at)
    if lead == b'"':
        return _string_end(text, at)
    found = _BARE.match(text, at)
    if found is None:
        raise ValueError(f"no value stands at {at}")
    return found.end()


def _string_end(text: bytes, at: int) -> int:
    """Behind the next quote that no backslash takes away: an even number of them stands before it."""
    end = text.find(b'"', at + 1)
    while end > 0:
        first = end
        while text[first - 1] == 0x5C:
            first -= 1
        if (end - first) % 2 == 0:
            return end + 1
        end = text.find(b'"', end + 1)
    raise ValueError("a string does not end")


def _bracket_end(text: bytes, at: int) -> int:
    depth = 0
    while found := _TO_A_BRACKET.match(text, at):
        at = found.end() + 1
        sign = text[at - 1 : at]
        depth += 1 if sign in (b"{", b"[") else -1
        if depth == 0:
            return at
        if not sign or depth > DEEPEST:
            break
    raise ValueError("its brackets do not match, or nest too deeply")


def _refuse_excess(text: bytes) -> None:
    """Text with many brackets: how deep they nest, counted outside of strings, at the speed of C."""
    if len(text) > _MANY and text.count(b",") + text.count(b"[") + text.count(b"{") > MOST_VALUES:
        raise ValueError(f"it holds more than {MOST_VALUES} values")
    steps = memoryview(_STRING.sub(b"", text).translate(_BRACKETS, _NO_BRACKETS)).cast("b")
    if max(accumulate(steps), default=0) > DEEPEST:
        raise ValueError(f"it nests more than {DEEPEST} levels deep")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value (RFC 8259, 6)")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:20]} is too large")
    return number


def _bounded(text: str) -> int:
    if len(text) > LONGEST_INTEGER:
        raise ValueError(f"it holds an integer of more than {LONGEST_INTEGER} digits")
    return int(text)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object holds the same key twice")
    return found


_HOOKS: dict[str, Any] = {"parse_constant": _no_constant, "parse_float": _finite, "object_pairs_hook": _unique_keys}
if not 0 < sys.get_int_max_str_digits() <= LONGEST_INTEGER:  # Python's own bound has been lifted
    _HOOKS["parse_int"] = _bounded
_decoder = json.JSONDecoder(**_HOOKS)


# ── text and XML ────────────────────────────────────────────────────────────────────────────────────────────────


def decoded(body: bytes, charset: str) -> str:
    """The body as text of that charset, or UTF-8 where it is unknown; what cannot be decoded becomes U+FFFD."""
    try:
        name = codecs.lookup(charset).name.replace("-", "_") if charset else "utf_8"
    except (LookupError, ValueError):
        name = "utf_8"
    return body.decode(name if _CHARSET.match(name) else "utf_8", "replace")


def parse_xml(body: bytes, of: str) -> Element:
    """The root element; entities and external references are refused (defusedxml). Raises UnparsableBody."""
    from defusedxml.common import DefusedXmlException  # XML is rare, and its parsers are slow to import
    from defusedxml.ElementTree import DefusedXMLParser, ParseError

    from webspool.elements import BoundedTree

    parser = DefusedXMLParser(target=BoundedTree(DEEPEST, MOST_VALUES))
    try:
        parser.feed(body)
        root: Element = parser.close()
    except DefusedXmlException as fault:
        why = f"{type(fault).__name__}: it declares entities or refers to the outside"
        raise UnparsableBody(delivery=of, kind="XML", why=why) from None
    except (ParseError, ValueError, LookupError) as fault:
        raise UnparsableBody(delivery=of, kind="XML", why=fault if body.strip() else "it is empty") from None
    return root


# ── compressed ──────────────────────────────────────────────────────────────────────────────────────────────────


def inflated(body: bytes, encoding: str, of: str) -> bytes:
    """The body without its Content-Encoding: gzip or deflate (RFC 9110, 8.4.1), once.

    At most 64 MiB, and past the first MiB at most 100 times what was sent. Raises UnparsableBody.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in ("gzip", "x-gzip", "deflate"):
        why = f"its Content-Encoding {name[:40]!r} is not undone here; read .body, the bytes as they were sent"
        raise UnparsableBody(delivery=of, kind="gzip", why=why)
    try:
        return _inflated(body, min(INFLATED_AT_MOST, max(INFLATED_FREELY, LARGEST_RATIO * len(body))))
    except (zlib.error, ValueError) as fault:
        raise UnparsableBody(delivery=of, kind=name, why=f"{fault}; .body holds the bytes as they were sent") from None


def _inflated(body: bytes, most: int) -> bytes:
    """All members of a gzip file, one after the other."""
    found, left, rest = [], most, body
    while rest:
        stream = zlib.decompressobj(wbits=47)  # gzip's header or zlib's
        found.append(stream.decompress(rest, left + 1))
        left -= len(found[-1])
        if left < 0:
            raise ValueError(f"it is {len(body)} bytes that grow to more than {most}")
        if not stream.eof:
            raise ValueError("it is cut short")
        rest = stream.unused_data.lstrip(b"\0")  # padding after the last member is allowed
    return b"".join(found)
