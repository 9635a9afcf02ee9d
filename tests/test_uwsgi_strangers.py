"""What bad input gets under real uWSGI: an answer of the 4xx kind or a closed connection, and nobody else suffers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import strangers
from tests.conftest import needs_uwsgi
from tests.instances import Instance
from tests.strangers import JSON, post, said, signed, slack, wire


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    needs_uwsgi()
    with Instance(tmp_path_factory.mktemp("hostile"), strangers.CODE_FILES, **strangers.SETTINGS) as running:
        yield running


HTTP_PAGE = Path(__file__).parents[1] / "docs" / "reference" / "http.md"

# ── what is refused, and why ────────────────────────────────────────────────────────────────────────────────────────

PROOF = {"X-Hub-Signature-256": "sha256=" + "0" * 64}
REFUSED: dict[str, tuple[bytes, int, str | None]] = {
    "a signature that is no ASCII": (
        wire("/hooks/github", {"X-Hub-Signature-256": "sha256=" + "나" * 64, "Content-Length": "2"}, b"{}"),
        401,
        "signature_invalid",
    ),
    "a signature of every byte": (
        wire("/hooks/github", {"Content-Length": "2"}, b"{}").replace(
            b"\r\n\r\n", b"\r\nX-Hub-Signature-256: sha256=" + bytes(range(128, 256)) + b"\r\n\r\n", 1
        ),
        401,
        "signature_invalid",
    ),
    "a thousand signatures": (
        wire("/hooks/github", {"Content-Length": "2"}, b"{}").replace(
            b"\r\n\r\n", b"\r\nX-Hub-Signature-256: sha256=00" * 500 + b"\r\n\r\n", 1
        ),
        401,
        "signature_invalid",
    ),
    "a line end in what is echoed": (
        wire("/hooks/meta?hub.mode=subscribe&hub.verify_token=token&hub.challenge=a%0d%0aX:%201", {}, method="GET"),
        401,
        None,
    ),
    "a line end in a challenge": (
        slack(b'{"type": "url_verification", "challenge": "a\\r\\nSet-Cookie: a=1"}'),
        202,
        None,
    ),
    "5,000 nested arrays": (signed(b"[" * 5000 + b"]" * 5000), 400, "unparsable_body"),
    "an integer of 10,000 digits": (signed(b"1" * 10_000), 400, "unparsable_body"),
    "a gzip bomb": (signed(strangers.BOMB, **{"Content-Encoding": "gzip"}), 400, "unparsable_body"),
    "a gzip bomb of a stranger": (
        wire(
            "/hooks/reader",
            JSON | PROOF | {"Content-Encoding": "gzip", "Content-Length": str(len(strangers.BOMB))},
            strangers.BOMB,
        ),
        401,
        "signature_invalid",
    ),
    "a length that is too long": (signed(b"{}", **{"Content-Length": "3"}), 408, "request_timeout"),
    "a length that is too short": (signed(b"{}", **{"Content-Length": "1"}), 401, "signature_invalid"),
    "a length of 10**30": (signed(b"{}", **{"Content-Length": "1" + "0" * 30}), 413, "payload_too_large"),
    "two lengths": (
        wire("/hooks/open", {"Content-Length": "2"}, b"{}").replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n", 1),
        400,
        "length_invalid",
    ),
    "a negative length": (wire("/hooks/open", {"Content-Length": "-1"}), 400, "length_invalid"),
    "a length and chunks": (
        signed(b"0\r\n\r\n" + strangers.SMUGGLED, **{"Transfer-Encoding": "chunked"}),
        401,
        "signature_invalid",
    ),
    "chunks of a length that is none": (
        wire("/hooks/github", PROOF | {"Transfer-Encoding": "chunked"}, b"-1\r\n{}\r\n0\r\n\r\n"),
        400,
        "unparsable_body",
    ),
    "a method that nobody knows": (wire("/hooks/github", {"Content-Length": "0"}, method="BREW"), 405, None),
    "an address with a line end": (wire("/hooks/a%0ab", {"Content-Length": "0"}), 404, "unknown_source"),
    "a key with a line end": (wire("/webhook/a%0ab", {"Content-Length": "0"}), 401, "signature_invalid"),
    "an address that is no text": (wire("/hooks/%ff%fe%00", {"Content-Length": "0"}), 404, "unknown_source"),
}


@pytest.mark.parametrize(("data", "status", "cause"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_with_its_cause(instance: Instance, data: bytes, status: int, cause: str | None) -> None:
    """And nothing of it comes back as a header. (Slack's signed challenge is no challenge then, but an event.)"""
    reply = said(instance, data)
    assert reply is not None
    assert reply.status == status
    assert cause is None or reply.cause == cause
    assert not {"set-cookie", "x"} & reply.headers.keys()


TOO_LONG = "invalid HTTP request size (max 32768)...skip"
HUNG_UP = "uwsgi_proto_http_parser() -> client closed connection"
CLOSED: dict[str, tuple[bytes, str]] = {
    "headers of 70 KB": (wire("/hooks/github", {"X-Long": "v" * 70_000, "Content-Length": "0"}), TOO_LONG),
    "a hundred headers of 700 bytes": (wire("/hooks/github", {f"X-{n}": "v" * 700 for n in range(100)}), TOO_LONG),
    "an address of 60 KB": (wire("/hooks/" + "a" * 60_000, {"Content-Length": "0"}), TOO_LONG),
    "a header without a colon": (b"POST /hooks/open HTTP/1.1\r\nnonsense\r\n\r\n", "invalid HTTP request"),
    "no HTTP at all": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100, HUNG_UP),
    "half a request": (b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nX-", HUNG_UP),
}


@pytest.mark.parametrize(("data", "line"), CLOSED.values(), ids=CLOSED)
def test_what_uwsgi_itself_refuses_is_closed_without_a_word(instance: Instance, data: bytes, line: str) -> None:
    """It never reaches Python; its line in the log is the one that docs/reference/http.md tells."""
    before, logged = instance.processes().workers, instance.log.read_text(errors="replace").count(line)
    assert said(instance, data) is None
    instance.until(lambda: instance.log.read_text(errors="replace").count(line) > logged)
    assert f"`{line}`" in HTTP_PAGE.read_text()
    assert post(instance, "open").status == 202
    assert instance.processes().workers == before


def test_nobody_smuggles_a_second_request_behind_the_first(instance: Instance) -> None:
    """With a length and chunks, or a length that is too short, what follows is not taken for a request."""
    before = instance.query("SELECT count(*) FROM delivery WHERE source = 'quiet'")
    behind = strangers.SMUGGLED.replace(b"open", b"quiet")
    said(instance, signed(b"0\r\n\r\n" + behind, **{"Transfer-Encoding": "chunked", "Connection": "keep-alive"}))
    said(instance, wire("/hooks/open", {"Content-Length": "0", "Connection": "keep-alive"}) + behind)
    assert post(instance, "open").status == 202
    assert instance.query("SELECT count(*) FROM delivery WHERE source = 'quiet'") == before


def test_a_form_of_ten_thousand_parts_is_stored_and_refused_by_its_task(instance: Instance) -> None:
    """20 MB: nothing of it is parsed before the answer; the task hears why it cannot be read."""
    reply = post(instance, "parts", strangers.MANY_PARTS, Content_Type="multipart/form-data; boundary=b")
    assert reply.status == 202
    job = instance.ended(reply.json["jobs"][0])
    assert job["state"] == "dead"
    assert "more than 1000 parts" in job["error"]


def test_every_refusal_is_counted_by_source_and_cause(instance: Instance) -> None:
    """And can be looked at."""
    for _ in range(3):
        assert post(instance, "small", b"x" * 2000).cause == "payload_too_large"
    name = "refused.small.payload_too_large"
    instance.until(lambda: instance.query("SELECT value FROM counter WHERE name = ?", name) == [(3,)])
    assert {each["cause"] for each in instance.refusals() if each["source"] == "small"} == {"payload_too_large"}


# ── who, and how often ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_rate_is_one_for_all_workers(instance: Instance) -> None:
    """Twelve at once by three workers: six get in, six are told when to come again."""
    with ThreadPoolExecutor(6) as senders:
        replies = list(senders.map(lambda _: post(instance, "rated"), range(12)))
    assert sorted(reply.status for reply in replies) == [202] * 6 + [429] * 6
    refused = [reply for reply in replies if reply.status == 429]
    assert {reply.cause for reply in refused} == {"rate_limited"}
    assert all(590 <= int(reply.headers["retry-after"]) <= 600 for reply in refused)


def test_an_address_has_a_limit_of_its_own_before_anything_is_verified(instance: Instance) -> None:
    """Forty an hour, whatever the source and even if there is none; who comes from elsewhere is not touched."""
    client, other = "203.0.113.5", "203.0.113.6"
    with ThreadPoolExecutor(4) as senders:
        replies = list(senders.map(lambda n: post(instance, ["nobody", "open"][n % 2], client=client), range(48)))
    assert [reply.cause for reply in replies if reply.status == 429] == ["address_rate_limited"] * 8
    assert post(instance, "open", client=other).status == 202


@pytest.mark.parametrize(
    ("client", "status"),
    [
        ("192.0.2.200", 202),
        ("2001:db8:7::1", 202),
        ("[2001:db8:7::2]:4711", 202),
        ("192.0.2.7, 198.51.100.99", 403),
        ("198.51.100.98, 192.0.2.8", 202),
        ("nonsense", 403),
    ],
)
def test_a_source_takes_webhooks_only_from_its_networks(instance: Instance, client: str, status: int) -> None:
    """As the proxy in front tells; what a stranger wrote to the left of that counts for nothing."""
    reply = post(instance, "fenced", client=client)
    assert reply.status == status
    assert status == 202 or reply.cause == "address_not_allowed"


def test_the_remote_that_is_stored_is_the_clients(instance: Instance) -> None:
    """Not the proxy's."""
    reply = post(instance, "open", client="6.6.6.6, 203.0.113.77:4711")
    stored = instance.query("SELECT remote FROM delivery WHERE id = ?", reply.json["delivery"])
    assert stored == [("203.0.113.77",)]


# ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_source_answers_in_its_own_words(instance: Instance) -> None:
    """Once the webhook is stored."""
    reply = post(instance, "told", b'{"n": 7}', Content_Type="application/json")
    assert (reply.status, reply.json["n"]) == (200, 7)
    assert instance.query("SELECT count(*) FROM delivery WHERE id = ?", reply.json["delivery"]) == [(1,)]


def test_an_answer_that_is_late_is_replaced_and_told(instance: Instance) -> None:
    """The worker that asked serves on."""
    before = instance.processes().workers
    reply = post(instance, "late")
    assert (reply.status, reply.body) == (200, b"late")
    (told,) = instance.said("answer_late", source="late")
    assert told["delivery"]
    assert instance.processes().workers == before


def test_a_worker_whose_answer_holds_the_interpreter_is_replaced(instance: Instance) -> None:
    """No signal and no thread gets in there: C ends the process, its stack is in the log, and the webhook is kept."""
    before = instance.processes().workers
    with pytest.raises(OSError, match=r"."):
        post(instance, "hung")
    assert instance.query("SELECT count(*) FROM delivery WHERE source = 'hung'") == [(1,)]
    assert "hold_the_lock" in instance.log.read_text()
    instance.until(lambda: len(set(instance.processes().workers) - set(before)) == 1)
    assert post(instance, "open").status == 202


# ── closed by the operator ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_source_that_refuses_is_503_until_it_is_resumed(instance: Instance) -> None:
    """With Retry-After; the others go on."""
    assert instance.command("pause", "--source", "told", "--refuse").returncode == 0
    reply: Any = post(instance, "told", b'{"n": 8}', Content_Type="application/json")
    assert (reply.status, reply.cause, reply.headers["retry-after"]) == (503, "source_paused", "60")
    assert post(instance, "open").status == 202
    assert instance.command("resume", "--source", "told").returncode == 0
    assert post(instance, "told", b'{"n": 8}', Content_Type="application/json").status == 200
