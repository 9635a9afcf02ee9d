"""Commands that list: status, jobs, deliveries, failures, tail, keeper. They create nothing and import no app."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from webspool.cli import printing
from webspool.cli.chosen import chosen_config
from webspool.cli.filters import (
    OF_JOBS,
    OF_WEBHOOKS,
    SHOWN,
    as_json,
    filtered,
    filters_of,
    paged,
    place_after,
    refuse_filters_of_jobs,
)
from webspool.cli.printing import Column, moment
from webspool.config import Config
from webspool.errors import LedgerUnavailable
from webspool.ledger import failing, reading
from webspool.ledger.client import PATIENCE_SECONDS
from webspool.ledger.following import Follower
from webspool.ledger.inbox import KeeperGone
from webspool.ledger.operations import Operation
from webspool.ledger.reading import Filters, Page
from webspool.ledger.sockets import SocketRoute
from webspool.records import new_id

TAIL_SECONDS = 0.3
TROUBLES_SHOWN = 5

JOB_COLUMNS = (
    Column("ID", lambda job: job["id"]),
    Column("TASK", lambda job: job["task"]),
    Column("STATE", lambda job: f"{job['state']} ({job['blocked_on']})" if job["blocked_on"] else job["state"]),
    Column("ATTEMPTS", lambda job: job["attempts"], right=True),
    Column("CREATED", lambda job: moment(job["created_at"])),
    Column("DUE", lambda job: moment(job["due_at"]) if job["state"] == "scheduled" else None),
    Column("FINISHED", lambda job: moment(job["finished_at"])),
    Column("ERROR", lambda job: job["error"]),
)
DELIVERY_COLUMNS = (
    Column("ID", lambda delivery: delivery["id"]),
    Column("SOURCE", lambda delivery: delivery["source"]),
    Column("TYPE", lambda delivery: delivery["type"]),
    Column("RECEIVED", lambda delivery: moment(delivery["received_at"])),
    Column("STATUS", lambda delivery: delivery["status"]),
    Column("BYTES", lambda delivery: delivery["body_size"], right=True),
    Column("COPIES", lambda delivery: delivery["duplicates"] or None, right=True),
    Column("JOBS", lambda delivery: ", ".join(f"{job['task']} {job['state']}" for job in delivery["jobs"])),
)
REFUSAL_COLUMNS = (
    Column("ID", lambda refusal: refusal["id"]),
    Column("SOURCE", lambda refusal: refusal["source"]),
    Column("REFUSED", lambda refusal: moment(refusal["received_at"])),
    Column("STATUS", lambda refusal: refusal["status"], right=True),
    Column("CAUSE", lambda refusal: refusal["cause"]),
    Column("FROM", lambda refusal: refusal["remote"]),
    Column("REQUEST", lambda refusal: f"{refusal['method']} {refusal['url']}"),
)
FAILURE_COLUMNS = (
    Column("JOBS", lambda group: group["jobs"], right=True),
    Column("DEAD", lambda group: group["dead"], right=True),
    Column("TASK", lambda group: group["task"]),
    Column("FIRST", lambda group: moment(group["first_at"])),
    Column("LAST", lambda group: moment(group["last_at"])),
    Column("EXAMPLE", lambda group: group["example"]),
    Column("PLACE", lambda group: group["place"]),
    Column("ERROR", lambda group: group["error"]),
)


@click.command()
@as_json
def status(json_wanted: bool) -> None:
    """The instance at a glance: jobs by state, deliveries, processes, what is degraded."""
    found = reading.status(chosen_config())
    if json_wanted:
        printing.write_json(found)
        return
    processes = found["processes"]
    printing.write_fields(
        [
            ("jobs", _counted(found["jobs"])),
            ("deliveries", _counted(found["deliveries"])),
            ("spool", f"{found['spool']['files']} files, the oldest {found['spool']['oldest_seconds']:.0f} s old"),
            ("processes", _counted({name: processes[name] for name in ("workers", "spoolers", "busy")})),
            ("keeper", "running" if processes["keeper"] else "down"),
            ("since", found["since"] and moment(found["since"])),
            ("paused", ", ".join(f"{each['name']} (by {each['actor']})" for each in found["paused"])),
            ("degraded", "\n".join(found["degraded"])),
            ("troubles", "\n".join(map(_trouble, found["troubles"][:TROUBLES_SHOWN]))),
        ]
    )


def _trouble(told: dict[str, Any]) -> str:
    """Each is explained in docs/reference/happenings.md."""
    return f"{told['name']}, told {told['times']} times, the last time {moment(told['last_at'])}"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items())


@click.command()
@filtered(*OF_JOBS)
@paged
@as_json
def jobs(limit: int | None, after: str | None, json_wanted: bool, **given: Any) -> None:
    """Jobs, newest first."""
    config = chosen_config()
    filters = replace(filters_of(given), after=place_after(config, "job", after))
    _list(config, reading.jobs, filters, limit, JOB_COLUMNS, json_wanted)


@click.command()
@filtered(*OF_WEBHOOKS)
@paged
@as_json
def deliveries(refused: bool, limit: int | None, after: str | None, json_wanted: bool, **given: Any) -> None:
    """Accepted webhooks, newest first; with --refused, those that were not accepted and why."""
    if refused:
        refuse_filters_of_jobs(given)
    config = chosen_config()
    filters = replace(filters_of(given), after=place_after(config, "refusal" if refused else "delivery", after))
    page, columns = (reading.refusals, REFUSAL_COLUMNS) if refused else (reading.deliveries, DELIVERY_COLUMNS)
    _list(config, page, filters, limit, columns, json_wanted)


def _list(
    config: Config, page: Page, filters: Filters, limit: int | None, columns: Sequence[Column], json_wanted: bool
) -> None:
    _say_when_there_is_no_ledger(config)
    if json_wanted and limit is None:
        printing.write_json_list(reading.every(page, config, filters))
        return
    limit = limit or SHOWN
    found = page(config, replace(filters, limit=limit + 1))
    shown = found[:limit]
    if json_wanted:
        printing.write_json_list(shown)
    elif shown:
        printing.write_table(shown, columns)
    else:
        printing.say("There is none.")
    if len(found) > limit:
        printing.say(f"There are more: --after {shown[-1]['id']}")


@click.command()
@filtered("task", "source", "type", "since", "until", "error")
@as_json
def failures(json_wanted: bool, **given: Any) -> None:
    """What goes wrong: jobs that are dead or try again, by task, exception and place."""
    config = chosen_config()
    _say_when_there_is_no_ledger(config)
    found = failing.failures(config, filters_of(given))
    if json_wanted:
        printing.write_json_list(found)
    elif found:
        printing.write_table(found, FAILURE_COLUMNS)
    else:
        printing.say("Nothing fails.")


def _say_when_there_is_no_ledger(config: Config) -> None:
    if not reading.exists(config):
        printing.say(f"There is no ledger yet at {config.ledger_path}; the first start of the instance makes it.")


# ── tail ────────────────────────────────────────────────────────────────────────────────────────────────────────


@click.command()
@as_json
def tail(json_wanted: bool) -> None:
    """Deliveries, ends of attempts and refusals as they come, until Ctrl-C; with --json a line each."""
    config = chosen_config()
    _say_when_there_is_no_ledger(config)
    follower = Follower(config)
    printing.say("Following; Ctrl-C ends it.")
    try:
        while True:
            for happening in follower.look():
                click.echo(printing.to_json(happening) if json_wanted else _told(happening))
            time.sleep(TAIL_SECONDS)
    except KeyboardInterrupt:
        return


def _told(happening: dict[str, Any]) -> str:
    match happening["event"]:
        case "delivery":
            started = ", ".join(f"{job['task']} {job['id']}" for job in happening["jobs"]) or "nothing to start"
            words = [happening["status"], happening["id"], happening["source"], happening["type"], started]
        case "refusal":
            words = ["refused", happening["id"], happening["source"], happening["cause"]]
        case _:
            words = [
                happening["outcome"],
                happening["job"],
                happening["task"],
                f"attempt {happening['number']}",
                f"{happening['duration_seconds']:.3f} s",
                f"-> {happening['state']}",
                happening["error"],
            ]
    first, *rest = [printing.one_line(word) for word in words if word]
    return "  ".join([moment(happening["at"]), printing.emphasised(first), *rest])


# ── keeper ──────────────────────────────────────────────────────────────────────────────────────────────────────


@click.command()
@as_json
def keeper(json_wanted: bool) -> None:
    """The keeper, which writes the ledger in batches: its process, since when, whether it answers."""
    config = chosen_config()
    found = reading.keeper(config) or {"pid": None, "since": None, "running": False}
    found["answering"] = _answers(config)
    if json_wanted:
        printing.write_json(found)
        return
    running = f"process {found['pid']}, since {moment(found['since'])}" if found["running"] else "not running"
    printing.write_fields([("keeper", running), ("answering", "yes" if found["answering"] else "no")])


def _answers(config: Config) -> bool:
    route = SocketRoute(config.keeper_dir)
    try:
        route.ask(Operation(new_id("x"), "ping", {}, deadline=time.monotonic() + PATIENCE_SECONDS))
    except (KeeperGone, LedgerUnavailable):
        return False
    finally:
        route.close()
    return True
