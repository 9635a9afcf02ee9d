"""`webspool explain`: why a webhook was believed or refused, as this code and today's secrets see it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import click

from webspool.captured import CapturedSecrets
from webspool.cli import printing
from webspool.cli.chosen import chosen_config
from webspool.cli.filters import as_json, expect
from webspool.cli.printing import moment
from webspool.config import Config
from webspool.ledger import reading
from webspool.loading import load_app, stand_in_for_uwsgi
from webspool.records import Headers, WebhookRequest
from webspool.redaction import MASK, shown_text
from webspool.signatures import certificate_wanted
from webspool.signatures.explanation import Explained, explained, suspicions
from webspool.source import Source
from webspool.telemetry import unheard
from webspool.verifier import Verifier

SHOWN_BYTES = 400
HINTS = {
    "unknown_source": "No source has this address. Compare it with the sources' paths: webspool check -v",
    "method_not_allowed": "The source takes other methods: Source(methods=...).",
    "length_required": "The sender says neither Content-Length nor chunks.",
    "request_timeout": "The body did not arrive in time: a slow link, or a proxy that promises more than it sends.",
    "payload_too_large": "Raise Source(max_body=) or WEBSPOOL_MAX_BODY, and the proxy's own limit.",
    "unparsable_body": 'The body says it is JSON and is not; Source(payload="raw") takes any.',
    "rate_limited": "More came than the source takes: Source(rate=).",
    "signature_missing": "The sender has no secret set up, or another header is meant, or a proxy drops it.",
    "signature_invalid": (
        "The usual causes: another secret here than at the sender; a body or an address that was changed on the way."
    ),
    "timestamp_outside_window": (
        "This machine's clock or the sender's is wrong (timedatectl), or the webhook was sent again much later."
    ),
    "certificate_unavailable": "The sender's certificate could not be fetched: is the outside reachable from here?",
}


@click.command()
@click.argument("webhook_id", metavar="ID")
@as_json
def explain(webhook_id: str, json_wanted: bool) -> None:
    """Why a delivery was believed, or a refusal (r_...) was not: what was signed and compared, and what would fit."""
    kind = expect(webhook_id, "delivery", "refusal")
    config = chosen_config()
    found = reading.delivery(config, webhook_id) if kind == "delivery" else reading.refusal(config, webhook_id)
    told = _told(config, found)
    if json_wanted:
        printing.write_json(told)
    else:
        _write(found, told)


@click.command()
@click.argument("source", required=False)
@as_json
def captured(source: str | None, json_wanted: bool) -> None:
    """Show the secrets that senders told in their handshake (Notion, Asana), each with the time it came.

    Anybody can tell one: take the one that came when you set the webhook up at the sender.
    """
    config = chosen_config()
    kept = CapturedSecrets(config.var / "captured")
    found = [(name, each) for name in ([source] if source else kept.sources()) for each in kept.of(name)]
    if json_wanted:
        rows = [{"source": name, "secret": each.text, "at": reading.rfc3339(each.at)} for name, each in found]
        printing.write_json(rows)
        return
    for name, each in found:
        click.echo(printing.harmless(f"{name}  {moment(reading.rfc3339(each.at))}  {each.text}"))
    if not found:
        printing.say("No sender told a secret.")


def _told(config: Config, found: Mapping[str, Any]) -> dict[str, Any]:
    """Everything there is to say, as JSON may carry it."""
    sources = _sources(config)
    source = sources.get(found["source"])
    told: dict[str, Any] = {name: found.get(name) for name in ("id", "source", "status", "cause", "method", "url")}
    told |= {"scheme": None, "ways": [], "today": None, "hints": []}
    if "cause" in found and (hint := HINTS.get(found["cause"])):
        told["hints"].append(hint)
    if source is None:
        told["hints"] += [f"Today's app has no source {found['source']!r}."] if found["source"] else []
        return told
    told["scheme"] = source.verify if isinstance(source.verify, str) else "a Scheme of its own"
    request = WebhookRequest(found["method"], found["url"], Headers(found["headers"]), found["body"] or b"")
    verifier = Verifier(config.secret, unheard, config.public_url)
    arrived_at = reading.seconds(found["received_at"])
    addressed = verifier.addressed(source, request)
    told["ways"] = [_way(each) for each in explained(source.scheme, addressed, arrived_at)]
    told["today"], hints = _today(verifier, sources, source, request, found)
    told["hints"] += hints
    return told


def _today(
    verifier: Verifier, sources: Mapping[str, Source], source: Source, request: WebhookRequest, found: Mapping[str, Any]
) -> tuple[str, list[str]]:
    """What today's secrets make of the webhook, taken as if it arrived when it did, and what else would fit."""
    if found["body"] is None or len(found["body"]) < found["body_size"]:
        return "cannot be tried: of its body not all is kept", []
    if source.scheme.sends_secret:
        return "cannot be tried: what the sender sent as the secret is not kept", []
    known = verifier.known(source)
    if source.scheme.needs_secret and not known.secrets:
        return "no secret of the source can be read here", ["Set the secret that the source names: webspool check"]
    verdict = verifier.judge(source, request, reading.seconds(found["received_at"]))
    if verdict.accepted:
        again = f"replay it: webspool replay {found['id']}" if found["id"].startswith("r_") else "nothing is wrong"
        return "fits", [f"It fits with today's secrets and code: {again}"]
    if verdict.cause != "signature_invalid":
        return str(verdict.cause), []
    address = certificate_wanted(source.scheme, request)
    text = None if address is None else verifier.certificates.get(address)
    others = {name: verifier.known(each).secrets for name, each in sources.items() if each is not source}
    request = verifier.addressed(source, request)
    found_out = suspicions(source.scheme, known.secrets, request, others, {address or "": text} if text else None)
    return "does not fit", [f"Tried out: {each}." for each in found_out]


def _way(each: Explained) -> dict[str, Any]:
    signed = each.signed
    return {
        "proof": each.proof,
        "given": list(each.given),
        "signed_template": each.template or None,
        "signed_bytes": None if signed is None else len(signed),
        "signed_sha256": None if signed is None else hashlib.sha256(signed).hexdigest(),
        "signed_text": None if signed is None else shown_text(signed[:SHOWN_BYTES].decode("utf-8", "backslashreplace")),
        "lacks": list(each.lacks),
        "signed_at": None if each.signed_at is None else reading.rfc3339(each.signed_at),
        "off_seconds": None if each.off_seconds is None else round(each.off_seconds, 3),
        "tolerance_seconds": each.tolerance or None,
    }


def _write(found: Mapping[str, Any], told: Mapping[str, Any]) -> None:
    refused = "cause" in found
    printing.write_fields(
        [
            ("refusal" if refused else "delivery", told["id"]),
            ("source", told["source"]),
            ("verify", told["scheme"]),
            ("refused" if refused else "received", moment(found["received_at"])),
            ("status", f"{found['status']} {found['cause']}" if refused else found["status"]),
            ("request", f"{found['method']} {found['url']}"),
            *(line for way in told["ways"] for line in _lines(way)),
            ("today", told["today"]),
        ]
    )
    for hint in told["hints"]:
        click.echo(printing.harmless(f"- {hint}"))


def _lines(way: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    yield "looked for", way["proof"]
    yield "found", " ".join(way["given"]) or "nothing"
    if way["signed_template"]:
        signed = (
            f"{way['signed_bytes']} bytes, SHA-256 {way['signed_sha256']}" if way["signed_bytes"] is not None else MASK
        )
        yield "signed", f"{way['signed_template']}: {signed}"
    if way["signed_text"]:
        yield "text", way["signed_text"]
    if way["lacks"]:
        yield "lacks", ", ".join(way["lacks"])
    if way["signed_at"]:
        window = f", {way['tolerance_seconds']:g} s are allowed" if way["tolerance_seconds"] else ""
        yield "time", f"{way['signed_at']}, {way['off_seconds']:g} s before it arrived{window}"


def _sources(config: Config) -> dict[str, Source]:
    """The sources of the app as it is on disk; this alone imports the user's code."""
    stand_in_for_uwsgi(config.directory)
    found: dict[str, Source] = load_app(config).extensions["webspool"].sources
    return found
