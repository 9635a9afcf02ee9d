"""Laws of presets: each is held against what its sender publishes, or what the sender's own library believes."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import ORACLES, Oracle
from tests.sender_keys import EC_KEYS, ED_KEYS, RSA_KEY, judged, keys_of, private_text, public_text, signed
from tests.test_receive import Desk
from webspool.records import Headers, WebhookRequest
from webspool.signatures import PRESETS, Scheme, certificate_wanted, check, named, sign
from webspool.signatures.presets import SENDERS
from webspool.source import Source

DATA = Path(__file__).parent / "data"
VECTORS = json.loads((DATA / "oracle_vectors.json").read_text()) + json.loads(
    (DATA / "public_vectors.json").read_text()
)
NOW = 1_700_000_000.0
BODY = b'{"after": "a1b2"}'
SIGNED = [name for name, scheme in PRESETS.items() if scheme.needs_secret]
TIMED = [name for name in SIGNED if PRESETS[name].time is not None and PRESETS[name].tolerance]
SPOKEN = ("adyen", "paypal", "aws-sns", "sendgrid")  # their secrets are none: names and public keys


def asked(vector: dict[str, Any], **changes: Any) -> WebhookRequest:
    given = {"body": vector["body"].encode(), "headers": vector["headers"], "url": vector["url"]} | changes
    return WebhookRequest(vector["method"], given["url"], given["headers"], given["body"])


def verdict(vector: dict[str, Any], request: WebhookRequest, secret: str | None = None, **changes: Any) -> Any:
    secrets, now = [secret or vector["secret"]], changes.get("now", vector.get("now", NOW))
    return check(vector["preset"], secrets, request, now, certificates=vector.get("certificates"))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_what_a_sender_signs_is_believed(vector):
    """Each vector names where it is from."""
    assert verdict(vector, asked(vector)).accepted is (vector["expect"] == "accept")


@pytest.mark.parametrize("vector", [one for one in VECTORS if one["expect"] == "accept"], ids=lambda one: one["name"])
def test_a_changed_body_or_secret_is_not(vector):
    """One byte more in the body, one letter in the secret; a token in a header says nothing about the body."""
    if PRESETS[vector["preset"]].covers_body and not PRESETS[vector["preset"]].each:
        assert not verdict(vector, asked(vector, body=vector["body"].encode() + b" ")).accepted
    wrong = keys_of(vector["preset"]).wrong
    assert not verdict(vector, asked(vector), wrong).accepted


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda oracle: oracle.name)
def test_a_senders_library_and_we_believe_each_other(oracle: Oracle):
    """Both ways, at this very time; skipped where the library is not installed."""
    pytest.importorskip(oracle.module.partition(".")[0], reason=f"{oracle.package} is not installed")
    now = int(time.time())
    theirs = oracle.theirs(now)
    assert theirs is None or judged(oracle.preset, [oracle.secret], theirs, time.time()).accepted
    ours = oracle.ours(now)
    assert oracle.judges(ours)
    if oracle.preset in ("monday", "adyen"):  # these do not sign the whole body
        return
    forged = replace(ours, body=ours.body + b" ")
    assert not oracle.judges(forged)
    assert not judged(oracle.preset, [oracle.secret], forged, now).accepted


@pytest.mark.parametrize("sender", SENDERS, ids=lambda sender: sender.name)
def test_every_row_says_how_it_was_proven(sender):
    """Or that it was not; and no vector proves a sender whose row does not say so."""
    assert sender.title
    assert sender.secret
    assert sender.proven
    assert sender.scheme.faults() == []
    has_vectors = any(vector["preset"] == sender.name for vector in VECTORS)
    assert has_vectors is sender.proven.startswith(("vector", "SDK"))


@pytest.mark.parametrize("name", TIMED)
def test_a_signature_of_another_time_is_refused_with_its_cause(name):
    """To either side of the window; within it nothing is said."""
    window = PRESETS[name].tolerance
    request = signed(name, WebhookRequest("POST", "https://x.test/h", {}, BODY), NOW)
    secret = [keys_of(name).checking]
    for moment in (NOW - window, NOW, NOW + window):
        assert judged(name, secret, request, moment).accepted
    for moment in (NOW - window - 1, NOW + window + 1):
        assert judged(name, secret, request, moment).cause == "timestamp_outside_window"


@pytest.mark.parametrize("name", [name for name in SIGNED if PRESETS[name].time is not None])
@pytest.mark.parametrize("moment", ["", "x", "1e9", "-1", "１７", "1" * 40, "2023-13-45", "NaN"])
def test_a_time_that_is_none_is_refused(name, moment):
    """Whatever stands where the time should."""
    scheme = PRESETS[name]
    request = signed(name, WebhookRequest("POST", "https://x.test/h", {}, BODY), NOW)
    place = str(scheme.time)
    if place.startswith("header:"):
        wanted = place.partition("|")[0][7:].lower()
        pairs = [(key, moment if key.lower() == wanted else value) for key, value in request.headers.pairs]
        request = replace(request, headers=Headers(pairs))
    else:
        pairs = [(key, value.replace("=1700000000", f"={moment}")) for key, value in request.headers.pairs]
        request = replace(request, headers=Headers(pairs), body=request.body.replace(b"1700000000", moment.encode()))
    assert judged(name, [keys_of(name).checking], request, NOW).accepted is False


def test_any_of_several_signatures_may_match():
    """As senders sign with the old and the new secret while one is changed."""
    old = sign("stripe", "old", WebhookRequest("POST", "/h", {}, BODY), now=NOW).headers["Stripe-Signature"]
    new = sign("stripe", "new", WebhookRequest("POST", "/h", {}, BODY), now=NOW).headers["Stripe-Signature"]
    both = WebhookRequest("POST", "/h", {"Stripe-Signature": f"{old}, {new.partition(',')[2]}"}, BODY)
    for secret in ("old", "new"):
        assert check("stripe", [secret], both, NOW).accepted
    assert not check("stripe", ["other"], both, NOW).accepted


def test_only_the_version_that_is_asked_for_counts():
    """Stripe's v0 is for tests; a proof under another name is none."""
    header = sign("stripe", "s", WebhookRequest("POST", "/h", {}, BODY), now=NOW).headers["Stripe-Signature"]
    request = WebhookRequest("POST", "/h", {"Stripe-Signature": header.replace("v1=", "v0=")}, BODY)
    assert check("stripe", ["s"], request, NOW).cause == "signature_invalid"


def test_standard_webhooks_are_signed_with_public_keys_too():
    """v1a beside v1, in one header."""
    secret = "whpk_" + base64.b64encode(bytes.fromhex(keys_of("discord").checking)).decode()
    request = WebhookRequest("POST", "/h", {}, BODY)
    signed_ = sign("standard-webhooks", "whsk_" + base64.b64encode(bytes([1]) * 32).decode(), request, now=NOW)
    assert signed_.headers["webhook-signature"].startswith("v1a,")
    assert check("standard-webhooks", [secret], signed_, NOW).accepted
    assert not check("standard-webhooks", [keys_of("svix").checking], signed_, NOW).accepted


@pytest.mark.parametrize(
    ("signed_as", "arrives_as"),
    [
        ("https://a.test/h?x=1", "https://a.test:443/h?x=1"),
        ("https://a.test:443/h?x=1", "https://a.test/h?x=1"),
        ("https://a.test/h", "https://a.test:8443/h"),
        ("http://a.test:80/h", "http://a.test/h"),
        ("https://a.test/h?x=1", "/h?x=1"),
        ("https://[::1]/h", "https://[::1]:443/h"),
    ],
)
def test_twilio_may_sign_the_address_with_or_without_its_port(signed_as, arrives_as):
    """And an address that arrives without its host is completed from the Host header."""
    request = sign("twilio", "t", WebhookRequest("POST", signed_as, {"Host": "a.test"}, b""), now=NOW)
    assert check("twilio", ["t"], replace(request, url=arrives_as), NOW).accepted
    assert not check("twilio", ["t"], replace(request, url=arrives_as + "2"), NOW).accepted


def test_twilios_json_is_covered_by_its_digest():
    """The address holds the body's digest; another body does not fit."""
    request = sign("twilio", "t", WebhookRequest("POST", "https://a.test/h", {}, BODY), now=NOW)
    assert "bodySHA256=" in request.url
    assert check("twilio", ["t"], request, NOW).accepted
    assert not check("twilio", ["t"], replace(request, body=BODY + b" "), NOW).accepted
    assert not check("twilio", ["t"], replace(request, url="https://a.test/h"), NOW).accepted


@pytest.mark.parametrize("name", ["adyen", "microsoft-graph"])
def test_every_item_of_a_list_is_proven_on_its_own(name):
    """One forged item among good ones refuses them all."""
    keys = keys_of(name)
    one = json.loads(sign(name, keys.signing, WebhookRequest("POST", "/h", {}, b"{}"), now=NOW).body)
    (field,) = one
    forged = json.loads(json.dumps(one[field][0]).replace(keys.signing, "forged"))
    if name == "adyen":
        forged["NotificationRequestItem"]["pspReference"] = "1"
    for items, accepted in (([], False), (one[field] * 2, True), ([*one[field], forged], False)):
        body = json.dumps({field: items}).encode()
        assert check(name, [keys.checking], WebhookRequest("POST", "/h", {}, body), NOW).accepted is accepted


@pytest.mark.parametrize(
    "address",
    [
        "http://api.paypal.com/c",
        "https://api.paypal.com.evil.test/c",
        "https://evil.test/api.paypal.com",
        "https://user@api.paypal.com/c",
        "https://api.paypal.com:8443/c",
        "https://api.paypal.com\\@evil.test/c",
        "https://apixpaypal.com/c",
        "https://api.paypal.com/c\n",
        "",
    ],
)
def test_a_certificate_is_wanted_from_the_very_host_only(address):
    """The address is a stranger's until the signature fits."""
    request = signed("paypal", WebhookRequest("POST", "/h", {}, BODY), NOW)
    kept = keys_of("paypal").certificates
    pairs = [pair for pair in request.headers.pairs if pair[0] != "PAYPAL-CERT-URL"]
    foreign = replace(request, headers=Headers([*pairs, ("PAYPAL-CERT-URL", address)]))
    certificates = kept | {address: next(iter(kept.values()))}
    secret = [keys_of("paypal").checking]
    assert check("paypal", secret, request, NOW, certificates=certificates).accepted
    assert not check("paypal", secret, foreign, NOW, certificates=certificates).accepted


def test_an_event_without_an_id_is_known_by_its_time_and_body():
    """Where both are signed, the same sent again is the same event."""
    request = WebhookRequest("POST", "/h", {}, b'{"event":"meeting.started"}')
    first, again = (check("zoom", ["s"], sign("zoom", "s", request, now=NOW), NOW) for _ in range(2))
    later = check("zoom", ["s"], sign("zoom", "s", request, now=NOW + 1), NOW)
    assert first.event_id == again.event_id != later.event_id
    assert first.event_type == "meeting.started"


def test_a_token_must_be_of_the_algorithm_that_is_asked_for():
    """None, and what was signed with a public key as a secret, are old tricks."""

    def part(text: str) -> str:
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    unsigned = part('{"alg":"none"}') + "." + part("{}") + "."
    for token in (unsigned, "a.b.c", "..", "x" * 20_000):
        request = WebhookRequest("POST", "/h", {"Authorization": token}, BODY)
        assert not check("monday", ["s"], request, NOW).accepted
    good = sign("monday", "s", WebhookRequest("POST", "/h", {}, BODY), now=NOW)
    assert check("monday", ["s"], good, NOW).accepted
    assert not check("monday", ["s"], good, NOW + 10_000).accepted
    assert not check(Scheme("jwt-hs512", places=("header:Authorization",)), ["s"], good, NOW).accepted


@pytest.mark.parametrize("algorithm", ["rsa-sha256", "rsa-pss-sha256", "rsa-sha512", "jwt-rs256", "jwt-ps256"])
def test_schemes_of_rsa_are_each_others_strangers(algorithm):
    """PKCS1 and PSS, signatures and tokens."""
    scheme = Scheme(algorithm, "base64", key="pem")
    request = sign(scheme, private_text(RSA_KEY), WebhookRequest("POST", "/h", {}, BODY), now=NOW)
    assert scheme.faults() == []
    assert check(scheme, [public_text(RSA_KEY)], request, NOW).accepted
    for other in {"rsa-sha256", "rsa-pss-sha256", "jwt-rs256", "jwt-es256", "ed25519"} - {algorithm}:
        assert not check(replace(scheme, algorithm=other), [public_text(RSA_KEY)], request, NOW).accepted


@pytest.mark.parametrize("algorithm", ["ed25519", "ecdsa-p256", "jwt-es256", "jwt-eddsa"])
@pytest.mark.parametrize("encoding", ["hex", "HEX", "base64", "base64url"])
def test_curves_sign_in_every_encoding(algorithm, encoding):
    """Keys as PEM."""
    pair = ED_KEYS if algorithm in ("ed25519", "jwt-eddsa") else EC_KEYS
    scheme = Scheme(algorithm, encoding, key="pem")
    request = sign(scheme, private_text(pair[0]), WebhookRequest("POST", "/h", {}, BODY), now=NOW)
    assert check(scheme, [public_text(pair[1]), public_text(pair[0])], request, NOW).accepted
    assert not check(scheme, [public_text(pair[1])], request, NOW).accepted
    assert scheme.secret_faults(public_text(pair[0])) == []
    assert scheme.secret_faults("no key") != []


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("standard-webhooks", "whsec_%"),
        ("standard-webhooks", "whsec_"),
        ("portone", "whpk_!!"),
        ("adyen", "xyz"),
        ("discord", "abcd"),
        ("discord", "whsec_aaaa"),
        ("sendgrid", "MFkw"),
        ("github", ""),
    ],
)
def test_a_secret_that_cannot_be_one_is_told_without_showing_it(name, secret):
    """At start, not at the first webhook."""
    (fault,) = PRESETS[name].secret_faults(secret)
    assert len(secret) < 3 or secret not in fault


@pytest.mark.parametrize("name", PRESETS)
def test_what_send_sends_is_received_whatever_the_sender(name, tmp_path):
    """From the first byte to the delivery; sent again it is a duplicate where the event has an id."""
    desk, keys = Desk(tmp_path), keys_of(name)
    desk.receiver.certificates = SimpleNamespace(get=keys.certificates.get)  # type: ignore[assignment]
    key = "/<key>" if PRESETS[name].reads_path else ""
    secrets = [f"literal:{keys.checking}"] if PRESETS[name].needs_secret else []
    source = Source("sender", verify=name, secrets=secrets, path="/hooks/sender" + key)
    assert source.faults() == []
    request = WebhookRequest("POST", source.path, {"Host": "hooks.test", "Content-Type": "application/json"}, b"{}")
    sent = signed(name, request, time.time(), event_id="e-1", event_type="made", base="https://hooks.test")
    assert desk.receiver.receive(source, sent, None).status == 200
    assert keys.checking not in json.dumps([desk.accepted["url"], desk.accepted["headers"]]) or name in SPOKEN
    if not PRESETS[name].needs_secret:
        return
    for forged in (replace(source, secrets=(f"literal:{keys.wrong}",)), replace(source, secrets=())):
        assert desk.receiver.receive(forged, sent, None).status == 401


def test_a_bad_proof_is_answered_as_the_scheme_says(tmp_path):
    """WebSub's hubs may hear 2xx; never a 5xx."""
    source = Source("hub", verify=Scheme(status=202), secrets=["literal:s"])
    reply = Desk(tmp_path).receiver.receive(
        source, WebhookRequest("POST", "/hooks/hub", {"X-Signature": "00"}, b""), None
    )
    assert (reply.status, reply.payload["status"]) == (202, 202)
    assert "5xx" in " ".join(Scheme(status=500).faults())
    assert "'curl'" in " ".join(Scheme(handshake="meta+curl").faults())


def hostile_names() -> list[str]:
    places = [place for scheme in PRESETS.values() for way in scheme.ways for place in (*way.places, way.time or "")]
    return sorted({each[7:] for place in places for each in place.split("|") if each.startswith("header:")})


hostile = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["t=1,v1=00", "v1, v1a,AAAA", "Bearer ", "a.b.c", "1700000000", "\ud800", "=" * 40, "é", "{", "[]"]
    ),
    st.builds(",".join, st.lists(st.sampled_from(["t=1", "v1=", "t=", "=", "v0=é"]), max_size=60)),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "signature",
                    "timestamp",
                    "value",
                    "clientState",
                    "notificationItems",
                    "NotificationRequestItem",
                    "id",
                    "type",
                    "challenge",
                    "event",
                    "events",
                    "payload",
                    "plainToken",
                    "webhookTimestamp",
                    "Signature",
                ]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=12,
)
bodies = st.one_of(
    st.binary(max_size=60),
    values.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
    st.sampled_from([b"[" * 5000, b"9" * 10_000, b'{"a":NaN}', b"a=1&" * 20_000, b"payload={", b"\x1f\x8b", b"\xff"]),
)


@settings(deadline=None)
@given(
    name=st.sampled_from(sorted(PRESETS)),
    method=st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "é", ""]),
    url=st.one_of(hostile, st.builds("{}/h?{}={}".format, hostile, st.sampled_from(["key", "crc_token"]), hostile)),
    headers=st.dictionaries(st.sampled_from([*hostile_names(), "Host", "Content-Type"]), hostile, max_size=6),
    kind=st.sampled_from([None, "application/x-www-form-urlencoded", "application/json"]),
    body=bodies,
    secrets=st.lists(hostile, max_size=2),
)
def test_no_preset_fails_whatever_is_sent(name, method, url, headers, kind, body, secrets):
    """A verdict, and nobody believed who cannot sign: not with another's secrets either."""
    if kind is not None:
        headers = headers | {"Content-Type": kind}
    request = WebhookRequest(method, url, headers, body)
    for given_ in (secrets, [keys_of(name).checking]):
        verdict_ = check(name, given_, request, NOW, tokens=["t"], certificates=keys_of(name).certificates)
        assert verdict_.accepted is (verdict_.cause is None)
    assert name == "none" or verdict_.reply is not None or not verdict_.accepted
    certificate_wanted(name, request)
    for said in named(name, request):
        assert said is None or len(said.encode("utf-8", "surrogatepass")) <= 255


def test_a_public_key_signs_nothing():
    """And a private key is no secret for a source."""
    request = WebhookRequest("POST", "/h", {}, BODY)
    for name, secret in (("standard-webhooks", "whpk_" + "A" * 43), ("sendgrid", public_text(EC_KEYS[0]))):
        with pytest.raises(ValueError, match="the secret "):
            sign(name, secret, request, now=NOW)
    assert PRESETS["svix"].secret_faults("whsk_" + "A" * 43) != []
