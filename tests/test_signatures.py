"""Laws of verification: who is believed, who is not, and that nothing a stranger sends makes it fail."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sender_keys import judged, keys_of, signed
from webspool.records import WebhookRequest
from webspool.signatures import PRESETS, Scheme, Verdict, check, scheme_of, sign

VECTORS = json.loads((Path(__file__).parent / "data" / "signatures.json").read_text())
NOW = 1_700_000_000.0
BODY = b'{"after": "a1b2"}'
SCHEMES: list[Any] = [
    *PRESETS,
    "generic:sha1:hex:",
    "generic:sha512:base64:sig ",
    Scheme("secret", places=("header:X-My-Token",), event_type="query:type"),
]


def post(headers: dict[str, str] | None = None, *, url: str = "/hooks/x", body: bytes = BODY) -> WebhookRequest:
    return WebhookRequest("POST", url, headers or {}, body)


def github(secret: str, body: bytes = BODY) -> dict[str, str]:
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_published_vector_is_judged_as_its_sender_judges_it(vector):
    """Each vector names its source."""
    request = WebhookRequest(vector["method"], vector["url"], vector["headers"], vector["body"].encode())
    verdict = check(vector["preset"], [vector["secret"]], request, vector.get("now", NOW))
    assert verdict.accepted is (vector["expect"] == "accept")
    assert (verdict.cause is None) is verdict.accepted


def test_a_github_event_has_githubs_names_for_it():
    """Event id and type come from GitHub's headers, whatever their case."""
    headers = {**github("s"), "x-github-delivery": "72d3162e", "X-GITHUB-EVENT": "push"}
    assert check("github", ["s"], post(headers), NOW) == Verdict(True, None, "72d3162e", "push")


def test_an_empty_event_id_is_none():
    """Events without a name must not all be duplicates of each other."""
    verdict = check("github", ["s"], post({**github("s"), "X-GitHub-Delivery": " "}), NOW)
    assert verdict.accepted
    assert verdict.event_id is None


def test_any_of_several_secrets_is_believed():
    """A secret is rotated without downtime."""
    assert check("github", ["new", "old"], post(github("old")), NOW).accepted
    assert not check("github", ["new", "newer"], post(github("old")), NOW).accepted


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme != "none"], ids=str)
@pytest.mark.parametrize("secrets", [[], [""], (), None, [None], 7], ids=repr)
def test_without_a_secret_nobody_is_believed(scheme, secrets):
    """Verification fails closed, also against a proof made with the empty secret."""
    assert judged(scheme, secrets, signed(scheme, post(), NOW), NOW).accepted is False


def test_one_string_is_one_secret_and_not_its_letters():
    """A string where a list belongs must not make every letter a secret."""
    assert not check("bearer", "secret", post({"Authorization": "Bearer s"}), NOW).accepted
    assert check("bearer", "secret", post({"Authorization": "Bearer secret"}), NOW).accepted


@pytest.mark.parametrize(
    ("scheme", "request_", "cause"),
    [
        ("github", post(), "signature_missing"),
        ("github", post({"X-Hub-Signature-256": ""}), "signature_missing"),
        ("github", post({"X-Hub-Signature": "sha1=00"}), "signature_missing"),
        ("github", post(github("wrong")), "signature_invalid"),
        ("github", post(github("s"), body=BODY + b" "), "signature_invalid"),
        ("bearer", post(), "signature_missing"),
        ("bearer", post({"Authorization": "Basic cw=="}), "signature_invalid"),
        ("bearer", post({"Authorization": "Bearer "}), "signature_invalid"),
        ("bearer", post({"Authorization": "Bearer sé"}), "signature_invalid"),
        ("key", post(url="/webhook/wrong"), "signature_invalid"),
        ("key", post(url="/webhook/?key="), "signature_missing"),
        (Scheme("secret", places=("query:key",)), post(url="/hooks/x"), "signature_missing"),
        ("no-such-sender", post(github("s")), "signature_invalid"),
        ("generic:none:hex:", post(), "signature_invalid"),
        ("generic:md5:hex:", post(), "signature_invalid"),
    ],
)
def test_who_is_not_believed_is_told_why(scheme, request_, cause):
    """What is absent is missing; what does not fit is invalid."""
    assert check(scheme, ["s"], request_, NOW) == Verdict(False, cause)


@pytest.mark.parametrize(
    "url",
    [
        "/webhook/k3y",
        "https://host/webhook/k3y?a=1",
        "/hooks/x?key=k3y",
        "/hooks/x?a=1&key=k3y&b=2",
        "/hooks/x?key=k%33y",
    ],
)
def test_a_key_stands_in_the_path_or_the_query(url):
    """The simplest sender can only be given an address."""
    assert check("key", ["k3y"], post(url=url), NOW).accepted


def test_a_key_of_any_script_is_found_again():
    """Percent-encoded as browsers do."""
    request = sign("key", "나의 비밀 방", post(url="/webhook/<key>"))
    assert request.url.startswith("/webhook/%EB%82%98")
    assert check("key", ["나의 비밀 방"], request, NOW).accepted


def test_a_non_ascii_token_is_compared_as_bytes():
    """A server hands over the UTF-8 bytes of a header as Latin-1 text."""
    as_served = "Bearer 비밀".encode().decode("latin-1")
    assert check("bearer", ["비밀"], post({"Authorization": as_served}), NOW).accepted
    assert check("bearer", ["비밀"], post({"Authorization": "bearer 비밀"}), NOW).accepted


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_what_sign_makes_check_believes(scheme):
    """The signer is the verifier's mirror, and a changed secret breaks it."""
    keys = keys_of(scheme)
    request = signed(scheme, post(url="/hooks/x?a=1"), NOW, event_id="e1", event_type="push")
    assert judged(scheme, [keys.checking], request, NOW).accepted
    assert judged(scheme, [keys.wrong, keys.checking], request, NOW).accepted
    assert judged(scheme, [keys.wrong], request, NOW).accepted is (scheme == "none")


@pytest.mark.parametrize("scheme", ["bearer", "key", "github", "generic:sha1:hex:"])
def test_an_empty_secret_is_no_secret(scheme):
    """Nor is a proof made with it one."""
    assert check(scheme, [""], sign(scheme, "", post()), NOW).accepted is False


def test_sign_names_the_event_where_the_sender_does():
    """`webspool send --event push` looks like GitHub's push."""
    made = sign("github", "s", post({"Content-Type": "application/json"}), event_id="e1", event_type="push")
    assert check("github", ["s"], made, NOW) == Verdict(True, None, "e1", "push")
    assert ("Content-Type", "application/json") in made.headers.pairs


def test_sign_replaces_a_proof_that_is_there():
    """One header, whatever its case was."""
    made = sign("github", "s", post({"x-hub-signature-256": "sha256=00", "X-A": "b"}))
    assert [name for name, _ in made.headers.pairs] == ["X-A", "X-Hub-Signature-256"]


def test_a_scheme_of_ones_own_is_data():
    """Base64, another hash, another header."""
    scheme = Scheme("sha512", "base64", "v1=", ("header:X-Acme",), event_id="query:id")
    digest = base64.b64encode(hmac.digest(b"s", BODY, "sha512")).decode()
    assert check(scheme, ["s"], post({"X-Acme": f"v1={digest}"}, url="/h?id=7"), NOW) == Verdict(True, None, "7")


@pytest.mark.parametrize(
    ("scheme", "hint"),
    [
        (Scheme("md5"), "algorithm 'md5'"),
        (Scheme(encoding="rot13"), "encoding 'rot13'"),
        (Scheme(places=()), "places is ()"),
        (Scheme(places="header:X"), "places is 'header:X'"),  # type: ignore[arg-type]
        (Scheme(places=("X-Signature",)), "place 'X-Signature'"),
        (Scheme(event_id="header:"), "place 'header:'"),
        (Scheme(accepted_status=302), "accepted_status is 302"),
        (Scheme(status=500), "status is 500"),
        (Scheme(signed="{time}.{body}"), "signed holds {time}, but time has no place"),
        (Scheme(time="part:t"), "separator is empty"),
        (Scheme(signed="{nobody}"), "{nobody}, which is no field"),
        (Scheme(signed="{body"), "a brace or bracket has no other"),
        (Scheme("plain-sha256"), "signed holds {secret}"),
        (Scheme(unit="years"), "unit 'years'"),
        (Scheme(key="rot13"), "key 'rot13'"),
        (Scheme(handshake="wink"), "handshake 'wink'"),
        (Scheme(tolerance=-1), "tolerance is -1"),
        (Scheme(or_else=(Scheme("md5"),)), "algorithm 'md5'"),
    ],
)
def test_a_scheme_that_cannot_work_says_so(scheme, hint):
    """A user's own scheme is checked at start."""
    assert hint in " ".join(scheme.faults())


def test_every_preset_is_whole():
    """The table holds no row that its own check would refuse."""
    assert all(scheme.faults() == [] for scheme in PRESETS.values())
    assert scheme_of("github") is PRESETS["github"]


hostile = st.one_of(st.text(), st.sampled_from(["", "sha256=", "Bearer ", "\r\nX: y", "é", "\ud800", "%", "\0", "[::"]))
names = st.one_of(
    hostile, st.sampled_from(["X-Hub-Signature-256", "Authorization", "X-Signature", "X-GitHub-Event", "X-My-Token"])
)
requests = st.builds(
    WebhookRequest,
    hostile,
    st.one_of(hostile, st.builds("http://{}/{}?key={}&{}#{}".format, hostile, hostile, hostile, hostile, hostile)),
    st.dictionaries(names, hostile, max_size=6),
    st.binary(max_size=200),
)


@given(scheme=st.sampled_from(SCHEMES), request=requests, secrets=st.lists(hostile, max_size=3))
def test_check_never_raises_whatever_is_sent(scheme, request, secrets):
    """Guarantee 6: no request makes us fail. A stranger without the secret is never believed."""
    verdict = check(scheme, secrets, request, NOW)
    assert isinstance(verdict, Verdict)
    assert verdict.accepted is (verdict.cause is None)
    for said in (verdict.event_id, verdict.event_type):
        assert said is None or said.encode()


@given(scheme=st.sampled_from(SCHEMES), request=requests)
def test_an_unguessable_secret_is_not_met_by_chance(scheme, request):
    """Whatever a stranger sends."""
    accepted = check(scheme, ["7b0c3d39c1f14ac2a1b2"], request, NOW).accepted
    assert accepted is (scheme == "none")


@pytest.mark.parametrize("scheme", [None, 7, [], {}, Scheme("md5"), Scheme(places=(None,))], ids=repr)  # type: ignore[arg-type]
@pytest.mark.parametrize("request_", [None, "x", post(), WebhookRequest("POST", None, {}, None)], ids=repr)  # type: ignore[arg-type]
def test_check_never_raises_for_a_callers_mistake_either(scheme, request_):
    """Nonsense is not accepted."""
    assert check(scheme, ["s"], request_, NOW).accepted is False
