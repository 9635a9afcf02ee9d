"""Logging in and out."""

from __future__ import annotations

import getpass
import socket
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from webspool.addresses import network_of
from webspool.dashboard.gate import comes_from_here, may_carry_secrets, plain_origin, proxied
from webspool.dashboard.house import call, client_address, config, house
from webspool.dashboard.words import COOKIE as LANGUAGE
from webspool.dashboard.words import LANGUAGES, later
from webspool.errors import LedgerRefused
from webspool.ledger import accounts
from webspool.ledger.accounts import LONGEST_NAME, LONGEST_PASSWORD
from webspool.passwords import digest, fits, new_secret

blueprint = Blueprint("entrance", __name__)


def why_closed() -> str | None:
    """Why nobody can log in at all."""
    if not config().secret_key:
        return later("WEBSPOOL_SECRET_KEY is not set, so no session can be signed.")
    if not config().password and not _any_user():
        return later("There is no password: WEBSPOOL_PASSWORD is not set, and there is no user.")
    return None


def _any_user() -> bool:
    try:
        return bool(accounts.users(config()))
    except LedgerRefused:
        return False


@blueprint.get("/login")
def show() -> Response | AnyResponse:
    if config().secret_key and proxied(request, config()) is not None:
        return redirect(_target())
    if why_closed() is None and may_carry_secrets(request, config()) and g.sessions.visitor(request):
        return redirect(_target())
    return _page()


def _page(status: int = 200, **more: Any) -> Response:
    closed = why_closed()
    open_way = may_carry_secrets(request, config())
    if closed or not open_way:
        status = 503 if closed else 403
    page = render_template(
        "login.html",
        closed=closed,
        open_way=open_way,
        tunnel=_tunnel(),
        to=request.values.get("to", ""),
        name=request.form.get("name", "")[:LONGEST_NAME],
        **more,
    )
    return Response(page, status)


def _tunnel() -> dict[str, str]:
    """The line that makes a way which nobody listens to, and the address at its end."""
    address = config().address
    port = address.port or 8000
    host = plain_origin(request) or urlsplit(f"//{request.host}").hostname or socket.gethostname()
    far = f"{address.host or '127.0.0.1'}:{port}" if address.path is None else str(address.path)
    far = far.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:")
    return {"line": f"ssh -L {port}:{far} {_user()}@{host}", "url": f"http://localhost:{port}{request.script_root}/"}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "USER"


def _target() -> str:
    """Where the visitor was going, when that is a page of ours."""
    to, root = request.values.get("to", ""), request.script_root
    inside = to == root or to.startswith((f"{root}/", f"{root}?"))
    plain = not to.startswith("//") and "\\" not in to and to.isprintable()
    return to if inside and plain else url_for("pages.overview")


@blueprint.post("/login")
def enter() -> Response | AnyResponse:
    if why_closed() or not may_carry_secrets(request, config()):
        return _page()
    if not comes_from_here(request, config()):
        return _page(403, fault=later("This form was sent by another page. Log in here."))
    name = request.form.get("name", "").strip() or accounts.OPERATOR
    password = request.form.get("password", "")
    user = accounts.user(config(), name) if len(name) <= LONGEST_NAME else None
    remote = client_address()
    address = network_of(remote) if remote else "unknown"
    who = f"{address} {name[:LONGEST_NAME]}"
    wait = call("try_log_in", who=who, address=address)["wait_seconds"]
    if wait:
        house().say("login_throttled", user=name[:LONGEST_NAME], remote=remote)
        page = _page(429, fault=later("Too many tries. Try again in {n} s."), n=wait)
        page.headers["Retry-After"] = str(wait)
        return page
    if len(password) > LONGEST_PASSWORD or not fits(user.password if user else None, password):
        house().say("login_refused", user=name[:LONGEST_NAME], remote=remote)
        return _page(401, fault=later("That name and password do not fit."))
    assert user is not None
    return _let_in(user.name, {"who": who, "address": address, "remote": remote})


def _let_in(name: str, whence: dict[str, str | None]) -> AnyResponse:
    secret, agent = new_secret(), (request.user_agent.string or "")[:200]
    call("log_in", id=digest(secret), user=name, agent=agent, **whence)
    response = redirect(_target(), 303)
    g.sessions.give(request, response, secret)
    return response


@blueprint.post("/logout")
def leave() -> AnyResponse:
    if g.visitor.session is not None:
        call("log_out", id=g.visitor.session)
    response = redirect(url_for("entrance.show"), 303)
    g.sessions.take(request, response)
    return response


@blueprint.get("/language/<name>")
def language(name: str) -> AnyResponse:
    """Read the pages in another language from now on."""
    response = redirect(_target())
    if name in LANGUAGES:
        response.set_cookie(LANGUAGE, name, max_age=365 * 86400, path=f"{request.script_root}/", samesite="Lax")
    return response
