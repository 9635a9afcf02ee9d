"""The table of presets: one row a sender. A row is data; to add yours, copy one, or hand a `Scheme` to a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from webspool.signatures.scheme import Scheme

KEY_PLACES = ("path", "query:key")
WEBHOOK_ID = "header:webhook-id|header:svix-id"
WEBHOOK_TIME = "header:webhook-timestamp|header:svix-timestamp"
STANDARD = Scheme(
    "sha256",
    "base64",
    "v1,",
    ("header:webhook-signature|header:svix-signature",),
    event_id=WEBHOOK_ID,
    event_type="body:type",
    signed=f"{{{WEBHOOK_ID}}}.{{time}}.{{body}}",
    key="whsec",
    separator=" ",
    time=WEBHOOK_TIME,
)
STANDARD_WEBHOOKS = replace(STANDARD, or_else=(replace(STANDARD, algorithm="ed25519", prefix="v1a,", key="whpk"),))
SVIX_ID = "header:svix-id|header:webhook-id"
SVIX = replace(
    STANDARD,
    places=("header:svix-signature|header:webhook-signature",),
    event_id=SVIX_ID,
    signed=f"{{{SVIX_ID}}}.{{time}}.{{body}}",
    time="header:svix-timestamp|header:webhook-timestamp",
)
ATLASSIAN = Scheme("sha256", "hex", "sha256=", ("header:X-Hub-Signature",))
ITEM = "body:notificationItems.*.NotificationRequestItem"
SNS = Scheme(
    "rsa-sha1",
    "base64",
    places=("body:Signature",),
    event_id="body:MessageId",
    event_type="body:Type",
    signed=(
        "Message\n{body:Message}\nMessageId\n{body:MessageId}\n[Subject\n{body:Subject}\n]"
        "[SubscribeURL\n{body:SubscribeURL}\n]Timestamp\n{body:Timestamp}\n[Token\n{body:Token}\n]"
        "TopicArn\n{secret}\nType\n{body:Type}\n"
    ),
    certificate="body:SigningCertURL",
    hosts=(r"sns\.[a-z]{2}(-[a-z]+)+-[0-9]\.amazonaws\.com(\.cn)?",),
)


@dataclass(frozen=True)
class Sender:
    """A row: who sends, by which scheme, what its secret is, and how the row was proven to be what the sender does."""

    name: str
    title: str
    scheme: Scheme
    secret: str
    proven: str = ""


SENDERS: tuple[Sender, ...] = (
    Sender("none", "anybody", Scheme("none", places=()), "none"),
    Sender("key", "a key in the address", Scheme("secret", places=KEY_PLACES), "the key"),
    Sender(
        "bearer", "a bearer token", Scheme("secret", prefix="Bearer ", places=("header:Authorization",)), "the token"
    ),
    Sender(
        "github",
        "GitHub",
        Scheme(
            "sha256",
            prefix="sha256=",
            places=("header:X-Hub-Signature-256",),
            event_id="header:X-GitHub-Delivery",
            event_type="header:X-GitHub-Event",
        ),
        "the webhook's secret",
        "vector of GitHub's documentation; SDK @octokit/webhooks-methods",
    ),
    Sender(
        "basic",
        "HTTP basic authentication",
        Scheme("basic", prefix="Basic ", places=("header:Authorization",)),
        "user:password",
        "example of RFC 7617, 2",
    ),
    Sender(
        "stripe",
        "Stripe",
        Scheme(
            "sha256",
            "hex",
            "v1=",
            ("header:Stripe-Signature",),
            event_id="body:id",
            event_type="body:type",
            signed="{time}.{body}",
            separator=",",
            time="part:t",
        ),
        "the endpoint's signing secret, whsec_... as it is",
        "SDK stripe",
    ),
    Sender(
        "slack",
        "Slack",
        Scheme(
            "sha256",
            "hex",
            "v0=",
            ("header:X-Slack-Signature",),
            event_id="body:event_id|body:trigger_id",
            event_type="body:event.type|body:command|body:type",
            signed="v0:{time}:{body}",
            time="header:X-Slack-Request-Timestamp",
            handshake="slack",
        ),
        "the app's signing secret",
        "vector of Slack's documentation; SDK slack_sdk",
    ),
    Sender(
        "standard-webhooks",
        "Standard Webhooks",
        STANDARD_WEBHOOKS,
        "whsec_..., or whpk_... for v1a",
        "vectors of the specification's libraries; SDK standardwebhooks",
    ),
    Sender(
        "svix",
        "Svix",
        replace(SVIX, or_else=(replace(SVIX, algorithm="ed25519", prefix="v1a,", key="whpk"),)),
        "the endpoint's whsec_..., or whpk_...",
        "SDK svix",
    ),
    Sender("portone", "PortOne V2", STANDARD_WEBHOOKS, "the webhook's whsec_...", "SDK portone-server-sdk"),
    Sender(
        "toss",
        "Toss Payments",
        Scheme(
            "secret",
            places=KEY_PLACES,
            event_id="header:tosspayments-webhook-transmission-id",
            event_type="body:eventType",
        ),
        "a key of your own in the address; payments are unsigned, so fetch the payment in the task",
    ),
    Sender(
        "gitlab",
        "GitLab",
        Scheme(
            "secret",
            places=("header:X-Gitlab-Token",),
            event_id="header:Idempotency-Key|header:webhook-id|header:X-Gitlab-Event-UUID",
            event_type=("header:X-Gitlab-Event", "body:object_attributes.action"),
            or_else=(replace(STANDARD, event_id=None, event_type=None),),
        ),
        "the secret token, or the signing token whsec_...",
        "SDK standardwebhooks for signing tokens; the token is compared",
    ),
    Sender(
        "shopify",
        "Shopify",
        Scheme(
            "sha256",
            "base64",
            places=("header:X-Shopify-Hmac-SHA256",),
            event_id="header:X-Shopify-Webhook-Id",
            event_type="header:X-Shopify-Topic",
        ),
        "the app's client secret",
    ),
    Sender(
        "telegram",
        "Telegram",
        Scheme("secret", places=("header:X-Telegram-Bot-Api-Secret-Token",), event_id="body:update_id"),
        "the secret_token given to setWebhook",
    ),
    Sender(
        "discord",
        "Discord",
        Scheme(
            "ed25519",
            "hex",
            places=("header:X-Signature-Ed25519",),
            event_id="body:id",
            event_type="body:event.type|body:data.name|body:data.custom_id|body:type",
            signed="{time}{body}",
            key="hex",
            time="header:X-Signature-Timestamp",
            tolerance=0,
            handshake="discord",
        ),
        "the application's public key",
        "SDK discord-interactions",
    ),
    Sender(
        "line",
        "LINE",
        Scheme(
            "sha256",
            "base64",
            places=("header:x-line-signature",),
            event_id="body:events.*.webhookEventId",
            event_type="body:events.0.type",
        ),
        "the channel's secret",
        "vector of the SDK's tests; SDK line-bot-sdk",
    ),
    Sender(
        "twilio",
        "Twilio",
        Scheme(
            "sha1",
            "base64",
            places=("header:X-Twilio-Signature",),
            event_id="header:I-Twilio-Idempotency-Token",
            event_type="body:EventType|body:MessageStatus|body:CallStatus",
            signed="{url}{form}",
            or_else=(
                Scheme("sha1", "base64", "", ("header:X-Twilio-Signature",), signed="{url}", digest="query:bodySHA256"),
            ),
        ),
        "the account's auth token; set WEBSPOOL_PUBLIC_URL",
        "vectors of the SDK's tests; SDK twilio",
    ),
    Sender(
        "bitbucket",
        "Bitbucket",
        replace(ATLASSIAN, event_id="header:X-Request-UUID", event_type="header:X-Event-Key"),
        "the webhook's secret",
    ),
    Sender(
        "jira",
        "Jira Cloud",
        replace(ATLASSIAN, event_id="header:X-Atlassian-Webhook-Identifier", event_type="body:webhookEvent"),
        "the webhook's secret",
    ),
    Sender(
        "gitea",
        "Gitea",
        Scheme(
            places=("header:X-Gitea-Signature",), event_id="header:X-Gitea-Delivery", event_type="header:X-Gitea-Event"
        ),
        "the webhook's secret",
    ),
    Sender(
        "forgejo",
        "Forgejo",
        Scheme(
            places=("header:X-Forgejo-Signature",),
            event_id="header:X-Forgejo-Delivery",
            event_type="header:X-Forgejo-Event",
        ),
        "the webhook's secret",
    ),
    Sender(
        "meta",
        "Meta, WhatsApp",
        Scheme(
            "sha256",
            "hex",
            "sha256=",
            ("header:X-Hub-Signature-256",),
            event_type=("body:object", "body:entry.0.changes.0.field"),
            handshake="meta",
        ),
        "the app secret; tokens= is the verify token",
    ),
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
    ),
    Sender(
        "zoom",
        "Zoom",
        Scheme(
            "sha256",
            "hex",
            "v0=",
            ("header:x-zm-signature",),
            event_type="body:event",
            signed="v0:{time}:{body}",
            time="header:x-zm-request-timestamp",
            handshake="zoom",
        ),
        "the app's secret token",
    ),
    Sender(
        "microsoft-graph",
        "Microsoft Graph",
        Scheme(
            "secret",
            places=("body:clientState",),
            event_id="body:value.*.id",
            event_type="body:value.0.changeType",
            each="value.*",
            handshake="graph",
        ),
        "the subscription's clientState",
    ),
    Sender(
        "x",
        "X",
        Scheme("sha256", "base64", "sha256=", ("header:x-twitter-webhooks-signature",), handshake="x"),
        "the app's consumer secret",
    ),
    Sender(
        "websub",
        "WebSub",
        Scheme(
            "sha256",
            "hex",
            "sha256=",
            ("header:X-Hub-Signature",),
            handshake="websub",
            or_else=tuple(
                Scheme(name, "hex", f"{name}=", ("header:X-Hub-Signature",)) for name in ("sha1", "sha384", "sha512")
            ),
        ),
        "the hub.secret; tokens= are the topics",
    ),
    Sender(
        "strava",
        "Strava",
        Scheme(
            "secret",
            places=KEY_PLACES,
            event_id=("body:object_type", "body:object_id", "body:aspect_type", "body:event_time"),
            event_type=("body:object_type", "body:aspect_type"),
            handshake="strava",
        ),
        "a key of your own in the address; tokens= is the verify token",
    ),
    Sender(
        "dropbox",
        "Dropbox",
        Scheme(places=("header:X-Dropbox-Signature",), handshake="dropbox"),
        "the app secret",
    ),
    Sender(
        "linear",
        "Linear",
        Scheme(
            places=("header:Linear-Signature",),
            event_id="header:Linear-Delivery",
            event_type=("header:Linear-Event", "body:action"),
            time="body:webhookTimestamp",
            unit="ms",
            tolerance=60,
        ),
        "the webhook's signing secret",
    ),
    Sender(
        "notion",
        "Notion",
        Scheme(
            prefix="sha256=",
            places=("header:X-Notion-Signature",),
            event_id="body:id",
            event_type="body:type",
        ),
        "the verification token",
    ),
    Sender(
        "sendgrid",
        "SendGrid",
        Scheme(
            "ecdsa-p256",
            "base64",
            places=("header:X-Twilio-Email-Event-Webhook-Signature",),
            event_id="body:*.sg_event_id",
            event_type="body:0.event",
            signed="{time}{body}",
            key="pem",
            time="header:X-Twilio-Email-Event-Webhook-Timestamp",
            tolerance=0,
        ),
        "the public key",
        "vector of the SDK's tests; SDK sendgrid",
    ),
    Sender(
        "mailgun",
        "Mailgun",
        Scheme(
            places=("body:signature.signature",),
            event_id="body:signature.token",
            event_type="body:event-data.event",
            signed="{time}{body:signature.token}",
            time="body:signature.timestamp",
            tolerance=0,
        ),
        "the webhook signing key",
    ),
    Sender(
        "typeform",
        "Typeform",
        Scheme(
            "sha256",
            "base64",
            "sha256=",
            ("header:Typeform-Signature",),
            event_id="body:event_id",
            event_type="body:event_type",
        ),
        "the webhook's secret",
    ),
    Sender(
        "calendly",
        "Calendly",
        Scheme(
            prefix="v1=",
            places=("header:Calendly-Webhook-Signature",),
            event_type="body:event",
            signed="{time}.{body}",
            separator=",",
            time="part:t",
            tolerance=180,
        ),
        "the subscription's signing key",
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
        "hubspot",
        "HubSpot v3",
        Scheme(
            "sha256",
            "base64",
            places=("header:X-HubSpot-Signature-v3",),
            event_id=("body:*.eventId", "body:*.occurredAt"),
            event_type="body:0.subscriptionType",
            signed="{method}{decoded_url}{body}{time}",
            time="header:X-HubSpot-Request-Timestamp",
            unit="ms",
        ),
        "the app's client secret; set WEBSPOOL_PUBLIC_URL",
        "SDK hubspot-api-client",
    ),
    Sender(
        "hubspot-v2",
        "HubSpot v2",
        Scheme("plain-sha256", places=("header:X-HubSpot-Signature",), signed="{secret}{method}{url}{body}"),
        "the app's client secret; set WEBSPOOL_PUBLIC_URL",
        "SDK hubspot-api-client",
    ),
    Sender(
        "hubspot-v1",
        "HubSpot v1",
        Scheme(
            "plain-sha256",
            places=("header:X-HubSpot-Signature",),
            event_id=("body:*.eventId", "body:*.occurredAt"),
            event_type="body:0.subscriptionType",
            signed="{secret}{body}",
        ),
        "the app's client secret",
        "SDK hubspot-api-client",
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
        ),
        "the notification's secret key",
        "SDK paddle-python-sdk",
    ),
    Sender(
        "sentry",
        "Sentry",
        Scheme(
            places=("header:Sentry-Hook-Signature",),
            event_id="header:Request-ID",
            event_type=("header:Sentry-Hook-Resource", "body:action"),
        ),
        "the integration's client secret",
    ),
    Sender(
        "intercom",
        "Intercom",
        Scheme(
            "sha1",
            prefix="sha1=",
            places=("header:X-Hub-Signature",),
            event_id="body:id",
            event_type="body:topic",
            handshake="head",
        ),
        "the app's client secret",
    ),
    Sender(
        "asana",
        "Asana",
        Scheme(places=("header:X-Hook-Signature",), handshake="asana"),
        "the X-Hook-Secret of the subscription",
    ),
    Sender(
        "trello",
        "Trello",
        Scheme(
            "sha1",
            "base64",
            places=("header:X-Trello-Webhook",),
            event_id="body:action.id",
            event_type="body:action.type",
            signed="{body}{url}",
            handshake="head",
        ),
        "the app's secret; set WEBSPOOL_PUBLIC_URL",
    ),
    Sender(
        "okta",
        "Okta",
        Scheme(
            "secret",
            places=("header:Authorization",),
            event_id="body:eventId",
            event_type="body:data.events.0.eventType",
            handshake="okta",
        ),
        "the event hook's authentication secret",
    ),
    Sender(
        "monday",
        "monday",
        Scheme(
            "jwt-hs256",
            places=("header:Authorization",),
            event_id="body:event.triggerUuid",
            event_type="body:event.type",
            handshake="monday",
        ),
        "the app's signing secret",
        "SDK PyJWT for the token",
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
        ),
        "the webhook's HMAC key",
        "vector of the SDK's tests; SDK Adyen",
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
        ),
        "the webhook's key",
    ),
    Sender(
        "aws-sns",
        "Amazon SNS",
        replace(SNS, or_else=(replace(SNS, algorithm="rsa-sha256"),)),
        "the topic's ARN",
    ),
    Sender(
        "cloudevents",
        "CloudEvents",
        Scheme(
            "secret",
            prefix="Bearer ",
            places=("header:Authorization",),
            event_id=("header:ce-source|body:source", "header:ce-id|body:id"),
            event_type="header:ce-type|body:type",
            handshake="cloudevents",
            or_else=(Scheme("secret", places=("query:access_token",)),),
        ),
        "the access token; tokens= are the origins allowed",
    ),
)

PRESETS: Mapping[str, Scheme] = {sender.name: sender.scheme for sender in SENDERS}


def scheme_of(given: object) -> Scheme | None:
    """The scheme that `given` is or names: a preset, or "generic:HASH:ENCODING:PREFIX" in the header X-Signature."""
    if isinstance(given, Scheme):
        return given
    if not isinstance(given, str):
        return None
    return PRESETS.get(given) or _generic(given)


def _generic(name: str) -> Scheme | None:
    match name.split(":", 3):
        case ["generic", algorithm, encoding, prefix] if algorithm.startswith("sha"):
            scheme = Scheme(algorithm, encoding, prefix)
            return None if scheme.faults() else scheme
    return None
