"""`webspool drain`: no further job begins, what runs may end; before a stop, or by hand."""

from __future__ import annotations

import time
from typing import Any

import click

from webspool.cli import printing
from webspool.cli.actor import operator_of
from webspool.cli.chosen import chosen_config
from webspool.cli.filters import as_json
from webspool.config import Config
from webspool.ledger import reading

LOOK_SECONDS = 0.05
LONGEST_SECONDS = 7 * 86400.0

Running = list[dict[str, Any]]


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(0, LONGEST_SECONDS),
    metavar="SECONDS",
    help="How long running jobs may take to end. Default: WEBSPOOL_DRAIN_SECONDS.",
)
@click.option("--undo", is_flag=True, help="Let jobs begin again.")
@as_json
def drain(seconds: float | None, undo: bool, json_wanted: bool) -> None:
    """Begin no further job, go on accepting, and wait for the running ones.

    Exit code 1 when some are left, which are named. The instance stays so until it ends, or until --undo.
    """
    config = chosen_config()
    instance = serving_instance(config)
    if instance is None:
        printing.say("No instance runs: there is nothing to drain.")
        _report([], stopping=False, json_wanted=json_wanted)
        return
    operator_of(config).stop(instance, stopping=not undo)
    if undo:
        printing.say("Jobs begin again.")
        _report(reading.running_jobs(config, instance), stopping=False, json_wanted=json_wanted)
        return
    left = until_idle(config, instance, config.drain_seconds if seconds is None else seconds)
    _report(left, stopping=True, json_wanted=json_wanted)
    if left:
        printing.say(f"{_counted(left)} left; a stop now cuts them: they run again, no attempt is charged.")
        raise SystemExit(1)
    printing.say("Idle: nothing runs, and nothing begins until the instance is started anew, or webspool drain --undo.")


def serving_instance(config: Config) -> str | None:
    """The id of the instance that runs, if one does."""
    found = reading.serving(config).instance
    return None if found is None else str(found["id"])


def until_idle(config: Config, instance: str, seconds: float) -> Running:
    """Wait until nothing runs, at most that long; returns what runs still. An instance that ended is idle."""
    give_up = time.monotonic() + seconds
    while left := reading.running_jobs(config, instance):
        if serving_instance(config) != instance:
            return []
        if time.monotonic() >= give_up:
            return left
        time.sleep(LOOK_SECONDS)
    return []


def _report(running: Running, *, stopping: bool, json_wanted: bool) -> None:
    if json_wanted:
        printing.write_json({"stopping": stopping, "running": running})
        return
    for job in running:
        click.echo(printing.harmless(f"{job['id']}  {job['task']}  running since {job['started_at']}"))


def _counted(running: Running) -> str:
    return "1 job is" if len(running) == 1 else f"{len(running)} jobs are"
