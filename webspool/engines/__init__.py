"""What wakes the processes that run jobs, and a serving process's way to the ledger."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

from webspool.config import Config
from webspool.ledger.client import Client
from webspool.telemetry import Say


class Engine(Protocol):
    """What a serving process needs of an engine: the way to the ledger, and to be begun with the app."""

    client: Client

    def attach(self, app: Any) -> None:
        """Begin, when this process is one that serves `app`."""

    def read_chunked(self, environ: Mapping[str, Any], cap: int, seconds: float) -> bytes:
        """A chunked body, at most one byte over `cap`. Raises TimeoutError after `seconds`, OSError when broken."""


def choose(config: Config, say: Say) -> Engine:
    """The configured engine: `spool` inside uWSGI, else `local`, unless one is named."""
    name = config.engine
    if name == "auto":
        name = "spool" if inside_uwsgi() else "local"
    if name == "spool":
        from webspool.engines.serving import UwsgiEngine

        return UwsgiEngine(config)
    from webspool.engines.local import LocalEngine

    return LocalEngine(config, say)


def inside_uwsgi() -> bool:
    """Whether this process is one of uWSGI's: only there is its module to be had."""
    try:
        importlib.import_module("uwsgi")
    except ImportError:
        return False
    return True
