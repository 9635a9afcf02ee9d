"""What the API does: on one, on those named, on all that filters find once their number is confirmed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from flask import Response, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from webspool.dashboard.acting import AT_ONCE, DONE, VERBS, Verb, act_on_jobs, back_to, matching
from webspool.dashboard.api.answers import (
    FORMS,
    Refused,
    answered,
    bad_field,
    blueprint,
    either_ids_or_filter,
    filter_given,
    ids,
    number,
    problem,
    reads,
    text,
    whole,
    yes,
)
from webspool.dashboard.asked import NAMES, Asked
from webspool.dashboard.deliveries import OF_DELIVERIES, OF_REFUSALS, REPLAYED
from webspool.dashboard.house import config, operator, today
from webspool.dashboard.sentences import retell
from webspool.dashboard.words import say
from webspool.errors import LedgerUnavailable, NotFound
from webspool.ledger import reading, searching
from webspool.records import State

YEAR_SECONDS = 365 * 86400.0
REPLAYS_AT_ONCE = 500
LONGEST_REASON = 500
LONGEST_NAME = 200
BY_FILTER = ("filter", "confirm", "upto")

Answers = list[dict[str, Any]]


# ── jobs ────────────────────────────────────────────────────────────────────────────────────────────────────────


@blueprint.post("/jobs/<job_id>/retry")
def retry(job_id: str) -> Response:
    return _on_one("retry", job_id)


@blueprint.post("/jobs/<job_id>/cancel")
def cancel(job_id: str) -> Response:
    return _on_one("cancel", job_id)


@blueprint.post("/jobs/<job_id>/discard")
@reads("reason")
def discard(job_id: str) -> Response:
    return _on_one("discard", job_id)


def _on_one(verb: str, job_id: str) -> Response:
    """Done, or why not: what happened meanwhile."""
    answer = dict(act_on_jobs(verb, [job_id], reason=_reason()))[job_id]
    if answer == "not_found":
        raise NotFound(kind="job", id=job_id)
    if answer not in DONE:
        why = f"{job_id} is left as it was: {answer.removeprefix('not_allowed: ')}"
        raise Refused(409, "not_allowed", why, answer=answer)
    return answered({"id": job_id, "answer": answer})


@blueprint.post("/jobs/retry")
@reads("ids", *BY_FILTER, "spread_seconds")
def retry_jobs() -> Response:
    return _on_many(VERBS["retry"], (State.DEAD,))


@blueprint.post("/jobs/cancel")
@reads("ids", *BY_FILTER)
def cancel_jobs() -> Response:
    return _on_many(VERBS["cancel"], ())


@blueprint.post("/jobs/discard")
@reads("ids", *BY_FILTER, "reason")
def discard_jobs() -> Response:
    return _on_many(VERBS["discard"], ())


def _on_many(verb: Verb, states: Sequence[State]) -> Response:
    """`states` are meant when the filter names none."""
    spread, reason, more = number("spread_seconds", YEAR_SECONDS), _reason(), False
    if either_ids_or_filter():
        jobs = ids("j", AT_ONCE)
    else:
        query = filter_given(NAMES)
        wanted = query.filters.states or tuple(states)
        query = replace(query, filters=replace(query.filters, states=wanted))
        jobs = _confirmed(query, "job", AT_ONCE, lambda upto: matching(verb, query, upto))
        more = len(jobs) == AT_ONCE
    answers = act_on_jobs(verb.name, jobs, spread_seconds=spread, reason=reason)
    return _answered(({"id": job, "answer": answer} for job, answer in answers), more)


def _reason() -> str:
    return text("reason", LONGEST_REASON) or ""


# ── what filters find ───────────────────────────────────────────────────────────────────────────────────────────


def _confirmed(query: Asked, kind: str, most: int, find: Callable[[int], list[str]]) -> list[str]:
    """What fits and is not newer than when its number was told; asks for that number to be confirmed."""
    upto, confirmed = whole("upto", 0, 2**62), whole("confirm", 0, 2**31)
    if confirmed is not None and upto is None:
        raise bad_field("confirm", "goes with upto, as the count was told with it")
    upto = searching.newest(config(), kind) if upto is None else upto
    found = find(upto)
    if confirmed is not None and len(found) <= confirmed:
        return found
    counted = f"{'the first ' if len(found) == most else ''}{len(found)} that fit"
    raise Refused(
        409,
        "confirm_count",
        f"this would act on {counted}: send it again with confirm {len(found)} and upto {upto}",
        count=len(found),
        upto=upto,
        more=len(found) == most,
    )


def _answered(answers: Iterable[dict[str, Any]], more: bool, upto: int | None = None) -> Response:
    """What became of each; `upto` goes on with the rest. When the ledger fails midway, what was done is told."""
    done: Answers = []
    try:
        done.extend(answers)
    except LedgerUnavailable as fault:
        if not done:
            raise
        answer = problem(503, "ledger_unavailable", f"{fault} What is listed is done.", answers=done)
        answer.headers["Retry-After"] = "5"
        return answer
    return answered({"answers": done, "more": more, "upto": upto})


# ── replay ──────────────────────────────────────────────────────────────────────────────────────────────────────


@blueprint.post("/deliveries/<delivery_id>/replay")
def replay_delivery(delivery_id: str) -> Response:
    return _replayed(reading.delivery(config(), delivery_id), vouch=False)


@blueprint.post("/refusals/<refusal_id>/replay")
@reads("vouch")
def replay_refusal(refusal_id: str) -> Response:
    return _replayed(reading.refusal(config(), refusal_id), vouch=yes("vouch"))


def _replayed(webhook: dict[str, Any], *, vouch: bool) -> Response:
    (answer,) = _replay([webhook], vouch=vouch)
    if answer["answer"] not in REPLAYED:
        why = f"{webhook['id']} is not replayed: {answer['answer'].removeprefix('not_allowed: ')}"
        raise Refused(409, "not_allowed", why, answer=answer["answer"])
    return answered(answer)


@blueprint.post("/deliveries/replay")
@reads("ids", *BY_FILTER, "spread_seconds")
def replay_deliveries() -> Response:
    return _replay_many("delivery", reading.deliveries, reading.delivery, OF_DELIVERIES)


@blueprint.post("/refusals/replay")
@reads("ids", *BY_FILTER, "spread_seconds", "vouch")
def replay_refusals() -> Response:
    return _replay_many("refusal", reading.refusals, reading.refusal, OF_REFUSALS)


def _replay_many(kind: str, page: reading.Page, one: Callable[..., dict[str, Any]], names: tuple[str, ...]) -> Response:
    vouch, rest = yes("vouch"), None
    number("spread_seconds", YEAR_SECONDS)
    if either_ids_or_filter():
        chosen = ids(kind[0], REPLAYS_AT_ONCE)
    else:
        query = filter_given(names)

        def find(upto: int) -> list[str]:
            filters = replace(query.filters, upto=upto, after=None, limit=REPLAYS_AT_ONCE)
            return [each["id"] for each in page(config(), filters)][::-1]

        chosen = _confirmed(query, kind, REPLAYS_AT_ONCE, find)
        rest = reading.position(config(), kind, chosen[0]) - 1 if len(chosen) == REPLAYS_AT_ONCE else None
    webhooks = [one(config(), each) for each in chosen]
    return _answered(_replay(webhooks, vouch=vouch), rest is not None, rest)


def _replay(webhooks: Sequence[dict[str, Any]], *, vouch: bool) -> Iterable[dict[str, Any]]:
    of_today = replace(today(), vouched=vouch)
    results = operator().replay(webhooks, of_today, spread_seconds=number("spread_seconds", YEAR_SECONDS))
    return (result | {"answer": result["status"]} for result in results)


# ── pauses ──────────────────────────────────────────────────────────────────────────────────────────────────────


@blueprint.put("/pauses/<path:name>")
def pause(name: str) -> AnyResponse:
    """Hold `all`, `task:NAME` or `source:NAME`; `refuse:NAME` also takes no webhooks of that source."""
    return _held(name, operator().pause)


@blueprint.delete("/pauses/<path:name>")
def resume(name: str) -> AnyResponse:
    """Let go what that pause held."""
    return _held(name, operator().resume)


def _held(name: str, do: Callable[[Sequence[str]], Iterable[tuple[str, str]]]) -> AnyResponse:
    kind, _, of = name.partition(":")
    if not (name == "all" or (kind in ("task", "source", "refuse") and of)) or len(name) > LONGEST_NAME:
        raise Refused(404, "not_found", f"{name!r} is nothing to pause: all, task:NAME, source:NAME or refuse:NAME")
    answer = dict(do([name]))[name]
    if request.mimetype in FORMS:  # of a page without JavaScript
        told = say("{name}: {why}.", name=name, why=retell(answer))
        return back_to(request.form.get("back", ""), url_for("pages.overview"), told, bad=answer != "done")
    return answered({"name": name, "answer": answer})
