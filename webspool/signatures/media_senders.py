"""Senders of content, media and messages, one row each, in the form of senders.py."""

from __future__ import annotations

from webspool.signatures.scheme import Scheme
from webspool.signatures.senders import Sender

MEDIA: tuple[Sender, ...] = (
    Sender(
        "elevenlabs",
        "ElevenLabs",
        Scheme(
            prefix="v0=",
            places=("header:ElevenLabs-Signature",),
            event_type="body:type",
            signed="{time}.{body}",
            separator=",",
            time="part:t",
            tolerance=1800,
        ),
        "the webhook's secret",
        "SDK elevenlabs",
    ),
    Sender(
        "mux",
        "Mux",
        Scheme(
            prefix="v1=",
            places=("header:Mux-Signature",),
            event_id="body:id",
            event_type="body:type",
            signed="{time}.{body}",
            separator=",",
            time="part:t",
        ),
        "the webhook's signing secret",
        "SDK @mux/mux-node",
    ),
    Sender(
        "sanity",
        "Sanity",
        Scheme(
            encoding="base64url",
            prefix="v1=",
            places=("header:sanity-webhook-signature",),
            event_id="header:idempotency-key",
            event_type=("header:sanity-operation", "body:_type"),
            signed="{time}.{body}",
            separator=",",
            time="part:t",
            unit="ms",
            tolerance=0,
        ),
        "the webhook's secret",
        "SDK @sanity/webhook, both ways",
    ),
    Sender(
        "pusher",
        "Pusher Channels",
        Scheme(
            places=("header:X-Pusher-Signature",),
            event_type="body:events.0.name",
            time="body:time_ms",
            unit="ms",
        ),
        "the app's secret",
        "SDK pusher",
    ),
)
