"""The instance's numbers as Prometheus reads them, from the ledger at each scrape: the same from any worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from webspool.config import Config
from webspool.disk import folders_of, free
from webspool.ledger import figures
from webspool.ledger.figures import Figures
from webspool.ledger.tallies import LAST_BUCKET, seconds_of

Counts = Mapping[str, Any]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OUTCOMES = ("accepted", "duplicate", "refused")
ENDS = ("succeeded", "failed", "other")


def exposition(config: Config) -> bytes:
    """All metrics of an instance. Raises LedgerUnavailable, LedgerRefused."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collected(list(families(figures.read_figures(config), config))))
    return generate_latest(registry)


class Collected(Collector):
    """Families that have been read already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def families(found: Figures, config: Config) -> Iterator[Metric]:
    """Every metric, in the order of the reference."""
    yield from _deliveries(found)
    yield from _jobs(found)
    yield from _instance(found)
    yield from _room(found, config)


# ── deliveries and jobs ─────────────────────────────────────────────────────────────────────────────────────────


def _deliveries(found: Figures) -> Iterator[Metric]:
    told = CounterMetricFamily("webspool_deliveries", "Webhooks by source and outcome.", labels=["source", "outcome"])
    for source, counts in found.sources.items():
        for outcome in OUTCOMES:
            told.add_metric([source, outcome], counts.get(outcome, 0))
    yield told
    refused = CounterMetricFamily("webspool_refusals", "Refused webhooks by cause.", labels=["source", "cause"])
    for (source, cause), times in found.refusals.items():
        refused.add_metric([source, cause], times)
    yield refused


def _jobs(found: Figures) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("webspool_jobs", "Jobs in the ledger by state.", labels=["state"])
    for state, number in found.states.items():
        jobs.add_metric([state], number)
    yield jobs
    waiting = GaugeMetricFamily("webspool_jobs_open", "Jobs that have not ended.", labels=["task", "state"])
    for (task, state), number in found.open_jobs.items():
        waiting.add_metric([task, state], number)
    yield waiting
    oldest = GaugeMetricFamily("webspool_oldest_queued_seconds", "How long the job waits that has waited longest.")
    oldest.add_metric([], found.oldest_queued_seconds)
    yield oldest
    attempts = CounterMetricFamily("webspool_attempts", "Ended attempts.", labels=["task", "outcome"])
    for task, counts in found.tasks.items():
        for outcome in ENDS:
            attempts.add_metric([task, outcome], counts.get(outcome, 0))
    yield attempts
    yield _histogram("webspool_job_wait_seconds", "From due to begun.", "task", found.tasks, "wait_seconds")
    yield _histogram("webspool_job_run_seconds", "From begun to ended.", "task", found.tasks, "run_seconds")


def _histogram(name: str, help: str, label: str | None, of: Mapping[str, Counts], what: str) -> HistogramMetricFamily:
    """Buckets that double; the sum is that of their upper bounds, since no other is kept."""
    family = HistogramMetricFamily(name, help, labels=[label] if label else [])
    for named, counts in of.items():
        buckets = {int(at): int(number) for at, number in counts.get(what, {}).items()}
        if not buckets and label is None:
            continue
        steps, total = [], 0
        for at in range(LAST_BUCKET + 1):
            total += buckets.get(at, 0)
            if at % 2 == 0 and at < LAST_BUCKET:
                steps.append((f"{seconds_of(at):g}", float(total)))
        steps.append(("+Inf", float(total)))
        spent = sum(seconds_of(at) * number for at, number in buckets.items())
        family.add_metric([named] if label else [], steps, spent)
    return family


# ── the instance ────────────────────────────────────────────────────────────────────────────────────────────────


def _instance(found: Figures) -> Iterator[Metric]:
    status = found.status
    processes = GaugeMetricFamily("webspool_processes", "Processes by kind; busy: spoolers that run.", labels=["kind"])
    for kind, number in status["processes"].items():
        processes.add_metric([kind], number)
    yield processes
    starts = CounterMetricFamily("webspool_process_starts", "Processes begun, restarts included.", labels=["kind"])
    for kind, number in found.starts.items():
        starts.add_metric([kind], number)
    yield starts
    for name, help, value in (
        ("webspool_spool_files", "Tickets in the spool.", status["spool"]["files"]),
        ("webspool_spool_oldest_seconds", "Age of the oldest ticket.", status["spool"]["oldest_seconds"]),
        ("webspool_live_viewers", "Who watches output now.", found.viewers),
        ("webspool_degraded", "How many lines `webspool status` has under degraded.", len(status["degraded"])),
        ("webspool_paused", "Pauses in force.", len(status["paused"])),
    ):
        yield _gauge(name, help, value)
    troubles = CounterMetricFamily("webspool_troubles", "Happenings that want to be looked at.", labels=["happening"])
    for trouble in status["troubles"]:
        troubles.add_metric([trouble["name"]], trouble["times"])
    yield troubles
    keeper = {"": found.keeper}
    yield _histogram("webspool_keeper_flush_seconds", "Commits that were synced.", None, keeper, "flush_seconds")
    operations = CounterMetricFamily("webspool_keeper_operations", "Operations in the batches of those commits.")
    operations.add_metric([], found.keeper.get("operations", 0))
    yield operations


def _room(found: Figures, config: Config) -> Iterator[Metric]:
    yield _gauge("webspool_disk_free_bytes", "Free on the fullest disk.", free(folders_of(config)).bytes)
    yield _gauge("webspool_ledger_bytes", "The ledger's file and log.", found.ledger_bytes)
    yield _gauge("webspool_output_bytes", "The file of what attempts printed.", found.output_bytes)


def _gauge(name: str, help: str, value: float) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help)
    family.add_metric([], value)
    return family
