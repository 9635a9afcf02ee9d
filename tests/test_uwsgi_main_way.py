"""The main way under real uWSGI: a signed webhook becomes a durable delivery and a finished task, or a told refusal."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.instances import CODE, KEY, SECRET, Instance, Reply, answer_on, chunked, raw_request, signed_headers

EXAMPLES = sorted((Path(__file__).parent / "data" / "octokit").glob("*.json"))
SECRET_ROOM = "나의 비밀 방"
BINARY = {"Content-Type": "application/octet-stream"}


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def seen(instance: Instance, reply: Reply) -> dict[str, Any]:
    """What the task `see` noted about the delivery that was just accepted."""
    assert reply.status == 202, reply
    return instance.noted("seen", delivery=reply.json["delivery"])


# ── accepted ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_task_sees_what_github_sent(instance: Instance, path: Path) -> None:
    """202 with the job's place; the task gets the very bytes, the event's type with its action, and its id."""
    body = path.read_bytes()
    action = json.loads(body).get("action")
    event_type = f"{path.stem}.{action}" if action else path.stem
    reply = instance.webhook(body, event=path.stem, id=f"kept-{path.stem}")
    assert reply.status == 202
    assert reply.headers["location"] == f"/jobs/{reply.json['jobs'][0]}"
    told = seen(instance, reply)
    assert (told["sha256"], told["event_type"], told["event_id"]) == (sha256(body), event_type, f"kept-{path.stem}")
    assert {instance.ended(job)["state"] for job in reply.json["jobs"]} == {"succeeded"}
    assert instance.get(reply.headers["location"]).json["state"] == "succeeded"


@pytest.mark.skipif("OCTOKIT_EXAMPLES" not in os.environ, reason="OCTOKIT_EXAMPLES names no unpacked npm package")
def test_every_example_of_the_package_ends_as_a_succeeded_job(instance: Instance) -> None:
    """All examples, those of GitHub Enterprise too, four at a time."""
    sent = []
    for path in sorted(Path(os.environ["OCTOKIT_EXAMPLES"]).glob("*/index.json")):
        for event in json.loads(path.read_bytes()):
            sent += [(event["name"], json.dumps(each, ensure_ascii=False).encode()) for each in event["examples"]]
    with ThreadPoolExecutor(4) as senders:
        replies = list(senders.map(lambda one: instance.webhook(one[1], event=one[0]), sent))
    for (event, body), reply in zip(sent, replies, strict=True):
        told = seen(instance, reply)
        assert (told["sha256"], told["event_type"]) == (sha256(body), event)
        assert {instance.ended(job)["state"] for job in reply.json["jobs"]} == {"succeeded"}
    print(f"{len(sent)} examples")


def test_every_matching_pattern_starts_its_task(instance: Instance) -> None:
    """A push runs the task of `push` and that of `*`; another event only the latter."""
    push, star = instance.webhook(event="push").json, instance.webhook(event="star").json
    assert [instance.ended(job)["task"] for job in push["jobs"]] == ["push", "see"]
    assert [instance.ended(job)["task"] for job in star["jobs"]] == ["see"]


def test_the_same_event_is_accepted_once(instance: Instance) -> None:
    """The second copy gets 200, the first one's delivery and how its jobs stand; nothing runs again."""
    first = instance.webhook(id="once").json
    instance.ended(first["jobs"][0])
    again = instance.webhook(id="once")
    assert (again.status, again.json["status"], again.json["delivery"]) == (200, "duplicate", first["delivery"])
    assert [(job["id"], job["state"]) for job in again.json["jobs"]] == [(first["jobs"][0], "succeeded")]
    assert len(instance.notes("seen", event_id="once")) == 1


def test_many_copies_at_once_are_one_delivery(instance: Instance) -> None:
    """The unique key decides, not who looked first."""
    with ThreadPoolExecutor(8) as senders:
        replies = list(senders.map(lambda _: instance.webhook(id="at-once"), range(16)))
    assert sorted(reply.status for reply in replies) == [200] * 15 + [202]
    assert len({reply.json["delivery"] for reply in replies}) == 1


def test_an_event_without_a_task_is_ignored(instance: Instance) -> None:
    """Accepted and kept, with nothing to start: 200, so that the sender is content."""
    reply = instance.post("/hooks/quiet", b"{}")
    assert (reply.status, reply.json["status"], reply.json["jobs"]) == (200, "ignored", [])


def test_a_body_of_25_mib_is_accepted(instance: Instance) -> None:
    """The largest allowed: it lies in a file of its own, and the task reads the same bytes."""
    body = os.urandom(1 << 20) * 25
    reply = instance.webhook(body, **BINARY)
    told = seen(instance, reply)
    assert (told["size"], told["sha256"]) == (25 << 20, sha256(body))
    kept = instance.config.var / "bodies" / reply.json["delivery"]
    assert kept.stat().st_size == 25 << 20
    assert kept.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("kind", ["query", "form", "json"])
def test_text_of_any_language_comes_through(instance: Instance, kind: str) -> None:
    """Query, form and JSON give the task the same dictionary, and its output keeps the letters."""
    given = {"name": SECRET_ROOM}
    match kind:
        case "query":
            reply = instance.get(f"/webhook/{KEY}?{urlencode(given)}")
        case "form":
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            reply = instance.post(f"/webhook/{KEY}", urlencode(given), form)
        case _:
            body = json.dumps(given, ensure_ascii=kind == "json").encode()
            reply = instance.post(f"/webhook/{KEY}", body, {"Content-Type": "application/json"})
    job = instance.ended(reply.json["jobs"][0])
    assert instance.notes("took", job=job["id"])[0]["data"] == given
    assert instance.output(job["id"]) == f"took {SECRET_ROOM}\n"
    instance.until(lambda: f"[take {job['id']}] took {SECRET_ROOM}" in instance.log.read_text())


def test_text_of_any_language_in_arguments_path_and_result(instance: Instance) -> None:
    """A spooled argument comes back as the result, the path reaches the view."""
    job = instance.spool("say", text=SECRET_ROOM)
    assert instance.ended(job)["result"] == SECRET_ROOM
    assert instance.output(job) == f"{SECRET_ROOM}\n"
    assert instance.get("/greet/" + quote(SECRET_ROOM)).json == {"name": SECRET_ROOM}


def test_a_body_compressed_or_binary_is_left_as_it_is(instance: Instance) -> None:
    """The bytes are what was signed; nobody decodes them on the way."""
    body = bytes(range(256)) * 3
    told = seen(instance, instance.webhook(body, **BINARY, **{"Content-Encoding": "gzip"}))
    assert told["sha256"] == sha256(body)


# ── refused ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def signature_of_another_secret(instance: Instance) -> Reply:
    return instance.webhook(secret="not the secret")


def no_signature(instance: Instance) -> Reply:
    return instance.post("/hooks/github", b"{}", {"X-GitHub-Event": "ping", "X-GitHub-Delivery": "unsigned"})


def unknown_source(instance: Instance) -> Reply:
    return instance.webhook(source="nobody")


def too_large(instance: Instance) -> Reply:
    return instance.webhook(b" " * 1001, source="small")


def not_json(instance: Instance) -> Reply:
    return instance.webhook(b"{", source="reader")


def another_method(instance: Instance) -> Reply:
    return instance.request("PUT", "/hooks/github", b"{}", signed_headers(b"{}", event="ping"))


def a_wrong_key(instance: Instance) -> Reply:
    return instance.get(f"/webhook/{KEY}x")


def chunks_too_large(instance: Instance) -> Reply:
    body = b" " * 5000
    headers = signed_headers(body, event="ping") | {"Transfer-Encoding": "chunked"}
    return instance.raw(raw_request("/hooks/small", headers, chunked(body, 600)))


def chunks_without_a_signature(instance: Instance) -> Reply:
    return instance.raw(raw_request("/hooks/open", {"Transfer-Encoding": "chunked"}, chunked(b"{}", 1)))


REFUSED = [
    (signature_of_another_secret, 401, "signature_invalid"),
    (no_signature, 401, "signature_missing"),
    (unknown_source, 404, "unknown_source"),
    (too_large, 413, "payload_too_large"),
    (not_json, 400, "unparsable_body"),
    (another_method, 405, "method_not_allowed"),
    (a_wrong_key, 401, "signature_invalid"),
    (chunks_too_large, 413, "payload_too_large"),
    (chunks_without_a_signature, 411, "length_required"),
]


@pytest.fixture(scope="module")
def refused(instance: Instance) -> dict[str, Reply]:
    """The answers to all of them, once the ledger has their refusals."""
    replies = {send.__name__: send(instance) for send, _, _ in REFUSED}
    instance.until(lambda: len(instance.refusals()) >= len(REFUSED))
    return replies


@pytest.mark.parametrize(("send", "status", "cause"), REFUSED, ids=[send.__name__ for send, _, _ in REFUSED])
def test_what_is_refused_is_told_its_cause(refused: dict[str, Reply], send: Any, status: int, cause: str) -> None:
    """A problem in the words of the contract, never a traceback."""
    reply = refused[send.__name__]
    assert (reply.status, reply.cause, reply.json["status"]) == (status, cause, status)
    assert "Traceback" not in reply.body.decode()


def test_refusals_stand_in_the_ledger(instance: Instance, refused: dict[str, Reply]) -> None:
    """The operator reads what was refused, from where and why, and none of it holds a secret."""
    kept = instance.refusals()
    assert sorted((each["status"], each["cause"]) for each in kept) == sorted(each[1:] for each in REFUSED)
    assert {each["remote"] for each in kept} == {"127.0.0.1"}
    assert not [each for each in kept if KEY in each["url"]]


ODD = {
    "a signature that is no ASCII": raw_request(
        "/hooks/github", {"X-Hub-Signature-256": "sha256=" + "나" * 64, "Content-Length": "2"}, b"{}"
    ),
    "a path that is no text": raw_request("/hooks/%ff%00%0a", {"Content-Length": "0"}),
    "a length that is no number": raw_request("/hooks/github", {"Content-Length": "many"}, b"{}"),
    "a negative length": raw_request("/hooks/github", {"Content-Length": "-1"}, b"{}"),
    "chunks that are none": raw_request("/hooks/github", {"Transfer-Encoding": "chunked"}, b"zz\r\n{}\r\n0\r\n\r\n"),
    "headers of 27 kB": raw_request(
        "/hooks/github", {f"X-{n}": "v" * 900 for n in range(30)} | {"Content-Length": "0"}
    ),
    "headers of 60 kB": b"GET /" + b"a" * 60000 + b" HTTP/1.1\r\n\r\n",
    "the beginning of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
def test_nothing_that_a_stranger_sends_is_an_error_of_ours(instance: Instance, data: bytes) -> None:
    """An answer of the 4xx kind or a closed connection; the workers live, and the next sender is served."""
    before = instance.processes().workers
    with contextlib.suppress(OSError):
        assert 400 <= instance.raw(data, hang_up=True).status < 500
    assert instance.webhook().status == 202
    assert instance.processes().workers == before


# ── chunked bodies ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [1, 1000, 1 << 16], ids=["11 bytes one by one", "1000 a chunk", "64 KiB a chunk"])
def test_a_chunked_body_arrives_whole(instance: Instance, size: int) -> None:
    """Chunks do not come through wsgi.input under http-socket: uWSGI's own reading of them gives the very bytes."""
    body = os.urandom(11 if size == 1 else 3 << 20)
    headers = signed_headers(body, event="ping") | BINARY | {"Transfer-Encoding": "chunked"}
    told = seen(instance, instance.raw(raw_request("/hooks/github", headers, chunked(body, size))))
    assert (told["size"], told["sha256"]) == (len(body), sha256(body))


def test_a_chunked_body_cut_short_is_not_accepted(instance: Instance) -> None:
    """uWSGI reads an unparsable chunk size as the end of the body; the signature over the whole tells."""
    body = b'{"a": 1}'
    headers = signed_headers(body, event="ping") | {"Transfer-Encoding": "chunked"}
    reply = instance.raw(raw_request("/hooks/github", headers, b'4\r\n{"a"\r\nXYZ\r\n'))
    assert (reply.status, reply.cause) == (401, "signature_invalid")


def drip(instance: Instance, data: bytes, drop: bytes) -> Reply:
    """Send the beginning, then a little again and again, until there is an answer."""
    with socket.create_connection(("127.0.0.1", instance.port), timeout=60) as connection:
        connection.sendall(data)
        for _ in range(100):
            if select.select([connection], [], [], 0.2)[0]:
                return answer_on(connection)
            connection.sendall(drop)
    raise AssertionError("no answer to a body that never ends")


def test_a_body_that_never_ends_holds_its_worker_for_a_bounded_time(tmp_path: Path) -> None:
    """408 when the time for a body is up (here 2 s), with a length or in chunks, silent or a byte now and then.

    uWSGI's own time-out begins anew with every byte. Meanwhile the same worker takes what comes whole.
    """
    short = "import webspool.intake\n\nwebspool.intake.BODY_SECONDS = 2.0\n"
    headers = signed_headers(b"{}", event="ping")
    slow = [
        (raw_request("/hooks/github", headers | {"Content-Length": "1000"}, b"{"), b""),
        (raw_request("/hooks/github", headers | {"Content-Length": "1000"}, b"{"), b" "),
        (raw_request("/hooks/github", headers | {"Transfer-Encoding": "chunked"}, b"1\r\n{\r\n"), b""),
        (raw_request("/hooks/github", headers | {"Transfer-Encoding": "chunked"}, b"400\r\n{"), b" "),
        (raw_request("/hooks/github", headers | {"Transfer-Encoding": "chunked"}, b"1\r\n{\r\n"), b"1\r\n \r\n"),
    ]
    few = {"WEBSPOOL_WORKERS": "1", "WEBSPOOL_THREADS": "6"}
    with Instance(tmp_path, {"app.py": short + (CODE / "app.py").read_text()}, **few) as instance:
        before = instance.processes().workers
        with ThreadPoolExecutor(5) as senders:
            dripping = [senders.submit(drip, instance, *each) for each in slow]
            assert instance.webhook(id="meanwhile").status == 202
            assert not any(each.done() for each in dripping)
            replies = [each.result() for each in dripping]
        assert [(reply.status, reply.cause) for reply in replies] == [(408, "request_timeout")] * 5
        assert instance.processes().workers == before


def test_a_sender_that_hangs_up_harms_nobody(instance: Instance) -> None:
    """Half a body, then the connection is gone: nothing is stored, the worker lives."""
    before = instance.processes().workers
    headers = signed_headers(b"{}", event="ping", id="hung-up") | {"Content-Length": "1000"}
    for _ in range(4):
        with socket.create_connection(("127.0.0.1", instance.port)) as connection:
            connection.sendall(raw_request("/hooks/github", headers, b"{"))
    assert instance.webhook(id="after").status == 202
    assert instance.processes().workers == before
    assert instance.query("SELECT count(*) FROM delivery WHERE event_id = 'hung-up'") == [(0,)]


def test_a_connection_is_answered_whole_for_expect_100_continue(instance: Instance) -> None:
    """curl sends `Expect: 100-continue` with a large body; it is accepted all the same."""
    body = b"[" + b"1," * 40000 + b"1]"
    headers = signed_headers(body, event="ping") | {"Content-Length": str(len(body)), "Expect": "100-continue"}
    with socket.create_connection(("127.0.0.1", instance.port), timeout=20) as connection:
        connection.sendall(raw_request("/hooks/github", headers, body))
        assert answer_on(connection).status in (100, 202)
    assert SECRET not in instance.log.read_text()
