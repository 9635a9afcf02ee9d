"""`webspool run`: one job of a task by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from webspool import by_hand
from webspool.cli import printing
from webspool.cli.actor import operator_of
from webspool.cli.chosen import chosen_config
from webspool.cli.filters import as_json
from webspool.cli.sending import app_of
from webspool.cli.showing import write_output
from webspool.config import Config
from webspool.errors import NotAllowed, WebspoolError
from webspool.ledger import reading
from webspool.operate import Operator
from webspool.records import State, new_id
from webspool.source import Source
from webspool.task import Options, Task, registry


class UnknownTask(WebspoolError):
    """There is no task {task} in this instance's code; there are: {known}."""


@click.command()
@click.argument("task")
@click.argument("arguments", metavar="[NAME=VALUE]...", nargs=-1)
@click.option("--data", metavar="JSON", help="All arguments as a JSON object, or the payload.")
@click.option("--source", help="Where webhooks start the task: of which source the payload is.")
@click.option("--event", metavar="TYPE", help="Where webhooks start the task: the event's type.")
@click.option("--at", metavar="TIME", help="Not before: 2026-01-31T12:00:00Z.")
@click.option("--delay", metavar="LENGTH", help="Not before so long from now: 90, 10m, 2h.")
@click.option("--priority", metavar="NUMBER", help="Higher ones are begun first.")
@click.option("--key", metavar="TEXT", help="Of jobs of this task with the same key one runs at a time.")
@click.option("--follow", is_flag=True, help="Show what it prints until its end; exit code 1 unless it succeeded.")
@as_json
def run(
    task: str,
    arguments: Sequence[str],
    data: str | None,
    source: str | None,
    event: str | None,
    follow: bool,
    json_wanted: bool,
    **options: str | None,
) -> None:
    """Run a task once, its arguments read by its function's signature. Imports app.py."""
    if arguments and data is not None:
        raise click.UsageError("give arguments or --data, not both")
    config, texts = chosen_config(), _texts(arguments)
    operator = operator_of(config)
    app = app_of(config)
    made = _task(task)
    when = by_hand.options_of_texts(made, {name: text for name, text in options.items() if text is not None})
    sources = by_hand.sources_of(made, app.extensions["webspool"].sources.values())
    if sources:
        job = _run_webhook(operator, made, _source(sources, source), event, _payload(texts, data), when)
    else:
        order = by_hand.order_of_texts(made, texts, when) if data is None else by_hand.order_of_json(made, data, when)
        job = operator.run(order)["job"]
    _tell(config, job, follow, json_wanted)


def _texts(arguments: Sequence[str]) -> dict[str, str]:
    found = {}
    for each in arguments:
        name, is_pair, text = each.partition("=")
        if not is_pair:
            raise click.UsageError(f"{each!r} is no argument: write NAME=VALUE")
        found[name] = text
    return found


def _task(name: str) -> Task[Any, Any]:
    if name not in registry.tasks:
        raise UnknownTask(task=name, known=", ".join(sorted(registry.tasks)) or "none")
    return registry.tasks[name]


def _source(sources: Sequence[Source], name: str | None) -> Source:
    found = next((each for each in sources if name in (None, each.name)), None)
    if found is None:
        raise click.UsageError(f"the task is not started by {name}, but by {', '.join(each.name for each in sources)}")
    return found


def _payload(texts: Mapping[str, str], data: str | None) -> bytes:
    if data is not None:
        return data.encode("utf-8", "surrogateescape")
    anything = by_hand.Parameter("", by_hand.Kind.ANY, required=False)
    return json.dumps({name: anything.read(text) for name, text in texts.items()}).encode()


def _run_webhook(
    operator: Operator, task: Task[Any, Any], source: Source, event: str | None, payload: bytes, when: Options
) -> str:
    """The task's one argument is a delivery: the payload becomes one, for which the operator vouches."""
    job = {"id": new_id("j"), "task": task.name, **when.stored()}
    answer = operator.run_webhook(by_hand.webhook_of(source, event, payload), payload, job, encrypt=source.encrypt)
    if answer["delivery"] is None:
        raise NotAllowed(id=source.name, verb="given a webhook", state="paused and refuses")
    return str(job["id"])


def _tell(config: Config, job: str, follow: bool, json_wanted: bool) -> None:
    if not follow:
        if json_wanted:
            printing.write_json({"job": job, "state": reading.job(config, job)["state"]})
        else:
            click.echo(job)
        return
    printing.say(f"job: {job}")
    write_output(config, job, True, json_wanted)
    found = reading.job(config, job)
    if found["state"] != State.SUCCEEDED:
        printing.say(f"It is {found['state']}: {found['error'] or 'stopped looking'}")
        raise SystemExit(1)
