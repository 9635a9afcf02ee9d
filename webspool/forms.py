"""The fields and files of a form's body: urlencoded, or in parts (RFC 7578). All of it stays in memory, bounded."""

from __future__ import annotations

import binascii
import quopri
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from email.parser import HeaderParser
from email.utils import collapse_rfc2231_value
from urllib.parse import parse_qsl

from webspool.errors import UnparsableBody
from webspool.payloads import media_type

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
MOST_FIELDS = 10_000
MOST_PARTS = 1000
LARGEST_HEAD = 16 << 10
LONGEST_BOUNDARY = 200


@dataclass(frozen=True)
class FormFile:
    """One file of a multipart form; its name is the sender's word, never a path to write to."""

    filename: str
    content_type: str
    body: bytes = field(repr=False)


Form = tuple[dict[str, str], dict[str, FormFile]]


def says_form(content_type: str) -> bool:
    """Whether a media type announces a form."""
    return content_type in (URLENCODED, MULTIPART)


def read_form(body: bytes, header: str, of: str) -> Form:
    """The text fields and the files of a body with that Content-Type; of a repeated name the last.

    Empty for another kind of body. Raises UnparsableBody naming `of`.
    """
    content_type = media_type(header)
    try:
        if content_type == URLENCODED:
            return _read_fields(body), {}
        return _read_parts(body, header) if content_type == MULTIPART else ({}, {})
    except ValueError as fault:
        raise UnparsableBody(delivery=of, kind="a form", why=fault) from None


def _read_fields(body: bytes) -> dict[str, str]:
    text = body.decode("utf-8", "replace")
    if text.count("&") >= MOST_FIELDS:
        raise ValueError(f"it has more than {MOST_FIELDS} fields")
    return dict(parse_qsl(text, keep_blank_values=True, errors="replace"))


def _read_parts(body: bytes, header: str) -> Form:
    fields: dict[str, str] = {}
    files: dict[str, FormFile] = {}
    for number, (head, content) in enumerate(_parts(body, _boundary(header)), 1):
        if number > MOST_PARTS:
            raise ValueError(f"it has more than {MOST_PARTS} parts")
        told = _told(head)
        name = told.get_param("name", "", "Content-Disposition")
        name = collapse_rfc2231_value(name) if isinstance(name, tuple) else str(name)
        filename = told.get_filename()
        if filename is None:
            fields[name] = _plain(told, content).decode("utf-8", "replace")
        else:
            files[name] = FormFile(filename, told.get_content_type(), _plain(told, content))
    return fields, files


def _boundary(header: str) -> bytes:
    told = Message()
    told["Content-Type"] = header
    boundary = told.get_boundary("")
    if not 1 <= len(boundary) <= LONGEST_BOUNDARY:
        raise ValueError("its Content-Type names no boundary")
    return boundary.encode("utf-8", "replace")


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Head and content of each part; a body that does not end with its last boundary is cut short."""
    mark = b"--" + boundary
    at = 0 if body.startswith(mark) else body.find(b"\n" + mark) + 1
    if not body.startswith(mark, at):
        raise ValueError("it holds no part")
    while not body.startswith(b"--", at + len(mark)):
        head = body.find(b"\n", at)
        if head < 0:
            raise ValueError("it is cut short")
        following = _next_mark(body, mark, head)
        yield _split(body, head + 1, following)
        at = following + 1


def _next_mark(body: bytes, mark: bytes, start: int) -> int:
    """Where the line end before the next boundary is; a line that only begins like one is content."""
    while (found := body.find(b"\n" + mark, start)) >= 0:
        after = found + 1 + len(mark)
        line_end = body.find(b"\n", after)
        rest = body[after : after + 80 if line_end < 0 else min(line_end, after + 80)]
        if rest.startswith(b"--") or not rest.strip(b" \t\r"):
            return found
        start = found + 1
    raise ValueError("it is cut short")


def _split(body: bytes, start: int, end: int) -> tuple[bytes, bytes]:
    """A part at its empty line, which ends its head."""
    if body[end - 1 : end] == b"\r" and end > start:
        end -= 1
    for line_end in (b"\r\n", b"\n"):
        if body.startswith(line_end, start):
            return b"", body[start + len(line_end) : end]
    heads = [(at, len(mark)) for mark in (b"\r\n\r\n", b"\n\n") if (at := body.find(mark, start, end)) >= 0]
    at, size = min(heads, default=(end, 0))
    if at - start > LARGEST_HEAD:
        raise ValueError(f"the head of a part is longer than {LARGEST_HEAD} bytes")
    return body[start:at], body[at + size : end]


def _told(head: bytes) -> Message:
    return HeaderParser().parsestr(head.decode("utf-8", "replace"))


def _plain(told: Message, content: bytes) -> bytes:
    """The content without its transfer encoding, which RFC 7578 has put aside and mail gateways still use."""
    match str(told.get("Content-Transfer-Encoding", "")).strip().lower():
        case "base64":
            try:
                return binascii.a2b_base64(content)
            except binascii.Error as fault:
                raise ValueError(f"a part is not the base64 it says it is: {fault}") from None
        case "quoted-printable":
            return quopri.decodestring(content)
        case _:
            return content


__all__ = ["FormFile", "read_form", "says_form"]
