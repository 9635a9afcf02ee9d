"""/metrics: the instance's numbers, for whoever has the token, as Prometheus parses them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import needs_uwsgi
from tests.instances import Instance, Reply

TOKEN = "t" * 32
FIRST = ('{outcome="failed",task="discard"} 1.0', '{outcome="refused",source="github"} 1.0')
PAGE = Path(__file__).parents[1] / "docs" / "reference" / "metrics.md"
DEPLOY = Path(__file__).parents[1] / "deploy"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance to which something of each kind has happened."""
    needs_uwsgi()
    with Instance(tmp_path_factory.mktemp("metrics"), WEBSPOOL_METRICS_TOKEN=TOKEN) as instance:
        first = instance.webhook(id="one").json["jobs"][0]
        instance.webhook(id="one")
        instance.webhook(secret="another")
        instance.ended(first)
        instance.ended(instance.spool("discard"))
        instance.spool("add", a=1, b=2, _delay=3600)
        instance.until(lambda: all(name in text(instance) for name in FIRST))
        yield instance


def scrape(instance: Instance, **headers: str) -> Reply:
    return instance.request("GET", "/metrics", headers=headers)


def text(instance: Instance) -> str:
    reply = scrape(instance, Authorization=f"Bearer {TOKEN}")
    assert reply.status == 200
    return reply.body.decode()


def value(instance: Instance, name: str, **labels: str) -> float:
    """The one sample of that name and those labels."""
    samples = [each for family in text_string_to_metric_families(text(instance)) for each in family.samples]
    (found,) = [each.value for each in samples if each.name == name and labels.items() <= each.labels.items()]
    return float(found)


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer x", f"Basic {TOKEN}", "Bearer ééé", f"Bearer {TOKEN}x"])
def test_nobody_reads_them_without_the_token(measured: Instance, given: str) -> None:
    """Nor whoever seems to come from this machine."""
    reply = scrape(measured, **{"Authorization": given.encode().decode("latin-1"), "X-Forwarded-For": "127.0.0.1"})
    assert (reply.status, reply.cause) == (401, "token_required")
    assert "webspool_" not in reply.body.decode()


def test_webhooks_are_counted_by_source_and_outcome(measured: Instance) -> None:
    """And what was refused by its cause."""
    for outcome in ("accepted", "duplicate", "refused"):
        assert value(measured, "webspool_deliveries_total", source="github", outcome=outcome) == 1
    assert value(measured, "webspool_refusals_total", source="github", cause="signature_invalid") == 1


def test_jobs_and_attempts_are_counted(measured: Instance) -> None:
    """By state now, and by how attempts have ended; waits and runs as histograms."""
    assert value(measured, "webspool_jobs", state="scheduled") == 1
    assert value(measured, "webspool_jobs", state="dead") == 1
    assert value(measured, "webspool_attempts_total", task="see", outcome="succeeded") == 1
    assert value(measured, "webspool_attempts_total", task="discard", outcome="failed") == 1
    for what in ("wait", "run"):
        assert value(measured, f"webspool_job_{what}_seconds_count", task="see") == 1
        assert value(measured, f"webspool_job_{what}_seconds_bucket", task="see", le="+Inf") == 1
        assert 0 < value(measured, f"webspool_job_{what}_seconds_sum", task="see") < 60


def test_the_instance_itself_is_measured(measured: Instance) -> None:
    """Processes, the keeper's synced commits, the disk."""
    assert value(measured, "webspool_processes", kind="spoolers") == 2
    assert value(measured, "webspool_process_starts_total", kind="runner") >= 2
    assert value(measured, "webspool_keeper_flush_seconds_count") >= 2
    assert value(measured, "webspool_keeper_operations_total") >= 2
    assert value(measured, "webspool_disk_free_bytes") > 0
    assert value(measured, "webspool_ledger_bytes") > 0
    assert value(measured, "webspool_degraded") == 0


def test_every_metric_is_documented_and_no_other(measured: Instance) -> None:
    """With its labels, where there is a sample to have them."""
    told, bare = {}, set()
    for family in text_string_to_metric_families(text(measured)):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        told[name] = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        bare |= set() if family.samples else {name}
    rows = [line.split("|")[1:4] for line in PAGE.read_text().splitlines() if line.startswith("| `webspool_")]
    documented = {row[0].strip(" `"): sorted(re.findall(r"`(\w+)`", row[2])) for row in rows}
    assert documented.keys() == told.keys()
    assert [name for name in told if name not in bare and documented[name] != told[name]] == []


def test_the_shipped_dashboard_and_rules_ask_for_metrics_that_there_are(measured: Instance) -> None:
    """A panel that asks for a name which has changed stays empty without a word."""
    documented = set(re.findall(r"^\| `(webspool_\w+)`", PAGE.read_text(), re.MULTILINE))
    for file in ("grafana.json", "prometheus-rules.yml"):
        asked = set(re.findall(r"webspool_\w+", (DEPLOY / file).read_text()))
        assert asked
        assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} <= documented
