"""The numbers behind the metrics, read at once: totals, what waits, how the instance stands."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webspool.config import Config
from webspool.ledger import standing
from webspool.ledger.reader import Reader, read
from webspool.ledger.tallies import ever
from webspool.processes import entered

REFUSED = "refused."

Counts = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything that a scrape tells. `sources`, `tasks` and `keeper` are tallies of all time."""

    sources: Mapping[str, Counts]
    tasks: Mapping[str, Counts]
    keeper: Counts
    starts: Mapping[str, int]
    refusals: Mapping[tuple[str, str], int]
    states: Mapping[str, int]
    open_jobs: Mapping[tuple[str, str], int]
    oldest_queued_seconds: float
    status: Mapping[str, Any]
    viewers: int
    ledger_bytes: int
    output_bytes: int


def read_figures(config: Config, *, now: float | None = None) -> Figures:
    """The figures of an instance. Raises LedgerUnavailable, LedgerRefused."""
    now = time.time() if now is None else now
    status = standing.status(config)

    def work(reader: Reader) -> Figures:
        tallies = ever(reader)
        oldest = reader.one("oldest_queued")
        live = entered(config.live_file)
        return Figures(
            sources=_named(tallies, "source:"),
            tasks=_named(tallies, "task:"),
            keeper=tallies.get("keeper:", {}),
            starts={kind: counts.get("started", 0) for kind, counts in _named(tallies, "process:").items()},
            refusals=_refusals(reader),
            states=status["jobs"],
            open_jobs={(row["task"], row["state"]): row["jobs"] for row in reader.all("open_jobs")},
            oldest_queued_seconds=max(0.0, now - oldest["due_at"]) if oldest else 0.0,
            status=status,
            viewers=live.viewers if live is not None and live.identity.alive else 0,
            ledger_bytes=_size(config.ledger_path) + _size(Path(f"{config.ledger_path}-wal")),
            output_bytes=_size(config.output_path),
        )

    return read(config, work)


def oldest_queued_at(config: Config) -> float | None:
    """When the job became due that has waited longest of those that may run; None when none waits."""
    row = read(config, lambda reader: reader.one("oldest_queued"))
    return float(row["due_at"]) if row else None


def _named(tallies: Mapping[str, Counts], prefix: str) -> dict[str, Counts]:
    return {name.removeprefix(prefix): counts for name, counts in tallies.items() if name.startswith(prefix)}


def _refusals(reader: Reader) -> dict[tuple[str, str], int]:
    """The counters `refused.SOURCE.CAUSE`; a source's name may hold dots, a cause has none."""
    found = {}
    for row in reader.all("counters"):
        if row["name"].startswith(REFUSED):
            source, _, cause = row["name"].removeprefix(REFUSED).rpartition(".")
            found[source, cause] = row["value"]
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
