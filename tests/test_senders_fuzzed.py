"""Laws of hostile input: no preset fails on anything, and nobody is believed by chance."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sender_keys import keys_of
from webspool.records import WebhookRequest
from webspool.signatures import PRESETS, certificate_wanted, check, named

NOW = 1_700_000_000.0


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
