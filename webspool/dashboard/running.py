"""The Run page: a task is chosen and given its arguments; its lines arrive on the same page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from webspool import by_hand
from webspool.dashboard.api import answered
from webspool.dashboard.house import house, operator
from webspool.dashboard.sentences import retell
from webspool.dashboard.words import say
from webspool.errors import ArgumentsDoNotFit, NotFound
from webspool.records import is_id, new_id
from webspool.source import Source
from webspool.task import SpoolRequest, Task, registry

blueprint = Blueprint("running", __name__)

OPTIONS = ("at", "delay", "priority", "key")
ARGUMENT = "arg."
JSON = "application/json"


@dataclass(frozen=True)
class Typed:
    """What a form was filled with, and by field what is wrong with it."""

    fields: Mapping[str, str]
    faults: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.fields.get(name, "")


@blueprint.get("/run")
def page() -> str:
    """The tasks to choose from, or the form of one (`?task=`), filled as the address says."""
    name = request.args.get("task", "")
    if not name:
        return render_template("run.html", task=None, tasks=_listed())
    return _form(_task(name), Typed(request.args, {}))


def _listed() -> list[dict[str, Any]]:
    return [
        {"name": name, "summary": by_hand.summary_of(task), "signature": _signature(task)}
        for name, task in sorted(registry.tasks.items())
    ]


def _signature(task: Task[Any, Any]) -> str:
    if by_hand.sources_of(task, house().sources.values()):
        return say("a webhook")
    return ", ".join(each.name for each in by_hand.parameters_of(task))


def _task(name: str) -> Task[Any, Any]:
    if name not in registry.tasks:
        raise NotFound(kind="task", id=name)
    return registry.tasks[name]


def _form(task: Task[Any, Any], typed: Typed) -> str:
    return render_template(
        "run.html",
        task=task,
        tasks=_listed(),
        summary=by_hand.summary_of(task),
        parameters=by_hand.parameters_of(task),
        sources=by_hand.sources_of(task, house().sources.values()),
        of_texts=by_hand.takes_bytes(task),
        more=by_hand.takes_more(task),
        typed=typed,
        once=new_id("j"),
        kinds=by_hand.Kind,
    )


# ── running ─────────────────────────────────────────────────────────────────────────────────────────────────────


@blueprint.post("/run")
def run() -> Response | AnyResponse:
    """One job of the task, told to a script as JSON, to a browser by going to its page. Sent twice it is one job."""
    task = _task(request.form.get("task", ""))
    try:
        job = _ordered(task, request.form)
    except ArgumentsDoNotFit as fault:
        faults = fault.faults or {"": str(fault.why)}
        return _refused(task, Typed(request.form, {name: retell(why) for name, why in faults.items()}))
    target = url_for("pages.job", job_id=job)
    if not _wants_json():
        return redirect(target, 303)
    output = url_for("api.job_output", job_id=job)
    return answered({"job": job, "page": target, "output": output, "once": new_id("j")})


def _wants_json() -> bool:
    return request.accept_mimetypes.best_match((JSON, "text/html")) == JSON


def _refused(task: Task[Any, Any], typed: Typed) -> Response:
    if _wants_json():
        return answered({"faults": typed.faults}, 400)
    return Response(_form(task, typed), 400)


def _ordered(task: Task[Any, Any], form: Mapping[str, str]) -> str:
    """The id of the job that was made. Raises ArgumentsDoNotFit: nothing was stored."""
    job = once_of(form)
    options = by_hand.options_of_texts(task, {name: form.get(name, "") for name in OPTIONS})
    sources = {each.name: each for each in by_hand.sources_of(task, house().sources.values())}
    if sources:
        source = sources.get(form.get("source", "")) or next(iter(sources.values()))
        _run_webhook(source, {"id": job, "task": task.name, **options.stored()}, form)
    else:
        operator().run(replace(_order(task, form, options), id=job))
    return job


def once_of(form: Mapping[str, str]) -> str:
    """The id of the job that this form makes, however often it is sent."""
    once = form.get("once", "")
    return once if is_id(once, "j") else new_id("j")


def _order(task: Task[Any, Any], form: Mapping[str, str], options: Any) -> SpoolRequest:
    """By the fields, or by the JSON that stands in their place."""
    texts = {name.removeprefix(ARGUMENT): text for name, text in form.items() if name.startswith(ARGUMENT) and text}
    written = form.get("json", "").strip()
    if not written:
        return by_hand.order_of_texts(task, texts, options)
    if texts:
        why = say("give the fields or the JSON, not both")
        raise ArgumentsDoNotFit(task=task.name, why=why, faults={"json": why})
    try:
        return by_hand.order_of_json(task, written, options)
    except ArgumentsDoNotFit as fault:
        raise ArgumentsDoNotFit(task=task.name, why=fault.why, faults={"json": str(fault.why)}) from None


def _run_webhook(source: Source, job: Mapping[str, Any], form: Mapping[str, str]) -> None:
    """The task's one argument is a delivery: one is made of the payload, for which the operator vouches."""
    body = form.get("payload", "").replace("\r\n", "\n").encode("utf-8", "surrogatepass")
    webhook = by_hand.webhook_of(source, form.get("type", "").strip() or None, body)
    answer = operator().run_webhook(webhook, body, job, encrypt=source.encrypt)
    if answer["delivery"] is None:
        why = say("the source {name} takes no webhooks now: it is paused and refuses", name=source.name)
        raise ArgumentsDoNotFit(task=job["task"], why=why, faults={"source": why})
