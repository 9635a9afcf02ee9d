"""The senders that most people have, and the schemes that need no sender: one row each.

A row is data; to add yours, copy one, or hand a `Scheme` to a source.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from webspool.signatures.scheme import Scheme

KEY_PLACES = ("path", "query:key", "query:token")
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
WHATSAPP = "body:entry.*.changes.*.value"
ATLASSIAN = Scheme("sha256", "hex", "sha256=", ("header:X-Hub-Signature",))


@dataclass(frozen=True)
class Sender:
    """A row: who sends, by which scheme, what its secret is, and how the row was proven to be what the sender does.

    `aliases` are further names of the preset; "-" between words may always be "_" or missing.
    """

    name: str
    title: str
    scheme: Scheme
    secret: str
    proven: str
    aliases: tuple[str, ...] = ()


FIRST: tuple[Sender, ...] = (
    Sender(
        "none",
        "anybody",
        Scheme("none", places=()),
        "none",
        "nothing is asked",
        ("unsigned",),
    ),
    Sender(
        "key",
        "a key in the address",
        Scheme("secret", places=KEY_PLACES),
        "the key",
        "compared as it is",
        ("token", "url-token", "url-key", "url-secret", "zapier", "kakao", "naver", "mollie"),
    ),
    Sender(
        "bearer",
        "a bearer token",
        Scheme("secret", prefix="Bearer ", places=("header:Authorization",)),
        "the token",
        "vector of RFC 6750",
        ("bearer-token",),
    ),
    Sender(
        "github",
        "GitHub",
        Scheme(
            "sha256",
            prefix="sha256=",
            places=("header:X-Hub-Signature-256",),
            event_id="header:X-GitHub-Delivery",
            event_type=("header:X-GitHub-Event", "body:action"),
        ),
        "the webhook's secret",
        "vector of GitHub's documentation; SDK @octokit/webhooks-methods, both ways",
        ("github-enterprise", "github-app"),
    ),
    Sender(
        "basic",
        "HTTP basic authentication",
        Scheme("basic", prefix="Basic ", places=("header:Authorization",)),
        "user:password",
        "vector of RFC 7617",
        ("basic-auth", "http-basic"),
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
        "SDK stripe, both ways",
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
        "vector of Slack's documentation; SDK slack_sdk, both ways",
        ("slack-events",),
    ),
    Sender(
        "standard-webhooks",
        "Standard Webhooks",
        STANDARD_WEBHOOKS,
        "whsec_..., or whpk_... for v1a",
        "vectors of the specification's libraries; SDK standardwebhooks, both ways",
        ("standard", "openai", "replicate", "lithic", "gemini", "supabase"),
    ),
    Sender(
        "svix",
        "Svix",
        replace(SVIX, or_else=(replace(SVIX, algorithm="ed25519", prefix="v1a,", key="whpk"),)),
        "the endpoint's whsec_..., or whpk_...",
        "SDK svix, both ways",
        ("clerk", "resend"),
    ),
    Sender(
        "portone",
        "PortOne V2",
        STANDARD_WEBHOOKS,
        "the webhook's whsec_...",
        "SDK portone-server-sdk",
        ("portone-v2",),
    ),
    Sender(
        "toss",
        "Toss Payments",
        Scheme(
            "secret",
            places=KEY_PLACES,
            event_id="header:tosspayments-webhook-transmission-id",
            event_type="body:eventType",
            or_else=(
                Scheme(
                    "sha256",
                    "base64",
                    "v1:",
                    ("header:tosspayments-webhook-signature",),
                    signed="{body}:{header:tosspayments-webhook-transmission-time}",
                    separator=",",
                ),
            ),
        ),
        "a key of your own in the address; payments are unsigned, so fetch the payment in the task",
        "compared as it is",
        ("toss-payments",),
    ),
    Sender(
        "gitlab",
        "GitLab",
        Scheme(
            "secret",
            places=("header:X-Gitlab-Token",),
            event_id="header:Idempotency-Key|header:webhook-id|header:X-Gitlab-Event-UUID",
            event_type=("header:X-Gitlab-Event", "body:object_attributes.action|body:action"),
            or_else=(replace(STANDARD, event_id=None, event_type=None),),
        ),
        "the secret token, or the signing token whsec_...",
        "vector of Standard Webhooks, which signing tokens follow; the older token is compared",
        ("gitlab-token", "gitlab-signing", "gitlab-signing-token"),
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
        "SDK @shopify/shopify-api",
        ("shopify-app",),
    ),
    Sender(
        "telegram",
        "Telegram",
        Scheme(
            "secret",
            places=("header:X-Telegram-Bot-Api-Secret-Token",),
            event_id="body:update_id",
            event_type="other:update_id",
        ),
        "the secret_token given to setWebhook",
        "compared as it is",
        ("telegram-bot",),
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
            accepted_status=204,
        ),
        "the application's public key",
        "SDK discord-interactions",
        ("discord-interactions",),
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
            accepted_status=200,
        ),
        "the channel's secret",
        "vector of LINE's own check; SDK line-bot-sdk",
        ("line-messaging",),
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
        "vector of the SDK's tests; SDK twilio, both ways",
        ("twilio-form", "twilio-json"),
    ),
    Sender(
        "bitbucket",
        "Bitbucket",
        replace(ATLASSIAN, event_id="header:X-Request-UUID|header:X-Request-Id", event_type="header:X-Event-Key"),
        "the webhook's secret",
        "vector of Atlassian's documentation",
        ("bitbucket-cloud", "bitbucket-server"),
    ),
    Sender(
        "jira",
        "Jira Cloud",
        replace(ATLASSIAN, event_id="header:X-Atlassian-Webhook-Identifier", event_type="body:webhookEvent"),
        "the webhook's secret",
        "vector of Atlassian's documentation",
        ("jira-cloud", "atlassian"),
    ),
    Sender(
        "gitea",
        "Gitea",
        Scheme(
            places=("header:X-Gitea-Signature|header:X-Gogs-Signature",),
            event_id="header:X-Gitea-Delivery|header:X-Gogs-Delivery",
            event_type=("header:X-Gitea-Event|header:X-Gogs-Event", "body:action"),
        ),
        "the webhook's secret",
        "documentation only",
        ("gogs",),
    ),
    Sender(
        "forgejo",
        "Forgejo",
        Scheme(
            places=("header:X-Forgejo-Signature|header:X-Gitea-Signature",),
            event_id="header:X-Forgejo-Delivery|header:X-Gitea-Delivery",
            event_type=("header:X-Forgejo-Event|header:X-Gitea-Event", "body:action"),
        ),
        "the webhook's secret",
        "documentation only",
        ("codeberg",),
    ),
    Sender(
        "meta",
        "Meta, WhatsApp",
        Scheme(
            "sha256",
            "hex",
            "sha256=",
            ("header:X-Hub-Signature-256",),
            event_id=(
                f"{WHATSAPP}.messages.*.id|{WHATSAPP}.statuses.*.id",
                f"{WHATSAPP}.statuses.*.status|body:object",
            ),
            event_type=("body:object", "body:entry.0.changes.0.field"),
            handshake="meta",
            accepted_status=200,
        ),
        "the app secret; tokens= is the verify token",
        "library pywa",
        ("whatsapp", "facebook", "messenger", "instagram", "threads"),
    ),
)
