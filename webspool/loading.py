"""The user's application, imported the way uWSGI's workers import it."""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from webspool.config import Config
from webspool.release import pin
from webspool.task import SPOOL_IGNORE, SPOOL_OK, SPOOL_RETRY


def load_app(config: Config, code: Path | None = None) -> Any:
    """What WEBSPOOL_APP names, imported with the instance as working directory. Raises what the user's code does.

    `code` is the release to import; None: the files as they lie in the instance.
    """
    pin(config.directory, code)
    os.chdir(config.directory)
    os.environ["WEBSPOOL_INSTANCE"] = str(config.directory)
    if str(config.directory) not in sys.path:
        sys.path.insert(0, str(config.directory))
    module, _, name = config.app.partition(":")
    found = getattr(importlib.import_module(module), name.removesuffix("()"))
    return found() if name.endswith("()") else found


def stand_in_for_uwsgi(directory: Path) -> None:
    """Let code that says `import uwsgi` be imported outside uWSGI: its functions are there and do nothing."""
    try:
        importlib.import_module("uwsgi")
    except ImportError:
        sys.modules["uwsgi"] = _Nothing(directory)


class _Nothing(ModuleType):
    """A module `uwsgi` of a worker that has not begun to serve."""

    def __init__(self, directory: Path) -> None:
        super().__init__("uwsgi")
        self.__spec__ = importlib.machinery.ModuleSpec("uwsgi", None)
        self.opt = {"chdir": os.fsencode(directory), "lazy-apps": b"true"}
        self.SPOOL_OK, self.SPOOL_RETRY, self.SPOOL_IGNORE = SPOOL_OK, SPOOL_RETRY, SPOOL_IGNORE
        self.masterpid = os.getpid
        self.worker_id = lambda: 1
        self.spooler_pids = lambda: ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _nothing


def _nothing(*_: Any, **__: Any) -> None:
    return None
