"""What a body holds: each kind is read when asked for, bounded, and a wrong access says what to read instead."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_records import BOUNDARY, multipart
from webspool.errors import UnparsableBody
from webspool.forms import LARGEST_HEAD, MOST_FIELDS, MOST_PARTS
from webspool.payloads import DEEPEST, INFLATED_AT_MOST, field_of_json, inflated, parse_json
from webspool.records import Delivery, Headers

MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
FORM = "application/x-www-form-urlencoded"


def delivery(body: bytes = b"", content_type: str | None = None, **headers: str) -> Delivery:
    given = ({"Content-Type": content_type} if content_type else {}) | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return Delivery("d_1", "x", "POST", "/hooks/x", Headers(given), 0.0, stored_body=body)


def field(name: str, value: bytes = b"1", more: str = "") -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"{more}', value


# ── JSON ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def nested(levels: int, text: str = "") -> bytes:
    return b'[{"a":' * (levels // 2) + json.dumps(text).encode() + b"}]" * (levels // 2)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (nested(DEEPEST + 2), "200 levels"),
        (b"[" * 5000 + b"]" * 5000, "200 levels"),
        (b"[" * 5_000_000, "values"),
        (b'{"a": 1e999}', "too large"),
        (b"[-1e999]", "too large"),
        (b"[Infinity]", "RFC 8259"),
        (b"1" * 10_000, "digits"),
        (b'{"a": {"b": 1, "b": 2}}', "twice"),
        (b"  ", "empty"),
        (b"\xff", "decode"),
    ],
)
def test_json_that_breaks_a_program_later_says_why_it_is_refused(body: bytes, why: str) -> None:
    """Each guard by its own words."""
    with pytest.raises(UnparsableBody, match=why):
        parse_json(body, "d_1")


@pytest.mark.parametrize("text", ["[" * 500, "]" * 500, '\\" [[[' * 300, "}{" * 500])
def test_brackets_inside_of_strings_do_not_nest(text: str) -> None:
    """Depth is counted outside of strings; as deep as allowed is read."""
    assert parse_json(json.dumps([text] * 3).encode(), "d_1") == [text] * 3
    assert parse_json(nested(DEEPEST, text), "d_1")


@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=400))
def test_what_is_no_deeper_is_read_as_it_was_written(value: Any) -> None:
    """The guard changes nothing."""
    assert parse_json(json.dumps([value] * 3).encode(), "d_1") == [value] * 3


def test_a_huge_integer_is_refused_where_python_has_no_bound() -> None:
    """PYTHONINTMAXSTRDIGITS=0 would make reading it quadratic."""
    code = "from webspool.payloads import parse_json; parse_json(b'1' * 10_000, 'd')"
    environ = {"PYTHONINTMAXSTRDIGITS": "0"}
    ended = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert "an integer of more than 4300 digits" in ended.stderr


# ── compressed ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "deflate"])
def test_a_compressed_body_is_read_as_what_it_holds_and_kept_as_it_was_sent(encoding: str) -> None:
    """`.body` are the bytes that were signed."""
    plain = b'{"a": 1}'
    sent = (
        zlib.compress(plain) if encoding == "deflate" else gzip.compress(plain[:4], mtime=0) + gzip.compress(plain[4:])
    )
    got = delivery(sent, "application/json", Content_Encoding=encoding)
    assert (got.json, got.data, got.content, got.text, got.body) == ({"a": 1}, {"a": 1}, plain, plain.decode(), sent)


def bomb(mebibytes: int, level: int = 9) -> bytes:
    made = zlib.compressobj(level, wbits=31)
    piece = bytes(1 << 20)
    return b"".join([made.compress(piece) for _ in range(mebibytes)] + [made.flush()])


@pytest.mark.parametrize(
    ("body", "encoding", "why"),
    [
        (bomb(200), "gzip", "grow to more than"),
        (bomb(INFLATED_AT_MOST >> 19, level=0), "gzip", f"more than {INFLATED_AT_MOST}"),
        (gzip.compress(b"{}", mtime=0)[:-1], "gzip", "cut short"),
        (b"{}", "gzip", "incorrect header"),
        (gzip.compress(b"{}", mtime=0) + b"{}", "gzip", "incorrect header"),
        (b"{}", "br", r"read \.body"),
        (gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0), "gzip, gzip", r"read \.body"),
    ],
)
def test_a_body_that_does_not_inflate_as_it_should_is_unparsable(body: bytes, encoding: str, why: str) -> None:
    """A bomb is stopped at 100 times its size, and at 64 MiB; nothing is undone twice."""
    with pytest.raises(UnparsableBody, match=why):
        inflated(body, encoding, "d_1")


# ── forms ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_form_of_many_parts_keeps_every_field_and_file() -> None:
    """Names in any script, files of any name, types as told."""
    body = multipart(
        field("이름", "홍길동".encode()),
        field("empty", b""),
        field("f", b"\r\n--frontier-not\r\n", '; filename="../../etc/passwd"\r\nContent-Type: text/x-a'),
        ("Content-Disposition: form-data; name=g; filename*=UTF-8''%EB%82%98.txt", b"x"),
        ("Content-Disposition: form-data; name=h\r\nContent-Transfer-Encoding: base64", b"aGk="),
    )
    got = delivery(body, MULTIPART)
    assert got.form == {"이름": "홍길동", "empty": "", "h": "hi"}
    file = got.files["f"]
    assert (file.filename, file.content_type, file.body) == (
        "../../etc/passwd",
        "text/x-a",
        b"\r\n--frontier-not\r\n",
    )
    assert got.files["g"].filename == "나.txt"


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_every_content_of_a_part_comes_back(contents: list[bytes]) -> None:
    """Line ends and hyphens at the edges included."""
    contents = [each.replace(b"--frontier", b"") for each in contents]
    body = multipart(*(field(f"f{n}", each, f'; filename="{n}"') for n, each in enumerate(contents)))
    assert [file.body for file in delivery(body, MULTIPART).files.values()] == contents


def test_a_form_with_bare_line_feeds_is_read() -> None:
    """Written by hand, or by a script."""
    body = f'--{BOUNDARY}\nContent-Disposition: form-data; name="a"\n\n1\n--{BOUNDARY}--'.encode()
    assert delivery(body, MULTIPART).form == {"a": "1"}


@pytest.mark.parametrize(
    ("body", "content_type", "why"),
    [
        (multipart(*[field("a")] * (MOST_PARTS + 1)), MULTIPART, "more than 1000 parts"),
        (multipart(field("a" * LARGEST_HEAD)), MULTIPART, "head of a part"),
        (multipart(field("a"))[:-6], MULTIPART, "cut short"),
        (multipart(field("a")), "multipart/form-data", "no boundary"),
        (multipart(field("a")), "multipart/form-data; boundary=" + "b" * 300, "no boundary"),
        (b"a=1", MULTIPART, "no part"),
        (b"a=1&" * MOST_FIELDS + b"a=1", FORM, "more than 10000 fields"),
    ],
)
def test_a_form_that_is_none_or_too_much_is_unparsable(body: bytes, content_type: str, why: str) -> None:
    """In `.form`, `.files` and `.data` alike."""
    for name in ("form", "files", "data"):
        with pytest.raises(UnparsableBody, match=why):
            getattr(delivery(body, content_type), name)


# ── XML and text ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_xml_is_a_tree() -> None:
    """As xml.etree has it."""
    root = delivery(b"<?xml version='1.0'?><order id='7'><item>a</item></order>", "application/xml").xml
    assert (root.tag, root.get("id"), root.findtext("item")) == ("order", "7", "a")


BILLION = b'<!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><l>&b;</l>'
OUTSIDE = b'<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><l>&a;</l>'


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (BILLION, "entities"),
        (OUTSIDE, "entities"),
        (b"<a>" * 300 + b"</a>" * 300, "levels deep"),
        (b"<a>", "no element found"),
        (b"<a></b>", "mismatched"),
        (b"", "empty"),
    ],
)
def test_xml_that_harms_is_unparsable(body: bytes, why: str) -> None:
    """Entities, the outside, and depth."""
    with pytest.raises(UnparsableBody, match=why):
        _ = delivery(body, "application/xml").xml


@pytest.mark.parametrize(
    ("charset", "body", "text"),
    [
        ("", "나".encode(), "나"),
        ("; charset=euc-kr", "나".encode("euc-kr"), "나"),
        ('; x=1; Charset="ISO-8859-1"', b"\xe9", "é"),
        ("; charset=nonsense", "나".encode(), "나"),
        ("; charset=zlib", b"\xff", "\ufffd"),
        ("; charset=unicode_escape", b"\\u0041", "\\u0041"),
    ],
)
def test_text_is_read_by_its_charset(charset: str, body: bytes, text: str) -> None:
    """UTF-8 where none is named that is one of text."""
    assert delivery(body, f"text/plain{charset}").text == text


# ── CloudEvents ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_cloudevent_is_the_same_whichever_way_it_came() -> None:
    """Attributes and data; `.data` is the event's data in both."""
    binary = delivery(
        b'{"n": 1}', "application/json", Ce_Specversion="1.0", ce_id="7", ce_type="made", ce_subject="%EB%82%98"
    )
    event = {"specversion": "1.0", "id": "7", "type": "made", "subject": "나", "datacontenttype": "application/json"}
    structured = delivery(json.dumps(event | {"data": {"n": 1}}).encode(), "application/cloudevents+json")
    assert binary.cloudevent == structured.cloudevent == event | {"data": {"n": 1}}
    assert binary.data == structured.data == {"n": 1}


def test_the_data_of_a_cloudevent_may_be_bytes() -> None:
    """data_base64, or a body that is no JSON."""
    event = {"specversion": "1.0", "id": "7", "data_base64": "AP8="}
    structured = delivery(json.dumps(event).encode(), "application/cloudevents+json")
    assert structured.cloudevent == {"specversion": "1.0", "id": "7", "data": b"\0\xff"}
    assert delivery(b"\0\xff", "image/png", ce_specversion="1.0").cloudevent["data"] == b"\0\xff"


# ── wrong access ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "body", "content_type", "why"),
    [
        ("json", b"a=1", FORM, r"a form|read \.form"),
        ("json", b"<a/>", "text/xml", r"read \.xml"),
        ("json", b"\0", "image/png", r"read \.body"),
        ("form", b"{}", "application/json", r"read \.json"),
        ("files", b"{}", "application/json", r"read \.json"),
        ("form", b"\0", None, r"read \.body"),
        ("xml", b"{}", "application/json", r"read \.json"),
        ("cloudevent", b"{}", "application/json", "no ce-specversion header"),
        ("cloudevent", b"[]", "application/cloudevents+json", "no object"),
        ("cloudevent", b'{"specversion": "1", "data_base64": 1}', "application/cloudevents+json", "data_base64"),
    ],
)
def test_a_wrong_access_says_what_to_read(name: str, body: bytes, content_type: str | None, why: str) -> None:
    """The name of the delivery, the kind, and the way out."""
    with pytest.raises(UnparsableBody, match=why) as raised:
        getattr(delivery(body, content_type), name)
    assert "d_1" in str(raised.value)


def test_a_body_that_is_what_it_does_not_say_is_read_all_the_same() -> None:
    """Senders that call everything text or octets are many."""
    assert delivery(b'{"a": 1}', "text/plain").json == {"a": 1}
    assert delivery(b"[1]", "application/octet-stream").json == [1]
    assert delivery(b"<a/>", "text/plain").xml.tag == "a"
    assert delivery().form == {}


# ── one field of a large object ─────────────────────────────────────────────────────────────────────────────────────

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=5), st.sampled_from([None, 1]), st.booleans())
def test_a_field_of_an_object_is_what_parsing_all_of_it_finds(
    document: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    """Whatever stands before and behind it, however it is written."""
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    for name in [*document, "absent key"]:
        assert field_of_json(text, name, "it") == document.get(name)


@given(st.binary(max_size=40) | st.text(alphabet='{}[]":,\\ a1', max_size=40).map(str.encode))
def test_a_field_of_what_is_no_object_is_told_so(text: bytes) -> None:
    """The same as parsing it finds, or UnparsableBody; nothing else."""
    try:
        found = field_of_json(text, "a", "it")
    except UnparsableBody:
        return
    try:
        assert found == json.loads(text).get("a")
    except ValueError:
        assert text.lstrip().startswith(b"{"), "values that are passed over are not looked at closely"


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":2}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":1,"b":["a"],"a":2}',
        b'{"a":1',
        b'{"a":[[}',
        b'{"a":1} x',
        b"[1]",
        b"",
        b'{"a" 1}',
        b'{"a":"x',
    ],
)
def test_a_field_that_is_there_twice_or_in_half_an_object_is_none(text: bytes) -> None:
    """Which of two is meant, nobody knows."""
    with pytest.raises(UnparsableBody):
        field_of_json(text, "a", "it")
