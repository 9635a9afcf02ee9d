"""One look at the ledger for the alerts: a few reads, none of them of more than a page."""

from __future__ import annotations

from collections.abc import Mapping

from webspool.alerts.conditions import Facts
from webspool.config import Config
from webspool.ledger import figures, reading, standing, tallies
from webspool.ledger.likeness import first_line
from webspool.ledger.reading import Filters
from webspool.ledger.tallies import MINUTE, RANGES, Range
from webspool.records import State

QUARTER = Range("15m", 900, 60, MINUTE)


def look(config: Config, now: float, *, known_dead: Mapping[str, int] | None) -> Facts:
    """What is to be known now. `known_dead` are the `dead` of the look before; None: there was none.

    Raises LedgerUnavailable, LedgerRefused.
    """
    status = standing.status(config)
    dead = tallies.ever_by_task(config, "dead")
    died = (
        {} if known_dead is None else {task: new for task in dead if (new := dead[task] - known_dead.get(task, 0)) > 0}
    )
    return Facts(
        now=now,
        degraded=status["degraded"],
        unready=standing.unready(config) if status["since"] else ["no instance runs"],
        died=died,
        dead=dead,
        last_error=_last_error(config, next(iter(died))) if died else "",
        running=status["jobs"]["running"],
        paused=bool(status["paused"]),
        oldest_queued_at=figures.oldest_queued_at(config),
        quarter=tallies.by_name(config, QUARTER, now=now),
        day=tallies.by_name(config, RANGES["24h"], now=now),
        week=tallies.by_name(config, RANGES["7d"], now=now),
        last_delivery_at=tallies.last_at(config, "accepted", now=now),
    )


def _last_error(config: Config, task: str) -> str:
    """The first line of what the newest dead job of the task says."""
    found = reading.jobs(config, Filters(states=(State.DEAD,), task=task, limit=1))
    return first_line(found[0]["error"] or "") if found else ""
