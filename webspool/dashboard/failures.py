"""What goes wrong, by task, exception and place; each group is acted on as a whole, its count confirmed."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, Response, render_template, request, url_for
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response as AnyResponse

from webspool.dashboard.acting import AT_ONCE, VERBS, back_to
from webspool.dashboard.asked import asked
from webspool.dashboard.house import config
from webspool.dashboard.words import say
from webspool.ledger import failing, searching

blueprint = Blueprint("failures", __name__)

NAMES = ("task", "source", "error", "since", "until")
MOST = 200


@blueprint.get("/failures")
def listed() -> Response:
    """The groups with the most jobs first."""
    query = asked(NAMES)
    groups = [] if query.faults else failing.groups(config(), query.filters)
    page = render_template(
        "failures.html",
        query=query,
        groups=[each.as_dict() for each in groups[:MOST]],
        left=len(groups[MOST:]),
        tasks=[row["name"] for row in searching.tasks(config())],
        sources=searching.sources(config()),
        back=request.script_root + request.full_path,
    )
    return Response(page, 400 if query.faults else 200)


@blueprint.post("/failures/act")
def act() -> str | AnyResponse:
    """Ask whether to retry or discard those of one group: exactly its jobs are counted, and acted on if so."""
    verb = VERBS.get(request.form.get("verb", ""))
    if verb is None:
        raise BadRequest("verb is one of retry, cancel, discard")
    query, back = asked(NAMES, form=True), request.form.get("back", "")
    groups = [] if query.faults else failing.groups(config(), query.filters)
    group = next((each for each in groups if each.key == request.form.get("key")), None)
    if group is None:
        return back_to(back, url_for("failures.listed"), say("Nothing fails like that any more."), bad=True)
    chosen = failing.jobs_of(config(), group, verb.states, replace(query.filters, limit=AT_ONCE))
    about = group.as_dict()
    return render_template("confirm.html", verb=verb, query=None, about=about, chosen=chosen, most=AT_ONCE, back=back)
