"""Laws of presets: each is held against what its sender publishes, or what the sender's own library believes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.oracles import ORACLES, Oracle
from tests.sender_keys import EC_KEYS, ED_KEYS, RSA_KEY, judged, keys_of, private_text, public_text, signed
from tests.test_receive import Desk
from webspool.records import Headers, WebhookRequest
from webspool.signatures import PRESETS, Scheme, check, sign
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
    assert has_vectors is sender.proven.startswith(("vector", "SDK", "library"))


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
    desk.receiver.verifier.certificates = SimpleNamespace(get=keys.certificates.get)  # type: ignore[assignment]
    key = "/<key>" if PRESETS[name].reads_path else ""
    secrets = [f"literal:{keys.checking}"] if PRESETS[name].needs_secret else []
    source = Source("sender", verify=name, secrets=secrets, path="/hooks/sender" + key)
    assert source.faults() == []
    request = WebhookRequest("POST", source.path, {"Host": "hooks.test", "Content-Type": "application/json"}, b"{}")
    sent = signed(name, request, time.time(), event_id="e-1", event_type="made", base="https://hooks.test")
    assert desk.receiver.receive(source, sent, None).status == (204 if name == "discord" else 200)
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


def test_a_public_key_signs_nothing():
    """And a private key is no secret for a source."""
    request = WebhookRequest("POST", "/h", {}, BODY)
    for name, secret in (("standard-webhooks", "whpk_" + "A" * 43), ("sendgrid", public_text(EC_KEYS[0]))):
        with pytest.raises(ValueError, match="the secret "):
            sign(name, secret, request, now=NOW)
    assert PRESETS["svix"].secret_faults("whsk_" + "A" * 43) != []


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("github", {"X-Hub-Signature-256": "sha256=" + hmac.digest(b"", BODY, "sha256").hex()}),
        ("stripe", {"Stripe-Signature": "t=1700000000,v1=" + hmac.digest(b"", b"1700000000." + BODY, "sha256").hex()}),
        ("hubspot-v1", {"X-HubSpot-Signature": hashlib.sha256(BODY).hexdigest()}),
        ("bearer", {"Authorization": "Bearer "}),
        ("basic", {"Authorization": "Basic "}),
    ],
)
def test_the_empty_secret_makes_no_proof(name, headers):
    """A variable that is set to nothing must not open the door; nor does a whsec_ with nothing behind it."""
    request = WebhookRequest("POST", "/h", headers, BODY)
    assert not check(name, [""], request, NOW).accepted
    nothing = {"webhook-id": "1", "webhook-timestamp": "1700000000"}
    made = base64.b64encode(hmac.digest(b"", b"1.1700000000." + BODY, "sha256")).decode()
    standard = WebhookRequest("POST", "/h", nothing | {"webhook-signature": f"v1,{made}"}, BODY)
    assert not check("standard-webhooks", ["whsec_"], standard, NOW).accepted


def test_an_id_of_several_parts_is_whole_or_none():
    """Half of an id would make different events the same."""
    body = {"object_type": "activity", "object_id": 1, "aspect_type": "create", "event_time": 2}
    whole = WebhookRequest("POST", "/h?key=k", {}, json.dumps(body).encode())
    half = WebhookRequest("POST", "/h?key=k", {}, json.dumps(body | {"event_time": None}).encode())
    assert check("strava", ["k"], whole, NOW).event_id == "activity.1.create.2"
    assert check("strava", ["k"], half, NOW).event_id is None
    assert check("strava", ["k"], half, NOW).event_type == "activity.create"


def test_the_algorithm_that_a_token_names_must_be_the_one_it_has():
    """RFC 8725, 3.1."""
    head, claims = (base64.urlsafe_b64encode(part).rstrip(b"=") for part in (b'{"alg":"HS512"}', b"{}"))
    proof = base64.urlsafe_b64encode(hmac.digest(b"s", head + b"." + claims, "sha256")).rstrip(b"=")
    token = b".".join([head, claims, proof]).decode()
    assert not check("monday", ["s"], WebhookRequest("POST", "/h", {"Authorization": token}, BODY), NOW).accepted


def test_twilio_signs_a_repeated_pair_once():
    """As its library does; and a form of too many fields is not read."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    made = base64.b64encode(hmac.digest(b"t", b"https://a.test/hA1A2B3", "sha1")).decode()
    request = WebhookRequest("POST", "https://a.test/h", headers | {"X-Twilio-Signature": made}, b"B=3&A=2&A=1&A=1")
    assert check("twilio", ["t"], request, NOW).accepted
    many = sorted({f"{number:05}1" for number in range(20_000)})
    made = base64.b64encode(hmac.digest(b"t", b"https://a.test/h" + "".join(many).encode(), "sha1")).decode()
    body = "&".join(f"{name[:5]}=1" for name in many).encode()
    request = WebhookRequest("POST", "https://a.test/h", headers | {"X-Twilio-Signature": made}, body)
    assert not check("twilio", ["t"], request, NOW).accepted


def test_a_key_of_another_curve_is_no_key_for_p256():
    """Told at start."""
    other = ec.generate_private_key(ec.SECP384R1())
    assert PRESETS["sendgrid"].secret_faults(public_text(other)) == ["the secret is a key of another curve than P-256"]
