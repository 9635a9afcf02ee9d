"""Edit and run anew: a job's arguments or payload, edited, as a new job that is linked to the old one."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, Response, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from webspool import by_hand
from webspool.dashboard.acting import back_to
from webspool.dashboard.house import config, house, operator
from webspool.dashboard.running import once_of
from webspool.dashboard.sentences import retell
from webspool.dashboard.showing import HARMFUL
from webspool.dashboard.words import later, say
from webspool.errors import ArgumentsDoNotFit, NotFound, UnparsableBody
from webspool.ledger import reading
from webspool.payloads import parse_json
from webspool.records import new_id
from webspool.task import Options, as_json, registry

blueprint = Blueprint("anew", __name__)

LARGEST = 512 << 10

Found = dict[str, Any]


@blueprint.get("/jobs/<job_id>/anew")
def page(job_id: str) -> Response | AnyResponse:
    """The job's arguments, or the payload of its delivery, to be edited."""
    job = reading.job(config(), job_id)
    if job["calling"] != "delivery":
        return _form(job, _written(job["arguments"]))
    try:
        return _form(job, _text_of(_delivery(job)))
    except ValueError as fault:
        return back_to("", url_for("pages.job", job_id=job_id), say(str(fault)), bad=True)


def _form(job: Found, text: str, fault: str = "", status: int = 200) -> Response:
    page = render_template("anew.html", job=job, text=text, fault=fault, once=new_id("j"))
    return Response(page, status)


def _delivery(job: Found) -> Found:
    try:
        return reading.delivery(config(), job["delivery"])
    except NotFound:
        raise ValueError(later("Its delivery is no longer kept.")) from None


def _text_of(delivery: Found) -> str:
    """The payload as text, JSON with indents. Raises ValueError when it is none that can be edited."""
    body = delivery["body"]
    if body is None:
        raise ValueError(later("The payload is no longer kept."))
    if len(body) > LARGEST:
        raise ValueError(later("The payload is too large to be edited here."))
    try:
        text: str = body.decode()
    except UnicodeDecodeError:
        raise ValueError(later("The payload is no text.")) from None
    try:
        return _written(parse_json(body, delivery["id"]))
    except UnparsableBody:
        if HARMFUL.search(text.replace("\r\n", "\n")):
            raise ValueError(later("The payload is no text.")) from None
        return text


def _written(value: Any) -> str:
    """JSON with indents; what no field can hold, or would hide, is escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


# ── running ─────────────────────────────────────────────────────────────────────────────────────────────────────


@blueprint.post("/jobs/<job_id>/anew")
def run(job_id: str) -> Response | AnyResponse:
    """The new job, of the same task, priority and key. Sent twice it is one job."""
    job, text = reading.job(config(), job_id), request.form.get("text", "").replace("\r\n", "\n")
    new = once_of(request.form)
    try:
        if job["calling"] == "delivery":
            _run_webhook(job, new, text)
        else:
            _run(job, new, text)
    except (ArgumentsDoNotFit, ValueError) as fault:
        why = fault.why if isinstance(fault, ArgumentsDoNotFit) else fault
        return _form(job, text, retell(str(why)), 400)
    target = url_for("pages.job", job_id=new)
    return back_to(target, target, say("A new job, made from {id}.", id=job_id))


def _run(job: Found, new: str, text: str) -> None:
    """With these arguments, held against the signature where this code knows the task. Raises ArgumentsDoNotFit."""
    options = Options(None, job["priority"], job["key"])
    known = registry.tasks.get(job["task"])
    if known is not None and by_hand.takes_bytes(known) == (job["calling"] == "bytes"):
        stored = by_hand.order_of_json(known, text, options).stored()
    else:
        arguments = by_hand.json_object(text, job["task"])
        stored = {"task": job["task"], "calling": job["calling"], "arguments": as_json(arguments), **options.stored()}
    operator().run_stored(new, stored, parent=job["id"])


def _run_webhook(job: Found, new: str, text: str) -> None:
    """With this payload, which becomes a delivery beside the old one. Raises ValueError."""
    delivery = _delivery(job)
    source = house().sources.get(delivery["source"])
    encrypt = source.encrypt if source else bool(config().encryption_key)
    wanted = {"id": new, "task": job["task"], "priority": job["priority"], "key": job["key"]}
    webhook = delivery | {"event_type": delivery["type"]}
    operator().run_webhook(webhook, text.encode("utf-8", "surrogatepass"), wanted, encrypt=encrypt, parent=job["id"])
