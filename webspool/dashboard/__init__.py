"""The dashboard under /dashboard/: an application of its own in front of the user's, which it leaves as it is.

Its secret key, cookies, error handlers and hooks are its own, so are theirs the user's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

from flask import Flask

from webspool.dashboard.house import House
from webspool.dashboard.site import make_site

PATH = "/dashboard"

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Later:
    """The dashboard's application, made when it is first asked."""

    def __init__(self, house: House) -> None:
        self._house, self._lock = house, Lock()
        self._site: Flask | None = None

    @property
    def site(self) -> Flask:
        with self._lock:
            if self._site is None:
                self._site = make_site(self._house)
        return self._site

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return self.site(environ, start_response)


class Mount:
    """Stands before an application: what is asked under /dashboard goes to the dashboard, all else on."""

    def __init__(self, behind: WSGI, site: WSGI) -> None:
        self._behind, self._site = behind, site

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if not path.startswith(PATH) or path[len(PATH) :][:1] not in ("", "/"):
            return self._behind(environ, start_response)
        root = environ.get("SCRIPT_NAME", "") + PATH
        return self._site(environ | {"SCRIPT_NAME": root, "PATH_INFO": path[len(PATH) :]}, start_response)


def mount(app: Flask, house: House) -> None:
    """Serve the dashboard of `house` in front of `app`."""
    app.wsgi_app = Mount(app.wsgi_app, Later(house))  # type: ignore[method-assign]


__all__ = ["PATH", "House", "mount"]
