"""The pages that are read: overview, jobs, one job."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, render_template, request, url_for

from webspool.dashboard import output
from webspool.dashboard.asked import asked
from webspool.dashboard.house import config, house, visitor
from webspool.dashboard.showing import seconds_of
from webspool.dashboard.words import later, say
from webspool.disk import folders_of, free
from webspool.errors import NotFound
from webspool.ledger import reading, searching, tallies
from webspool.ledger.reading import Filters
from webspool.records import FINISHED, WAITING, State

blueprint = Blueprint("pages", __name__)

NEWEST = 8


# ── overview ────────────────────────────────────────────────────────────────────────────────────────────────────


@blueprint.get("/")
def overview() -> str:
    found = reading.status(config())
    chosen = tallies.RANGES.get(request.args.get("range", ""), tallies.RANGES["1h"])
    points = tallies.series(config(), chosen)
    return render_template(
        "overview.html",
        status=found,
        range=chosen,
        ranges=tallies.RANGES,
        points=points,
        whole=tallies.Tally(0.0, _together(points)),
        waiting=sum(found["jobs"][state] for state in WAITING),
        longest=searching.longest_queued(config()),
        sizes=_sizes(),
        deliveries=reading.deliveries(config(), Filters(limit=NEWEST)),
        jobs=reading.jobs(config(), Filters(limit=NEWEST)),
        failing=found["jobs"]["dead"],
    )


def _together(points: Sequence[tallies.Tally]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for point in points:
        whole = tallies.added(whole, point.counts)
    return whole


def _sizes() -> dict[str, int]:
    """Bytes of the ledger, of the output, and free on their disk."""
    files = {"ledger": config().ledger_path, "output": config().output_path}
    sizes = {name: sum(_bytes(f"{path}{end}") for end in ("", "-wal")) for name, path in files.items()}
    return sizes | {"free": free(folders_of(config())).bytes}


def _bytes(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


# ── jobs ────────────────────────────────────────────────────────────────────────────────────────────────────────


@blueprint.get("/jobs")
def jobs() -> Response:
    query = asked()
    found = searching.NOTHING if query.faults else searching.find(config(), "job", query.filters)
    page = render_template(
        "jobs.html",
        query=query,
        found=found,
        counts=reading.status(config())["jobs"],
        tasks=[row["name"] for row in searching.tasks(config())],
        sources=sorted({*house().sources, *searching.sources(config())}),
        next=None if found.after is None else url_for("pages.jobs", **query.query, after=found.after),
        number=_number_of(query.filters, found),
        most=searching.COUNTED_AT_MOST,
        states=list(State),
    )
    return Response(page, 400 if query.faults else 200)


def _number_of(filters: Filters, found: searching.Search) -> int | None:
    """How many jobs there are of which this page shows some; None where counting them would mean reading all."""
    if filters.after is None and found.after is None:
        return len(found.found)
    if filters.text is not None or filters.type is not None:
        return None
    return searching.count_jobs(config(), replace(filters, after=None), searching.COUNTED_AT_MOST)


# ── one job ─────────────────────────────────────────────────────────────────────────────────────────────────────


@blueprint.get("/jobs/<job_id>")
def job(job_id: str) -> str:
    found = reading.job(config(), job_id)
    history = found["history"]
    number = request.args.get("attempt", "")
    shown = next((each for each in history if str(each["number"]) == number), history[-1] if history else None)
    text, cut = output.last_text(config(), shown["id"]) if shown else ("", False)
    return render_template(
        "job.html",
        job=found,
        shown=shown,
        chosen=bool(number) and shown is not None,
        output=text,
        output_cut=cut,
        line=timeline(found),
        finished=found["state"] in FINISHED,
        may=_may(found["state"]),
        held=held_by(found["blocked_on"]),
        delivery=_delivery_of(found),
        copies=reading.copies(config(), job_id),
        copy_url=url_for("anew.page", job_id=job_id) if visitor().may_act else None,
    )


def _may(state: str) -> set[str]:
    """What can be done to a job of that state."""
    verbs = {"retry"} if state in (State.DEAD, State.CANCELLED, State.SCHEDULED) else set()
    verbs |= {"cancel"} if state in (*WAITING, State.RUNNING) else set()
    return verbs | ({"discard"} if state in WAITING else set())


HELD = (
    ("pause:all", later("Everything is paused."), "standing.processes"),
    ("pause:task:", later("The task {name} is paused."), "standing.tasks"),
    ("pause:source:", later("The source {name} is paused."), "standing.sources"),
    ("limit:task:", later("As many jobs of {name} run as may run at once."), "standing.processes"),
    ("limit:key:", later("Another job with the same key runs: {name}."), "standing.processes"),
    ("unknown:", later("The running code does not know the task {name}."), "standing.tasks"),
)
"""What holds a job back, and the page where that is seen and steered."""


def held_by(blocked_on: str | None) -> dict[str, str] | None:
    """What a job is blocked on, in words, and where to look."""
    for prefix, text, endpoint in HELD:
        if blocked_on and blocked_on.startswith(prefix):
            return {"text": say(text, name=blocked_on.removeprefix(prefix)), "page": url_for(endpoint)}
    return {"text": say("Blocked on {what}", what=blocked_on), "page": ""} if blocked_on else None


def _delivery_of(found: dict[str, Any]) -> dict[str, Any] | None:
    if found["delivery"] is None:
        return None
    try:
        return reading.delivery(config(), found["delivery"])
    except NotFound:
        return None


def timeline(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The life of a job as stretches of waiting and running, each with its share of the whole time in per cent."""
    created = seconds_of(found["created_at"]) or 0.0
    due, now = seconds_of(found["due_at"]), time.time()
    stretches, last = list[dict[str, Any]](), created
    for attempt in found["history"]:
        begun, ended = seconds_of(attempt["started_at"]) or last, seconds_of(attempt["ended_at"])
        if begun > last:
            stretches.append({"kind": "backoff" if stretches else "waiting", "seconds": begun - last, "attempt": None})
        outcome = attempt["outcome"] or "running"
        stretches.append({"kind": outcome, "seconds": (ended or now) - begun, "attempt": attempt["number"]})
        last = ended or now
    if found["state"] in WAITING:
        kind = "backoff" if found["state"] == State.SCHEDULED else found["state"]
        until = max(due or now, now) if found["state"] == State.SCHEDULED else now
        stretches.append({"kind": kind, "seconds": max(until - last, 0.0), "attempt": None})
    return _shared(stretches)


def _shared(stretches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each stretch with `x` and `width` of 1000; the shortest stay visible."""
    whole = sum(each["seconds"] for each in stretches) or 1.0
    weights = [max(each["seconds"] / whole, 0.006) for each in stretches]
    scale = 1000 / (sum(weights) or 1.0)
    ends = list(itertools.accumulate(weight * scale for weight in weights))
    return [
        each | {"x": round(end - weight * scale, 1), "width": round(weight * scale, 1)}
        for each, weight, end in zip(stretches, weights, ends, strict=True)
    ]


@blueprint.get("/jobs/<job_id>/output")
def download(job_id: str) -> Response:
    """The bytes that an attempt printed, as they were."""
    found = reading.job(config(), job_id)
    number = request.args.get("attempt", "")
    chosen = next((each for each in found["history"] if str(each["number"]) == number), None)
    if chosen is None:
        raise NotFound(kind="attempt", id=f"{number or '?'} of {job_id}")
    settings = config()
    name = f"{job_id}-{chosen['number']}.txt"
    return Response(
        (piece.bytes for piece in output.every_piece(settings, chosen["id"])),
        mimetype="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
