"""Webhooks that came: accepted and refused, one with its verdict, as curl, replayed."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from webspool.dashboard.acting import back_to
from webspool.dashboard.asked import Asked, asked
from webspool.dashboard.house import config, house, operator, today
from webspool.dashboard.sentences import retell
from webspool.dashboard.words import say
from webspool.ledger import reading, searching
from webspool.receive import REFUSALS
from webspool.redaction import MASK, shown_text

blueprint = Blueprint("deliveries", __name__)

OF_DELIVERIES = ("source", "type", "text", "since", "until")
OF_REFUSALS = ("source", "error", "text", "since", "until")
AT_ONCE = 500
CURL_BYTES = 16 << 10
REPLAYED = ("replayed", "accepted", "held", "duplicate", "retried")
NOT_SENT = frozenset({"host", "content-length", "connection", "accept-encoding", "user-agent", "transfer-encoding"})


@blueprint.get("/deliveries")
def listed() -> Response:
    return _listed("delivery", OF_DELIVERIES)


@blueprint.get("/refusals")
def refused() -> Response:
    return _listed("refusal", OF_REFUSALS)


def _listed(kind: str, names: tuple[str, ...]) -> Response:
    query = asked(names)
    found = searching.find(config(), kind, query.filters) if not query.faults else searching.NOTHING
    page = render_template(
        "deliveries.html",
        kind=kind,
        query=query,
        found=found,
        totals=reading.status(config())["deliveries"],
        sources=sorted({*house().sources, *searching.sources(config())}),
        causes=sorted(REFUSALS),
        next=_next(query, found.after),
    )
    return Response(page, 400 if query.faults else 200)


def _next(query: Asked, after: int | None) -> str | None:
    return None if after is None else url_for(request.endpoint or "", **query.query, after=after)


@blueprint.get("/deliveries/<delivery_id>")
def one(delivery_id: str) -> str:
    found = reading.delivery(config(), delivery_id)
    return render_template("delivery.html", found=found, kind="delivery", **_shown(found))


@blueprint.get("/refusals/<refusal_id>")
def refusal(refusal_id: str) -> str:
    found = reading.refusal(config(), refusal_id)
    return render_template("delivery.html", found=found, kind="refusal", why=_why(found), **_shown(found))


def _shown(found: Mapping[str, Any]) -> dict[str, Any]:
    return {"curl": as_curl(found, house().config.public_url or request.host_url.rstrip("/")), "mask": MASK}


def _why(found: Mapping[str, Any]) -> str:
    """What the cause means, in a sentence."""
    known = REFUSALS.get(found["cause"])
    return known[1] if known else HTTPStatus(found["status"]).phrase


def as_curl(found: Mapping[str, Any], base: str) -> str | None:
    """The request as a command, secrets masked as they are stored; None when its body is no longer kept, no text, or
    longer than a terminal takes."""
    body = found["body"]
    if body is None or len(body) < found["body_size"] or len(body) > CURL_BYTES:
        return None
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    words = ["curl", "-X", found["method"], base + found["url"]]
    for name, value in found["headers"]:
        if name.lower() not in NOT_SENT:
            words += ["-H", f"{name}: {value}"]
    words += ["--data-binary", shown_text(text)] if text else []
    return " ".join(shlex.quote(word) for word in words)


@blueprint.get("/deliveries/<delivery_id>/body")
@blueprint.get("/refusals/<delivery_id>/body")
def body(delivery_id: str) -> Response:
    """The exact bytes, to keep: never shown by a browser."""
    found = _webhook(delivery_id)
    headers = {"Content-Disposition": f'attachment; filename="{found["id"]}.body"'}
    return Response(found["body"] or b"", mimetype="application/octet-stream", headers=headers)


def _webhook(given: str) -> dict[str, Any]:
    return reading.refusal(config(), given) if given.startswith("r_") else reading.delivery(config(), given)


class Webhooks(Collection[dict[str, Any]]):
    """Stored webhooks by their ids, each read when it is its turn: only one body is held at a time."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(_webhook, self._ids)

    def __contains__(self, given: object) -> bool:
        return given in self._ids


@blueprint.post("/replay")
def replay() -> str | AnyResponse:
    """New jobs from deliveries, new deliveries from refusals, by the routing of the code that runs: of those selected
    (`id`), or, once their number is confirmed, of all that match the filters (`all`)."""
    ids: Sequence[str] = list(dict.fromkeys(request.form.getlist("id")))[:AT_ONCE]
    back = request.form.get("back", "")
    if request.form.get("all") == "1":
        return _ask_about_all(back)
    if not ids:
        return back_to(back, url_for("deliveries.listed"), say("Nothing was selected."), bad=True)
    answers = list(operator().replay(Webhooks(ids), today(), spread_seconds=_spread()))
    good = [each for each in answers if each["status"] in REPLAYED]
    jobs = sum(len(each["jobs"]) for each in good)
    told = say("{n} replayed, {jobs} jobs begun", n=len(good), jobs=jobs) if good else ""
    left = dict.fromkeys(each["status"].removeprefix("not_allowed: ") for each in answers if each not in good)
    bad = "; ".join(map(retell, left))
    text = "; ".join(each for each in (told, bad) if each)
    if len(good) == 1 and not bad and good[0]["jobs"]:
        return back_to(url_for("pages.job", job_id=good[0]["jobs"][0]["id"]), "", f"{text}.")
    return back_to(back, url_for("deliveries.listed"), f"{text}.", bad=bool(bad))


def _spread() -> float:
    text = request.form.get("spread", "")
    return float(text) if text.isdecimal() and len(text) < 8 else 0.0


def _ask_about_all(back: str) -> str | AnyResponse:
    """The page that tells how many they are; what is confirmed is what was counted."""
    kind = "refusal" if request.form.get("kind") == "refusal" else "delivery"
    query = asked(OF_REFUSALS if kind == "refusal" else OF_DELIVERIES, form=True)
    if query.faults:
        return back_to(back, url_for("deliveries.listed"), "; ".join(map(retell, query.faults.values())), bad=True)
    found = searching.find(config(), kind, replace(query.filters, after=None, limit=AT_ONCE))
    if found.after is not None:
        told = say("More than {n} match, or not all were looked at in time: narrow the search.", n=AT_ONCE)
        return back_to(back, url_for("deliveries.listed"), told, bad=True)
    chosen = [each["id"] for each in reversed(found.found)]
    return render_template("confirm_replay.html", chosen=chosen, query=query, back=back)
