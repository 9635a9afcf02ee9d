"""`webspool ini`: the configuration as uWSGI reads it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

import click

import webspool
from webspool.cli.chosen import chosen_directory, started_by_uwsgi
from webspool.config import LIVE_SOCKET, Config, load
from webspool.errors import ConfigurationError

LINES = """\
strict = true
master = true
single-interpreter = true
enable-threads = true
# each worker imports the app itself; libraries are imported once, by the master, and shared
lazy-apps = true
shared-import = webspool.preload
module = webspool.wsgi
chdir = {directory}
pythonpath = {directory}
processes = {workers}
# while one request waits for the ledger its worker serves others, and what they bring is flushed together
threads = {threads}
spooler = {spool}
spooler-processes = {spoolers}
spooler-import = webspool.spooler
spooler-frequency = 1
spooler-quiet = true
mule = {keeper}
# those who watch are served by a process of their own: the connection is handed over, and the worker is free
mule = {live}
route = ^/live/(ws|events)/?$ httpdumb:{live_socket}
offload-threads = 1
# uWSGI ignores SIGTERM while it starts; then SIGTERM alone would be a reload, and die-on-term cuts requests
hook-asap = unix_signal:15 end_me
# a stop while workers import the app would be lost in the handlers they have from the master, which waits for them
hook-post-fork = unix_signal:1 end_me
# Ctrl-C goes to every process of a terminal: the master ends all, as for SIGTERM, and workers leave it to the master
hook-master-start = unix_signal:2 gracefully_kill_them_all
hook-master-start = unix_signal:15 gracefully_kill_them_all
hook-post-fork = unix_signal:2 worker_wakeup
hook-accepting = unix_signal:2 worker_wakeup
# an exit in a signal's handler may not tear Python down in the middle of an import: it would wait for itself
skip-atexit = true
skip-atexit-teardown = true
# how webspool reload asks for new workers, one by one
master-fifo = {fifo}
worker-reload-mercy = 8
# the keeper has to outlive the workers, and records what was cut
mule-reload-mercy = 20
no-orphans = true
vacuum = true
# longer headers than uWSGI's 4096 bytes would reset the connection
buffer-size = 32768
listen = {backlog}
# seconds that a client may be silent in the middle of a request; every byte begins them anew
socket-timeout = 10
ignore-sigpipe = true
ignore-write-errors = true
disable-write-exception = true
disable-logging = true
auto-procname = true
procname-prefix-spaced = webspool
"""


@click.command()
def ini() -> None:
    """Print the uWSGI configuration; uwsgi.ini reads it: ini = exec://webspool ini."""
    directory = chosen_directory()
    try:
        text = uwsgi_ini(load(directory))
    except ConfigurationError:
        if not started_by_uwsgi():
            raise
        click.echo(_stopping(directory), nl=False)
        raise SystemExit(1) from None
    click.echo(text, nl=False)


def uwsgi_ini(config: Config) -> str:
    """The configuration as an ini text. Makes the directories that are missing and without which uWSGI ends.

    Raises ConfigurationError when the directory cannot stand in an ini file.
    """
    if not str(config.directory).isprintable() or any(sign in str(config.directory) for sign in ("$(", "@(")):
        fault = "the path of an instance may hold no $( or @( and no control characters: uWSGI would replace them"
        raise ConfigurationError(where=str(config.directory), faults=[fault])
    for folder in (config.spool_path, config.var):
        _make(config, folder)
    common = LINES.format(
        directory=_escaped(config.directory),
        spool=_escaped(config.spool_path),
        fifo=_escaped(config.master_fifo),
        keeper=_escaped(Path(webspool.__path__[0]) / "keeper_process.py"),
        live=_escaped(Path(webspool.__path__[0]) / "live_process.py"),
        live_socket=LIVE_SOCKET,
        workers=config.workers,
        threads=config.threads,
        spoolers=config.spoolers,
        backlog=_backlog(),
    )
    return "\n".join(["[uwsgi]", *_binary(), *_listening(config), common])


def _make(config: Config, folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as fault:
        why = f"{folder} cannot be made: {fault.strerror}"
        raise ConfigurationError(where=str(config.directory), faults=[why]) from None


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")


def _binary() -> Iterable[str]:
    """The wheel's uWSGI reloads by running the bare interpreter, which does not know this environment."""
    name = os.path.basename(os.environ.get("UWSGI_ORIGINAL_PROC_NAME", "python"))
    if name.startswith("python"):
        yield f"binary-path = {_escaped(Path(sys.executable))}"


def _listening(config: Config) -> Iterable[str]:
    yield f"http-socket = {str(config.address).replace('%', '%%')}"
    if config.address.path is not None:
        yield "chmod-socket = 660"


def _backlog() -> int:
    """Connections that may wait to be accepted; uWSGI does not start with more than the kernel allows."""
    try:
        return min(1024, int(Path("/proc/sys/net/core/somaxconn").read_text()))
    except (OSError, ValueError):
        return 100


def _stopping(directory: Path) -> str:
    """A configuration with which uWSGI ends after `webspool check` has told the faults, once.

    uWSGI reads `ini = exec://...` before it runs any exec-asap, and does not look at its exit code.
    """
    told_by = f"{shlex.quote(sys.argv[0])} --instance {shlex.quote(str(directory))} check"
    return f"[uwsgi]\nexec-asap = {told_by.replace('%', '%%')}\n"
