"""The actions of pages: on one job, on those selected, on all that match. A count is confirmed first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flask import Blueprint, g, redirect, render_template, request, url_for
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response as AnyResponse

from webspool.dashboard.asked import LONGEST, Asked, asked
from webspool.dashboard.house import config, operator
from webspool.dashboard.sentences import retell
from webspool.dashboard.words import later, say
from webspool.ledger import reading, searching
from webspool.ledger.reading import Filters
from webspool.operate import Answered
from webspool.records import WAITING, State

blueprint = Blueprint("acting", __name__)

AT_ONCE = 10_000
TOLD = 5
DONE = ("done", "interrupting")


@dataclass(frozen=True, slots=True)
class Verb:
    """What can be done to jobs: in which states, and how it is said."""

    name: str
    states: Sequence[State]
    done: str
    ask: str


VERBS = {
    each.name: each
    for each in (
        Verb("retry", (State.DEAD, State.CANCELLED, State.SCHEDULED), "{n} begin again", "Retry {n} jobs?"),
        Verb("cancel", (*sorted(WAITING), State.RUNNING), "{n} cancelled", "Cancel {n} jobs?"),
        Verb("discard", tuple(sorted(WAITING)), "{n} declared dead", "Declare {n} jobs dead?"),
    )
}


def act_on_jobs(verb: str, ids: Sequence[str], *, spread_seconds: float = 0.0, reason: str = "") -> Answered:
    """The operator's verb on these jobs."""
    match verb:
        case "retry":
            return operator().retry(ids, spread_seconds=spread_seconds)
        case "cancel":
            return operator().cancel(ids)
        case _:
            return operator().discard(ids, reason or "discarded by an operator")


@blueprint.post("/jobs/act")
def jobs() -> str | AnyResponse:
    """Act on the jobs selected (`id`), or on all that match the filters (`all`), once the count is confirmed."""
    verb = VERBS.get(request.form.get("verb", ""))
    if verb is None:
        raise BadRequest("verb is one of retry, cancel, discard")
    query = asked(form=True)
    ids = request.form.getlist("id")
    everything = request.form.get("all") == "1"
    if not everything and not ids:
        return _back(query, say("Nothing was selected."), bad=True)
    if query.faults:
        return _back(query, "; ".join(map(retell, query.faults.values())), bad=True)
    upto = _whole(request.form.get("upto")) or searching.newest_job(config())
    chosen = matching(verb, query, upto) if everything else list(dict.fromkeys(ids))[:AT_ONCE]
    if "sure" not in request.form and (everything or len(chosen) > 1):
        return _confirm(verb, query, chosen, everything, upto)
    return _done(verb, query, chosen)


def matching(verb: Verb, query: Asked, upto: int) -> list[str]:
    """The ids of those that match, of the states in which the verb does something, oldest first; no newer ones."""
    wanted = [state for state in verb.states if not query.filters.states or state in query.filters.states]
    found: list[dict[str, Any]] = []
    for state in wanted:
        filters = replace(query.filters, states=(state,), after=None, upto=upto)
        found += _first(filters, AT_ONCE - len(found))
    return [each["id"] for each in sorted(found, key=lambda each: int(each["seq"]))]


def _first(filters: Filters, most: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for each in reading.every(reading.job_ids, config(), filters):
        if len(found) >= most:
            break
        found.append(each)
    return found


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 19 else None


def _confirm(verb: Verb, query: Asked, chosen: Sequence[str], everything: bool, upto: int) -> str:
    return render_template(
        "confirm.html",
        verb=verb,
        query=query,
        chosen=chosen,
        everything=everything,
        upto=upto,
        most=AT_ONCE,
        back=request.form.get("back", ""),
    )


def _done(verb: Verb, query: Asked, chosen: Sequence[str]) -> AnyResponse:
    spread = _whole(request.form.get("spread")) or 0
    answers = dict(act_on_jobs(verb.name, chosen, spread_seconds=float(spread), reason=request.form.get("reason", "")))
    good = [job for job, answer in answers.items() if answer in DONE]
    told = [say(verb.done, n=f"{len(good):,}")] if good or not answers else []
    left = Counter(_why(answer) for answer in answers.values() if answer not in DONE)
    told += [say("{n} left as they were: {why}", n=number, why=why) for why, number in left.most_common(TOLD)]
    if "interrupting" in answers.values():
        told.append(say("what runs is being interrupted"))
    return _back(query, "; ".join(told) + ".", bad=not good)


def _why(answer: str) -> str:
    """What happened meanwhile."""
    if answer == "not_found":
        return say("no longer there")
    return retell(answer.removeprefix("not_allowed: "))


# ── pauses ──────────────────────────────────────────────────────────────────────────────────────────────────────


PAUSED = {
    "pause": later("{name} is paused."),
    "refuse": later("{name} is paused and refuses."),
    "resume": later("{name} goes on."),
}
ASKED_FIRST = {
    "refuse": later("Take no webhooks of {name}? Its sender is answered 503 and sends them again."),
    "pause": later("Pause everything? Webhooks are accepted meanwhile; what runs may end, nothing begins."),
}


@blueprint.post("/pause")
def pause() -> str | AnyResponse:
    """Pause or resume `all`, `task:NAME` or `source:NAME`; to pause everything or to refuse is confirmed first."""
    name, verb, back = (request.form.get(field, "") for field in ("name", "verb", "back"))
    kind, _, of = name.partition(":")
    named = kind in ("source", "task") and 0 < len(of) <= LONGEST
    if verb not in PAUSED or not (name == "all" or named):
        raise BadRequest("verb is pause, resume or refuse, name is all, task:NAME or source:NAME")
    if verb == "refuse" and kind != "source":
        raise BadRequest("only a source can refuse")
    if "sure" not in request.form and (verb == "refuse" or (verb == "pause" and name == "all")):
        asked_first = say(ASKED_FIRST[verb], name=of)
        return render_template("sure.html", ask=asked_first, verb=verb, name=name, back=back)
    answers = dict(_paused(verb, name))
    text = "; ".join(_told(verb, each, answer) for each, answer in answers.items())
    return back_to(back, url_for("pages.overview"), text, bad="done" not in answers.values())


def _paused(verb: str, name: str) -> Answered:
    match verb:
        case "pause":
            return operator().pause([name])
        case "refuse":
            return operator().pause([name.replace("source:", "refuse:", 1)])
        case _:
            return operator().resume([name])


def _told(verb: str, name: str, answer: str) -> str:
    of = say("everything") if name == "all" else name.partition(":")[2]
    return say(PAUSED[verb], name=of) if answer == "done" else say("{name}: {why}.", name=of, why=retell(answer))


def _back(query: Asked, text: str, *, bad: bool = False) -> AnyResponse:
    """To where the form was, told what it came to."""
    return back_to(request.form.get("back", ""), url_for("pages.jobs", **query.query), text, bad=bad)


def back_to(back: str, otherwise: str, text: str, *, bad: bool = False) -> AnyResponse:
    """To a page of ours, which shows the text."""
    inside = back.startswith(f"{request.script_root}/") and "\\" not in back and back.isprintable()
    target = back if inside else otherwise
    told = g.sessions.notes.dumps({"text": text, "bad": bad})
    return redirect(f"{target}{'&' if '?' in target else '?'}told={told}", 303)
