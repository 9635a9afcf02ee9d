"""Laws of receiving: what becomes durable, what the sender hears, and what is never stored."""

from __future__ import annotations

import json
import os
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sender_keys import keys_of, signed
from webspool.errors import LedgerUnavailable
from webspool.ledger.operations import Answer, Operation
from webspool.limits import Limits
from webspool.policy import Policy
from webspool.rates import Rate
from webspool.receive import INLINE_BYTES, REFUSALS, STATUSES, Away, Receiver, Reply
from webspool.records import WebhookRequest
from webspool.redaction import safe_headers, safe_url, shown_text
from webspool.routing import when
from webspool.signatures import Scheme, sign
from webspool.source import Source
from webspool.task import Task

SECRET = "It's a Secret to Everybody"
KEY = "Zk3y0fTheHouse-9"


class FakeLedger:
    """Remembers operations; answers as the first accept is answered, or as it is told."""

    def __init__(self) -> None:
        self.called: list[Operation] = []
        self.told: list[Operation] = []
        self.says: dict[str, Any] = {}
        self.gone = False
        self.body_files: list[str] = []
        self.bodies = Path()

    def call(self, operation: Operation) -> Answer:
        self.called.append(operation)
        self.body_files = os.listdir(self.bodies) if self.bodies.is_dir() else []
        if self.gone:
            raise LedgerUnavailable(ledger="ledger.db", why="it is locked")
        jobs = [{"id": job["id"], "task": job["task"], "state": "queued"} for job in operation.arguments["jobs"]]
        status = "accepted" if jobs else "ignored"
        return Answer({"status": status, "delivery": operation.id, "jobs": jobs} | self.says)

    def tell(self, operation: Operation) -> bool:
        self.told.append(operation)
        return True


class Desk:
    """A receiver with its fake ledger, its happenings, and a reply's shortest way."""

    def __init__(self, folder: Path) -> None:
        self.ledger = FakeLedger()
        self.ledger.bodies = self.bodies = folder / "var" / "bodies"
        self.happenings: list[tuple[str, dict[str, Any]]] = []
        self.resolved: list[str] = []
        self.receiver = Receiver(self.ledger, self.resolve, self.bodies, max_body=1 << 20, say=self.say)

    def resolve(self, reference: str) -> str:
        self.resolved.append(reference)
        kind, _, value = reference.partition(":")
        if kind != "literal":
            raise ValueError("not set")
        return value

    def say(self, happening: str, /, **facts: Any) -> None:
        self.happenings.append((happening, facts))

    def post(self, source: Source, body: bytes = b"{}", headers: dict[str, str] | None = None, **more: Any) -> Reply:
        request = WebhookRequest(more.pop("method", "POST"), more.pop("url", source.path), headers or {}, body)
        proof = {"event_id": more.pop("event_id", None), "event_type": more.pop("event_type", None)}
        secret = more.pop("secret", {"github": SECRET}.get(str(source.verify), KEY))
        return self.receiver.receive(source, sign(source.scheme, secret, request, **proof), "192.0.2.7")

    @property
    def accepted(self) -> dict[str, Any]:
        return self.ledger.called[-1].arguments

    @property
    def refused(self) -> dict[str, Any]:
        return self.ledger.told[-1].arguments


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def made(name: str) -> Task:
    return Task(lambda delivery: None, name, Policy())


deploy, audit = made("deploy"), made("audit")
GITHUB = Source("github", verify="github", secrets=[f"literal:{SECRET}"], on={"push": deploy, "*": audit})
KEYED = Source("webhook", verify="key", secrets=[f"literal:{KEY}"], path="/webhook/<key>", methods=("GET", "POST"))
OPEN = Source("open", verify="none", on={"*": audit})
JSON = {"Content-Type": "application/json; charset=utf-8"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"password": "hunter2", "n": 1}', '{"password": "***", "n": 1}'),
        ('{"a": {"access_token" : "x\\"y", "b": "token"}}', '{"a": {"access_token" : "***", "b": "token"}}'),
        ('{"client_secret": 12345}', '{"client_secret": "***"}'),
        ('{"token": "cut off at the end of what is sho', '{"token": "***"'),
        ("token=abc&team=T1&api%5Fkey=k%20y&text=", "token=***&team=T1&api%5Fkey=***&text="),
        ("a = b, password: none", "a = b, password: none"),
    ],
)
def test_a_body_is_shown_without_its_secrets(text, shown):
    """Fields that are named like one, in JSON and forms; what is stored and what a task gets is whole."""
    assert shown_text(text) == shown


def test_the_same_body_is_a_copy_where_the_source_says_so(desk):
    """Only for a sender that names no event, with its query, and for the window that the source gives."""
    source = Source("open", verify="none", duplicates="body", duplicates_window=60, on={"*": audit})

    def key(body: bytes, url: str = "/hooks/open", of: Source = source, **more: object) -> tuple[object, object]:
        desk.post(of, body, url=url, **more)
        return desk.accepted["event_id"], desk.accepted["event_id_seconds"]

    first = key(b"{}")
    assert first == key(b"{}")
    assert first[1] == 60
    assert len({first, key(b"{} "), key(b"{}", "/hooks/open?a=1"), key(b"{}", "/hooks/open?a=2")}) == 4
    assert key(b"{}", of=OPEN) == (None, 30 * 86400)
    named = Source("github", verify="github", secrets=[f"literal:{SECRET}"], duplicates="body", event_id_days=2)
    assert key(b"{}", of=named, event_id="e1") == ("e1", 2 * 86400)


@pytest.mark.parametrize(("verify", "status"), [("github", 202), ("linear", 200), ("discord", 204)])
def test_a_sender_is_answered_with_what_it_takes_for_a_success(desk, verify, status):
    """Linear and others take 200 alone, Discord 204: with another they would send again, and give up in the end."""
    keys = keys_of(verify)
    source = Source("sender", verify=verify, secrets=[f"literal:{keys.checking}"], on={"*": audit})
    request = signed(verify, WebhookRequest("POST", "/hooks/sender", {}, b"{}"), time.time(), event_id="e1")
    reply = desk.receiver.receive(source, request, None)
    assert reply.status == status
    assert (reply.body == b"") is (status == 204)


def test_a_verified_webhook_is_one_accept_with_a_job_for_each_task(desk):
    """What the ledger is asked to keep, and what the sender hears: 202 and where to look."""
    body = b'{"after": "a1b2"}'
    reply = desk.post(GITHUB, body, JSON | {"User-Agent": "GitHub-Hookshot"}, event_id="e1", event_type="push")
    (operation,) = desk.ledger.called
    jobs = desk.accepted["jobs"]
    assert (operation.verb, operation.body, operation.id[:2]) == ("accept", body, "d_")
    assert [(job["id"][:2], job["task"]) for job in jobs] == [("j_", "deploy"), ("j_", "audit")]
    expected = {
        "source": "github",
        "method": "POST",
        "url": "/hooks/github",
        "remote": "192.0.2.7",
        "event_id": "e1",
        "event_type": "push",
        "body_size": len(body),
        "body_sha256": sha256(body).hexdigest(),
        "body_file": False,
        "redelivery": "retry",
    }
    assert {name: desk.accepted[name] for name in expected} == expected
    assert ["User-Agent", "GitHub-Hookshot"] in json.loads(desk.accepted["headers"])
    ids = [job["id"] for job in jobs]
    assert reply.status == 202
    assert reply.payload == {"delivery": operation.id, "status": "accepted", "jobs": ids}
    assert reply.headers == {"Content-Type": "application/json", "Location": f"/jobs/{ids[0]}"}
    assert desk.happenings[-1][0] == "delivery_accepted"


def test_a_condition_decides_on_what_was_sent(desk):
    """Headers and payload as they are stored; one that raises is told, and the webhook accepted all the same."""
    asked = Source(
        "asked", verify="none", on={"*": [when("ref == 'main'", deploy), when(lambda got: got.json["no"], audit)]}
    )
    assert desk.post(asked, b'{"ref": "main", "no": 1}', JSON).status == 202
    assert [job["task"] for job in desk.accepted["jobs"]] == ["deploy", "audit"]
    reply = desk.post(asked, b'{"ref": "other"}', JSON)
    assert (reply.status, reply.payload["status"]) == (200, "ignored")
    happening, facts = desk.happenings[-2]
    assert (happening, facts["fault"], facts["delivery"]) == (
        "condition_failed",
        "KeyError: 'no'",
        reply.payload["delivery"],
    )


def test_a_source_that_comes_too_often_is_told_when_to_come_again(desk):
    """429 with Retry-After; only what was verified is counted, and the refused webhook is kept with its body."""
    desk.receiver.limits = Limits(desk.bodies.parent, None, desk.say)
    often = Source("often", verify="github", secrets=GITHUB.secrets, rate="2/hour", on={"*": audit})
    assert [desk.post(often, secret="wrong").status for _ in range(3)] == [401] * 3
    assert [desk.post(often).status for _ in range(2)] == [202, 202]
    reply = desk.post(often, b"third")
    assert (reply.status, reply.payload["cause"]) == (429, "rate_limited")
    assert 1700 < int(reply.headers["Retry-After"]) <= 1800
    assert (desk.refused["cause"], desk.ledger.told[-1].body) == ("rate_limited", b"third")
    assert desk.post(GITHUB).status == 202


def test_an_address_is_turned_away_before_anything_is_read(desk):
    """One that the source does not allow, one that comes too often; with neither set nobody is."""
    desk.receiver.limits = Limits(desk.bodies.parent, Rate.of("1/hour"), desk.say)
    fenced = Source("fenced", verify="none", allow=["192.0.2.0/24", "2001:db8::/32"])
    assert desk.receiver.turned_away(fenced, "192.0.2.7") is None
    assert desk.receiver.turned_away(fenced, "2001:db8::1") is None
    assert desk.receiver.turned_away(fenced, "198.51.100.7") == Away("address_not_allowed")
    assert desk.receiver.turned_away(fenced, None) == Away("address_not_allowed")
    away = desk.receiver.turned_away(None, "192.0.2.7")
    assert (away.cause, 3500 < away.wait <= 3600) == ("address_rate_limited", True)
    desk.receiver.limits = None
    assert desk.receiver.turned_away(GITHUB, None) is None


def test_a_source_that_the_operator_has_closed_is_503_and_the_sender_tries_again(desk):
    """The ledger says so; of a large body no file stays."""
    desk.ledger.says = {"status": "refused", "delivery": None}
    reply = desk.post(GITHUB, bytes(INLINE_BYTES + 1))
    assert (reply.status, reply.payload["cause"], reply.headers["Retry-After"]) == (503, "source_paused", "60")
    assert desk.refused["cause"] == "source_paused"
    assert list(desk.bodies.iterdir()) == []


def test_how_long_a_source_is_kept_is_said_once_it_has_been_heard(desk):
    """With the first webhook that this process has stored; a duplicate's was not looked at, a failed one's neither."""
    kept = Source("kept", verify="none", keep_days=7, keep_body_days=1)
    desk.ledger.gone = True
    desk.post(kept)
    desk.ledger.gone, desk.ledger.says = False, {"status": "duplicate", "delivery": "d_first"}
    desk.post(kept)
    desk.ledger.says = {}
    desk.post(kept)
    assert [each.arguments.get("keep") for each in desk.ledger.called] == [[7, 1]] * 3
    desk.post(kept)
    assert "keep" not in desk.accepted


def test_two_equal_webhooks_are_two_deliveries_with_their_own_ids(desk):
    """Nothing of one is left over in the other, though routing is computed once."""
    for _ in range(2):
        desk.post(GITHUB, event_type="push")
    first, second = desk.ledger.called
    assert first.id != second.id
    assert not {job["id"] for job in first.arguments["jobs"]} & {job["id"] for job in second.arguments["jobs"]}


def test_what_goes_to_the_ledger_is_json(desk):
    """Also where a sender's text is none."""
    desk.post(OPEN, b"\xff", {"X-Odd": "\ud800\0", "\udcff": "é"}, url="/hooks/open?a=\udcff")
    assert json.loads(json.dumps(desk.accepted)) == desk.accepted
    assert "\\ud" not in json.dumps(desk.accepted)
    assert "\\u0000" not in json.dumps(desk.accepted)


@pytest.mark.parametrize(("status", "code"), STATUSES.items())
def test_the_reply_says_what_became_of_it(desk, status, code):
    """A duplicate is told the first delivery and how its jobs stand."""
    jobs = [] if status == "ignored" else [{"id": "j_1", "task": "deploy", "state": "succeeded"}]
    desk.ledger.says = {"status": status, "delivery": "d_first", "jobs": jobs}
    reply = desk.post(GITHUB)
    told = jobs if status in ("duplicate", "retried") else [job["id"] for job in jobs]
    assert (reply.status, reply.payload) == (code, {"delivery": "d_first", "status": status, "jobs": told})
    assert reply.headers.get("Location") == (None if status == "ignored" else "/jobs/j_1")


def test_an_event_that_starts_nothing_is_kept_all_the_same(desk):
    """Ignored, not refused."""
    source = Source("github", verify="github", secrets=GITHUB.secrets, on={"push": deploy})
    assert desk.post(source, event_type="star").payload["status"] == "ignored"
    assert desk.accepted["jobs"] == []


def test_a_tasks_options_in_the_table_are_its_jobs(desk):
    """on={"push": deploy.options(priority=5)}."""
    desk.post(Source("open", verify="none", on={"*": audit.options(priority=5, key="k")}))
    (job,) = desk.accepted["jobs"]
    assert (job["task"], job["priority"], job["key"]) == ("audit", 5, "k")


def test_the_type_may_be_read_by_the_users_own_function(desk):
    """Where the sender has no header for it."""
    source = Source("open", verify="none", on={"paid": deploy}, event_type=lambda request: request.query.get("type"))
    desk.post(source, url="/hooks/open?type=paid")
    assert (desk.accepted["event_type"], len(desk.accepted["jobs"])) == ("paid", 1)


@pytest.mark.parametrize("named", [lambda request: 1 / 0, lambda request: 7, lambda request: ""])
def test_a_users_function_that_fails_makes_an_event_without_a_type(desk, named):
    """Never a 5xx, and the operator hears of it."""
    source = Source("open", verify="none", on={"*": audit}, event_type=named)
    assert desk.post(source).status == 202
    assert desk.accepted["event_type"] is None


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_wrong_proof_is_refused_with_its_cause_and_the_operator_is_told(desk):
    """401 problem+json; the refusal keeps what was sent, the reply shows no proof and no secret."""
    reply = desk.post(GITHUB, b'{"a": 1}', {"X-A": "b"}, secret="wrong", event_id="e1")
    assert (reply.status, reply.headers) == (401, {"Content-Type": "application/problem+json"})
    assert reply.payload["cause"] == "signature_invalid"
    assert set(reply.payload) == {"type", "title", "status", "detail", "cause"}
    assert desk.ledger.called == []
    (operation,) = desk.ledger.told
    assert (operation.verb, operation.body, operation.id[:2]) == ("refuse", b'{"a": 1}', "r_")
    assert {name: desk.refused[name] for name in desk.refused if name != "headers"} == {
        "source": "github",
        "cause": "signature_invalid",
        "status": 401,
        "method": "POST",
        "url": "/hooks/github",
        "remote": "192.0.2.7",
        "body_size": 8,
    }
    assert ["X-A", "b"] in json.loads(desk.refused["headers"])
    proof = sign("github", SECRET, WebhookRequest("POST", "/", {}, b'{"a": 1}')).headers["X-Hub-Signature-256"]
    assert proof not in json.dumps(reply.payload)


def test_a_missing_proof_is_told_apart_from_a_wrong_one(desk):
    """The usual first mistake: no secret was set at the sender."""
    reply = desk.receiver.receive(GITHUB, WebhookRequest("POST", GITHUB.path, JSON, b"{}"), None)
    assert (reply.status, reply.payload["cause"]) == (401, "signature_missing")


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": 1, "a": 2}', b"[" * 5000, b"[NaN]", b"1" * 10000, b"\xff{}"])
def test_a_body_that_is_not_the_json_it_says_is_refused(desk, body):
    """Unless the source takes anything: payload="raw"."""
    reply = desk.post(GITHUB, body, JSON)
    assert (reply.status, reply.payload["cause"]) == (400, "unparsable_body")
    raw = Source("github", verify="github", secrets=GITHUB.secrets, payload="raw")
    assert desk.post(raw, body, JSON).status == 200


def test_nothing_is_parsed_before_it_is_verified(desk):
    """A stranger's broken JSON is a wrong signature, not a broken body."""
    assert desk.post(GITHUB, b"{", JSON, secret="wrong").payload["cause"] == "signature_invalid"


def test_a_body_over_the_cap_is_refused_before_anything_else(desk):
    """413; of its body the first 64 KiB are kept."""
    reply = desk.post(GITHUB, b"x" * ((1 << 20) + 1))
    assert (reply.status, reply.payload["cause"]) == (413, "payload_too_large")
    assert len(desk.ledger.told[-1].body) == 64 << 10
    assert desk.refused["body_size"] == (1 << 20) + 1
    small = Source("small", verify="none", max_body=3)
    assert desk.post(small, b"1234").status == 413
    assert desk.post(small, b"123").status == 200


def test_a_method_the_source_does_not_take_is_refused_with_those_it_does(desk):
    """RFC 9110: 405 comes with Allow."""
    reply = desk.post(KEYED, method="PUT")
    assert (reply.status, reply.payload["cause"]) == (405, "method_not_allowed")
    assert reply.headers["Allow"] == "GET, POST"


@pytest.mark.parametrize("cause", REFUSALS)
def test_every_refusal_is_a_problem_with_its_cause(desk, cause):
    """The face meets some of them before there is a whole request or a source."""
    reply = desk.receiver.refuse(None, cause, WebhookRequest("POST", "/hooks/nobody", {}), None)
    assert (reply.status, reply.payload["status"], reply.payload["cause"]) == (*[REFUSALS[cause][0]] * 2, cause)
    assert (desk.refused["source"], desk.refused["cause"]) == ("", cause)


def test_a_ledger_that_cannot_be_written_is_503_and_the_sender_tries_again(desk):
    """Guarantee 1: nothing is acknowledged that is not on disk. No refusal is told: there is nobody to write it."""
    desk.ledger.gone = True
    reply = desk.post(GITHUB)
    assert (reply.status, reply.payload["cause"]) == (503, "ledger_unavailable")
    assert int(reply.headers["Retry-After"]) > 0
    assert "locked" not in json.dumps(reply.payload)
    assert desk.ledger.told == []


# ── large bodies ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_large_body_is_a_file_before_the_ledger_is_asked(desk):
    """The row names it; 64 KiB still travel with the operation."""
    body = os.urandom(INLINE_BYTES + 1)
    desk.post(OPEN, body)
    (operation,) = desk.ledger.called
    assert (operation.body, desk.accepted["body_file"]) == (b"", True)
    assert desk.ledger.body_files == [operation.id]
    path = desk.bodies / operation.id
    assert path.read_bytes() == body
    assert os.name == "nt" or path.stat().st_mode & 0o077 == 0
    desk.post(OPEN, body[1:])
    assert (desk.accepted["body_file"], desk.ledger.called[-1].body) == (False, body[1:])


@pytest.mark.parametrize("status", ["duplicate", "retried"])
def test_a_duplicates_large_body_is_not_kept(desk, status):
    """The first delivery's is."""
    desk.ledger.says = {"status": status, "delivery": "d_first"}
    desk.post(OPEN, bytes(INLINE_BYTES + 1))
    assert len(desk.ledger.body_files) == 1
    assert list(desk.bodies.iterdir()) == []


def test_a_large_body_stays_when_the_accept_fails(desk):
    """Its commit may yet have happened: a delivery in the ledger without its body would be a loss."""
    desk.ledger.gone = True
    assert desk.post(OPEN, bytes(INLINE_BYTES + 1)).status == 503
    assert [path.stat().st_size for path in desk.bodies.iterdir()] == [INLINE_BYTES + 1]


def test_a_large_body_that_cannot_be_written_is_503(desk):
    """A full disk refuses nobody for good."""
    desk.bodies.parent.mkdir()
    desk.bodies.write_text("in the way")
    assert desk.post(OPEN, bytes(INLINE_BYTES + 1)).payload["cause"] == "ledger_unavailable"
    assert desk.ledger.called == []


# ── secrets ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_secret_is_resolved_once(desk):
    """Thousands of webhooks a second do not read its file each."""
    for _ in range(3):
        desk.post(GITHUB)
    assert desk.resolved == [f"literal:{SECRET}"]


def test_a_secret_that_cannot_be_read_lets_nobody_in(desk):
    """Closed, told, and looked for again at the next webhook."""
    source = Source("github", verify="github", secrets=["file:gone"])
    assert [desk.post(source).status for _ in range(2)] == [401, 401]
    assert desk.resolved == ["file:gone"] * 2
    assert ("secret_unreadable", {"source": "github"}) in desk.happenings


@pytest.mark.parametrize(
    "header",
    [
        "Authorization",
        "authorization",
        "Cookie",
        "Proxy-Authorization",
        "X-Gitlab-Token",
        "X-API-Key",
        "X-Original-Uri",
    ],
)
@pytest.mark.parametrize("secret", [SECRET, "wrong"])
def test_a_header_that_holds_a_secret_is_not_stored(desk, header, secret):
    """Neither with the delivery nor with the refusal."""
    desk.post(GITHUB, headers={header: "hunter2"}, secret=secret)
    kept = desk.accepted if secret == SECRET else desk.refused
    assert [header, "***"] in json.loads(kept["headers"])
    assert "hunter2" not in json.dumps(kept)


@pytest.mark.parametrize(
    ("value", "kept"), [("a\0b", "a\ufffdb"), ("\ud800", "?"), ("\\u0000", "\\u0000"), ("\xe9", "\xe9")]
)
def test_what_is_stored_of_a_header_is_text_that_every_database_takes(value: str, kept: str) -> None:
    """PostgreSQL takes no NUL, UTF-8 no lone surrogate; what only looks like one stays."""
    assert json.loads(safe_headers({"X-A": value}, None)) == [["X-A", kept]]


def test_a_header_that_is_the_secret_of_its_scheme_is_not_stored(desk):
    """Whatever it is called."""
    source = Source("odd", verify=Scheme("secret", places=("header:X-Acme",)), secrets=[f"literal:{KEY}"])
    assert desk.post(source).status == 200
    assert ["X-Acme", "***"] in json.loads(desk.accepted["headers"])


@pytest.mark.parametrize("given", [KEY, "an0ld-key"])
@pytest.mark.parametrize("url", ["/webhook/{}", "/webhook/{}?a=1", "/webhook/x?key={}&a=1", "/webhook/x?k%65y={}"])
def test_a_key_in_the_address_is_not_stored(desk, url, given):
    """Neither the right one nor one that was mistyped or rotated away."""
    request = WebhookRequest("GET", url.format(given), {"Referer": f"https://host{url.format(given)}"})
    reply = desk.receiver.receive(KEYED, request, None)
    assert reply.status == (200 if given == KEY else 401)
    kept = json.dumps([desk.accepted if given == KEY else desk.refused, desk.happenings, reply.payload])
    assert given not in kept
    assert "/webhook/***" in kept


def test_the_rest_of_an_address_is_stored(desk):
    """The task reads its query."""
    desk.post(KEYED, url="/webhook/<key>?a=1&name=%EB%B0%A9", method="GET")
    assert desk.accepted["url"] == "/webhook/***?a=1&name=%EB%B0%A9"
    desk.post(OPEN, url="/hooks/open?key=a&token=b")
    assert desk.accepted["url"] == "/hooks/open?key=a&token=b"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        (f"/webhook/{KEY}/", "/webhook/***/"),
        (f"/webhok/{KEY}?key=a&page=2&access_token=b", "/webhok/***?key=***&page=2&access_token=***"),
        ("/hooks/my-github-repositories", "/hooks/my-github-repositories"),
    ],
)
def test_of_an_unknown_address_what_may_be_a_key_is_not_stored(url, kept):
    """A slash too many must not write the key into the list of refusals."""
    assert safe_url(url, None) == kept


# ── anything ────────────────────────────────────────────────────────────────────────────────────────────────────

texts = st.one_of(st.text(max_size=30), st.sampled_from(["push", "\r\n", "\ud800", "%ff", "[::1", "application/json"]))
names = st.one_of(texts, st.sampled_from(["Content-Type", "X-GitHub-Event", "X-GitHub-Delivery", "Cookie"]))


@settings(deadline=None)
@given(
    url=st.builds("{}?{}#{}".format, texts, texts, texts),
    headers=st.dictionaries(names, texts, max_size=5),
    body=st.binary(max_size=100),
    signed=st.booleans(),
    source=st.sampled_from([GITHUB, KEYED, OPEN]),
)
def test_no_webhook_makes_receiving_fail(tmp_path_factory, url, headers, body, signed, source):
    """Guarantee 6: whatever is sent has a reply of the table, and what is stored is text that every database takes."""
    desk = Desk(tmp_path_factory.getbasetemp())
    request = WebhookRequest("POST", url, headers, body)
    if signed and source is GITHUB:
        request = sign("github", SECRET, request)
    reply = desk.receiver.receive(source, request, None)
    assert reply.status in {200, 202, 400, 401}
    json.dumps([[operation.arguments for operation in (*desk.ledger.called, *desk.ledger.told)]]).encode()
    for operation in (*desk.ledger.called, *desk.ledger.told):
        json.dumps(operation.arguments, ensure_ascii=False).encode()
