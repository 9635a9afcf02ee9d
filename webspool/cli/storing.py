"""Commands for old data: `backup`, `restore`, `prune`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from webspool.backup import back_up
from webspool.backup import restore as put_back
from webspool.cli import printing
from webspool.cli.actor import become_owner
from webspool.cli.chosen import chosen_config
from webspool.cli.filters import as_json
from webspool.config import Config
from webspool.errors import InstanceRunning, LedgerRefused
from webspool.keep import Retention
from webspool.keep.prune import Pruner, remove_bodies
from webspool.ledger import reading
from webspool.ledger.database import Database
from webspool.ledger.output import Outputs
from webspool.ledger.sockets import held_alone

REST_SECONDS = 0.01


@click.command()
@click.argument("path", type=click.Path(file_okay=False, path_type=Path))
@click.option("--output", is_flag=True, help="Also what attempts printed.")
@as_json
def backup(path: Path, output: bool, json_wanted: bool) -> None:
    """Copy ledger and large bodies to the new folder PATH, as they are at one moment, while the instance works.

    `.env` and your code are not in it.
    """
    config = chosen_config()
    _needs_a_ledger(config)
    try:
        told = back_up(config, path.absolute(), output=output)
    except OSError as fault:
        raise click.ClickException(f"The backup is not whole: {fault}.") from fault
    _report(told, json_wanted)


@click.command()
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@as_json
def restore(path: Path, json_wanted: bool) -> None:
    """Put the backup in the folder PATH in the place of ledger and bodies; what was there is moved aside.

    Refused while an instance runs. What ran or waited at the backup's moment runs after the next start, also what was
    done since then.
    """
    config = chosen_config()
    become_owner(config, handing=path.absolute())
    _refuse_beside_an_instance(config)
    with held_alone(config.keeper_dir):
        _refuse_beside_an_instance(config)
        try:
            restored = put_back(config, path.absolute())
        except OSError as fault:
            raise click.ClickException(f"Not restored: {fault}.") from fault
    if restored.before:
        printing.say(f"What was there before lies in {restored.before}.")
    _report(restored.told, json_wanted)


@click.command()
@as_json
def prune(json_wanted: bool) -> None:
    """Delete now what is older than WEBSPOOL_RETENTION_DAYS, in small bites; the keeper does so all the time."""
    config = chosen_config()
    _needs_a_ledger(config)
    become_owner(config)
    _report(prune_once(config), json_wanted)


def prune_once(config: Config) -> dict[str, int]:
    """One whole round; other writers come in between two bites. Raises LedgerUnavailable."""
    database = Database(config.ledger_path, busy_seconds=5.0)
    outputs = Outputs(config.output_path)
    pruner = Pruner(Retention(days=config.retention_days), config.var / "bodies")
    counted = {"jobs": 0, "deliveries": 0, "attempts": 0, "bodies": 0}
    try:
        while not pruner.rests:
            with database.transaction(flush=False) as tx:
                gone = pruner.bite(tx)
            remove_bodies(config.var / "bodies", gone.bodies)
            outputs.forget(gone.attempts)
            counted = {name: number + gone.counts()[name] for name, number in counted.items()}
            time.sleep(REST_SECONDS)
    finally:
        outputs.close()
        database.close()
    return counted


def _needs_a_ledger(config: Config) -> None:
    if not reading.exists(config):
        raise click.ClickException(f"There is no ledger yet at {config.ledger_path}.")


def _refuse_beside_an_instance(config: Config) -> None:
    try:
        found = reading.serving(config).instance
    except LedgerRefused:  # damaged or of another schema: the keeper's lock alone tells
        return
    if found is not None:
        started_at = reading.rfc3339(found["started_at"])
        raise InstanceRunning(ledger=config.ledger_path, pid=found["pid"], started_at=started_at)


def _report(told: dict[str, Any], json_wanted: bool) -> None:
    if json_wanted:
        printing.write_json(told)
    else:
        printing.write_fields(list(told.items()))
