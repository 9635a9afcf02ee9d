"""`webspool init`: a new instance; `webspool first-steps`: what ./run says before it starts one."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import click

from webspool.cli.chosen import chosen_directory
from webspool.cli.server_files import SITE, UNIT, commands, make_writable_folders, refuse_unusable, write_server_files
from webspool.config import Config, load, make_env
from webspool.errors import WebspoolError
from webspool.processes import Identity

TEMPLATE = Path(__file__).parent.parent / "template"
FOR_ITS_OWNER = 0o700
LOOKS_EVERY_SECONDS = 0.2
SILENCE_SECONDS = 5.0


class WouldOverwrite(WebspoolError):
    """Nothing was written: {directory} has {listing} already. Choose another directory, or move them away."""


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--systemd", is_flag=True, help="Write deploy/webspool.service and .socket too, with its real paths.")
@click.option("--nginx", is_flag=True, help="Write deploy/nginx.conf too, a site in front of it.")
def init(directory: Path, systemd: bool, nginx: bool) -> None:
    """Write a new instance to DIRECTORY: app.py, tasks.py, uwsgi.ini, my_spools/, and .env with fresh secrets.

    With --systemd or --nginx also what serves it on a server; for an instance that is there already, only that.
    """
    directory = Path(os.path.abspath(directory))
    names = (UNIT if systemd else ()) + (SITE if nginx else ())
    if systemd:
        refuse_unusable(directory)
    if not (names and (directory / "uwsgi.ini").is_file()):
        _new_instance(directory, behind_proxy=nginx)
    if names:
        config = load(directory)
        make_writable_folders(config)
        written = write_server_files(config, names)
        click.echo(f"\nFor the server: {', '.join(written)}. As root type:\n{commands(config, names)}")


def _new_instance(directory: Path, *, behind_proxy: bool) -> None:
    written = write_instance(directory)
    made = make_env(directory, "WEBSPOOL_TRUSTED_PROXIES=1\n" if behind_proxy else "")
    click.echo(f"A new instance in {directory}: {', '.join(written)}{', .env' if made else ''}")
    start = "".join(f"\n  {line}" for line in [f"cd {directory}", *_path(), "uwsgi --ini uwsgi.ini"])
    click.echo(f"\nStart it:{start}\n\nThen try it:\n  {_curl(load(directory), made)}")
    click.echo("\nThe dashboard's password and the other secrets are in .env. Next: edit tasks.py.")


def _path() -> list[str]:
    """What to type first where uWSGI, and `webspool` that it calls, lie in an environment that is not activated."""
    commands = Path(sys.executable).parent
    if shutil.which("uwsgi") or not (commands / "uwsgi").exists():
        return []
    return [f'export PATH="{commands}:$PATH"']


def write_instance(directory: Path) -> list[str]:
    """Copy the template. Returns the files' names. Raises WouldOverwrite, with nothing written."""
    files = sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    names = [str(path.relative_to(TEMPLATE)) for path in files]
    if present := [name for name in names if os.path.lexists(directory / name)]:
        raise WouldOverwrite(directory=directory, listing=", ".join(present))
    try:
        _copy(files, directory)
    except OSError as fault:
        raise click.ClickException(f"{fault.filename} cannot be written: {fault.strerror}") from None
    return names


def _copy(files: list[Path], directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "my_spools").mkdir(mode=FOR_ITS_OWNER, exist_ok=True)
    for path in files:
        with open(directory / path.relative_to(TEMPLATE), "xb") as file:
            file.write(path.read_bytes())


@click.command(hidden=True)
@click.option("--once-it-serves", is_flag=True, help="What to try comes last, below all that uWSGI tells at its start.")
def first_steps(once_it_serves: bool) -> None:
    """Write .env when there is none, and print where the instance will listen and what to try."""
    directory = chosen_directory()
    made = make_env(directory)
    config = load(directory)
    click.echo(f"webspool will listen at {config.address.url or config.address}")
    if made:
        click.echo("  .env was written, with fresh secrets.")
    if once_it_serves and config.address.url:
        _when_it_serves(config.address.url, lambda: _what_to_try(config, made))
    else:
        _what_to_try(config, made)


def _what_to_try(config: Config, made: bool) -> None:
    if config.address.url:
        click.echo(f"  the page:      {config.address.url}/")
        shown = f"   password: {config.password}" if made else ""
        click.echo(f"  the dashboard: {config.address.url}/dashboard/{shown}")
    click.echo(f"  try, in another terminal:\n    {_curl(config, made)}")
    if made:
        click.echo("  Key and password are shown this once; they are in .env.")


def _when_it_serves(url: str, then: Callable[[], None]) -> None:
    """Go on in a process beside the one that called this command and will become the server."""
    sys.stdout.flush()
    server = Identity.of(os.getppid())
    if os.fork():
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    while server.alive and not _is_ready(url):
        time.sleep(LOOKS_EVERY_SECONDS)
    if server.alive:
        time.sleep(LOOKS_EVERY_SECONDS)  # the other workers tell that they are there
        click.echo(f"\nwebspool serves at {url}; Ctrl-C stops it.")
        then()
    sys.stdout.flush()
    os._exit(0)


def _is_ready(url: str) -> bool:
    try:
        with urlopen(f"{url}/readyz", timeout=SILENCE_SECONDS) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def _curl(config: Config, show_key: bool) -> str:
    """A command to try; later ones read the key from .env instead of showing it."""
    key = config.webhook_key or "" if show_key else '$(sed -n "s/^WEBSPOOL_WEBHOOK_KEY=//p" .env)'
    where = config.address.url or "http://localhost"
    socket = f"--unix-socket {config.address.path} " if config.address.path else ""
    return f'curl {socket}"{where}/webhook/{key}" -d name=world'
