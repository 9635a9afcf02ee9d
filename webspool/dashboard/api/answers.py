"""How the API answers, and how it reads what it is asked: what it does not know is told, never passed over."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NoReturn, TypeVar

from flask import Blueprint, Response, current_app, g, request
from werkzeug.datastructures import MultiDict

from webspool.dashboard.asked import Asked, filters_in
from webspool.ledger.searching import Search

blueprint = Blueprint("api", __name__, url_prefix="/api")

JSON, PROBLEM = "application/json", "application/problem+json"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
REPEATED = ("state",)
LONGEST_ID = 64
View = TypeVar("View", bound=Callable[..., Any])


class Refused(Exception):
    """A question that is not answered: its status, its cause in a word, why in a sentence, and what else helps."""

    def __init__(self, status: int, cause: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.cause, self.detail, self.more = status, cause, detail, more


# ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────


def answered(payload: Any, status: int = 200, mimetype: str = JSON) -> Response:
    text = json.dumps(payload, separators=(",", ":"), default=str, allow_nan=False)
    return Response(text + "\n", status, mimetype=mimetype)


def problem(status: int, cause: str, detail: str, **more: Any) -> Response:
    """An error as RFC 9457 has it; `cause` is for programs, `detail` for people."""
    title = HTTPStatus(status).phrase
    told = {"type": "about:blank", "title": title, "status": status, "detail": detail, "cause": cause}
    return answered(told | more, status, PROBLEM)


def listed(name: str, found: Search) -> Response:
    """A page of a list. `next` goes on behind it as `after`; None: that was all."""
    following = None if found.after is None else str(found.after)
    return answered({name: found.found, "next": following, "back_to": found.back_to})


@blueprint.errorhandler(Refused)
def _refused(why: Refused) -> Response:
    return problem(why.status, why.cause, why.detail, **why.more)


# ── questions ───────────────────────────────────────────────────────────────────────────────────────────────────


def takes(*names: str) -> Callable[[View], View]:
    """Say which parameters a route's address may have; others are refused."""

    def decorate(view: View) -> View:
        view.takes = names  # type: ignore[attr-defined]
        return view

    return decorate


def reads(*names: str) -> Callable[[View], View]:
    """Say which fields a route's JSON may have; others are refused. They stand in `given`."""

    def decorate(view: View) -> View:
        view.reads = names  # type: ignore[attr-defined]
        return view

    return decorate


@blueprint.before_request
def _read() -> None:
    """A misspelt filter would act on everything: what a route does not take is refused before it is asked."""
    view = current_app.view_functions[str(request.endpoint)]
    known = getattr(view, "takes", ())
    for name, values in request.args.lists():
        if name not in known:
            what = f"it takes {', '.join(known)}" if known else "it takes none"
            raise Refused(400, "unknown_parameter", f"{name!r} is no parameter of this address: {what}")
        if len(values) > 1 and name not in REPEATED:
            raise Refused(400, "repeated_parameter", f"{name} stands there {len(values)} times")
    g.given = _body(getattr(view, "reads", ())) if request.method in ("POST", "PUT", "DELETE") else {}


def _body(known: Sequence[str]) -> dict[str, Any]:
    if request.mimetype in FORMS or not (data := request.get_data()):
        return {}
    if request.mimetype != JSON:
        raise Refused(415, "unsupported_media_type", f"send JSON: Content-Type: {JSON}")
    try:
        found = json.loads(data, parse_constant=_no_number)
        json.dumps(found, ensure_ascii=False).encode()  # half a letter ("\ud800") has no UTF-8: no database holds it
    except (ValueError, RecursionError) as fault:
        raise Refused(400, "unparsable_body", f"the body is no JSON: {fault}") from None
    if not isinstance(found, dict):
        raise Refused(400, "unparsable_body", "the body is a JSON object, as {} is")
    if strange := sorted(found.keys() - set(known)):
        what = f"it reads {', '.join(known)}" if known else "it reads none"
        raise Refused(400, "unknown_field", f"{strange[0]!r} is no field of this address: {what}")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON (RFC 8259, 6)")


def given() -> Mapping[str, Any]:
    """The fields of the request's JSON."""
    found: Mapping[str, Any] = g.given
    return found


def bad_field(name: str, why: str) -> Refused:
    return Refused(400, "bad_field", f"{name} {why}")


def ids(kind: str, most: int) -> list[str]:
    """The field `ids`, each once; `kind` is the letter with which they begin."""
    found, fitting = given()["ids"], re.compile(rf"{kind}_[0-9a-f]{{1,{LONGEST_ID}}}")
    if not isinstance(found, list) or not 0 < len(found) <= most:
        raise bad_field("ids", f"is a list of 1 to {most} ids")
    if strange := [each for each in found if not isinstance(each, str) or not fitting.fullmatch(each)]:
        raise bad_field("ids", f"holds {json.dumps(strange[0])[:LONGEST_ID]}, which is no id that begins with {kind}_")
    return list(dict.fromkeys(found))


def number(name: str, high: float, otherwise: float = 0.0) -> float:
    """A field that is a number from 0 to `high`."""
    found = given().get(name, otherwise)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= high:
        raise bad_field(name, f"is a number from 0 to {high:g}")
    return float(found)


def whole(name: str, low: int, high: int) -> int | None:
    """A field that is a whole number in these bounds, None when it is not given."""
    found = given().get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high:
        raise bad_field(name, f"is a whole number from {low} to {high}")
    return found


def text(name: str, longest: int, otherwise: str | None = None) -> str | None:
    """A field that is a text, `otherwise` when it is not given."""
    found = given().get(name)
    if found is None:
        return otherwise
    if not isinstance(found, str) or not 0 < len(found) <= longest:
        raise bad_field(name, f"is a text of 1 to {longest} letters")
    return found


def yes(name: str) -> bool:
    """A field that is true or false; not given: false."""
    found = given().get(name, False)
    if not isinstance(found, bool):
        raise bad_field(name, "is true or false")
    return found


# ── filters ─────────────────────────────────────────────────────────────────────────────────────────────────────


def sound(query: Asked) -> Asked:
    """The filters, when all can be read."""
    if query.faults:
        raise Refused(400, "bad_filter", "; ".join(query.faults.values()), faults=dict(query.faults))
    return query


def filter_given(names: tuple[str, ...]) -> Asked:
    """The field `filter`: the same words as in an address, one at least."""
    found = given()["filter"]
    if not isinstance(found, dict):
        raise bad_field("filter", f"is an object with {', '.join(names)}")
    if strange := sorted(found.keys() - set(names)):
        raise Refused(400, "bad_filter", f"{strange[0]!r} is no filter here: {', '.join(names)}", faults={})
    fields = MultiDict[str, str]()
    for name, value in found.items():
        values = value if name in REPEATED and isinstance(value, list) else [value]
        if not values or not all(isinstance(each, str) and each.strip() for each in values):
            raise Refused(400, "bad_filter", f"{name} is no text", faults={name: f"{name} is no text"})
        fields.setlist(name, values)
    query = sound(filters_in(fields, names))
    if not query.narrowed:
        raise Refused(400, "bad_filter", "name one filter at least: state alone will do", faults={})
    return query


def either_ids_or_filter() -> bool:
    """Whether ids are given; else filters are."""
    if ("ids" in given()) == ("filter" in given()):
        raise bad_field("ids", "or filter is to be given, one of the two")
    return "ids" in given()
