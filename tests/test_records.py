"""The words of the house: ids, states, requests and deliveries."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from webspool.errors import UnparsableBody
from webspool.records import (
    FINISHED,
    LEGAL_MOVES,
    WAITING,
    Delivery,
    Headers,
    State,
    WebhookRequest,
    ids_behind,
    is_id,
    new_id,
)

BOUNDARY = "frontier"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def delivery(body: bytes = b"", content_type: str | None = None, url: str = "/hooks/x") -> Delivery:
    headers = Headers([("Content-Type", content_type)] if content_type else [])
    return Delivery("d_1", "x", "POST", url, headers, 0.0, stored_body=body)


def multipart(*parts: tuple[str, bytes]) -> bytes:
    lines = [f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + body + b"\r\n" for head, body in parts]
    return b"".join(lines) + f"--{BOUNDARY}--\r\n".encode()


def test_ids_are_uuids_of_version_7_in_order_of_time() -> None:
    """RFC 9562, 5.7: 48 bits of milliseconds, version 7, variant 10."""
    before = time.time_ns() // 1_000_000
    made = [new_id("j") for _ in range(1000)]
    numbers = [int(each.removeprefix("j_"), 16) for each in made]
    assert len(set(made)) == 1000
    assert all(number >> 76 & 0xF == 7 and number >> 62 & 0b11 == 0b10 for number in numbers)
    assert all(before <= number >> 80 <= time.time_ns() // 1_000_000 for number in numbers)
    assert [number >> 80 for number in numbers] == sorted(number >> 80 for number in numbers)


def test_no_two_threads_and_no_two_processes_draw_the_same_id() -> None:
    """The randomness of ids is drawn for many at once; whoever forks in between draws its own."""
    new_id("j")
    ours, theirs = os.pipe()
    if (child := os.fork()) == 0:
        os.write(theirs, "".join(new_id("j")[16:] for _ in range(50)).encode())
        os._exit(0)
    os.close(theirs)
    os.waitpid(child, 0)
    with os.fdopen(ours) as read:
        drawn = read.read()
    found = {drawn[at : at + 18] for at in range(0, len(drawn), 18)}
    with ThreadPoolExecutor(8) as threads:
        many = [each for part in threads.map(lambda _: [new_id("j") for _ in range(500)], range(8)) for each in part]
    assert len(found) == 50
    assert len(set(many)) == len(many)
    assert not found & {each[16:] for each in many}


def test_what_is_made_together_has_ids_of_one_kin() -> None:
    """A webhook's jobs are told apart from it and from each other, and sort behind it."""
    delivery = new_id("d")
    jobs = ids_behind(delivery, "j", 3)
    assert len({delivery[2:], *(job[2:] for job in jobs)}) == 4
    assert all(is_id(job, "j") for job in jobs)
    assert sorted(jobs) == jobs
    assert jobs[0][2:] > delivery[2:]


def test_every_state_waits_runs_or_is_finished_and_can_reach_an_end() -> None:
    """No state is forgotten in the table of moves, and from each an end can be reached."""
    assert set(LEGAL_MOVES) == set(State) == WAITING | FINISHED | {State.RUNNING}
    reaching = set(FINISHED)
    for _ in State:
        reaching |= {state for state, moves in LEGAL_MOVES.items() if moves & reaching}
    assert reaching == set(State)


def test_what_succeeded_moves_no_more() -> None:
    """Only dead and cancelled jobs can be given a new round."""
    assert not LEGAL_MOVES[State.SUCCEEDED]


def test_headers_are_found_whatever_their_case_and_kept_as_they_came() -> None:
    """The first of a repeated field is the one looked up; all stay in order."""
    headers = Headers([("X-Event", "a"), ("x-event", "b"), ("Accept", "*/*")])
    assert headers["X-EVENT"] == "a"
    assert headers.get("missing") is None
    assert headers.pairs == (("X-Event", "a"), ("x-event", "b"), ("Accept", "*/*"))
    assert len(headers) == 2


@given(st.text(), st.text())
@example("http://[", "a=1")
@example("//[x", "a=%ff")
def test_a_query_is_read_from_any_address(address: str, query: str) -> None:
    """A sender chooses its Host: no address raises."""
    url = f"{address.replace('?', '').replace('#', '')}?{query}"
    assert isinstance(WebhookRequest("GET", url, {}).query, dict)


def test_of_a_repeated_query_field_the_last_counts_and_the_fragment_does_not() -> None:
    """Blank values are kept."""
    assert WebhookRequest("GET", "/x?a=1&a=2&b=#c=3", {}).query == {"a": "2", "b": ""}


@given(st.dictionaries(st.text(min_size=1), json_values))
def test_data_is_the_json_object_that_was_sent(values: dict[str, Any]) -> None:
    """With a media type that says JSON, and (as curl -d sends it) with one that says form."""
    body = json.dumps(values).encode()
    assert delivery(body, "application/json").data == values
    assert delivery(body, "application/vnd.api+json; charset=utf-8").data == values
    assert delivery(body, "application/x-www-form-urlencoded").data == values
    assert delivery(body).data == values


@pytest.mark.parametrize("value", [[1, 2], "text", 7, None])
def test_json_that_is_no_object_comes_as_value(value: Any) -> None:
    """`.data` is one dict, whatever the kind."""
    assert delivery(json.dumps(value).encode(), "application/json").data == {"value": value}


@given(st.dictionaries(st.text(min_size=1), st.text(), min_size=1).filter(lambda form: "payload" not in form))
def test_data_is_the_form_that_was_sent(form: dict[str, str]) -> None:
    """Any text, 나의 비밀 방 included."""
    assert delivery(urlencode(form).encode(), "application/x-www-form-urlencoded").data == form


def test_without_a_body_data_is_the_query() -> None:
    """A GET of the simplest source."""
    assert delivery(url="/webhook/key?room=%EB%82%98%EC%9D%98&x=").data == {"room": "나의", "x": ""}


@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
def test_the_payload_field_of_a_form_is_json(kind: str) -> None:
    """GitHub's and Slack's forms."""
    if kind == "urlencoded":
        sent = delivery(urlencode({"payload": '{"a": 1}'}).encode(), "application/x-www-form-urlencoded")
    else:
        body = multipart(('Content-Disposition: form-data; name="payload"', b'{"a": 1}'))
        sent = delivery(body, f"multipart/form-data; boundary={BOUNDARY}")
    assert sent.json == {"a": 1}
    assert sent.data == {"a": 1}


def test_json_that_curl_calls_a_form_is_not_cut_at_its_ampersands() -> None:
    """A text with `&payload=` in it is no payload field."""
    body = b'{"a": "x&payload=1"}'
    assert delivery(body, "application/x-www-form-urlencoded").data == {"a": "x&payload=1"}


def test_the_files_of_a_form_keep_every_byte() -> None:
    """Line ends, zeros and all other bytes included."""
    content = bytes(range(256)) + b"\r\n\r\n\n\r--"
    body = multipart(
        ('Content-Disposition: form-data; name="room"', "나의 비밀 방".encode()),
        ('Content-Disposition: form-data; name="file"; filename="a.bin"\r\nContent-Type: image/png', content),
    )
    sent = delivery(body, f"multipart/form-data; boundary={BOUNDARY}")
    assert sent.data == {"room": "나의 비밀 방"}
    assert sent.files["file"].body == content
    assert (sent.files["file"].filename, sent.files["file"].content_type) == ("a.bin", "image/png")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": 1, "a": 2}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 5000,
    ],
)
def test_json_that_would_break_a_program_later_is_unparsable(body: bytes) -> None:
    """Deep nesting, huge integers, NaN and repeated keys included; the error names the delivery."""
    with pytest.raises(UnparsableBody, match="d_1"):
        _ = delivery(body, "application/json").json


@given(
    st.binary() | st.binary().map(lambda body: b"{" + body + b"}"),
    st.sampled_from(
        [
            None,
            "application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            f"multipart/form-data; boundary={BOUNDARY}",
            'multipart/form-data; boundary="',
            "multipart/form-data; boundary=",
            "",
            ";;;",
        ]
    ),
)
def test_data_is_a_dictionary_or_an_unparsable_body(body: bytes, content_type: str | None) -> None:
    """No bytes of a sender raise anything else."""
    sent = delivery(body, content_type)
    assert isinstance(sent.text, str)
    with suppress(UnparsableBody):
        assert isinstance(sent.data, dict)


@given(st.lists(st.tuples(st.binary(max_size=60), st.binary(max_size=60)), max_size=4))
def test_a_broken_multipart_body_raises_nothing_else(parts: list[tuple[bytes, bytes]]) -> None:
    """Headers and contents of any bytes between the boundaries."""
    body = b"".join(b"--frontier\r\n" + head + b"\r\n\r\n" + content + b"\r\n" for head, content in parts)
    sent = delivery(body + b"--frontier--", f"multipart/form-data; boundary={BOUNDARY}")
    assert isinstance(sent.files, dict)
    with suppress(UnparsableBody):
        assert isinstance(sent.data, dict)
