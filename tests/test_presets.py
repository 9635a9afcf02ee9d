"""Laws of presets' names, and of the names that senders give their events."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.test_source import deploy
from webspool.records import Headers, WebhookRequest
from webspool.signatures import PRESETS, Scheme, check, named, near, scheme_of, sign
from webspool.signatures.presets import SENDERS
from webspool.source import Source

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("GitHub", "github"),
        ("standard_webhooks", "standard-webhooks"),
        ("standardwebhooks", "standard-webhooks"),
        ("whatsapp", "meta"),
        ("Twitter", "x"),
        ("sns", "aws-sns"),
        ("hubspot_v3", "hubspot"),
        ("microsoftgraph", "microsoft-graph"),
        ("url-token", "key"),
        ("gitlab-signing", "gitlab"),
        ("toss-payments", "toss"),
        ("cloud_events", "cloudevents"),
    ],
)
def test_a_preset_has_the_names_that_people_give_it(name, preset):
    """In any case, with - or _ or nothing between the words."""
    assert scheme_of(name) is PRESETS[preset]


def test_no_two_senders_share_a_name():
    """Neither a preset's own nor a further one."""
    names = [name.replace("-", "").lower() for sender in SENDERS for name in (sender.name, *sender.aliases)]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("hmac", Scheme("sha256", "hex")),
        ("generic", Scheme("sha256", "hex")),
        ("generic:sha512", Scheme("sha512", "hex")),
        ("generic:sha1:base64", Scheme("sha1", "base64")),
        ("generic:hmac-sha256:base64url:v1=", Scheme("sha256", "base64url", "v1=")),
        ("generic:sha-384:HEX:a:b=", Scheme("sha384", "HEX", "a:b=")),
        ("generic:md5:hex:", None),
        ("generic:none", None),
        ("generic:sha256:rot13:", None),
        ("githib", None),
        ("", None),
        ("::", None),
    ],
)
def test_a_generic_name_spells_a_scheme(name, scheme):
    """Its last parts may be left out."""
    assert scheme_of(name) == scheme


def test_a_name_that_is_none_has_near_ones():
    """The likeliest first; nothing for what is like none."""
    assert near("githib")[0] == "github"
    assert near("standart-webhook")[0] == "standard-webhooks"
    assert near("whatsap") == ["meta"]
    assert near("%%%") == near(None) == []


def asked(headers: dict[str, str], body: object = None, **more: str) -> WebhookRequest:
    raw = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    return WebhookRequest("POST", more.get("url", "/h"), Headers(headers), raw)


WHATSAPP = {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{"field": "messages"}]}]}
MESSAGE, STATUS = ({"messages": [{"id": "wamid.1"}]}, {"statuses": [{"id": "wamid.1", "status": "read"}]})


def whatsapp(value: dict[str, object]) -> dict[str, object]:
    changes = [{"field": "messages", "value": value}]
    return WHATSAPP | {"entry": [{"id": "1", "changes": changes}]}


@pytest.mark.parametrize(
    ("preset", "request_", "event_id", "event_type"),
    [
        ("github", asked({"X-GitHub-Event": "push", "X-GitHub-Delivery": "g-1"}, {"after": "a"}), "g-1", "push"),
        ("github", asked({"X-GitHub-Event": "issues"}, {"action": "opened"}), None, "issues.opened"),
        (
            "github",
            asked({"X-GitHub-Event": "issues"} | FORM, b"payload=%7B%22action%22%3A%22closed%22%7D"),
            None,
            "issues.closed",
        ),
        ("github", asked({"X-GitHub-Event": "push"}, b"{"), None, "push"),
        (
            "gitlab",
            asked({"X-Gitlab-Event": "Issue Hook"}, {"object_attributes": {"action": "open"}}),
            None,
            "Issue Hook.open",
        ),
        ("gitlab", asked({"X-Gitlab-Event": "Release Hook"}, {"action": "create"}), None, "Release Hook.create"),
        ("gitlab", asked({"X-Gitlab-Event": "Push Hook", "Idempotency-Key": "i"}), "i", "Push Hook"),
        (
            "gitea",
            asked({"X-Gitea-Event": "issues", "X-Gitea-Delivery": "d"}, {"action": "opened"}),
            "d",
            "issues.opened",
        ),
        (
            "forgejo",
            asked({"X-Gitea-Event": "push", "X-Forgejo-Event": "push", "X-Forgejo-Delivery": "d"}),
            "d",
            "push",
        ),
        ("slack", asked({}, {"event_id": "Ev1", "type": "event_callback", "event": {"type": "app"}}), "Ev1", "app"),
        ("slack", asked(FORM, b"command=%2Fdeploy&trigger_id=1.2"), "1.2", "/deploy"),
        ("slack", asked(FORM, b"payload=%7B%22type%22%3A%22block_actions%22%7D"), None, "block_actions"),
        ("telegram", asked({}, {"update_id": 7, "callback_query": {}}), "7", "callback_query"),
        ("telegram", asked({}, {"message": {}, "update_id": 7}), "7", "message"),
        ("telegram", asked({}, []), None, None),
        ("meta", asked({}, whatsapp(MESSAGE)), "wamid.1.whatsapp_business_account", None),
        ("meta", asked({}, whatsapp(STATUS)), "wamid.1.read", None),
        ("meta", asked({}, {"object": "page", "entry": [{"changes": [{"field": "feed"}]}]}), None, "page.feed"),
        ("linear", asked({}, {"type": "Issue", "action": "create"}), None, "Issue.create"),
        (
            "asana",
            asked({}, {"events": [{"action": "added", "resource": {"resource_type": "task"}}]}),
            None,
            "task.added",
        ),
        ("strava", asked({}, {"object_type": "activity", "aspect_type": "create"}), None, "activity.create"),
        (
            "microsoft-graph",
            asked({}, {"value": [{"id": "a", "changeType": "updated"}, {"id": "b", "changeType": "deleted"}]}),
            "a,b.updated,deleted",
            "updated",
        ),
        ("toss", asked({"tosspayments-webhook-transmission-id": "t"}, {"eventType": "A"}), "t", "A"),
        ("cloudevents", asked({"ce-id": "1", "ce-source": "/s", "ce-type": "a.b"}), "/s.1", "a.b"),
        ("cloudevents", asked({}, {"id": "1", "source": "/s", "type": "a.b"}), "/s.1", "a.b"),
    ],
)
def test_an_event_has_the_names_that_its_sender_gives_it(preset, request_, event_id, event_type):
    """The id, and the type with the action joined."""
    found = named(preset, request_)
    assert found[0] == event_id
    assert event_type is None or found[1] == event_type


def test_a_compressed_body_is_looked_into_once_its_sender_is_proven():
    """The signature is over the bytes as they were sent; a stranger has nothing inflated."""
    body = gzip.compress(b'{"action":"opened","signature":{"timestamp":"1","token":"t","signature":"00"}}')
    request = WebhookRequest("POST", "/h", {"Content-Encoding": "gzip"}, body)
    signed = sign("github", "s", request, event_type="issues")
    assert check("github", ["s"], signed, 1.0).event_type == "issues.opened"
    assert check("mailgun", ["s"], request, 1.0).cause == "signature_missing"


def test_a_pattern_takes_a_joined_type_or_its_leading_part():
    """`issues` is every action of it; a type that the sender wrote with dots is matched whole."""

    def starts(pattern: str, event_type: str, verify: str = "github") -> bool:
        source = Source("x", verify=verify, secrets=["literal:s"], on={pattern: deploy})
        return source.tasks_for(event_type) == [deploy]

    for pattern in ("issues.opened", "issues", "issues.*", "iss*", "*.opened", "*"):
        assert starts(pattern, "issues.opened"), pattern
    for pattern in ("opened", "issue", "issues.closed", "issues.opened.x"):
        assert not starts(pattern, "issues.opened"), pattern
    assert starts("page", "page.feed", "meta")
    assert starts("Merge Request Hook", "Merge Request Hook.open", "gitlab")
    assert not starts("invoice", "invoice.paid", "stripe")
    assert starts("invoice.*", "invoice.paid", "stripe")
