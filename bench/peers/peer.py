"""What a stack is made of: files in a folder, programs to be started there, and what has to be installed for them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

BIN = Path(sys.executable).parent
PATH = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"


@dataclass(frozen=True)
class Peer:
    """One stack. `{directory}`, `{port}` and `{redis}` (a port) are filled in, in `files` and in `commands`.

    The first command is the front that answers HTTP; the others are started before it, in their order.
    """

    key: str
    title: str
    files: Mapping[str, str]
    commands: tuple[tuple[str, ...], ...]
    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    hook: str = "/hooks/bench"
    environ: Mapping[str, str] = field(default_factory=dict)

    def missing(self) -> str | None:
        """What has to be installed before this stack can be measured, in words; None: nothing."""
        modules = [name for name in self.modules if importlib.util.find_spec(name) is None]
        programs = [name for name in self.programs if shutil.which(name, path=PATH) is None]
        told = [f"the Python package {name} (./run bench --all installs it)" for name in modules]
        told += [f"the program {name} (Debian: {DEBIAN.get(name, name)})" for name in programs]
        return " and ".join(told) or None


DEBIAN = {"redis-server": "redis-server", "webhook": "webhook", "wrk": "wrk"}

FRONT = """[uwsgi]
master = true
single-interpreter = true
enable-threads = true
module = app:app
processes = 4
http-socket = 127.0.0.1:{port}
listen = 1024
chdir = {directory}
pythonpath = {directory}
disable-logging = true
buffer-size = 32768
no-orphans = true
hook-master-start = unix_signal:15 gracefully_kill_them_all
"""

FLASK = """
from flask import Flask, request

app = Flask(__name__)
"""

UWSGI = ("uwsgi", "--ini", "uwsgi.ini")
REDIS = (
    *("redis-server", "--port", "{redis}", "--bind", "127.0.0.1", "--dir", "{directory}", "--save", ""),
    *("--appendonly", "yes", "--appendfsync", "everysec", "--loglevel", "warning"),
)
