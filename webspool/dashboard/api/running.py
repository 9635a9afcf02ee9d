"""Running a task by the API: its arguments as JSON, or the payload of a webhook that nobody sent."""

from __future__ import annotations

import json
from typing import Any

from flask import Response

from webspool import by_hand
from webspool.dashboard.api.answers import Refused, answered, bad_field, blueprint, given, number, reads, text, whole
from webspool.dashboard.house import config, house, operator
from webspool.dashboard.standing import sent
from webspool.errors import ArgumentsDoNotFit, ConfigurationError, NotAllowed, NotFound
from webspool.ledger import reading
from webspool.moments import read_due
from webspool.records import is_id, new_id
from webspool.source import Source
from webspool.task import LARGEST_PRIORITY, Options, Task, registry

LONGEST_KEY = LONGEST_TYPE = 200
YEAR_SECONDS = 365 * 86400.0
OF_FUNCTIONS, OF_WEBHOOKS = ("arguments",), ("source", "type", "payload")


@blueprint.post("/tasks/<name>/run")
@reads(*OF_FUNCTIONS, *OF_WEBHOOKS, "at", "delay_seconds", "priority", "key", "id")
def run(name: str) -> Response:
    """One job of the task. With an `id` of the caller's making it is one job however often it is sent."""
    if name not in registry.tasks:
        raise NotFound(kind="task", id=name)
    task, job = registry.tasks[name], text("id", 34, new_id("j")) or ""
    if not is_id(job, "j"):
        raise bad_field("id", "is j_ and 32 hexadecimal digits, as a job's id")
    try:
        _order(task, job)
    except ArgumentsDoNotFit as fault:
        raise Refused(400, "arguments_do_not_fit", str(fault), faults=dict(fault.faults)) from None
    except NotAllowed as fault:
        raise Refused(409, "not_allowed", str(fault), answer="not_allowed: paused and refuses") from None
    return answered({"job": job, "state": reading.job(config(), job)["state"]})


@blueprint.post("/sources/<name>/send")
@reads("type", "payload")
def send(name: str) -> Response:
    """A test webhook, signed with the source's own secret and received as if its sender had sent it."""
    if name not in house().sources:
        raise NotFound(kind="source", id=name)
    body = json.dumps(given().get("payload", {}), separators=(",", ":")).encode()
    try:
        reply, came_to = sent(house().sources[name], body, text("type", LONGEST_TYPE))
    except (ValueError, ConfigurationError) as fault:
        raise Refused(409, "cannot_sign", f"no webhook of {name} can be signed here: {fault}") from None
    if reply.status >= 300:
        raise Refused(409, "not_allowed", f"it was refused: {came_to}", answer=came_to)
    jobs = reply.payload.get("jobs", [])
    told = [each if isinstance(each, str) else each["id"] for each in jobs]
    return answered({"delivery": reply.payload.get("delivery"), "status": came_to, "jobs": told})


def _order(task: Task[Any, Any], job: str) -> None:
    options = _options(task)
    sources = by_hand.sources_of(task, house().sources.values())
    strange = set(OF_FUNCTIONS if sources else OF_WEBHOOKS) & given().keys()
    if strange:
        takes = "a payload: webhooks start this task" if sources else "arguments: no webhook starts this task"
        raise bad_field(min(strange), f"is not for this task, give {takes}")
    if sources:
        _run_webhook(_source(sources), {"id": job, "task": task.name, **options.stored()})
    else:
        arguments = given().get("arguments", {})
        if not isinstance(arguments, dict):
            raise bad_field("arguments", "is an object")
        order = by_hand.order_of(task, arguments, options)
        operator().run_stored(job, order.stored())


def _options(task: Task[Any, Any]) -> Options:
    if "at" in given() and "delay_seconds" in given():
        raise bad_field("at", "or delay_seconds is to be given, not both")
    when: dict[str, float] = {}
    if at := text("at", 40):
        try:
            when["at"] = read_due(at)
        except ValueError as fault:
            raise bad_field("at", f"cannot be read: {fault}") from None
    elif "delay_seconds" in given():
        when["delay"] = number("delay_seconds", 10 * YEAR_SECONDS)
    priority = whole("priority", -LARGEST_PRIORITY, LARGEST_PRIORITY) or 0
    return task.options(**when, priority=priority, key=text("key", LONGEST_KEY)).options_given


def _source(sources: list[Source]) -> Source:
    name = text("source", LONGEST_TYPE)
    found = next((each for each in sources if name in (None, each.name)), None)
    if found is None:
        raise bad_field("source", f"is one of {', '.join(each.name for each in sources)}")
    return found


def _run_webhook(source: Source, job: dict[str, Any]) -> None:
    """The task's one argument is a delivery: one is made of the payload, for which the operator vouches."""
    body = json.dumps(given().get("payload", {}), separators=(",", ":")).encode()
    webhook = by_hand.webhook_of(source, text("type", LONGEST_TYPE), body)
    answer = operator().run_webhook(webhook, body, job, encrypt=source.encrypt)
    if answer["delivery"] is None:
        raise NotAllowed(id=source.name, verb="given a webhook", state="paused and refuses")
