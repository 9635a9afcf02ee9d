"""The live application beside the user's in one ordinary process: the `local` engine has no other for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any, Protocol

from flask import Flask

from webspool.config import Config
from webspool.live import PATH


class House(Protocol):
    """The instance that is watched."""

    @property
    def config(self) -> Config: ...


def serve_beside(app: Flask, house: House) -> None:
    """Serve those who watch from threads of the server at hand, whose every open connection takes one."""
    app.wsgi_app = Beside(app.wsgi_app, house)  # type: ignore[method-assign]


class Beside:
    """Made when somebody first watches: a process that nobody watches need not import it."""

    def __init__(self, inner: Callable[..., Iterable[bytes]], house: House) -> None:
        self._inner, self._house, self._lock = inner, house, Lock()
        self._live: Callable[..., Iterable[bytes]] | None = None

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not environ.get("PATH_INFO", "").startswith(f"{PATH}/"):
            return self._inner(environ, start_response)
        with self._lock:
            if self._live is None:
                self._live = self._made()
        return self._live(environ, start_response)

    def _made(self) -> Callable[..., Iterable[bytes]]:
        from webspool.live.server import Live

        return Live(self._house.config, "threading").wsgi
