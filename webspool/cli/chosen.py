"""Which instance a command is about, and its configuration."""

from __future__ import annotations

import os
from pathlib import Path

import click

from webspool.config import Config, load

MACHINE_WIDE = Path("/etc/webspool/instance")


def chosen_config() -> Config:
    """The configuration of the chosen instance. Raises ConfigurationError."""
    return load(chosen_directory())


def chosen_directory() -> Path:
    """The instance's directory, named on stderr unless uWSGI asks. Ends with a usage error when there is none."""
    given: Path | None = click.get_current_context().find_root().params.get("instance")
    directory = given or _by_environment() or _by_working_directory() or _by_machine()
    if directory is None:
        raise click.UsageError(
            "no instance: the current directory holds no uwsgi.ini. "
            "Go to one, name one with --instance DIR or WEBSPOOL_INSTANCE, or make one: webspool init DIR"
        )
    directory = Path(os.path.abspath(directory))
    if not started_by_uwsgi():
        click.echo(f"instance: {directory}", err=True)
    return directory


def started_by_uwsgi() -> bool:
    """Whether uWSGI runs this command while it starts (exec:// and exec-asap)."""
    return "UWSGI_ORIGINAL_PROC_NAME" in os.environ


def reloaded_by_uwsgi() -> bool:
    """Whether uWSGI starts anew in its old process, which holds the address and the ledger already."""
    return os.environ.get("UWSGI_RELOADS", "0") != "0"


def _by_environment() -> Path | None:
    named = os.environ.get("WEBSPOOL_INSTANCE")
    return _existing(Path(named), "WEBSPOOL_INSTANCE") if named else None


def _by_working_directory() -> Path | None:
    return Path.cwd() if Path("uwsgi.ini").is_file() else None


def _by_machine() -> Path | None:
    try:
        named = MACHINE_WIDE.read_text().strip()
    except OSError:
        return None
    return _existing(Path(named), str(MACHINE_WIDE)) if named else None


def _existing(directory: Path, namer: str) -> Path:
    if not directory.is_dir():
        raise click.UsageError(f"{namer} names {directory}, which is no directory")
    return directory
