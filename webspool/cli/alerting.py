"""`webspool alert`: tell those whom WEBSPOOL_ALERT_URLS names."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from webspool.alerts import Alert
from webspool.alerts.delivery import deliver
from webspool.alerts.watch import message
from webspool.cli.chosen import chosen_config
from webspool.config import Config

LARGEST_MESSAGE = 1 << 20


@click.group()
def alert() -> None:
    """Alerts: a message to whom WEBSPOOL_ALERT_URLS names, when something goes wrong."""


@alert.command()
def test() -> None:
    """Send a message to each address, and tell what became of it."""
    config = chosen_config()
    if not config.alert_urls:
        raise click.ClickException(
            "WEBSPOOL_ALERT_URLS names nobody. Add it to .env, for example: "
            "WEBSPOOL_ALERT_URLS=slack://TOKEN_A/TOKEN_B/TOKEN_C"
        )
    sentence = "This is a test: nothing is wrong."
    told = message(config, [Alert("test", sentence, time.time(), "", "webspool status")])
    raise SystemExit(_deliver(config, told, say_all=True))


@alert.command(hidden=True)
def send() -> None:
    """Deliver a message that stands as JSON on standard input; the instance calls this."""
    told = json.loads(sys.stdin.buffer.read(LARGEST_MESSAGE))
    raise SystemExit(_deliver(chosen_config(), told, say_all=False))


def _deliver(config: Config, told: dict[str, Any], *, say_all: bool) -> int:
    failed = 0
    for where, why_not in deliver(config.alert_urls, told):
        failed += why_not is not None
        if say_all or why_not:
            click.echo(f"{where}: {why_not or 'told'}", err=why_not is not None)
    return 1 if failed else 0
