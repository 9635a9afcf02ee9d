"""The same reads and actions as JSON, under /dashboard/api/."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request

from webspool.dashboard import output
from webspool.dashboard.house import config
from webspool.errors import NotFound
from webspool.ledger import reading
from webspool.records import FINISHED
from webspool.task import as_json

blueprint = Blueprint("api", __name__, url_prefix="/api")

JSON = "application/json"


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
    found = reading.job(config(), job_id)
    history = found["history"]
    number = request.args.get("attempt", "")
    chosen = next((each for each in history if str(each["number"]) == number), None)
    if chosen is None:
        if number:
            raise NotFound(kind="attempt", id=f"{number} of {job_id}")
        chosen = history[-1] if history else None
    after = request.args.get("after", "0")
    if not after.isdecimal() or len(after) > 12:
        return problem(400, "bad_after", "after is the number of the last chunk that is known, 0 for none")
    return answered(_output(found, chosen, int(after)))


def _output(job: dict[str, Any], attempt: dict[str, Any] | None, after: int) -> dict[str, Any]:
    ended = attempt is not None and attempt["ended_at"] is not None
    chunks = output.chunks(config(), attempt["id"], after, ended=ended) if attempt else []
    return {
        "job": job["id"],
        "state": job["state"],
        "finished": job["state"] in FINISHED,
        "attempt": attempt["number"] if attempt else None,
        "attempts": len(job["history"]),
        "ended": ended,
        "chunks": output.as_dicts(chunks),
        "after": chunks[-1].number if chunks else after,
        "more": len(chunks) == output.PIECES_AT_ONCE,
    }
