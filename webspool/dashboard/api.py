"""The same reads and actions as JSON, under /dashboard/api/."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request

from webspool.dashboard import output
from webspool.dashboard.house import config
from webspool.errors import NotFound
from webspool.task import as_json

blueprint = Blueprint("api", __name__, url_prefix="/api")

JSON = "application/json"
LONGEST_NUMBER = 12


def answered(payload: Any, status: int = 200, mimetype: str = JSON) -> Response:
    return Response(as_json(payload) + "\n", status, mimetype=mimetype)


def problem(status: int, cause: str, detail: str) -> Response:
    """An error as RFC 9457 has it."""
    title = HTTPStatus(status).phrase
    told = {"type": "about:blank", "title": title, "status": status, "detail": detail, "cause": cause}
    return answered(told, status, "application/problem+json")


@blueprint.get("/jobs/<job_id>/output")
def job_output(job_id: str) -> Response:
    """What an attempt printed after chunk number `after`; `attempt` is the last one unless given."""
    number, after = request.args.get("attempt", ""), request.args.get("after", "0")
    if not after.isdecimal() or len(after) > LONGEST_NUMBER:
        return problem(400, "bad_after", "after is the number of the last chunk that is known, 0 for none")
    if number and (not number.isdecimal() or len(number) > LONGEST_NUMBER):
        raise NotFound(kind="attempt", id=f"{number} of {job_id}")
    return answered(output.job_output(config(), job_id, int(number) if number else None, int(after)))
