"""Werkzeug's server (`python app.py`, `flask run`) begins to serve: told to the instance, before any request.

Under its reloader only the child serves; the parent imports the app too, and must run nothing.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from werkzeug.serving import BaseWSGIServer


def tell_when_serving() -> None:
    """From now on, the instance of the app that a server serves is begun first. Doing it twice changes nothing."""
    serve = BaseWSGIServer.serve_forever
    if hasattr(serve, "__wrapped__"):
        return

    @wraps(serve)
    def serve_after_beginning(server: BaseWSGIServer, *args: Any, **kwargs: Any) -> None:
        instance = _instance_of(server.app)
        if instance is not None:
            instance.begin()
        serve(server, *args, **kwargs)

    BaseWSGIServer.serve_forever = serve_after_beginning  # type: ignore[method-assign, assignment]


def _instance_of(app: Any) -> Any:
    """The instance of the app inside the middleware (which keeps what it wraps as `app`), or None."""
    while app is not None and not hasattr(app, "extensions"):
        app = getattr(app, "app", None)
    return None if app is None else app.extensions.get("webspool")
