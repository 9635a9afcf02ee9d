"""Laws of `webspool explain`: what was signed and compared is told, what would have fitted is tried, no secret is."""

from __future__ import annotations

import base64
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from tests.furnished import APP, Furnished
from webspool.captured import CapturedSecrets
from webspool.records import WebhookRequest
from webspool.signatures import sign

SECRET = "s3cret-of-this-source"
OTHER = "another-sources-s3cret"
MORE = f"""
hooks.add(Source("other", verify="github", secrets=["literal:{OTHER}"]))
hooks.add(Source("twilio", verify="twilio", secrets=["literal:{SECRET}"]))
hooks.add(Source("token", verify="bearer", secrets=["literal:{SECRET}"]))
hooks.add(Source("mended", verify="github", secrets=["env:NOT_SET"]))
"""
BODY = b'{"b": 1,  "a": "\xc3\xa9"}'


@pytest.fixture
def house(tmp_path: Path) -> Furnished:
    made = Furnished(tmp_path)
    app = APP.replace("Webspool(app).add", "hooks = Webspool(app)\nhooks.add").replace("literal:s", f"literal:{SECRET}")
    (tmp_path / "app.py").write_text(app + MORE)
    return made


def proof(body: bytes, secret: str = SECRET, digest: str = "sha256") -> str:
    return f"sha256={hmac.digest(secret.encode(), body, digest).hex()}"


def told(house: Furnished, signature: str, body: bytes = BODY, **given: Any) -> dict[str, Any]:
    headers = [["X-Hub-Signature-256", signature]]
    found: dict[str, Any] = house.json("explain", house.refuse(body=body, headers=headers, **given))
    return found


def test_what_was_signed_and_compared_is_told_without_the_right_proof(house: Furnished) -> None:
    """The template, the text, its length and digest, and the value that did not fit."""
    refusal = house.refuse(body=BODY, headers=[["X-Hub-Signature-256", "sha256=00"]])
    result = house.webspool("explain", refusal)
    assert result.exit_code == 0
    for expected in ("{body}: 20 bytes", "sha256=00", "header:X-Hub-Signature-256", "does not fit", '"a": "é"'):
        assert expected in result.stdout
    for hidden in (SECRET, OTHER, proof(BODY)[7:], proof(BODY, OTHER)[7:]):
        assert hidden not in result.output


@pytest.mark.parametrize(
    ("signature", "hint"),
    [
        (proof(BODY + b"\n"), "a body with a line end at its end"),
        (proof(json.dumps(json.loads(BODY), separators=(",", ":"), ensure_ascii=False).encode()), "without spaces"),
        (proof(json.dumps(json.loads(BODY), separators=(",", ":")).encode()), "\\u escapes"),
        (proof(BODY, OTHER), "a secret of the source other"),
        (proof(BODY, SECRET + "\n"), "the secret with a line end"),
        (proof(BODY)[7:], "a proof without 'sha256='"),
        (proof(BODY, digest="sha1")[7:], "the hash sha1"),
        ("sha256=" + base64.b64encode(hmac.digest(SECRET.encode(), BODY, "sha256")).decode(), "the encoding base64"),
    ],
)
def test_the_usual_causes_are_tried_out(house: Furnished, signature: str, hint: str) -> None:
    """What would have fitted is named; a proof that fits nothing has no such hint."""
    assert [each for each in told(house, signature)["hints"] if hint in each]
    assert not [each for each in told(house, proof(b"else"))["hints"] if "Tried out" in each]


def test_a_wrong_address_is_found_by_its_signature(house: Furnished) -> None:
    """Twilio signs the address that it called."""
    request = WebhookRequest("POST", "https://hooks.test/hooks/twilio/", {"Host": "hooks.test"}, b"")
    signed = sign("twilio", SECRET, request)
    headers = [list(pair) for pair in signed.headers.pairs]  # type: ignore[attr-defined]
    refusal = house.refuse(source="twilio", url="/hooks/twilio", headers=headers, body=b"")
    assert any("WEBSPOOL_PUBLIC_URL" in hint for hint in house.json("explain", refusal)["hints"])


def test_a_secret_that_was_mended_fits_now(house: Furnished) -> None:
    """And says how to go on."""
    found = told(house, proof(BODY))
    assert found["today"] == "fits"
    assert any("webspool replay r_" in hint for hint in found["hints"])


@pytest.mark.parametrize(
    ("given", "today"),
    [
        ({"body_size": 100_000}, "not all is kept"),
        ({"source": "token"}, "is not kept"),
        ({"source": "mended"}, "no secret of the source can be read"),
        ({"source": "gone"}, None),
        ({"source": "", "cause": "unknown_source"}, None),
    ],
)
def test_what_cannot_be_tried_is_said(house: Furnished, given: dict[str, Any], today: str | None) -> None:
    """Neither an error nor a guess."""
    found = told(house, proof(BODY), **given)
    assert today in found["today"] if today else found["today"] is None
    assert found["hints"]


def test_a_delivery_is_explained_too(house: Furnished) -> None:
    """Also one that needs no explanation; what never was cannot be."""
    delivery = house.deliver("deploy", body=BODY, headers=[["X-Hub-Signature-256", proof(BODY)]])
    assert house.json("explain", delivery)["today"] == "fits"
    assert house.webspool("explain", "j_1").exit_code == 1
    assert house.webspool("explain", "r_1").exit_code == 1


def test_a_captured_secret_is_shown_to_the_operator(house: Furnished) -> None:
    """By the command that is for it; nothing else shows it."""
    kept = CapturedSecrets(house.config.var / "captured", clock=lambda: 1_700_000_000.0)
    kept.keep("notion", "secret_tMrlL1qK5vuQ")
    row = {"source": "notion", "secret": "secret_tMrlL1qK5vuQ", "at": "2023-11-14T22:13:20.000Z"}
    assert house.json("captured") == house.json("captured", "notion") == [row]
    assert house.json("captured", "asana") == []
    assert "secret_tMrlL1qK5vuQ" in house.webspool("captured").stdout
