"""What goes wrong, by task and first line of the error; each group is acted on as a whole, its count confirmed."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from webspool.dashboard.asked import LONGEST, asked
from webspool.dashboard.house import config
from webspool.ledger import reading
from webspool.records import WAITING, State

blueprint = Blueprint("failures", __name__)

NAMES = ("task", "source", "error", "since", "until")
STATES = (State.DEAD, *sorted(WAITING))
MOST = 200


@blueprint.get("/failures")
def listed() -> str:
    """The groups with the most jobs first. One whose error is empty or too long for a filter is only shown."""
    query = asked(NAMES)
    groups = [] if query.faults else reading.failures(config(), query.filters)
    return render_template(
        "failures.html",
        query=query,
        groups=groups[:MOST],
        left=len(groups[MOST:]),
        states=STATES,
        longest=LONGEST,
        back=request.script_root + request.full_path,
    )
