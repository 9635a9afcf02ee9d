"""The senders' own libraries as oracles: what they sign we believe, what we sign they believe.

They are no dependency of the tests: install `.[oracles]` to run them. `python -m tests.oracles` writes what they sign
and what they believed to tests/data/oracle_vectors.json, from which the suite proves the same without them.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, unquote

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from werkzeug.datastructures import MultiDict

from tests.sender_keys import CERTIFICATES, RSA_KEY, keys_of, signed
from webspool.records import WebhookRequest

VECTORS = Path(__file__).parent / "data" / "oracle_vectors.json"
URL = "https://hooks.test/hooks/sender?a=1&b=%2F"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Oracle:
    """One sender's library: `signs` gives the headers it would send, `believes` is its own verification."""

    preset: str
    package: str
    module: str
    believes: Callable[[Any, WebhookRequest, str], bool]
    signs: Callable[[Any, WebhookRequest, str, int], dict[str, str]] | None = None
    body: bytes = b'{"id":"evt_1","type":"thing.made","data":{"name":"d\xc3\xa9j\xc3\xa0 vu \xeb\xb9\x84\xeb\xb0\x80"}}'
    content_type: str = "application/json"
    url: str = URL

    @property
    def name(self) -> str:
        return f"{self.preset}-{self.package}" + ("-form" if self.content_type == FORM else "")

    @property
    def secret(self) -> str:
        """What the library and the source are given."""
        return keys_of(self.preset).checking

    def library(self) -> Any:
        """The library's module. Raises ImportError."""
        return importlib.import_module(self.module)

    def request(self, headers: dict[str, str] | None = None) -> WebhookRequest:
        return WebhookRequest("POST", self.url, {"Content-Type": self.content_type} | (headers or {}), self.body)

    def theirs(self, now: int) -> WebhookRequest | None:
        """A request as the library signs it, where it can."""
        return (
            None if self.signs is None else self.request(self.signs(self.library(), self.request(), self.secret, now))
        )

    def ours(self, now: int) -> WebhookRequest:
        """A request as we sign it."""
        return signed(self.preset, self.request(), now)

    def judges(self, request: WebhookRequest) -> bool:
        """Whether the library believes a request; what it raises is a no."""
        try:
            return bool(self.believes(self.library(), request, self.secret))
        except Exception:
            return False


def text(request: WebhookRequest) -> str:
    return request.body.decode()


def header(request: WebhookRequest, name: str) -> str:
    return request.headers.get(name, "")


def plain_headers(request: WebhookRequest) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.pairs}  # type: ignore[attr-defined]


def fields(request: WebhookRequest) -> MultiDict[str, str]:
    return MultiDict(parse_qsl(text(request), keep_blank_values=True))


def raising(check: Callable[..., Any], *arguments: Any, **named: Any) -> bool:
    check(*arguments, **named)
    return True


def stripe_signs(stripe: Any, request: WebhookRequest, secret: str, now: int) -> dict[str, str]:
    made = stripe.WebhookSignature._compute_signature(f"{now}.{text(request)}", secret)
    return {"Stripe-Signature": f"t={now},v0=00,v1={made}"}


def slack_signs(slack: Any, request: WebhookRequest, secret: str, now: int) -> dict[str, str]:
    made = slack.SignatureVerifier(secret).generate_signature(timestamp=str(now), body=text(request))
    return {"X-Slack-Request-Timestamp": str(now), "X-Slack-Signature": made}


def standard_signs(
    standard: Any, request: WebhookRequest, secret: str, now: int, name: str = "webhook"
) -> dict[str, str]:
    made = standard.Webhook(secret).sign("msg_1", datetime.fromtimestamp(now, UTC), text(request))
    return {f"{name}-id": "msg_1", f"{name}-timestamp": str(now), f"{name}-signature": f"v1,AAAA {made}"}


def svix_signs(svix: Any, request: WebhookRequest, secret: str, now: int) -> dict[str, str]:
    return standard_signs(svix, request, secret, now, "svix")


def standard_believes(standard: Any, request: WebhookRequest, secret: str) -> bool:
    return raising(standard.Webhook(secret).verify, text(request), plain_headers(request))


def portone_believes(portone: Any, request: WebhookRequest, secret: str) -> bool:
    return raising(portone.verify, secret, text(request), plain_headers(request))


def twilio_signs(twilio: Any, request: WebhookRequest, secret: str, _now: int) -> dict[str, str]:
    params = fields(request) if header(request, "Content-Type") == FORM else {}
    return {"X-Twilio-Signature": twilio.RequestValidator(secret).compute_signature(request.url, params)}


def twilio_believes(twilio: Any, request: WebhookRequest, secret: str) -> bool:
    params: Any = fields(request) if header(request, "Content-Type") == FORM else text(request)
    made = twilio.RequestValidator(secret).validate(request.url, params, header(request, "X-Twilio-Signature"))
    return bool(made)


def square_believes(square: Any, request: WebhookRequest, secret: str) -> bool:
    return bool(
        square.verify_signature(
            request_body=text(request),
            signature_header=header(request, "x-square-hmacsha256-signature"),
            signature_key=secret,
            notification_url=request.url,
        )
    )


def line_believes(line: Any, request: WebhookRequest, secret: str) -> bool:
    return bool(line.SignatureValidator(secret).validate(text(request), header(request, "x-line-signature")))


def sendgrid_believes(sendgrid: Any, request: WebhookRequest, secret: str) -> bool:
    bare = "".join(line for line in secret.splitlines() if "-----" not in line)
    name = "X-Twilio-Email-Event-Webhook-"
    given = header(request, f"{name}Signature"), header(request, f"{name}Timestamp")
    return bool(sendgrid.EventWebhook(bare).verify_signature(text(request), *given))


def hubspot_signs(version_: str) -> Callable[[Any, WebhookRequest, str, int], dict[str, str]]:
    def signs(hubspot: Any, request: WebhookRequest, secret: str, now: int) -> dict[str, str]:
        url = unquote(request.url) if version_ == "v3" else request.url
        made = hubspot.Signature.get_signature(secret, text(request), version_, url, "POST", str(now * 1000))
        if version_ != "v3":
            return {"X-HubSpot-Signature": made}
        return {"X-HubSpot-Signature-v3": made, "X-HubSpot-Request-Timestamp": str(now * 1000)}

    return signs


def hubspot_believes(version_: str) -> Callable[[Any, WebhookRequest, str], bool]:
    def believes(hubspot: Any, request: WebhookRequest, secret: str) -> bool:
        url = unquote(request.url) if version_ == "v3" else request.url
        given = header(request, "X-HubSpot-Signature-v3") or header(request, "X-HubSpot-Signature")
        moment = header(request, "X-HubSpot-Request-Timestamp") or None
        return bool(hubspot.Signature.is_valid(given, secret, text(request), url, "POST", version_, moment))

    return believes


def adyen_item(request: WebhookRequest) -> Any:
    return json.loads(request.body)["notificationItems"][0]["NotificationRequestItem"]


def adyen_believes(adyen: Any, request: WebhookRequest, secret: str) -> bool:
    return bool(adyen.is_valid_hmac_notification(adyen_item(request), secret))


def paddle_believes(paddle: Any, request: WebhookRequest, secret: str) -> bool:
    given = SimpleNamespace(headers={"Paddle-Signature": header(request, "Paddle-Signature")}, body=request.body)
    return bool(paddle.Verifier().verify(given, paddle.Secret(secret)))


def discord_believes(discord: Any, request: WebhookRequest, secret: str) -> bool:
    given = header(request, "X-Signature-Ed25519"), header(request, "X-Signature-Timestamp")
    return bool(discord.verify_key(request.body, *given, secret))


def telnyx_believes(telnyx: Any, request: WebhookRequest, secret: str) -> bool:
    return raising(telnyx.verify_webhook_signature, text(request), plain_headers(request), secret)


def gocardless_believes(gocardless: Any, request: WebhookRequest, secret: str) -> bool:
    return raising(gocardless.parse, text(request), secret, header(request, "Webhook-Signature"))


def paypal_signs(paypal: Any, request: WebhookRequest, secret: str, now: int) -> dict[str, str]:
    """The library only verifies; the text it expects to be signed is signed here with our key."""
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    expected = paypal.WebhookEvent._get_expected_sig("t-1", moment, secret, text(request))
    return paypal_headers(moment, expected)


def paypal_headers(moment: str, expected: str) -> dict[str, str]:
    made = base64.b64encode(RSA_KEY.sign(expected.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()
    names = {"ID": "t-1", "TIME": moment, "SIG": made}
    sent = {f"PAYPAL-TRANSMISSION-{name}": value for name, value in names.items()}
    return sent | {"PAYPAL-CERT-URL": CERTIFICATES["paypal"]}


def paypal_believes(paypal: Any, request: WebhookRequest, secret: str) -> bool:
    given = [header(request, f"PAYPAL-TRANSMISSION-{name}") for name in ("ID", "TIME", "SIG")]
    expected = paypal.WebhookEvent._get_expected_sig(given[0], given[1], secret, text(request))
    made = base64.b64decode(given[2])
    RSA_KEY.public_key().verify(made, expected.encode(), padding.PKCS1v15(), hashes.SHA256())
    return True


def jwt_signs(jwt: Any, _request: WebhookRequest, secret: str, now: int) -> dict[str, str]:
    return {"Authorization": jwt.encode({"iat": now, "exp": now + 300}, secret, algorithm="HS256")}


def jwt_believes(jwt: Any, request: WebhookRequest, secret: str) -> bool:
    return raising(jwt.decode, header(request, "Authorization"), secret, algorithms=["HS256"])


def meta_believes(pywa: Any, request: WebhookRequest, secret: str) -> bool:
    return bool(pywa.webhook_updates_validator(secret, request.body, header(request, "X-Hub-Signature-256")))


def websub_signs(websub: Any, request: WebhookRequest, secret: str, _now: int) -> dict[str, str]:
    return {"X-Hub-Signature": "sha512=" + websub.calculate_hmac("sha512", secret, request.body)}


def websub_believes(websub: Any, request: WebhookRequest, secret: str) -> bool:
    algorithm, _, given = header(request, "X-Hub-Signature").partition("=")
    return bool(websub.calculate_hmac(algorithm, secret, request.body) == given)


def elevenlabs_believes(elevenlabs: Any, request: WebhookRequest, secret: str) -> bool:
    client = elevenlabs.WebhooksClient(client_wrapper=None)
    return raising(client.construct_event, text(request), header(request, "ElevenLabs-Signature"), secret)


def razorpay_believes(razorpay: Any, request: WebhookRequest, secret: str) -> bool:
    utility = razorpay.Utility(None)
    return bool(utility.verify_webhook_signature(text(request), header(request, "X-Razorpay-Signature"), secret))


def coinbase_believes(coinbase: Any, request: WebhookRequest, secret: str) -> bool:
    given = header(request, "X-CC-Webhook-Signature")
    return bool(coinbase.WebhookSignature.verify_sig_header(text(request), given, secret))


def pusher_believes(pusher: Any, request: WebhookRequest, secret: str) -> bool:
    client = pusher.Pusher(app_id="1", key="key", secret=secret)
    return client.validate_webhook("key", header(request, "X-Pusher-Signature"), text(request)) is not None


def workos_believes(workos: Any, request: WebhookRequest, secret: str) -> bool:
    """The library wants a blank after the comma, which the sender writes."""
    given = header(request, "WorkOS-Signature").replace(", ", ",").replace(",", ", ")
    check = workos.Webhooks(None).verify_header
    return raising(check, event_body=request.body, event_signature=given, secret=secret)


ADYEN_BODY = json.dumps(
    {
        "live": "false",
        "notificationItems": [
            {
                "NotificationRequestItem": {
                    "additionalData": {},
                    "amount": {"currency": "EUR", "value": 1130},
                    "pspReference": "7914073381342284",
                    "merchantAccountCode": "TestMerchant",
                    "merchantReference": "TestPayment-1407325143704",
                    "eventCode": "AUTHORISATION",
                    "success": "true",
                }
            }
        ],
    }
).encode()
CALL = b"CallSid=CA123&Digits=1234&From=%2B14158675309&To=%2B18005551212&Empty=&To=%2B1800&Body=d%C3%A9j%C3%A0"
HUBSPOT = b'[{"eventId":1,"occurredAt":2,"subscriptionType":"contact.creation"}]'
GOCARDLESS = b'{"events":[{"id":"EV1","action":"confirmed","resource_type":"payments"}],"meta":{"webhook_id":"WB1"}}'
SENDGRID = b'[{"sg_event_id":"a","event":"open"},{"sg_event_id":"b","event":"click"}]\r\n'
PORTONE = (
    b'{"type":"Transaction.Paid","timestamp":"2023-11-14T22:13:20.000Z",'
    b'"data":{"storeId":"s","paymentId":"p","transactionId":"t"}}'
)

ORACLES = [
    Oracle(
        "stripe",
        "stripe",
        "stripe",
        lambda stripe, request, secret: raising(
            stripe.WebhookSignature.verify_header, text(request), header(request, "Stripe-Signature"), secret, 300
        ),
        stripe_signs,
    ),
    Oracle(
        "slack",
        "slack_sdk",
        "slack_sdk.signature",
        lambda slack, request, secret: slack.SignatureVerifier(secret).is_valid(
            text(request),
            header(request, "X-Slack-Request-Timestamp"),
            header(request, "X-Slack-Signature"),
        ),
        slack_signs,
    ),
    Oracle("standard-webhooks", "standardwebhooks", "standardwebhooks", standard_believes, standard_signs),
    Oracle("svix", "svix", "svix.webhooks", standard_believes, svix_signs),
    Oracle("portone", "portone-server-sdk", "portone_server_sdk.webhook", portone_believes, body=PORTONE),
    Oracle("twilio", "twilio", "twilio.request_validator", twilio_believes, twilio_signs, CALL, FORM),
    Oracle("twilio", "twilio", "twilio.request_validator", twilio_believes),
    Oracle("square", "squareup", "square.utils.webhooks_helper", square_believes),
    Oracle("line", "line-bot-sdk", "linebot.v3.webhook", line_believes),
    Oracle("sendgrid", "sendgrid", "sendgrid.helpers.eventwebhook", sendgrid_believes, body=SENDGRID),
    *(
        Oracle(
            preset,
            "hubspot-api-client",
            "hubspot.utils.signature",
            hubspot_believes(which),
            hubspot_signs(which),
            HUBSPOT,
        )
        for preset, which in (("hubspot", "v3"), ("hubspot-v2", "v2"), ("hubspot-v1", "v1"))
    ),
    Oracle("adyen", "Adyen", "Adyen.util", adyen_believes, body=ADYEN_BODY),
    Oracle("paddle", "paddle-python-sdk", "paddle_billing.Notifications", paddle_believes),
    Oracle("discord", "discord-interactions", "discord_interactions", discord_believes),
    Oracle("telnyx", "telnyx", "telnyx.lib.webhook_verification", telnyx_believes),
    Oracle("gocardless", "gocardless_pro", "gocardless_pro.webhooks", gocardless_believes, body=GOCARDLESS),
    Oracle("paypal", "paypalrestsdk", "paypalrestsdk", paypal_believes, paypal_signs),
    Oracle("monday", "PyJWT", "jwt", jwt_believes, jwt_signs),
    Oracle("meta", "pywa", "pywa.utils", meta_believes),
    Oracle("websub", "flask-websub", "flask_websub.utils", websub_believes, websub_signs),
    Oracle("elevenlabs", "elevenlabs", "elevenlabs.webhooks_custom", elevenlabs_believes),
    Oracle("razorpay", "razorpay", "razorpay.utility.utility", razorpay_believes),
    Oracle("coinbase-commerce", "coinbase-commerce", "coinbase_commerce.webhook", coinbase_believes),
    Oracle("pusher", "pusher", "pusher", pusher_believes),
    Oracle("workos", "workos", "workos.webhooks._resource", workos_believes),
]


def vector(oracle: Oracle, request: WebhookRequest, now: int, how: str) -> dict[str, Any]:
    """A request that both sides believe, as it is kept."""
    source = f"{how} the PyPI package {oracle.package} {version(oracle.package)}"
    return asked(oracle.preset, request, now) | {"name": f"{oracle.name}-{how}", "source": source}


NODE_BODIES = {
    "zoom": b'{"event":"endpoint.url_validation","event_ts":1,"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}',
    "linear": b'{"action":"create","type":"Issue","data":{"title":"d\xc3\xa9j\xc3\xa0"}}',
}
NODE_PRESETS = (
    "zoom",
    "github",
    "notion",
    "linear",
    "shopify",
    "aws-sns",
    "x",
    "mailgun",
    "sentry",
    "sanity",
    "mux",
)


def node_vectors(now: int) -> list[dict[str, Any]]:
    """What the libraries of the npm folder NODE_ORACLES believe and sign; nothing without such a folder."""
    if "NODE_ORACLES" not in os.environ:
        return []
    body = '{"id":"1","type":"thing.made","name":"d\u00e9j\u00e0 vu"}'.encode()
    bare = {name: WebhookRequest("POST", URL, {}, NODE_BODIES.get(name, body)) for name in NODE_PRESETS}
    ours = [asked(name, signed(name, request, now), now) for name, request in bare.items()]
    script = Path(__file__).with_suffix(".mjs")
    run = subprocess.run(["node", script], input=json.dumps(ours).encode(), stdout=subprocess.PIPE, check=True)
    found = []
    for vector_, told in zip(ours, json.loads(run.stdout), strict=True):
        if told["believed"] is not True:
            raise SystemExit(f"{told['package']} does not believe us: {told['believed']}")
        what = {
            "name": f"{vector_['preset']}-npm-believed by",
            "source": f"believed by the npm package {told['package']}",
        }
        found.append(vector_ | what)
        if told["headers"] is not None:
            what = {
                "name": f"{vector_['preset']}-npm-signed by",
                "source": f"signed by the npm package {told['package']}",
            }
            found.append(vector_ | {"headers": told["headers"]} | what)
    return found


def asked(preset: str, request: WebhookRequest, now: int) -> dict[str, Any]:
    """A request as it is kept."""
    keys = keys_of(preset)
    return {
        "preset": preset,
        "secret": keys.checking,
        "certificates": keys.certificates,
        "method": request.method,
        "url": request.url,
        "headers": dict(request.headers.pairs),  # type: ignore[attr-defined]
        "body": text(request),
        "now": now,
        "expect": "accept",
    }


def main() -> None:
    """Write the vectors of every library that is installed; those of the others are kept."""
    kept = {each["name"]: each for each in json.loads(VECTORS.read_text())} if VECTORS.exists() else {}
    now = int(time.time())
    for oracle in ORACLES:
        try:
            theirs = oracle.theirs(now)
        except ImportError:
            print(f"{oracle.package} is not installed", file=sys.stderr)
            continue
        if theirs is not None:
            kept[f"{oracle.name}-signed by"] = vector(oracle, theirs, now, "signed by")
        if not oracle.judges(ours := oracle.ours(now)):
            raise SystemExit(f"{oracle.name} does not believe us")
        kept[f"{oracle.name}-believed by"] = vector(oracle, ours, now, "believed by")
    kept |= {each["name"]: each for each in node_vectors(now)}
    VECTORS.write_text(json.dumps(sorted(kept.values(), key=lambda each: each["name"]), indent=1) + "\n")


if __name__ == "__main__":
    main()
