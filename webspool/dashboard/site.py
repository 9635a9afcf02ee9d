"""The dashboard's application: its doors, its headers, its faults."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, current_app, g, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from webspool.dashboard import (
    acting,
    anew,
    api,
    charts,
    deliveries,
    entrance,
    failures,
    pages,
    running,
    sentences,
    showing,
    standing,
    words,
)
from webspool.dashboard.gate import SAFE_METHODS, Sessions, bearer, comes_from_here, is_https, proxied
from webspool.dashboard.house import House, config, house
from webspool.dashboard.methods import Methods
from webspool.errors import LedgerRefused, LedgerUnavailable, NotFound
from webspool.ledger import accounts
from webspool.passwords import digest

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser hides the Origin of its forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
OPEN = {"static", "entrance.show", "entrance.enter", "entrance.language"}
LARGEST_FORM = 2 << 20
FAULTS = {
    404: words.later("There is no such page."),
    405: words.later("This address does not take that method."),
    413: words.later("That is larger than this page takes."),
}


def make_site(house: House) -> Flask:
    """The application for one instance."""
    site = Flask(__package__, static_url_path="/static")
    site.extensions["house"] = house
    site.config["MAX_CONTENT_LENGTH"] = LARGEST_FORM
    site.config["MAX_FORM_MEMORY_SIZE"] = LARGEST_FORM
    site.wsgi_app = Methods(site.wsgi_app)  # type: ignore[method-assign]
    site.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    site.jinja_env.filters.update(showing.FILTERS)
    site.jinja_env.globals.update(_=words.say, _n=words.count, retell=sentences.retell)
    site.jinja_env.globals.update(bars=charts.bars, lines=charts.lines, shares=charts.shares)
    site.context_processor(_common)
    site.before_request(_ask)
    site.after_request(_guarded)
    for each in (entrance, pages, deliveries, failures, running, anew, standing, acting, api):
        site.register_blueprint(each.blueprint)
    site.register_error_handler(HTTPException, _http_fault)
    site.register_error_handler(NotFound, _not_found)
    for unavailable in (LedgerUnavailable, LedgerRefused):
        site.register_error_handler(unavailable, _unavailable)
    return site


MENU = (
    ("pages.overview", "overview", "Overview"),
    ("deliveries.listed", "deliveries", "Deliveries"),
    ("pages.jobs", "jobs", "Jobs"),
    ("failures.listed", "failures", "Failures"),
    ("running.page", "run", "Run"),
    ("standing.scheduled", "scheduled", "Scheduled"),
    ("standing.sources", "sources", "Sources"),
    ("standing.tasks", "tasks", "Tasks"),
    ("standing.processes", "processes", "Processes"),
    ("standing.audit", "audit", "Audit log"),
)
ALSO = {
    "standing.sources": ("standing.sending", "standing.send"),
    "failures.listed": ("failures.act",),
    "running.page": ("running.run",),
    "pages.jobs": ("pages.job", "acting.jobs", "anew.page", "anew.run"),
    "deliveries.listed": ("deliveries.one", "deliveries.refused", "deliveries.refusal", "deliveries.replay"),
}


def _common() -> dict[str, Any]:
    """What every page shows."""
    visitor = g.get("visitor")
    return {
        "visitor": visitor,
        "csrf": g.sessions.csrf(visitor) if visitor and visitor.browses else "",
        "language": words.language(),
        "theme": request.cookies.get("webspool_theme", ""),
        "instance": config().directory.name,
        "told": _told(),
        "menu": [each for each in MENU if each[0] in current_app.view_functions],
        "also": ALSO,
    }


def _told() -> dict[str, Any] | None:
    """What the last action came to, as its redirect says, for a minute."""
    text = request.args.get("told")
    if not text:
        return None
    fits, found = g.sessions.notes.loads_unsafe(text, max_age=60)
    return found if fits and isinstance(found, dict) else None


# ── who comes in ────────────────────────────────────────────────────────────────────────────────────────────────


def _ask() -> AnyResponse | None:
    """Nobody comes further without a session or a token, and nobody acts without the right to."""
    g.sessions = Sessions(config())
    if request.endpoint in OPEN:
        return None
    g.visitor = _visitor()
    if g.visitor is None:
        return _to_login()
    if request.method not in SAFE_METHODS:
        return _may_act()
    return None


def _visitor() -> accounts.Visitor | None:
    if (token := bearer(request)) is not None:
        return accounts.visitor_of_token(config(), digest(token)) if _is_api() else None
    if config().secret_key and (visitor := proxied(request, config())) is not None:
        return visitor
    return g.sessions.visitor(request) if entrance.why_closed() is None else None


def _is_api() -> bool:
    return request.path.startswith("/api/")


def _to_login() -> AnyResponse:
    if _is_api():
        answer = api.problem(401, "login_required", "Log in, or show a token: Authorization: Bearer ...")
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer
    if request.method in SAFE_METHODS:
        back = request.script_root + request.full_path.rstrip("?")
    else:  # what was to be done is not done after the login: the page is shown again from which it was asked
        back = request.form.get("back") or f"{request.script_root}/"
    return redirect(url_for("entrance.show", to=back))


def _may_act() -> AnyResponse | None:
    """An action needs an operator; one of a browser a page of ours, and the word that only our pages know."""
    if g.visitor.browses:
        given = request.headers.get("X-CSRF-Token") or request.form.get("csrf", "")
        if not comes_from_here(request, config()) or not g.sessions.csrf_fits(g.visitor, given):
            return _refused("not_from_here", "This was not sent by a page of this dashboard. Load the page anew.")
    if not g.visitor.may_act and request.endpoint != "entrance.leave":
        return _refused("viewer", "You may look, not act: this needs the role operator.")
    return None


def _refused(cause: str, detail: str) -> AnyResponse:
    if _is_api():
        return api.problem(403, cause, detail)
    return Response(render_template("fault.html", status=403, detail=sentences.retell(detail)), 403)


def _guarded(response: Response) -> Response:
    """Every answer forbids what no page of ours needs; nothing is stored on the way."""
    response.headers.update(HEADERS)
    if is_https(request, config()):
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    if request.endpoint == "static" and response.status_code in (200, 304):
        response.headers["Cache-Control"] = "public, max-age=0, must-revalidate"
        return response
    response.headers["Cache-Control"] = "no-store"
    response.vary.update(("Cookie", "Accept-Language"))
    visitor = g.get("visitor")
    if visitor and visitor.session and "X-Webspool-Refresh" not in request.headers and not _is_api():
        g.sessions.keep_awake(request, response)
    if visitor and visitor.proxied:
        g.sessions.give_pass(request, response, visitor)
    return response


# ── faults ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _fault(status: int, cause: str, detail: str) -> AnyResponse:
    if _is_api():
        return api.problem(status, cause, detail)
    return Response(render_template("fault.html", status=status, detail=sentences.retell(detail)), status)


def _http_fault(fault: HTTPException) -> AnyResponse:
    if fault.response is not None:
        return fault.response  # type: ignore[return-value]
    status = fault.code or 500
    if _is_api() or status != 308:
        answer = _fault(status, fault.name.lower().replace(" ", "_"), FAULTS.get(status, fault.description or ""))
        for name, value in fault.get_headers():
            if name in ("Allow", "Location", "Retry-After"):
                answer.headers[name] = value
        return answer
    return fault.get_response()


def _not_found(fault: NotFound) -> AnyResponse:
    return _fault(404, "not_found", str(fault))


def _unavailable(fault: LedgerUnavailable | LedgerRefused) -> AnyResponse:
    house().say("dashboard_unavailable", why=str(fault))
    answer = _fault(503, "ledger_unavailable", str(fault))
    answer.headers["Retry-After"] = "5"
    return answer
