"""Pages that tell how things stand: scheduled, sources, tasks, processes, the audit log."""

from __future__ import annotations

import os
import re
from typing import Any

from flask import Blueprint, Response, render_template, request, url_for
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response as AnyResponse

from webspool import by_hand
from webspool.dashboard.acting import back_to
from webspool.dashboard.asked import asked
from webspool.dashboard.house import actor, config, house, operator
from webspool.dashboard.sentences import retell
from webspool.dashboard.words import later, say
from webspool.errors import ConfigurationError, NotFound
from webspool.ledger import reading, searching, surveys
from webspool.processes import entered, resident_bytes
from webspool.receive import Reply
from webspool.routing import When, several
from webspool.sample import kind_of, sample
from webspool.source import Source
from webspool.task import registry

blueprint = Blueprint("standing", __name__)

PLACE = re.compile(r"(\d{1,16}(?:\.\d{1,9})?):(\d{1,18})")
OF_SCHEDULED = ("task", "source")
OF_ACTIONS = ("actor", "verb", "text", "since", "until")
VERBS = {
    "retry": later("retried"),
    "cancel": later("cancelled"),
    "discard": later("discarded"),
    "replay": later("replayed"),
    "run": later("ran"),
    "send": later("sent a test webhook"),
    "pause": later("paused"),
    "resume": later("resumed"),
    "log_in": later("logged in"),
    "put_user": later("set a user"),
    "remove_user": later("removed a user"),
    "put_token": later("made a token"),
    "remove_token": later("removed a token"),
}


@blueprint.get("/scheduled")
def scheduled() -> Response:
    """Due soonest first."""
    query = asked(OF_SCHEDULED)
    after = _place(request.args.get("later", ""))
    limit = query.filters.limit
    found = (
        []
        if query.faults
        else surveys.scheduled(config(), limit + 1, after=after, task=query.filters.task, source=query.filters.source)
    )
    last = found[limit - 1] if len(found) > limit else None
    page = render_template(
        "scheduled.html",
        query=query,
        found=found[:limit],
        begun=after == (0.0, 0),
        next=last and url_for("standing.scheduled", **query.query, later=f"{last['due']:.9f}:{last['seq']}"),
        number=reading.status(config())["jobs"]["scheduled"],
        tasks=[row["name"] for row in searching.tasks(config())],
        sources=_source_names(),
    )
    return Response(page, 400 if query.faults else 200)


def _place(text: str) -> tuple[float, int]:
    """Behind which due time and number a page begins."""
    if not text:
        return 0.0, 0
    if (found := PLACE.fullmatch(text)) is None:
        raise BadRequest("later is a time and a number, as the link to the next page has them")
    return float(found[1]), int(found[2])


def _source_names() -> list[str]:
    return sorted({*house().sources, *searching.sources(config())})


# ── sources ─────────────────────────────────────────────────────────────────────────────────────────────────────


@blueprint.get("/sources")
def sources() -> str:
    known = house().sources
    base = (config().public_url or request.host_url).rstrip("/")
    return render_template(
        "sources.html",
        found=surveys.sources(config(), _source_names()),
        known=known,
        base=base,
        routing={name: routing(source) for name, source in known.items()},
    )


def routing(source: Source) -> list[tuple[str, list[str]]]:
    """Which pattern starts which tasks; one with a condition says so."""
    return [(pattern, [_named(each) for each in several(starts)]) for pattern, starts in source.on.items()]


def _named(start: Any) -> str:
    if not isinstance(start, When):
        return str(start.name)
    return say("{tasks}, if", tasks=", ".join(each.name for each in several(start.tasks)))


@blueprint.get("/sources/send")
def sending() -> str:
    """The form of a test webhook, with what it will do."""
    return _sending(_source(request.args.get("source", "")), request.args)


def _sending(source: Source, given: Any, fault: str = "") -> str:
    return render_template(
        "send.html",
        source=source,
        routing=routing(source),
        type=given.get("type", ""),
        body=given.get("body", "{}"),
        fault=fault,
    )


def _source(name: str) -> Source:
    if name not in house().sources:
        raise NotFound(kind="source", id=name)
    return house().sources[name]


@blueprint.post("/sources/send")
def send() -> Response | AnyResponse:
    """Sign the payload with the source's own secret and hand it to the receiver, as if its sender had sent it."""
    source, event_type = _source(request.form.get("source", "")), request.form.get("type", "").strip() or None
    try:
        body = request.form.get("body", "").replace("\r\n", "\n").encode("utf-8", "surrogatepass")
        reply, came_to = sent(source, body, event_type)
    except (ValueError, ConfigurationError) as fault:
        return Response(_sending(source, request.form, say("Not sent: {why}", why=retell(str(fault)))), 400)
    delivery = reply.payload.get("delivery")
    if reply.status >= 300:
        told = say("It was refused: {status} {why}", status=reply.status, why=came_to)
        return Response(_sending(source, request.form, told), 400)
    target = url_for("deliveries.one", delivery_id=delivery) if delivery else url_for("standing.sources")
    return back_to(target, target, say("The test webhook was {status}.", status=retell(came_to)))


def sent(source: Source, body: bytes, event_type: str | None) -> tuple[Reply, str]:
    """A webhook of the source, signed and received as if its sender had sent it: the answer, and what it came to.

    Raises ValueError or ConfigurationError: it cannot be signed.
    """
    signed = sample(config(), source, body, event_type=event_type, content_type=kind_of(body))
    reply = house().receiver.receive(source, signed, actor())
    came_to = str(reply.payload.get("cause") or reply.payload.get("status") or reply.status)
    operator().note("send", source=source.name, delivery=reply.payload.get("delivery"), came_to=came_to)
    return reply, came_to


# ── tasks ───────────────────────────────────────────────────────────────────────────────────────────────────────


@blueprint.get("/tasks")
def tasks() -> str:
    here = registry.tasks
    return render_template(
        "tasks.html",
        found=surveys.tasks(config()),
        here=here,
        summaries={name: by_hand.summary_of(task) for name, task in here.items()},
        sources={name: by_hand.sources_of(task, house().sources.values()) for name, task in here.items()},
    )


# ── processes ───────────────────────────────────────────────────────────────────────────────────────────────────


@blueprint.get("/processes")
def processes() -> str:
    serving = reading.serving(config())
    running = reading.running_by_spooler(config(), serving.instance["id"]) if serving.instance else {}
    live = entered(config().live_file)
    return render_template(
        "processes.html",
        serving=serving,
        running=running,
        joined={each["id"]: reading.rfc3339(each["joined_at"]) for each in serving.members},
        keeper=reading.keeper(config()),
        live=live if live and live.identity.alive else None,
        live_since=reading.rfc3339(live.since) if live else None,
        starts=surveys.starts(config()),
        status=reading.status(config()),
        settings=config(),
        here=os.getpid(),
        memory=resident_bytes,
    )


# ── audit ───────────────────────────────────────────────────────────────────────────────────────────────────────


@blueprint.get("/audit")
def audit() -> Response:
    """Every action, newest first."""
    query = asked(OF_ACTIONS)
    given, filters = query.given, query.filters
    found = (
        surveys.Actions([])
        if query.faults
        else surveys.actions(
            config(),
            filters.limit,
            before=request.args.get("before"),
            actor=given["actor"] or None,
            verb=given["verb"] or None,
            text=given["text"] or None,
            since=filters.since,
            until=filters.until,
        )
    )
    page = render_template(
        "audit.html",
        query=query,
        found=found,
        next=found.before and url_for("standing.audit", **query.query, before=found.before),
        verbs=VERBS,
    )
    return Response(page, 400 if query.faults else 200)
