"""Commands that change the ledger: retry, cancel, discard, replay, pause, resume. They write through the keeper."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import click

from webspool.cli import printing
from webspool.cli.actor import operator_of
from webspool.cli.chosen import chosen_config
from webspool.cli.filters import (
    OF_JOBS,
    OF_WEBHOOKS,
    as_json,
    expect,
    filtered,
    filters_of,
    refuse_filters_of_jobs,
)
from webspool.config import Config
from webspool.errors import LedgerUnavailable, NotFound
from webspool.ledger import reading
from webspool.loading import load_app, stand_in_for_uwsgi
from webspool.operate import Answered, Operator, Today
from webspool.receive import plan_of
from webspool.records import WAITING, State
from webspool.telemetry import unheard
from webspool.verifier import Verifier

F = TypeVar("F", bound=Callable[..., Any])
Results = Iterable[dict[str, Any]]

DONE = ("done", "interrupting", "paused already", "not paused")
REPLAYED = ("replayed", "accepted", "held", "duplicate", "retried", "ignored")
DAY_SECONDS = 86400.0


def chosen_by_ids_or_filters(function: F) -> F:
    """Give a command its ids, and what it asks before it acts on what filters find."""
    for option in (
        as_json,
        click.option("--dry-run", is_flag=True, help="Print the ids and change nothing."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.argument("ids", metavar="[ID]...", nargs=-1),
    ):
        function = option(function)
    return function


spread_option = click.option(
    "--spread",
    "spread_seconds",
    type=click.FloatRange(0, 365 * DAY_SECONDS),
    default=0.0,
    metavar="SECONDS",
    help="Begin them evenly over that time.",
)


# ── jobs ────────────────────────────────────────────────────────────────────────────────────────────────────────


@click.command()
@filtered(*OF_JOBS)
@spread_option
@chosen_by_ids_or_filters
def retry(spread_seconds: float, **given: Any) -> None:
    """Give jobs a new round of attempts: those named, or the dead ones that fit (other states with --state).

    A scheduled job does not wait any longer.
    """
    _act_on_jobs("retry", given, [State.DEAD], lambda do, jobs: do.retry(jobs, spread_seconds=spread_seconds))


@click.command()
@filtered(*OF_JOBS)
@chosen_by_ids_or_filters
def cancel(**given: Any) -> None:
    """End jobs that wait or run: those named, or all that fit. A running one is interrupted."""
    _act_on_jobs("cancel", given, [*sorted(WAITING), State.RUNNING], lambda do, jobs: do.cancel(jobs))


@click.command()
@filtered(*OF_JOBS)
@click.option("--reason", default="discarded by an operator", show_default=True, help="Kept as the jobs' error.")
@chosen_by_ids_or_filters
def discard(reason: str, **given: Any) -> None:
    """Declare waiting jobs dead: those named, or all that fit."""
    _act_on_jobs("discard", given, sorted(WAITING), lambda do, jobs: do.discard(jobs, reason))


def _act_on_jobs(
    verb: str, given: dict[str, Any], states: Sequence[State], act: Callable[[Operator, Sequence[str]], Answered]
) -> None:
    jobs = _by_id(given, "job")
    config = chosen_config()
    if not given["ids"]:
        filters = filters_of(given)
        filters = replace(filters, states=filters.states or states)
        jobs = [found["id"] for found in reading.every(reading.job_ids, config, filters)][::-1]
    if _may_go_on(verb, "job", jobs, given):
        answers = act(operator_of(config), jobs)
        _report(({"id": job, "answer": answer} for job, answer in answers), DONE, given)


# ── replay ──────────────────────────────────────────────────────────────────────────────────────────────────────


@click.command()
@filtered(*OF_WEBHOOKS)
@spread_option
@chosen_by_ids_or_filters
@click.option("--vouch", is_flag=True, help="Take refusals whose proof does not fit, or cannot be checked again.")
def replay(spread_seconds: float, refused: bool, vouch: bool, **given: Any) -> None:
    """Start new jobs from stored deliveries by today's routing.

    A refusal (r_...) becomes a delivery first, if its proof fits today's secrets.
    """
    if refused:
        refuse_filters_of_jobs(given)
    ids = _by_id(given | {"refused": refused}, "delivery", "refusal")
    config = chosen_config()
    if not given["ids"]:
        page = reading.refusals if refused else reading.deliveries
        ids = [found["id"] for found in reading.every(page, config, filters_of(given))][::-1]
    if not _may_go_on("replay", "webhook", ids, given):
        return
    webhooks = [_webhook(config, each) for each in ids]
    operator = operator_of(config)
    results = operator.replay(webhooks, _today(config, vouch), spread_seconds=spread_seconds)
    _report((result | {"answer": result["status"]} for result in results), REPLAYED, given)


def _webhook(config: Config, given: str) -> dict[str, Any]:
    return reading.refusal(config, given) if given.startswith("r_") else reading.delivery(config, given)


def _today(config: Config, vouched: bool) -> Today:
    """The routing of the app as it is on disk, and the secrets of today; this alone imports the user's code."""
    stand_in_for_uwsgi(config.directory)
    judge = Verifier(config.secret, unheard, config.public_url).judge
    return Today(load_app(config).extensions["webspool"].sources, plan_of, judge, vouched)


# ── pause and resume ────────────────────────────────────────────────────────────────────────────────────────────


def named(function: F) -> F:
    """Give a command what may be paused."""
    for option in (
        as_json,
        click.option("--all", "everything", is_flag=True, help="Everything."),
        click.option("--task", "tasks", multiple=True, metavar="NAME", help="The jobs of a task."),
        click.option("--source", "sources", multiple=True, metavar="NAME", help="The jobs of a source's webhooks."),
    ):
        function = option(function)
    return function


@click.command()
@named
@click.option("--refuse", is_flag=True, help="Take no webhooks of the source either: 503, to be sent again.")
def pause(refuse: bool, **given: Any) -> None:
    """Hold jobs back: webhooks are still accepted, running jobs end, nothing of it begins."""
    names = _names(given)
    if refuse:
        if not all(name.startswith("source:") for name in names):
            raise click.UsageError("--refuse is for sources: --source NAME")
        names = [name.replace("source:", "refuse:", 1) for name in names]
    _report(_results(operator_of(chosen_config()).pause(names)), DONE, given)


@click.command()
@named
def resume(**given: Any) -> None:
    """Let go what a pause held, in order."""
    names = _names(given)
    _report(_results(operator_of(chosen_config()).resume(names)), DONE, given)


def _names(given: dict[str, Any]) -> list[str]:
    names = ["all"] if given["everything"] else []
    names += [f"source:{name}" for name in given["sources"]] + [f"task:{name}" for name in given["tasks"]]
    if not names:
        raise click.UsageError("say what: --source NAME, --task NAME, or --all")
    return names


def _results(answers: Answered) -> Results:
    return ({"name": name, "answer": answer} for name, answer in answers)


# ── before and after ────────────────────────────────────────────────────────────────────────────────────────────


def _by_id(given: dict[str, Any], *kinds: str) -> list[str]:
    """The ids that were named, all of these kinds; with none named, at least one filter must be."""
    filters = {"states", "task", "source", "type", "since", "until", "error", "text", "refused"}
    narrowed = [name for name in filters & given.keys() if given[name] not in (None, (), False)]
    if given["ids"] and narrowed:
        raise click.UsageError("give ids or filters, not both")
    if not given["ids"] and not narrowed:
        raise click.UsageError("name ids, or filters to find them by")
    for each in given["ids"]:
        expect(each, *kinds)
    return list(dict.fromkeys(given["ids"]))


def _may_go_on(verb: str, noun: str, ids: Sequence[str], given: dict[str, Any]) -> bool:
    """Whether to act: not on a dry run, not on nothing, and on what filters found only when the person agrees."""
    if given["dry_run"]:
        _write([{"id": each, "answer": f"would {verb}"} for each in ids], given)
        return False
    if not ids:
        printing.say("Nothing fits.")
        _write([], given)
        return False
    if given["ids"] or given["yes"]:
        return True
    counted = f"1 {noun}" if len(ids) == 1 else f"{len(ids)} {noun}s"
    click.confirm(f"{verb} {counted}?", abort=True, err=True)
    return True


def _report(results: Results, good: Sequence[str], given: dict[str, Any]) -> None:
    """What became of each, as it comes. Exit code 1 when something that was named could not be done."""
    bad: list[dict[str, Any]] = []
    faults: list[LedgerUnavailable] = []

    def coming() -> Results:
        try:
            for result in results:
                if result["answer"] not in good:
                    bad.append(result)
                yield result
        except LedgerUnavailable as fault:
            faults.append(fault)

    _write(coming(), given)
    for result in bad:
        printing.say(_why(result))
    for fault in faults:
        printing.say("Stopped: what is listed is done, the rest is not.")
        raise fault
    if bad and given.get("ids"):
        raise SystemExit(1)


def _write(results: Results, given: dict[str, Any]) -> None:
    if given["json_wanted"]:
        printing.write_json_list(results)
        return
    for result in results:
        made = "".join(f"  {job['id']} {job['task']}" for job in result.get("jobs", ()))
        click.echo(printing.harmless(f"{result.get('id') or result.get('name')}  {result['answer']}{made}"))


def _why(result: dict[str, Any]) -> str:
    if result["answer"] == "not_found":
        return str(NotFound(kind="job", id=result["id"]))
    return f"{result['id']}: {result['answer'].removeprefix('not_allowed: ')}"
