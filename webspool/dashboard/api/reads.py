"""What the API tells: the same as the pages, in the shapes of the commands' --json."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from flask import Response, request

from webspool.dashboard import output
from webspool.dashboard.api.answers import JSON, Refused, answered, blueprint, listed, sound, takes
from webspool.dashboard.asked import NAMES, asked
from webspool.dashboard.deliveries import OF_DELIVERIES, OF_REFUSALS
from webspool.dashboard.failures import NAMES as OF_FAILURES
from webspool.dashboard.house import config
from webspool.errors import NotFound
from webspool.ledger import failing, reading, searching

LONGEST_NUMBER = 12
PAGE = ("after", "limit")


@blueprint.get("/openapi.json")
def description() -> Response:
    """What this API takes and answers, as OpenAPI 3.1 describes it."""
    return Response((files("webspool.dashboard") / "openapi.json").read_bytes(), mimetype=JSON)


@blueprint.get("/status")
def status() -> Response:
    return answered(reading.status(config()))


# ── jobs ────────────────────────────────────────────────────────────────────────────────────────────────────────


@blueprint.get("/jobs")
@takes(*NAMES, *PAGE)
def jobs() -> Response:
    return listed("jobs", searching.find(config(), "job", sound(asked()).filters))


@blueprint.get("/jobs/<job_id>")
def job(job_id: str) -> Response:
    return answered(reading.job(config(), job_id))


@blueprint.get("/jobs/<job_id>/output")
@takes("attempt", "after")
def job_output(job_id: str) -> Response:
    """What an attempt printed after chunk number `after`; `attempt` is the last one unless given."""
    number, after = request.args.get("attempt", ""), request.args.get("after", "0")
    if not after.isdecimal() or len(after) > LONGEST_NUMBER:
        raise Refused(400, "bad_after", "after is the number of the last chunk that is known, 0 for none")
    if number and (not number.isdecimal() or len(number) > LONGEST_NUMBER):
        raise NotFound(kind="attempt", id=f"{number} of {job_id}")
    return answered(output.job_output(config(), job_id, int(number) if number else None, int(after)))


@blueprint.get("/failures")
@takes(*OF_FAILURES)
def failures() -> Response:
    return answered({"failures": failing.failures(config(), sound(asked(OF_FAILURES)).filters)})


# ── webhooks ────────────────────────────────────────────────────────────────────────────────────────────────────


@blueprint.get("/deliveries")
@takes(*OF_DELIVERIES, *PAGE)
def deliveries() -> Response:
    return listed("deliveries", searching.find(config(), "delivery", sound(asked(OF_DELIVERIES)).filters))


@blueprint.get("/deliveries/<delivery_id>")
def delivery(delivery_id: str) -> Response:
    return answered(reading.readable(reading.delivery(config(), delivery_id)))


@blueprint.get("/deliveries/<delivery_id>/body")
def delivery_body(delivery_id: str) -> Response:
    return _body(reading.delivery(config(), delivery_id))


@blueprint.get("/refusals")
@takes(*OF_REFUSALS, *PAGE)
def refusals() -> Response:
    return listed("refusals", searching.find(config(), "refusal", sound(asked(OF_REFUSALS)).filters))


@blueprint.get("/refusals/<refusal_id>")
def refusal(refusal_id: str) -> Response:
    return answered(reading.readable(reading.refusal(config(), refusal_id)))


@blueprint.get("/refusals/<refusal_id>/body")
def refusal_body(refusal_id: str) -> Response:
    return _body(reading.refusal(config(), refusal_id))


def _body(found: dict[str, Any]) -> Response:
    """The exact bytes; of a refusal as many as are kept."""
    if found["body"] is None:
        why = "is encrypted, and no key here opens it" if found.get("sealed") else "is no longer kept"
        raise Refused(410, "body_gone", f"the body of {found['id']} {why}")
    return Response(found["body"], mimetype="application/octet-stream")


# ── what is held ────────────────────────────────────────────────────────────────────────────────────────────────


@blueprint.get("/pauses")
def pauses() -> Response:
    return answered({"pauses": reading.status(config())["paused"]})
