"""Laws of handshakes: what a sender asks first is answered, an echo is no more than a token, a stranger gets none."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.sender_keys import keys_of, signed
from tests.test_receive import Desk
from webspool.captured import CapturedSecrets
from webspool.records import WebhookRequest
from webspool.signatures import Answer, Verdict, check, methods_of, sign
from webspool.source import Source

NOW = 1_700_000_000.0
SECRET = "s3cret-s3cret"


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(tmp_path)


def get(query: str, headers: dict[str, str] | None = None, method: str = "GET") -> WebhookRequest:
    return WebhookRequest(method, f"/hooks/x{query}", headers or {}, b"")


def post(body: str, headers: dict[str, str] | None = None, url: str = "/hooks/x") -> WebhookRequest:
    return WebhookRequest("POST", url, headers or {}, body.encode())


def asked(name: str, request: WebhookRequest, *tokens: str) -> Verdict:
    return check(name, [SECRET], request, NOW, tokens=tokens)


def reply(name: str, request: WebhookRequest, *tokens: str) -> Answer:
    verdict = asked(name, request, *tokens)
    assert verdict.accepted
    assert verdict.reply is not None
    return verdict.reply


@pytest.mark.parametrize(
    ("name", "request_", "tokens", "body", "kind"),
    [
        (
            "meta",
            get("?hub.mode=subscribe&hub.verify_token=t&hub.challenge=1158201444"),
            "t",
            b"1158201444",
            "text/plain",
        ),
        (
            "strava",
            get("?hub.mode=subscribe&hub.verify_token=t&hub.challenge=15f7"),
            "t",
            b'{"hub.challenge": "15f7"}',
            "json",
        ),
        (
            "websub",
            get("?hub.mode=subscribe&hub.topic=https://a.test/f&hub.challenge=c-1"),
            "https://a.test/f",
            b"c-1",
            "text/plain",
        ),
        ("dropbox", get("?challenge=abc_123"), "", b"abc_123", "text/plain"),
        (
            "microsoft-graph",
            WebhookRequest("POST", "/h?validationToken=Validation%3a+Testing+reachability+Request-Id%3a+1-2", {}, b""),
            "",
            b"Validation: Testing reachability Request-Id: 1-2",
            "text/plain",
        ),
        ("okta", get("", {"X-Okta-Verification-Challenge": "ch4"}), "", b'{"verification": "ch4"}', "json"),
        ("monday", post('{"challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}'), "", None, "json"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unsigned_question_is_answered(name, request_, tokens, body, kind):
    """As its sender wants it, never as HTML."""
    answer = reply(name, request_, tokens)
    assert answer.status == 200
    assert kind in answer.headers["Content-Type"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert body is None or answer.body == body
    assert request_.method in methods_of(name if name != "microsoft-graph" else "graph")


@pytest.mark.parametrize("name", ["meta", "strava"])
@pytest.mark.parametrize("tokens", [(), ("",), ("other",)])
def test_a_verify_token_that_is_not_ours_gets_no_echo(name, tokens):
    """Also when the source has none, and when none is sent."""
    for token in ("", "t", SECRET[:-1]):
        verdict = asked(name, get(f"?hub.mode=subscribe&hub.verify_token={token}&hub.challenge=1"), *tokens)
        assert not verdict.accepted
    assert not asked(name, get("?hub.mode=subscribe&hub.challenge=1"), *tokens).accepted


@pytest.mark.parametrize("name", ["meta", "strava"])
def test_a_source_without_a_verify_token_compares_its_secrets(name):
    """Whoever knows one is the sender; a source with a verify token of its own takes that alone."""
    question = get(f"?hub.mode=subscribe&hub.verify_token={SECRET}&hub.challenge=1")
    assert b"1" in reply(name, question).body
    assert not asked(name, question, "other").accepted


def test_only_a_topic_that_was_asked_for_is_confirmed():
    """WebSub, 5.3: where the source names its topics, nobody subscribes us to another."""
    question = get("?hub.mode=subscribe&hub.topic=https://b.test&hub.challenge=1")
    assert not asked("websub", question, "https://a.test").accepted
    assert reply("websub", question).body == b"1"
    assert reply("websub", get("?hub.mode=denied&hub.topic=https://b.test")).body == b""


@pytest.mark.parametrize("bad", ["<script>", "a%0d%0ab", "%00", "a" * 3000, "%ed%95%9c", "a%22b", "{}", "%20%20"])
@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("meta", "?hub.mode=subscribe&hub.verify_token=t&hub.challenge="),
        ("dropbox", "?challenge="),
        ("x", "?crc_token="),
    ],
)
def test_what_is_no_token_is_not_echoed(name, query, bad):
    """Markup, line ends, other scripts, too long: refused, whoever asks."""
    assert not asked(name, get(query + bad), "t").accepted


def test_x_is_answered_with_a_digest_of_its_token():
    """The digest is made over tokens only: over JSON it would be a webhook's signature."""
    digest = base64.b64encode(hmac.digest(SECRET.encode(), b"9b4507b3-9040", "sha256")).decode()
    assert json.loads(reply("x", get("?crc_token=9b4507b3-9040")).body) == {"response_token": f"sha256={digest}"}
    assert not asked("x", get('?crc_token={"for_user_id":"1"}')).accepted


@pytest.mark.parametrize("name", ["trello", "intercom"])
def test_head_is_answered_with_nothing(name):
    """The sender looks whether somebody is there."""
    answer = reply(name, get("", method="HEAD"))
    assert (answer.status, answer.body) == (200, b"")
    assert not asked(name, get("")).accepted


def test_asanas_secret_is_echoed_in_its_header():
    """And only when nothing is signed yet."""
    assert reply("asana", post("{}", {"X-Hook-Secret": "b537"})).headers["X-Hook-Secret"] == "b537"
    assert not asked("asana", post("{}", {"X-Hook-Secret": "a\r\nX: y"})).accepted
    assert not asked("asana", post("{}", {"X-Hook-Secret": "b", "X-Hook-Signature": "00"})).accepted


def test_a_token_that_a_sender_tells_is_captured_and_proves_nothing():
    """Notion and Asana tell the secret in the first request: a person is shown it, nobody is believed for it."""
    told = reply("notion", post('{"verification_token":"secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"}'))
    assert (told.status, told.captured) == (200, "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl")
    assert "secret_" not in repr(told)
    assert reply("asana", post("{}", {"X-Hook-Secret": "b537"})).captured == "b537"
    for body in ('{"verification_token":"a","id":"1"}', '{"verification_token":"a b<"}', '["verification_token"]'):
        assert not asked("notion", post(body)).accepted
    assert not asked("notion", post('{"verification_token":"a"}', {"X-Notion-Signature": "sha256=00"})).accepted


SNS = {
    "Type": "SubscriptionConfirmation",
    "MessageId": "m-1",
    "Token": "t",
    "TopicArn": "WH-19973",
    "Message": "You have chosen to subscribe",
    "SubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=a:b&Token=t",
    "Timestamp": "2023-11-14T22:13:20.000Z",
    "SignatureVersion": "1",
    "SigningCertURL": next(iter(keys_of("aws-sns").certificates)),
}


@pytest.mark.parametrize(
    ("address", "visited"),
    [
        (SNS["SubscribeURL"], True),
        ("https://sns.us-gov-west-1.amazonaws.com/?Action=ConfirmSubscription", True),
        ("http://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription", False),
        ("https://sns.eu-central-1.amazonaws.com.evil.test/?a", False),
        ("https://sns.eu-central-1.amazonaws.com@evil.test/?a", False),
        ("https://sns.eu-central-1.amazonaws.com:8443/?a", False),
        ("https://evil.test/sns.eu-central-1.amazonaws.com/", False),
        ("https://s3.eu-central-1.amazonaws.com/?a", False),
    ],
)
def test_a_subscription_is_confirmed_on_amazons_own_host_only(address, visited):
    """And only when the message that asks for it is signed, for the topic that the source names."""
    keys = keys_of("aws-sns")
    unsigned = post(json.dumps(SNS | {"SubscribeURL": address}))
    request = sign("aws-sns", keys.signing, unsigned, now=NOW, private_key=keys.private_key)
    verdict = check("aws-sns", [keys.checking], request, NOW, certificates=keys.certificates)
    assert verdict.accepted
    assert (verdict.reply is not None and verdict.reply.visit == address) is visited
    for forged, secret in ((unsigned, keys.checking), (request, "another:topic")):
        refused = check("aws-sns", [secret], forged, NOW, certificates=keys.certificates)
        assert (refused.accepted, refused.reply) == (False, None)


def test_cloudevents_allows_the_origins_that_the_source_names():
    """OPTIONS with WebHook-Request-Origin."""
    question = get("", {"WebHook-Request-Origin": "eventgrid.azure.net"}, "OPTIONS")
    answer = reply("cloudevents", question, "eventgrid.azure.net")
    assert answer.headers["WebHook-Allowed-Origin"] == "eventgrid.azure.net"
    assert not asked("cloudevents", question, "other.test").accepted
    assert reply("cloudevents", question).headers["Allow"] == "POST"
    rated = get("", {"WebHook-Request-Origin": "a.test", "WebHook-Request-Rate": "120"}, "OPTIONS")
    assert reply("cloudevents", rated).headers["WebHook-Allowed-Rate"] == "120"


@pytest.mark.parametrize(
    ("name", "body", "status", "answered"),
    [
        ("slack", '{"type":"url_verification","challenge":"3eZbrw1aBm2rZgRNFdxV"}', 200, b"3eZbrw1aBm2rZgRNFdxV"),
        ("discord", '{"type":1,"id":"5"}', 200, b'{"type": 1}'),
        ("discord", '{"type":0,"application_id":"5"}', 204, b""),
        ("xero", '{"events":[],"firstEventSequence":0,"entropy":"S0m3"}', 200, b""),
        ("zoom", '{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vl"}}', 200, None),
    ],
)
def test_a_signed_question_is_answered_when_it_is_proven(name, body, status, answered):
    """And nothing is told to whoever cannot sign; a changed question is a forgery."""
    request = signed(name, post(body), NOW)
    keys = keys_of(name)
    verdict = check(name, [keys.wrong, keys.checking], request, NOW)
    assert verdict.reply is not None
    assert verdict.reply.status == status
    assert answered is None or verdict.reply.body == answered
    for forged in (post(body), replace(request, body=request.body + b" ")):
        refused = check(name, [keys.checking], forged, NOW)
        assert (refused.accepted, refused.reply) == (False, None)


def test_zoom_is_answered_with_its_token_signed_by_the_secret_that_proved_it():
    """While two secrets live, the other one would be the wrong answer."""
    request = sign("zoom", "new", post('{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8"}}'), now=NOW)
    verdict = check("zoom", ["old", "new"], request, NOW)
    assert verdict.reply is not None
    expected = hmac.new(b"new", b"qgg8", hashlib.sha256).hexdigest()
    assert json.loads(verdict.reply.body) == {"plainToken": "qgg8", "encryptedToken": expected}


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("slack", '{"type":"event_callback","event_id":"Ev1"}'),
        ("slack", '{"type":"url_verification","challenge":"<b>"}'),
        ("discord", '{"type":2,"id":"5","data":{"name":"roll"}}'),
        ("discord", '{"type":1,"event":{"type":"APPLICATION_AUTHORIZED"}}'),
        ("xero", '{"events":[{"eventType":"UPDATE"}]}'),
        ("zoom", '{"event":"meeting.started"}'),
        ("zoom", "no json"),
    ],
)
def test_what_is_no_question_is_a_webhook(name, body):
    """It is accepted like any other."""
    request = signed(name, post(body), NOW)
    keys = keys_of(name)
    verdict = check(name, [keys.checking], request, NOW)
    assert (verdict.accepted, verdict.reply) == (True, None)


DROPBOX = Source("dropbox", verify="dropbox", secrets=["literal:s"])


def test_a_source_takes_the_method_its_sender_asks_by(desk):
    """And only to be asked: an event by GET is refused as before."""
    reply_ = desk.receiver.receive(DROPBOX, get("?challenge=abc"), None)
    assert (reply_.status, reply_.body) == (200, b"abc")
    assert desk.ledger.called == []
    event = sign("dropbox", "s", get(""))
    assert desk.receiver.receive(DROPBOX, event, None).status == 405
    assert desk.receiver.receive(DROPBOX, replace(event, method="PUT"), None).status == 405
    assert desk.receiver.receive(DROPBOX, replace(event, method="POST"), None).status == 200


def test_a_captured_secret_is_kept_for_its_owner_alone(desk):
    """The answer goes out once it is kept; it is in no log line, and many of them do not push out the first."""
    source = Source("notion", verify="notion")
    assert source.faults() == []
    for number in range(20):
        reply_ = desk.receiver.receive(source, post(f'{{"verification_token":"secret_{number}"}}'), None)
        assert reply_.status == 200
    folder = desk.bodies.parent / "captured"
    kept = [each.text for each in CapturedSecrets(folder).of("notion")]
    assert kept == [f"secret_{number}" for number in (0, 1, 2, 3, 16, 17, 18, 19)]
    assert (folder / "notion").stat().st_mode & 0o777 == 0o600
    assert ("secret_captured", {"source": "notion"}) in desk.happenings
    assert "secret_0" not in str(desk.happenings)
    assert desk.receiver.receive(source, post("{}"), None).status == 401
    desk.receiver.captured.folder = folder / "notion"
    assert desk.receiver.receive(source, post('{"verification_token":"secret_x"}'), None).status == 503


def test_an_sns_subscription_is_confirmed_before_it_is_answered(desk):
    """Amazon is told to come again when the address does not answer."""
    keys, visited = keys_of("aws-sns"), []
    desk.receiver.verifier.certificates = SimpleNamespace(get=keys.certificates.get)
    desk.receiver.visit = lambda address: not visited.append(address) and len(visited) > 1
    source = Source("sns", verify="aws-sns", secrets=[f"literal:{keys.checking}"])
    request = sign("aws-sns", keys.signing, post(json.dumps(SNS)), private_key=keys.private_key)
    assert [desk.receiver.receive(source, request, None).status for _ in range(2)] == [503, 200]
    assert visited == [SNS["SubscribeURL"]] * 2
    assert desk.ledger.called == []


def test_a_sender_that_signs_addresses_is_checked_with_the_public_one(desk):
    """Behind a proxy the address that arrives is not the one that the sender knows."""
    source = Source("square", verify="square", secrets=["literal:s"])
    request = WebhookRequest("POST", "/hooks/square", {"Host": "127.0.0.1:8000"}, b"{}")
    signed_ = sign("square", "s", request, base="https://hooks.test")
    assert desk.receiver.receive(source, signed_, None).status == 401
    desk.receiver.verifier.public_url = "https://hooks.test/"
    assert desk.receiver.receive(source, signed_, None).status == 200


def test_a_verify_token_is_not_stored(desk):
    """A refusal keeps the address, not what it holds."""
    source = Source("meta", verify="meta", secrets=["literal:s"], tokens=["literal:right"])
    query = "?hub.mode=subscribe&hub.verify_token=right&hub.challenge=<b>"
    assert desk.receiver.receive(source, get(query), None).status == 401
    assert "right" not in desk.refused["url"]
