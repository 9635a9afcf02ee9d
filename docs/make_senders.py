# ruff: noqa: E501 - texts
"""Writes the pages of senders that are alike: `python docs/make_senders.py`. What a person must know stands here, what
the preset says is taken from it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from webspool.signatures import PRESETS

FOLDER = Path(__file__).parent / "how-to" / "senders"
WRITTEN = "<!-- Written by docs/make_senders.py; change the text there. -->"


@dataclass(frozen=True)
class Page:
    """One sender: where to click, what to route, what to try, what to know. `{url}` is the source's address."""

    preset: str
    title: str
    secret: str
    steps: tuple[str, ...]
    event: str
    data: str
    notes: tuple[str, ...] = ()
    compared: str | None = None
    task: str = "note"
    public_url: bool = False
    send: str = ""

    @property
    def file(self) -> Path:
        return FOLDER / f"{self.preset}.md"


PAGES: tuple[Page, ...] = (
    Page(
        "bitbucket",
        "Bitbucket",
        "BITBUCKET_SECRET",
        (
            "Repository, *Repository settings*, *Webhooks*, *Add webhook*: *URL* {url}.",
            "*Secret*: a long random one, or *Generate secret*. Choose the triggers.",
            "*View requests* beside the webhook shows what was sent and answered.",
        ),
        "repo:push",
        '{"push": {"changes": []}}',
        ("Without a secret Bitbucket signs nothing, and everything is refused (`signature_missing`).",),
        task="deploy",
    ),
    Page(
        "jira",
        "Jira Cloud",
        "JIRA_SECRET",
        (
            "As an administrator: *Settings*, *System*, *WebHooks*, *Create a WebHook*: *URL* {url}.",
            "*Secret*: a long random one. Choose the events, and a JQL filter if you like.",
        ),
        "jira:issue_created",
        '{"webhookEvent": "jira:issue_created", "issue": {"key": "A-1"}}',
        ("Webhooks that an app registers are signed only if it registers them with a secret.",),
    ),
    Page(
        "gitea",
        "Gitea",
        "GITEA_SECRET",
        (
            "Repository or organization, *Settings*, *Webhooks*, *Add Webhook*, *Gitea*: *Target URL* {url}, POST, "
            "`application/json`.",
            "*Secret*: a long random one. *Test Delivery* sends one.",
        ),
        "push",
        '{"after": "a1b2"}',
        ("The action joins the type, as with GitHub: `issues.opened`, or `issues` for every action.",),
        task="deploy",
    ),
    Page(
        "forgejo",
        "Forgejo, Codeberg",
        "FORGEJO_SECRET",
        (
            "Repository or organization, *Settings*, *Webhooks*, *Add webhook*, *Forgejo*: *Target URL* {url}, POST, "
            "`application/json`.",
            "*Secret*: a long random one. *Test delivery* sends one.",
        ),
        "push",
        '{"after": "a1b2"}',
        ("The action joins the type, as with GitHub: `issues.opened`, or `issues` for every action.",),
        task="deploy",
    ),
    Page(
        "paypal",
        "PayPal",
        "PAYPAL_WEBHOOK_ID",
        (
            "developer.paypal.com, *Apps & Credentials*, your app, *Add Webhook*: {url}, and the events.",
            "What PayPal signs holds the webhook's id, which the list shows afterwards: that is the secret here.",
        ),
        "PAYMENT.CAPTURE.COMPLETED",
        '{"resource": {"id": "1"}}',
        (
            "PayPal signs with a certificate, which is fetched from PayPal's own host, once a day: this machine must "
            "reach it, else the answer is 503 (`certificate_unavailable`) and PayPal comes again.",
            "The simulator signs with the id `WEBHOOK_ID`; add a source of its own for it.",
            "Only PayPal can sign: try with its simulator. Unanswered ones come 25 times in three days.",
        ),
        send="PayPal alone can sign; `webspool send` says so.",
    ),
    Page(
        "square",
        "Square",
        "SQUARE_SIGNATURE_KEY",
        (
            "developer.squareup.com, your application, *Webhooks*, *Subscriptions*, *Add subscription*: "
            "*Notification URL* {url}.",
            "*Signature key*: *Show*. Production and sandbox have one each.",
        ),
        "payment.updated",
        '{"merchant_id": "M1"}',
        public_url=True,
    ),
    Page(
        "paddle",
        "Paddle",
        "PADDLE_SECRET",
        (
            "*Developer Tools*, *Notifications*, *New destination*: *Webhook*, {url}, and the events.",
            "*Edit destination* shows the *Secret key*.",
        ),
        "transaction.completed",
        '{"data": {"id": "txn_1"}}',
        ("Paddle's own libraries allow five seconds only, so the clock must be right (`timestamp_outside_window`).",),
        task="book",
    ),
    Page(
        "adyen",
        "Adyen",
        "ADYEN_HMAC_KEY",
        (
            "Customer Area, *Developers*, *Webhooks*, *Create new webhook*, *Standard webhook*: {url}, JSON.",
            "*Security*, *HMAC key*, *Generate*: hexadecimal, shown once.",
        ),
        "AUTHORISATION",
        '{"notificationItems": [{"NotificationRequestItem": {"pspReference": "1", "eventCode": "AUTHORISATION"}}]}',
        (
            "Every item of a webhook is proven on its own; one that is not refuses them all.",
            "Of a payment Adyen signs reference, account, amount, event and success, nothing else.",
        ),
        task="book",
    ),
    Page(
        "portone",
        "PortOne V2",
        "PORTONE_SECRET",
        (
            "관리자 콘솔, *연동 관리*, *웹훅*: {url}.",
            "*웹훅 시크릿* `whsec_...`.",
        ),
        "Transaction.Paid",
        '{"data": {"paymentId": "p1"}}',
        (
            "The body names the payment; ask PortOne for it in the task before anything is shipped.",
            "PortOne signs as Standard Webhooks say; an answer is wanted within ten seconds.",
        ),
        task="book",
    ),
    Page(
        "linear",
        "Linear",
        "LINEAR_SECRET",
        (
            "*Settings*, *API*, *Webhooks*, *New webhook*: *URL* {url}, and what to hear of.",
            "The webhook's page shows the *Signing secret*.",
        ),
        "Issue.create",
        '{"type": "Issue", "data": {"title": "A"}}',
        (
            "The type is what it is about and the action: `Issue.create`; `Issue` in `on=` takes every action.",
            "Linear takes 200 alone for a success, and gets it.",
        ),
    ),
    Page(
        "notion",
        "Notion",
        "NOTION_TOKEN",
        (
            "Begin without a secret: `secrets=[]`. notion.so/my-integrations, your integration, *Webhooks*, "
            "*Create a subscription*: {url}. Notion sends a verification token at once.",
            "`webspool captured notion` shows it. Anybody could have sent one, so compare the time.",
            "Enter it at Notion (*Verify*), and in `.env` here; then start the instance anew.",
        ),
        "page.content_updated",
        '{"entity": {"id": "1", "type": "page"}}',
        ("Until the secret is set, everything but the first request is refused.",),
    ),
    Page(
        "zoom",
        "Zoom",
        "ZOOM_SECRET_TOKEN",
        (
            "marketplace.zoom.us, your app, *Feature*, *Event Subscriptions*: the app's *Secret Token* into `.env` first.",
            "Start webspool, then *Event notification endpoint URL*: {url}, *Validate*: answered by itself, again every "
            "72 hours.",
        ),
        "meeting.ended",
        '{"payload": {"object": {"id": "1"}}}',
        ("Zoom names no event: the same body signed at the same time is a copy.", "An answer is wanted within 3 s."),
    ),
    Page(
        "microsoft-graph",
        "Microsoft Graph, SharePoint",
        "GRAPH_CLIENT_STATE",
        (
            "Start webspool first: Graph asks at once (`validationToken`), which is answered by itself.",
            "Create the subscription: POST /subscriptions with `notificationUrl` {url} and `clientState`, a long random "
            "text, which is the secret here.",
        ),
        "updated",
        '{"value": [{"changeType": "updated", "resource": "me/messages/1"}]}',
        (
            "Graph signs nothing: `clientState` is sent with every item, so only https keeps it secret. Every item must "
            "hold it.",
            "Subscriptions end after days: renew them (`lifecycleNotificationUrl` may be the same address).",
        ),
    ),
    Page(
        "sendgrid",
        "SendGrid",
        "SENDGRID_PUBLIC_KEY",
        (
            "*Settings*, *Mail Settings*, *Event Webhooks*, *Create new webhook*: *Post URL* {url}, and the events.",
            "*Security features*, *Enable signed event webhook*: the *verification key* (a public key).",
        ),
        "bounce",
        "[{}]",
        (
            "A webhook holds many events; the type is the first one's, the task looks at all of `delivery.json`.",
            "The key is public: nobody but SendGrid can sign, so `webspool send` wants a key pair of your own.",
        ),
        send="The source holds a public key; with a pair of your own: `webspool send sendgrid --secret file:private.pem --data '[{}]'`.",
    ),
    Page(
        "mailgun",
        "Mailgun",
        "MAILGUN_SIGNING_KEY",
        (
            "*Sending*, *Webhooks*, *Add webhook*: the event and {url}.",
            "*Webhook signing key* on the same page.",
        ),
        "delivered",
        '{"event-data": {"event": "delivered"}}',
        (
            "Mailgun signs a time and a token only, not the body: each token is taken once, and is the event's id.",
            "The fields of older webhooks and of routes (`timestamp`, `token`, `signature` in a form) are taken too.",
        ),
    ),
    Page(
        "typeform",
        "Typeform",
        "TYPEFORM_SECRET",
        (
            "The form, *Connect*, *Webhooks*, *Add a webhook*: {url}.",
            "*Edit*, *Secret*: a long random one. *View deliveries*, *Send test request*.",
        ),
        "form_response",
        '{"form_response": {"answers": []}}',
        ("An answer of 404 or 410 switches the webhook off at Typeform.",),
    ),
    Page(
        "calendly",
        "Calendly",
        "CALENDLY_SIGNING_KEY",
        (
            "Choose a signing key, a long random text.",
            "POST https://api.calendly.com/webhook_subscriptions with `url` {url}, the `events`, and `signing_key`.",
        ),
        "invitee.created",
        '{"payload": {"email": "a@example.org"}}',
        ("A webhook is refused when it was signed over three minutes ago.",),
    ),
    Page(
        "hubspot",
        "HubSpot",
        "HUBSPOT_CLIENT_SECRET",
        (
            "Your app, *Auth*: *Client secret*.",
            "*Webhooks*: *Target URL* {url}; create the subscriptions.",
        ),
        "contact.creation",
        '[{"eventId": 1, "occurredAt": 2}]',
        (
            "This is version 3 of the signature. Older apps send versions 1 and 2: `hubspot-v1`, `hubspot-v2`.",
            "A webhook holds up to 100 events; the type is the first one's.",
        ),
        public_url=True,
    ),
    Page(
        "dropbox",
        "Dropbox",
        "DROPBOX_APP_SECRET",
        (
            "www.dropbox.com/developers/apps, your app, *Settings*: *App secret*.",
            "Start webspool, then *Webhooks*, *Webhook URIs*: {url}, *Add*: asked by GET and answered by itself.",
        ),
        "*",
        '{"list_folder": {"accounts": ["1"]}}',
        ("The body says only whose files changed: the task asks Dropbox what (`/files/list_folder/continue`).",),
    ),
    Page(
        "strava",
        "Strava",
        "STRAVA_KEY",
        (
            "Strava signs nothing: the key in the address is all there is. Choose a long random one, and a verify token.",
            "Start webspool, then POST https://www.strava.com/api/v3/push_subscriptions with `callback_url` {url} and "
            "`verify_token`: asked by GET and answered by itself.",
        ),
        "activity.create",
        '{"object_id": 1, "event_time": 2}',
        ("The body names the activity: ask Strava for it in the task.", "An answer is wanted within 2 s."),
        compared="STRAVA_VERIFY_TOKEN",
    ),
    Page(
        "sentry",
        "Sentry",
        "SENTRY_CLIENT_SECRET",
        (
            "*Settings*, *Custom Integrations* (Developer Settings), *Create New Integration*, *Internal*: *Webhook URL* "
            "{url}, and what to hear of.",
            "The integration's *Client Secret*.",
        ),
        "issue.created",
        '{"data": {"issue": {"id": "1"}}}',
        ("The type is the resource and the action: `issue.created`; `issue` in `on=` takes every action.",),
    ),
    Page(
        "intercom",
        "Intercom",
        "INTERCOM_CLIENT_SECRET",
        (
            "Developer Hub, your app, *Basic information*: *Client secret*.",
            "Start webspool, then *Webhooks*: *Endpoint URL* {url}, and the topics. Intercom looks with HEAD first.",
        ),
        "conversation.user.created",
        '{"data": {"item": {"id": "1"}}}',
    ),
    Page(
        "asana",
        "Asana",
        "ASANA_HOOK_SECRET",
        (
            "Begin without a secret: `secrets=[]`. POST https://app.asana.com/api/1.0/webhooks with `resource` and "
            "`target` {url}: Asana sends a secret at once (`X-Hook-Secret`), which is echoed by itself.",
            "`webspool captured asana` shows it. Anybody could have sent one, so compare the time.",
            "Put it into `.env` and into `secrets=`, and start the instance anew. Every webhook has a secret of its own: "
            "list them all.",
        ),
        "task.added",
        '{"events": [{"action": "added", "resource": {"resource_type": "task"}}]}',
        ("Asana also sends a heartbeat without events every eight hours, which is accepted.",),
    ),
    Page(
        "trello",
        "Trello",
        "TRELLO_SECRET",
        (
            "trello.com/power-ups/admin, your Power-Up, *API key*: the *Secret* beside the key.",
            "Start webspool, then POST https://api.trello.com/1/webhooks with `callbackURL` {url} and `idModel`: Trello "
            "looks with HEAD first.",
        ),
        "updateCard",
        '{"action": {"id": "1"}}',
        ("The address is signed as you registered it, to the letter: no `/` more or less at its end.",),
        public_url=True,
    ),
    Page(
        "okta",
        "Okta",
        "OKTA_HOOK_SECRET",
        (
            "*Workflow*, *Event Hooks*, *Create Event Hook*: *URL* {url}.",
            "*Authentication field* `Authorization`, *Authentication secret*: a long random one. Choose the events.",
            "Start webspool, then *Verify*: asked by GET and answered by itself.",
        ),
        "user.lifecycle.create",
        '{"eventId": "1"}',
        ("The secret is sent with every webhook, so only https keeps it secret; it is masked in what is stored.",),
    ),
    Page(
        "monday",
        "monday",
        "MONDAY_SIGNING_SECRET",
        (
            "*Developer Center*, your app, *General settings*: *Signing Secret*.",
            "Start webspool, then *Webhooks* (or an integration recipe): {url}. monday sends a challenge, which is echoed "
            "by itself.",
        ),
        "create_item",
        '{"event": {"pulseId": 1}}',
        (
            "Proven is a token in the header, not the body. Webhooks that a board's user adds carry no token: give them "
            'an address with a key, `verify="key"`.',
        ),
    ),
    Page(
        "xero",
        "Xero",
        "XERO_WEBHOOK_KEY",
        (
            "developer.xero.com, your app, *Webhooks*: *Delivery URL* {url}; the *Webhooks key* into `.env` first.",
            "Start webspool, then *Send intent to receive*: Xero sends good and bad signatures, which get 200 and 401.",
        ),
        "UPDATE",
        '{"events": [{"eventType": "UPDATE", "resourceId": "1"}]}',
        ("Xero takes 200 alone for a success, and gets it. The body names what changed: ask Xero for it in the task.",),
    ),
    Page(
        "x",
        "X",
        "X_CONSUMER_SECRET",
        (
            "developer.x.com, your app, *Keys and tokens*: *API Key Secret* (consumer secret) into `.env` first.",
            "Start webspool, then register {url} with the webhooks API: X asks by GET (`crc_token`), every hour again, "
            "which is answered by itself.",
        ),
        "*",
        '{"for_user_id": "1", "tweet_create_events": []}',
        ("X names no event: two equal webhooks are two deliveries.",),
    ),
    Page(
        "websub",
        "WebSub",
        "WEBSUB_SECRET",
        (
            "Choose a secret, a long random one.",
            "Start webspool, then ask the hub for a subscription: `hub.callback` {url}, `hub.topic`, `hub.secret`. The "
            "hub asks by GET, which is answered by itself, for the topics that `tokens=` names.",
        ),
        "*",
        "<feed/>",
        ("A topic that is not named in `tokens=` is not confirmed; without `tokens=` every topic is.",),
        compared="WEBSUB_TOPIC",
        send="webspool send websub --content-type application/atom+xml --data '<feed/>'",
    ),
    Page(
        "cloudevents",
        "CloudEvents, Azure Event Grid",
        "CLOUDEVENTS_TOKEN",
        (
            "Choose an access token, a long random one.",
            "Start webspool, then name {url} to the sender, with the token as `Authorization: Bearer ...` or "
            "`?access_token=...`. It asks by OPTIONS (`WebHook-Request-Origin`), which is answered by itself, for the "
            "origins that `tokens=` names.",
        ),
        "com.example.made",
        '{"id": "1", "source": "/a", "specversion": "1.0", "data": {}}',
        ("Binary and structured events are read alike: `delivery.data` is the event's data.",),
        compared="CLOUDEVENTS_ORIGIN",
    ),
    Page(
        "key",
        "Zapier, Kakao, Naver, and whoever can only be given an address",
        "HOOK_KEY",
        (
            "Choose a key, a long random text; it stands in the address.",
            "Zapier: *Webhooks by Zapier*, *POST*, *URL* {url}, *Payload Type* json. Kakao, Naver and others: the same "
            "address where they ask for one.",
        ),
        "*",
        '{"name": "value"}',
        (
            "Nothing is signed: the address is the secret, so use https, and change the key when it got around. It is "
            "masked in what webspool stores, but ends in the logs of every proxy on the way.",
            'No event is named: two equal webhooks are two deliveries, unless `duplicates="body"` says otherwise.',
            "Where the sender has fixed addresses, `allow=` takes them.",
        ),
    ),
    Page(
        "elevenlabs",
        "ElevenLabs",
        "ELEVENLABS_SECRET",
        (
            "*Settings*, *Webhooks*, *Create*: {url}, *HMAC*.",
            "The secret is shown once.",
        ),
        "post_call_transcription",
        '{"data": {"conversation_id": "1"}}',
    ),
    Page(
        "razorpay",
        "Razorpay",
        "RAZORPAY_SECRET",
        (
            "*Account & Settings*, *Webhooks*, *Add new webhook*: *Webhook URL* {url}, and the events.",
            "*Secret*: a long random one of your own.",
        ),
        "payment.captured",
        '{"payload": {}}',
        task="book",
    ),
)


def text(page: Page) -> str:
    """The whole page."""
    return "\n".join([f"# {page.title}", "", WRITTEN, "", *sections(page)]) + "\n"


def sections(page: Page) -> Iterator[str]:
    """Its parts, line by line."""
    yield from ("## At the sender", "")
    for number, step in enumerate(page.steps, 1):
        yield wrapped(f"{number}. {step.replace('{url}', f'`{address(page)}`')}", 3)
    if page.public_url:
        yield f"{len(page.steps) + 1}. Tell webspool the address that the sender signs: `WEBSPOOL_PUBLIC_URL=https://your.host`."
    yield from ("", "## In `app.py`", "", "```python", *program(page), "```", "", "`.env`:", "", "```ini")
    yield f"{page.secret}=..."
    if page.compared:
        yield f"{page.compared}=..."
    if page.public_url:
        yield "WEBSPOOL_PUBLIC_URL=https://your.host"
    yield from ("```", "", "## Try it", "", *trial(page), "", "## Good to know", "")
    yield from (wrapped(f"- {note}", 2) for note in (*page.notes, *known(page)))


def wrapped(line: str, indent: int) -> str:
    """A list's item in lines that are not too long."""
    return textwrap.fill(line, 150, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def address(page: Page) -> str:
    """Where the sender sends to."""
    return f"https://your.host/hooks/{name(page)}" + (f"/${page.secret}" if keyed(page) else "")


def name(page: Page) -> str:
    """The source's name."""
    return "zapier" if page.preset == "key" else page.preset


def keyed(page: Page) -> bool:
    """Whether the secret stands in the address."""
    return PRESETS[page.preset].reads_path


def program(page: Page) -> Iterator[str]:
    """The lines of app.py."""
    yield from ("from flask import Flask", "from webspool import Source, Webspool", "", "import tasks", "")
    yield from (
        "app = Flask(__name__)",
        "hooks = Webspool(app)",
        "hooks.add(",
        "    Source(",
        f'        "{name(page)}",',
    )
    yield f'        verify="{page.preset}",'
    if keyed(page):
        yield f'        path="/hooks/{name(page)}/<key>",'
    yield f'        secrets=["env:{page.secret}"],'
    if page.compared:
        yield f'        tokens=["env:{page.compared}"],'
    yield f'        on={{"{page.event}": tasks.{page.task}}},'
    yield from ("    )", ")")


def trial(page: Page) -> Iterator[str]:
    """How to send one."""
    if page.send and not page.send.startswith("webspool"):
        yield page.send
        return
    event = "" if page.event == "*" else f" --event '{page.event}'"
    yield from ("```sh", page.send or f"webspool send {name(page)}{event} --data '{page.data}'", "```")


def known(page: Page) -> Iterator[str]:
    """What the preset says: the event's names, and the window."""
    scheme = PRESETS[page.preset]
    if scheme.time and scheme.tolerance:
        yield f"The time of signing may be {scheme.tolerance:g} s off: keep the clock right."
    names = [each for each in ([scheme.event_id] if isinstance(scheme.event_id, str) else scheme.event_id or [])]
    if names:
        written = " and ".join(f"`{each.partition('|')[0]}`" for each in names)
        yield f"Copies of an event are known by {written}."
    yield "All about the proof: [signatures](../../reference/signatures.md). What was refused, and why: `webspool explain`."


def main() -> None:
    """Write every page."""
    for page in PAGES:
        page.file.write_text(text(page))


if __name__ == "__main__":
    main()
