"""Senders of payments and accounts, one row each, in the form of senders.py."""

from __future__ import annotations

from webspool.signatures.scheme import Scheme
from webspool.signatures.senders import Sender

ITEM = "body:notificationItems.*.NotificationRequestItem"

PAYMENTS: tuple[Sender, ...] = (
    Sender(
        "paypal",
        "PayPal",
        Scheme(
            "rsa-sha256",
            "base64",
            places=("header:PAYPAL-TRANSMISSION-SIG",),
            event_id="body:id",
            event_type="body:event_type",
            signed="{header:PAYPAL-TRANSMISSION-ID}|{time}|{secret}|{crc32}",
            time="header:PAYPAL-TRANSMISSION-TIME",
            unit="iso",
            tolerance=0,
            certificate="header:PAYPAL-CERT-URL",
            hosts=(r"api(-m)?(\.sandbox)?\.paypal\.com",),
        ),
        "the webhook's id",
        "SDK paypalrestsdk, both ways",
    ),
    Sender(
        "square",
        "Square",
        Scheme(
            "sha256",
            "base64",
            places=("header:x-square-hmacsha256-signature",),
            event_id="body:event_id",
            event_type="body:type",
            signed="{url}{body}",
        ),
        "the subscription's signature key; set WEBSPOOL_PUBLIC_URL",
        "SDK squareup",
    ),
    Sender(
        "paddle",
        "Paddle",
        Scheme(
            prefix="h1=",
            places=("header:Paddle-Signature",),
            event_id="body:event_id",
            event_type="body:event_type",
            signed="{time}:{body}",
            separator=";",
            time="part:ts",
            tolerance=5,
            accepted_status=200,
        ),
        "the notification's secret key",
        "SDK paddle-python-sdk",
        ("paddle-billing",),
    ),
    Sender(
        "adyen",
        "Adyen",
        Scheme(
            "sha256",
            "base64",
            places=("body:additionalData.hmacSignature",),
            event_id=(f"{ITEM}.pspReference", f"{ITEM}.eventCode", f"{ITEM}.success"),
            event_type="body:notificationItems.0.NotificationRequestItem.eventCode",
            signed=(
                "[{body:pspReference}]:[{body:originalReference}]:[{body:merchantAccountCode}]:"
                "[{body:merchantReference}]:[{body:amount.value}]:[{body:amount.currency}]:"
                "[{body:eventCode}]:[{body:success}]"
            ),
            key="hex",
            each="notificationItems.*.NotificationRequestItem",
            or_else=(
                Scheme(
                    "sha256",
                    "base64",
                    places=("header:HmacSignature",),
                    event_type="body:type",
                    key="hex",
                ),
            ),
        ),
        "the webhook's HMAC key",
        "vector of the PHP SDK's tests; SDK Adyen",
    ),
    Sender(
        "xero",
        "Xero",
        Scheme(
            "sha256",
            "base64",
            places=("header:x-xero-signature",),
            event_type="body:events.0.eventType",
            handshake="xero",
            accepted_status=200,
        ),
        "the webhook's key",
        "documentation only",
    ),
    Sender(
        "wise",
        "Wise",
        Scheme(
            "rsa-sha256",
            "base64",
            places=("header:X-Signature-SHA256",),
            event_id="header:X-Delivery-Id",
            event_type="body:event_type",
            key="pem",
        ),
        "Wise's public key",
        "vector of Wise's examples",
    ),
    Sender(
        "gocardless",
        "GoCardless",
        Scheme(
            places=("header:Webhook-Signature",),
            event_id="body:meta.webhook_id",
            event_type=("body:events.0.resource_type", "body:events.0.action"),
        ),
        "the endpoint's secret",
        "SDK gocardless_pro",
    ),
    Sender(
        "razorpay",
        "Razorpay",
        Scheme(
            places=("header:X-Razorpay-Signature",),
            event_id="header:X-Razorpay-Event-Id",
            event_type="body:event",
        ),
        "the webhook's secret",
        "SDK razorpay",
    ),
    Sender(
        "coinbase-commerce",
        "Coinbase Commerce",
        Scheme(
            places=("header:X-CC-Webhook-Signature",),
            event_id="body:event.id",
            event_type="body:event.type",
        ),
        "the webhook's shared secret",
        "SDK coinbase-commerce",
    ),
    Sender(
        "workos",
        "WorkOS",
        Scheme(
            prefix="v1=",
            places=("header:WorkOS-Signature",),
            event_id="body:id",
            event_type="body:event",
            signed="{time}.{body}",
            separator=",",
            time="part:t",
            unit="ms",
            tolerance=180,
        ),
        "the endpoint's secret",
        "SDK workos",
    ),
)
