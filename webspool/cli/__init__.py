"""The command `webspool`: a table of commands, each imported when it is called."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, cast

import click

from webspool.errors import WebspoolError

COMMANDS = {
    "alert": "webspool.cli.alerting:alert",
    "backup": "webspool.cli.storing:backup",
    "cancel": "webspool.cli.acting:cancel",
    "captured": "webspool.cli.explaining:captured",
    "check": "webspool.cli.checking:check",
    "deliveries": "webspool.cli.reading:deliveries",
    "delivery": "webspool.cli.showing:delivery",
    "discard": "webspool.cli.acting:discard",
    "drain": "webspool.cli.deploying:drain",
    "explain": "webspool.cli.explaining:explain",
    "failures": "webspool.cli.reading:failures",
    "first-steps": "webspool.cli.making:first_steps",
    "ini": "webspool.cli.serving:ini",
    "init": "webspool.cli.making:init",
    "job": "webspool.cli.showing:job",
    "jobs": "webspool.cli.reading:jobs",
    "keeper": "webspool.cli.reading:keeper",
    "pause": "webspool.cli.acting:pause",
    "prune": "webspool.cli.storing:prune",
    "reload": "webspool.cli.reloading:reload",
    "replay": "webspool.cli.acting:replay",
    "restore": "webspool.cli.storing:restore",
    "resume": "webspool.cli.acting:resume",
    "retry": "webspool.cli.acting:retry",
    "run": "webspool.cli.running:run",
    "send": "webspool.cli.sending:send",
    "status": "webspool.cli.reading:status",
    "tail": "webspool.cli.reading:tail",
    "token": "webspool.cli.users:token",
    "user": "webspool.cli.users:user",
}


class Failed(click.ClickException):
    """A fault of the house, told as it stands: exit code 1."""

    def show(self, file: Any = None) -> None:
        click.echo(self.message, err=True)


class Commands(click.Group):
    """Commands by name, imported when called: uWSGI waits for `webspool ini`, which must not import Flask."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        return cast(click.Command, getattr(importlib.import_module(module), name))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except WebspoolError as fault:
            raise Failed(str(fault)) from fault


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--instance",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The instance's directory. Default: WEBSPOOL_INSTANCE, else the current directory if it holds uwsgi.ini, "
    "else the one that /etc/webspool/instance names.",
)
@click.version_option(package_name="webspool", message="webspool %(version)s")
def main(instance: Path | None) -> None:
    """Webhooks in, Python tasks out: durable, on one Linux box, with one command."""
