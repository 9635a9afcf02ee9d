"""What the API tells of the instance besides lists of jobs and webhooks: as the pages of the same names."""

from __future__ import annotations

import re

from flask import Response, request

from webspool.dashboard.api.answers import LONGEST_ID, Refused, answered, blueprint, sound, takes
from webspool.dashboard.asked import Asked, filters_in
from webspool.dashboard.house import config, house
from webspool.dashboard.standing import OF_ACTIONS, OF_SCHEDULED
from webspool.ledger import reading, searching, surveys
from webspool.processes import entered

PLACE = re.compile(r"(\d{1,12}(?:\.\d{1,9})?):(\d{1,18})")
ACTION = re.compile(rf"x_[0-9a-f]{{1,{LONGEST_ID}}}")


@blueprint.get("/scheduled")
@takes(*OF_SCHEDULED, "after", "limit")
def scheduled() -> Response:
    """Due soonest first."""
    query = _without_place(OF_SCHEDULED)
    limit, after = query.filters.limit, (0.0, 0)
    if written := request.args.get("after"):
        place = PLACE.fullmatch(written)
        if place is None:
            raise _bad_place()
        after = (float(place[1]), int(place[2]))
    chosen = {"task": query.filters.task, "source": query.filters.source}
    found = surveys.scheduled(config(), limit + 1, after=after, **chosen)
    last = found[limit - 1] if len(found) > limit else None
    return answered({"jobs": found[:limit], "next": f"{last['due']:.9f}:{last['seq']}" if last else None})


@blueprint.get("/sources")
def sources() -> Response:
    """Those of the code that runs, and those of which there are deliveries."""
    names = sorted({*house().sources, *searching.sources(config())})
    return answered({"sources": surveys.sources(config(), names)})


@blueprint.get("/tasks")
def tasks() -> Response:
    return answered({"tasks": surveys.tasks(config())})


@blueprint.get("/processes")
def processes() -> Response:
    """The instance that serves the ledger, its processes, and what each runs."""
    serving, live = reading.serving(config()), entered(config().live_file)
    instance = serving.instance
    running = reading.running_by_spooler(config(), instance["id"]) if instance else {}
    names = ("pid", "engine", "generation")
    told = {name: instance[name] for name in names} if instance else None
    since = (
        {"since": reading.rfc3339(instance["started_at"]), "stopping": bool(instance["stopping"])} if instance else {}
    )
    return answered(
        {
            "instance": told and told | since,
            "keeper": reading.keeper(config()),
            "live": {"pid": live.identity.pid, "viewers": live.viewers} if live and live.identity.alive else None,
            "spoolers": [
                {name: each[name] for name in ("pid", "runner_pid", "generation", "broken")}
                | {"since": reading.rfc3339(each["joined_at"]), "runs": next(iter(running.get(each["pid"], ())), None)}
                for each in serving.members
            ],
            "starts": surveys.starts(config()),
        }
    )


@blueprint.get("/audit")
@takes(*OF_ACTIONS, "after", "limit")
def audit() -> Response:
    """What operators did, newest first."""
    query, before = _without_place(OF_ACTIONS), request.args.get("after")
    if before and not ACTION.fullmatch(before):
        raise _bad_place()
    given, filters = query.given, query.filters
    found = surveys.actions(
        config(),
        filters.limit,
        before=before or None,
        actor=given["actor"] or None,
        verb=given["verb"] or None,
        text=given["text"] or None,
        since=filters.since,
        until=filters.until,
    )
    return answered({"actions": found.found, "next": found.before, "back_to": found.back_to})


def _without_place(names: tuple[str, ...]) -> Asked:
    """The filters; `after` is no number here."""
    fields = request.args.copy()
    fields.poplist("after")
    return sound(filters_in(fields, names))


def _bad_place() -> Refused:
    return Refused(400, "bad_after", "after is the next that the page before told")
