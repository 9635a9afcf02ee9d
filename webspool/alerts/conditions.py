"""When an alert is due: pure functions of what was found. Times in Unix seconds, durations in seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from webspool.ledger.tallies import Tally, is_silent, usual_pause

STANDING_SECONDS = 60.0
FAILURE_RATE = 0.5
ENOUGH_ATTEMPTS = 20
ENOUGH_REFUSALS = 3
NAMED_AT_MOST = 3


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that goes wrong, in one sentence. `key` names it: while it lasts it is not told again and again.

    `lasting`: its end is told too. `page` is a path below the dashboard, `command` what to type.
    """

    key: str
    sentence: str
    since: float
    page: str
    command: str
    lasting: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a look has found. `died` says how many jobs of which task died since the look before, `dead` how many ever
    did; `unreadable` says why there is no more.
    """

    now: float
    unreadable: str | None = None
    degraded: Sequence[str] = ()
    unready: Sequence[str] = ()
    died: Mapping[str, int] = field(default_factory=dict)
    dead: Mapping[str, int] = field(default_factory=dict)
    last_error: str = ""
    running: int = 0
    paused: bool = False
    oldest_queued_at: float | None = None
    quarter: Mapping[str, Tally] = field(default_factory=dict)
    day: Mapping[str, Tally] = field(default_factory=dict)
    week: Mapping[str, Tally] = field(default_factory=dict)
    last_delivery_at: Mapping[str, float] = field(default_factory=dict)


def conditions(found: Facts) -> list[Alert]:
    """Everything that somebody should be told of what was found."""
    if found.unreadable is not None:
        return [Alert("ledger", f"The ledger cannot be read: {found.unreadable}.", found.now, "", "webspool status")]
    alerts = [*_dead(found), *_standing_still(found), *_failing(found), *_refused(found), *_silent(found)]
    return [*alerts, *_degraded(found)]


def _dead(found: Facts) -> Iterator[Alert]:
    """Jobs that will not be tried again by themselves."""
    if not found.died:
        return
    tasks = Counter(found.died)
    named = ", ".join(f"{task} ({times})" for task, times in tasks.most_common(NAMED_AT_MOST))
    more = f" and {len(tasks) - NAMED_AT_MOST} more tasks" if len(tasks) > NAMED_AT_MOST else ""
    number = tasks.total()
    told = f"; the last: {found.last_error[:200]}" if found.last_error else ""
    sentence = f"{number} {'job has' if number == 1 else 'jobs have'} died: {named}{more}{told}."
    yield Alert("dead", sentence, found.now, "failures", "webspool failures", lasting=False)


def _standing_still(found: Facts) -> Iterator[Alert]:
    if found.oldest_queued_at is None or found.running or found.paused:
        return
    waits = found.now - found.oldest_queued_at
    if waits > STANDING_SECONDS:
        sentence = f"A job is due since {waits:.0f} s and nothing runs."
        yield Alert("standing", sentence, found.oldest_queued_at, "jobs?state=queued", "webspool status")


def _failing(found: Facts) -> Iterator[Alert]:
    for name, tally in found.quarter.items():
        rate = tally.failure_rate
        if name.startswith("task:") and rate is not None and rate > FAILURE_RATE and tally.ended >= ENOUGH_ATTEMPTS:
            task = name.removeprefix("task:")
            sentence = f"{rate:.0%} of {tally.ended} attempts of {task} failed in the last 15 minutes."
            yield Alert(
                f"failing:{task}",
                sentence,
                found.now,
                f"failures?task={quote(task)}",
                f"webspool failures --task {task}",
            )


def _refused(found: Facts) -> Iterator[Alert]:
    """Refused only, and accepted before: mostly a secret that was changed on one side."""
    for name, tally in found.quarter.items():
        if not name.startswith("source:") or tally.accepted or tally.refused < ENOUGH_REFUSALS:
            continue
        if (before := found.day.get(name)) is not None and before.accepted:
            source = name.removeprefix("source:")
            sentence = (
                f"All {tally.refused} webhooks of {source} were refused in the last 15 minutes, {before.accepted} were "
                "accepted in the last day: was its secret changed?"
            )
            command = f"webspool deliveries --refused --source {source}"
            yield Alert(f"refused:{source}", sentence, found.now, f"refusals?source={quote(source)}", command)


def _silent(found: Facts) -> Iterator[Alert]:
    """Ten times its usual pause, and an hour at least; what comes now and then has no usual pause."""
    for source, last_at in found.last_delivery_at.items():
        week = found.week.get(f"source:{source}")
        usual = usual_pause(week.accepted) if week else None
        if week and usual and is_silent(week.accepted, found.now - last_at):
            silent = _spoken(found.now - last_at)
            sentence = f"Nothing has come from {source} since {silent}; usually it sends every {_spoken(usual)}."
            command = f"webspool deliveries --source {source}"
            yield Alert(f"silent:{source}", sentence, last_at, f"deliveries?source={quote(source)}", command)


def _spoken(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 3600
        else f"{seconds / 60:.0f} min"
        if seconds >= 60
        else f"{seconds:.0f} s"
    )


def _degraded(found: Facts) -> Iterator[Alert]:
    """What `webspool status` has under degraded, and why the instance is not ready."""
    for line in dict.fromkeys([*found.degraded, *found.unready]):
        what = " ".join(word for word in line.split() if not any(letter.isdigit() for letter in word))
        yield Alert(f"degraded:{what[:60]}", f"{line[:1].upper()}{line[1:]}.", found.now, "", "webspool status")
