"""What wakes the processes that run jobs, and a serving process's way to the ledger."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, Protocol

from webspool.config import Config
from webspool.ledger.client import Client
from webspool.ledger.inbox import Inbox
from webspool.processes import Identity
from webspool.telemetry import Say


class Engine(Protocol):
    """What a serving process needs of an engine: the way to the ledger, and to be begun with the app.

    `in_process` says whether jobs run in the very process that serves.
    """

    client: Client
    in_process: bool

    def attach(self, app: Any) -> None:
        """Belong to `app`; nothing begins yet."""

    def begin(self) -> None:
        """Run jobs, where that is this process's part: it begins to serve. Raises InstanceRunning."""

    def bounded(self, seconds: float) -> AbstractContextManager[None]:
        """In here a body is read; where the engine can, it raises TimeoutError (an OSError) after that time."""

    def read_chunked(self, environ: Mapping[str, Any], cap: int, seconds: float) -> bytes:
        """A chunked body, at most one byte over `cap`. Raises TimeoutError after `seconds`, OSError when broken."""

    def guarded(self, seconds: float) -> AbstractContextManager[None]:
        """In here code of the user's is called; where the engine can, it replaces a process that hangs longer."""


class Keeping(Protocol):
    """The keeper, as an engine runs it."""

    def run(self, until: Callable[[], bool]) -> None: ...


class Performing(Protocol):
    """What performs jobs, as an engine runs it."""

    def ready(self) -> bool: ...
    def perform(self, until: Callable[[], bool]) -> None: ...
    def close(self) -> None: ...


class Verbs(Protocol):
    """What an engine that runs jobs in its own process is given to run: it imports no verb.

    `master` is the process that the instance is, `name` what tells this performer from others of the process.
    """

    def keeper(self, inbox: Inbox, master: Identity) -> Keeping: ...
    def performer(
        self,
        client: Client,
        master: Identity,
        name: str,
        start_runner: Callable[[], Any],
        clock: Callable[[], float] = ...,
    ) -> Performing: ...


def choose(config: Config, say: Say, verbs: Verbs) -> Engine:
    """The configured engine: `spool` inside uWSGI, else `local`, unless one is named."""
    name = config.engine
    if name == "auto":
        name = "spool" if inside_uwsgi() else "local"
    if name == "spool":
        from webspool.engines.serving import UwsgiEngine

        return UwsgiEngine(config)
    if name == "inline":
        from webspool.engines.inline import InlineEngine

        return InlineEngine(config, verbs)
    from webspool.engines.local import LocalEngine

    return LocalEngine(config, say, verbs)


def inside_uwsgi() -> bool:
    """Whether this process is one of uWSGI's: only there is its module to be had.

    What stands in for it (webspool.loading), so that user code can be looked at elsewhere, is of a type of its own.
    """
    try:
        return type(importlib.import_module("uwsgi")) is ModuleType
    except ImportError:
        return False
