"""The live process's application: a WebSocket (Socket.IO) and a stream of events, each for whoever has logged in."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flask import Flask, Request, Response, request
from flask_socketio import SocketIO

from webspool.config import Config
from webspool.dashboard.gate import Sessions, bearer, comes_from_here
from webspool.errors import LedgerRefused, LedgerUnavailable, NotFound
from webspool.ledger import accounts
from webspool.ledger.accounts import Visitor
from webspool.live import EVENTS, SOCKET
from webspool.live.outlook import Outlook
from webspool.passwords import digest

WAIT_SECONDS = 25.0
LARGEST_MESSAGE = 4096
LONGEST_ID = 64
QUESTIONS_AT_ONCE = 4
ASKED_AGAIN_SECONDS = 5.0
VIEWERS = 1000

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Told = dict[str, Any]


class Live:
    """What one instance shows to those who watch. `async_mode` is Socket.IO's: "gevent", or "threading"."""

    def __init__(self, config: Config, async_mode: str) -> None:
        self.config = config
        self.flask = Flask(__name__, static_folder=None)
        self.sockets = SocketIO(
            self.flask,
            path=SOCKET.lstrip("/"),
            async_mode=async_mode,
            transports=["websocket"],
            cors_allowed_origins="*",  # the door has looked at the origin, by the rules of the dashboard
            max_http_buffer_size=LARGEST_MESSAGE,
            ping_interval=20,
            ping_timeout=20,
            manage_session=False,
        )
        engine = self.sockets.server.eio
        self.outlook = Outlook(config, engine.create_event, self.sockets.sleep, self.sockets.start_background_task)
        self._waiting: Counter[str] = Counter()
        self._seen: dict[str, tuple[str, float]] = {}
        self._streams = 0
        self.sockets.on_event("output", self._output)
        self.sockets.on_event("change", self._change)
        self.sockets.on_event("disconnect", self._forget)
        self.flask.add_url_rule(EVENTS, "events", self._events, strict_slashes=False)
        self.flask.after_request(_closing)

    @property
    def wsgi(self) -> WSGI:
        """The application with its door: nobody else comes as far as the socket."""
        inner: WSGI = self.flask.wsgi_app

        def door(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            if (why := self._turned_away(Request(environ))) is not None:
                return why(environ, start_response)
            return inner(environ, start_response)

        return door

    @property
    def viewers(self) -> int:
        """How many watch."""
        return len(self.sockets.server.eio.sockets) + self._streams

    # ── who comes in ────────────────────────────────────────────────────────────────────────────────────────────

    def _turned_away(self, asked: Request) -> Response | None:
        if asked.path.rstrip("/") not in (SOCKET, EVENTS):
            return _plain(404, "There is no such page.")
        if self.visitor(asked) is None:
            return _plain(401, "Log in at /dashboard/, or show a token: Authorization: Bearer ...")
        if not comes_from_here(asked, self.config):
            return _plain(403, "Only pages of this dashboard may watch from a browser.")
        if self.viewers >= VIEWERS:
            return _plain(503, "Too many are watching.")
        return None

    def visitor(self, asked: Request) -> Visitor | None:
        """Who asks, by a token or by the session of the dashboard."""
        try:
            if (token := bearer(asked)) is not None:
                return accounts.visitor_of_token(self.config, digest(token))
            if not self.config.secret_key:
                return None
            sessions = Sessions(self.config)
            return sessions.visitor(asked) or sessions.visitor_with_pass(asked)
        except (LedgerUnavailable, LedgerRefused):
            return None

    # ── the socket ──────────────────────────────────────────────────────────────────────────────────────────────

    def _output(self, asked: Any = None) -> Told:
        """{job, attempt, after, known}: the next of its output, when there is more."""

        def next_of(asked: Told) -> Told:
            job, attempt = str(asked.get("job"))[:LONGEST_ID], _number(asked.get("attempt")) or None
            known = str(asked.get("known", ""))[:LONGEST_ID]
            return self.outlook.output(job, attempt, _number(asked.get("after")), known, WAIT_SECONDS)

        return self._answered(asked, next_of)

    def _change(self, asked: Any = None) -> Told:
        """{version}: the ledger's version, when it is another."""
        return self._answered(
            asked, lambda asked: self.outlook.change(str(asked.get("version", ""))[:LONGEST_ID], WAIT_SECONDS)
        )

    def _answered(self, asked: Any, work: Callable[[Told], Told]) -> Told:
        """What a viewer asked, when it may; each may wait for a few answers at a time."""
        if not isinstance(asked, dict):
            return {"fault": "bad_question", "detail": "ask with an object"}
        viewer = str(request.sid)  # type: ignore[attr-defined]
        if not self._is_still_in(viewer):
            return {"fault": "login_required", "detail": "this session is over"}
        if self._waiting[viewer] >= QUESTIONS_AT_ONCE:
            return {"fault": "too_many", "detail": f"{QUESTIONS_AT_ONCE} questions are open already"}
        self._waiting[viewer] += 1
        try:
            return work(asked)
        except NotFound as fault:
            return {"fault": "not_found", "detail": str(fault)}
        except (LedgerUnavailable, LedgerRefused) as fault:
            return {"fault": "ledger_unavailable", "detail": str(fault)}
        finally:
            self._waiting[viewer] -= 1
            if not self._waiting[viewer]:
                del self._waiting[viewer]

    def _is_still_in(self, viewer: str) -> bool:
        """Whether the session still holds; not asked again for some seconds while nothing is written in the ledger."""
        version, now = self.outlook.version(), time.monotonic()
        seen, at = self._seen.get(viewer, ("", 0.0))
        if version and version == seen and now - at < ASKED_AGAIN_SECONDS:
            return True
        if self.visitor(request) is None:
            self._seen.pop(viewer, None)
            return False
        self._seen[viewer] = version, now
        return True

    def _forget(self, *_: Any) -> None:
        self._seen.pop(str(request.sid), None)  # type: ignore[attr-defined]

    # ── the stream ──────────────────────────────────────────────────────────────────────────────────────────────

    def _events(self) -> Response:
        """`?job=j_...`: its output as server-sent events until its end; Last-Event-ID goes on where it broke off."""
        job = request.args.get("job", "")[:LONGEST_ID]
        attempt, _, after = request.headers.get("Last-Event-ID", "").partition(".")
        try:
            first = self.outlook.output(job, _number(attempt) or None, _number(after), "", 0)
        except NotFound as fault:
            return _plain(404, str(fault))
        return Response(self._stream(job, first), mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})

    def _stream(self, job: str, told: Told) -> Iterator[str]:
        self._streams += 1
        try:
            yield from self._follow(job, told)
        finally:
            self._streams -= 1

    def _follow(self, job: str, told: Told) -> Iterator[str]:
        after, attempt = 0, told["attempt"]
        while True:
            for chunk in told["chunks"]:
                yield _event(f"{attempt}.{chunk['number']}", "output", chunk)
            after = told["after"]
            if told["ended"] and not told["more"]:
                if told["attempts"] > (attempt or 0):
                    attempt, after = (attempt or 0) + 1, 0
                elif told["finished"]:
                    yield _event(f"{attempt}.{after}", "end", {"state": told["state"]})
                    return
            elif not told["chunks"]:
                yield ": still here\n\n"
            told = self.outlook.output(job, attempt, after, told["mark"], WAIT_SECONDS)
            attempt = told["attempt"]


def _number(given: Any) -> int:
    text = str(given)
    return int(text) if text.isdecimal() and len(text) <= 12 else 0


def _event(id: str, name: str, data: Any) -> str:
    return f"id: {id}\nevent: {name}\ndata: {json.dumps(data)}\n\n"


def _plain(status: int, text: str) -> Response:
    return _closing(Response(f"{text}\n", status, mimetype="text/plain"))


def _closing(response: Response) -> Response:
    """uWSGI has handed over the connection: what else comes on it would never reach a worker."""
    response.headers["Connection"] = "close"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
