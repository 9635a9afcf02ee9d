"""The short way of a webhook: past Flask's machinery to the receiver, where nobody of the app's would notice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Flask, Response, signals
from werkzeug.exceptions import HTTPException
from werkzeug.routing import PathConverter

from webspool.intake import Environ
from webspool.receive import Reply
from webspool.source import Source
from webspool.task import as_json

StartResponse = Callable[..., Any]

STATUS_LINES = {status.value: f"{status.value} {status.phrase.upper()}" for status in HTTPStatus}
STEPS = ("full_dispatch_request", "dispatch_request", "preprocess_request", "process_response")


class Rest(PathConverter):
    """The rest of an address, whatever it is: the usual converter stops at a line end (%0A)."""

    part_isolating = False
    regex = r"[\s\S]+?"


class Door:
    """Stands before the app: a POST to exactly a source's path is received here, all else goes on to Flask.

    So does a webhook when the app has something that sees every request (a before_request function, a middleware, a
    listener of Flask's signals), when its source calls code of the app's, and when the path is routed elsewhere.
    """

    def __init__(
        self,
        app: Flask,
        source_at: Callable[[str], Source | None],
        receive: Callable[[Source, Environ], Reply],
    ) -> None:
        self._app, self._source_at, self._receive = app, source_at, receive
        self._flask = app.wsgi_app
        self._routed: dict[str, Source | None] = {}
        self._first: Callable[[], None] | None = None

    def do_first(self, first: Callable[[], None]) -> None:
        """What is to be done before each request, whichever way it takes."""
        self._first = first
        self._app.before_request(first)

    def hang(self) -> None:
        """From now on requests come here first, unless the app has its own ways of dealing with them."""
        if _is_plain(self._app):
            self._app.wsgi_app = self  # type: ignore[method-assign]

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        source = self._source_of(environ) if environ["REQUEST_METHOD"] == "POST" else None
        if source is None or self._is_watched():
            return self._flask(environ, start_response)
        try:
            if self._first is not None:
                self._first()
            reply = self._receive(source, environ)
        except Exception as fault:  # of ours: dealt with as a view's
            with self._app.request_context(environ):
                return self._app.handle_exception(fault)(environ, start_response)
        if reply.body is not None:
            return answered(reply)(environ, start_response)
        text = _line(reply.payload)
        headers = [*reply.headers.items(), ("Content-Length", str(len(text)))]
        start_response(STATUS_LINES[reply.status], headers)
        return [text]

    def _source_of(self, environ: Environ) -> Source | None:
        path = environ.get("PATH_INFO", "")
        try:
            return self._routed[path]
        except KeyError:
            source = self._source_at(path)
            if source is None:
                return None
            self._routed[path] = found = source if self._may_take(source) else None
            return found

    def _may_take(self, source: Source) -> bool:
        if source.calls_code:  # it may look at flask.request
            return False
        try:
            endpoint, _ = self._app.url_map.bind("localhost").match(source.path, "POST")
        except HTTPException:
            return False
        return bool(endpoint == endpoint_of(source))

    def _is_watched(self) -> bool:
        """Whether the app has functions or listeners that are to see every request."""
        app = self._app
        before = app.before_request_funcs.get(None)
        return bool(
            (before and any(each is not self._first for each in before))
            or app.after_request_funcs.get(None)
            or app.teardown_request_funcs.get(None)
            or app.url_value_preprocessors.get(None)
            or app.config.get("TRUSTED_HOSTS")
            or signals.request_started.receivers
            or signals.request_finished.receivers
            or signals.request_tearing_down.receivers
        )


def _is_plain(app: Flask) -> bool:
    """Whether the app deals with requests as Flask does. Middleware that comes later stands before this door."""
    if getattr(app.wsgi_app, "__func__", None) is not Flask.wsgi_app:
        return False
    return all(getattr(type(app), step) is getattr(Flask, step) for step in STEPS)


def endpoint_of(source: Source) -> str:
    """The name of a source's view in Flask."""
    return f"webspool.source.{source.name}"


def answered(reply: Reply) -> Response:
    """A reply as Flask's response."""
    body = _line(reply.payload) if reply.body is None else reply.body
    return Response(body, reply.status, headers=reply.headers)


def json_line(payload: dict[str, Any]) -> str:
    return as_json(payload) + "\n"


def _line(payload: dict[str, Any]) -> bytes:
    """A reply's payload as json_line has it, in a tenth of the time where all is plain text."""
    text = msgspec.json.encode(payload)
    return text + b"\n" if text.isascii() else json_line(payload).encode()
