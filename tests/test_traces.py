"""A webhook's trace: read by the standard's rules, shown with its jobs, told to OpenTelemetry where that is wanted."""

from __future__ import annotations

import gzip
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SpanExportResult

from tests.conditions import wait_until
from tests.conftest import needs_uwsgi
from tests.instances import CODE, Instance, Reply, signed_headers
from tests.visitors import Visited, visited
from webspool import traces, tracing
from webspool.config import load
from webspool.records import Delivery, Headers
from webspool.spans import Sender, Told
from webspool.telemetry import unheard
from webspool.traces import span_of, trace_of

__all__ = ["visited"]

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TOLD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (TOLD, TOLD),
        (f" {TOLD}\t", TOLD),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        (f"00-{TRACE}-{SPAN}-ff", f"00-{TRACE}-{SPAN}-03"),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", TOLD),
        (f"cc-{TRACE}-{SPAN}-01", TOLD),
        (f"cc-{TRACE}-{SPAN}-01.more", None),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (TOLD.upper(), None),
        (f"{TOLD}, {TOLD}", None),
        (TOLD[:-1], None),
        (f"00-{TRACE}-{SPAN}-01\n", None),
        ("x" * 100_000, None),
        ("", None),
        (None, None),
    ],
)
def test_a_traceparent_is_read_by_the_rules_of_the_standard(text: str | None, read: str | None) -> None:
    """https://www.w3.org/TR/trace-context/#traceparent-header: of later versions as much as is known."""
    found = traces.read(text)
    assert (None if found is None else str(found)) == read


def test_a_task_finds_the_trace_of_its_delivery() -> None:
    """However its name is spelt, without reading stored headers where the word is nowhere in them."""
    for name in ("traceparent", "Traceparent", "TraceParent"):
        kept = Headers.stored(json.dumps([["X-Other", "1"], [name, TOLD]]))
        assert Delivery("d_1", "s", "POST", "/", kept, 0.0).traceparent == TOLD
        assert Delivery("d_1", "s", "POST", "/", Headers({name: TOLD}), 0.0).traceparent == TOLD
    bare = Headers.stored('[["X-Other", "1"]]')
    assert Delivery("d_1", "s", "POST", "/", bare, 0.0).traceparent is None
    assert bare._pairs is None


def test_the_trace_is_shown_with_the_delivery_and_its_jobs(visited: Visited) -> None:
    """By the commands and on the pages; one that is not valid is not."""
    delivery = visited.deliver("deploy", headers=[["Traceparent", TOLD]])
    (job,) = visited.json("jobs")
    assert visited.json("delivery", delivery)["traceparent"] == visited.json("job", job["id"])["traceparent"] == TOLD
    assert TOLD in visited.webspool("job", job["id"]).stdout
    visitor = visited.operator()
    assert TOLD in visitor.page(f"/deliveries/{delivery}").partition("<dt>Trace</dt>")[2].partition("</div>")[0]
    assert TOLD in visitor.page(f"/jobs/{job['id']}").partition("<dt>Trace</dt>")[2]
    other = visited.deliver("deploy", headers=[["Traceparent", "00-none"]])
    assert visited.json("delivery", other)["traceparent"] is None
    assert "<dt>Trace</dt>" not in visitor.page(f"/deliveries/{other}")


def test_nothing_of_opentelemetry_is_imported_unless_it_is_wanted(tmp_path: Path) -> None:
    """Neither by the code nor by naming no collector; and it can be switched off whatever is set."""
    script = "import sys, webspool.extension, webspool.perform, webspool.runner_child; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert "webspool.tracing" in loaded.stdout.split()
    assert not [name for name in loaded.stdout.split() if name.startswith(("opentelemetry", "webspool.spans"))]
    named = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    assert tracing.wanted(load(tmp_path, named))
    for settings in ({}, named | {"WEBSPOOL_OTEL": "no"}):
        assert tracing.begin(load(tmp_path, settings), unheard) is None


def test_without_the_extra_what_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And everything works."""
    monkeypatch.setitem(sys.modules, "webspool.spans", None)
    monkeypatch.delattr("webspool.spans", raising=False)
    told = []
    assert (
        tracing.begin(load(tmp_path, {"WEBSPOOL_OTEL": "yes"}), lambda name, **facts: told.append((name, facts)))
        is None
    )
    ((name, facts),) = told
    assert name == "tracing_unavailable"
    assert "pip install 'webspool[otel]'" in facts["why"]


def test_a_collector_that_is_away_is_told_once_and_in_no_tasks_output(caplog: pytest.LogCaptureFixture) -> None:
    """A runner's log is what its task prints; a worker's and a spooler's are ours."""
    lines: list[str] = []
    for ours in (False, True):
        told = Told(lambda name, **_: lines.append(name))
        sender = Sender(told)
        sender._inner = Away()
        if ours:
            told.hear("attempt_started", {"attempt": "a_1"})
        for _ in range(3):
            sender.export([])
        assert lines == ["tracing_failed"] * ours
    logging.getLogger(Away.__module__).warning("heard")
    assert caplog.messages == ["heard"]


class Away:
    """An exporter that cannot reach its collector, and says so."""

    __module__ = "opentelemetry.exporter.otlp.proto.http.trace_exporter"

    def export(self, spans: object) -> SpanExportResult:
        logging.getLogger(self.__module__).warning("Transient error")
        return SpanExportResult.FAILURE


# ── a collector ─────────────────────────────────────────────────────────────────────────────────────────────────


class Collector:
    """Takes spans by OTLP over HTTP, as a collector does."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        taken = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    assert any(each.value.string_value == "webspool" for each in resource.resource.attributes)
                    for scope in resource.scope_spans:
                        taken.extend(scope.spans)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *given: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def span(self, name: str, **facts: Any) -> Any:
        """The span of that name with these attributes, once it is there."""

        def found() -> list[Any]:
            return [each for each in self.spans if each.name == name and facts.items() <= attributes(each).items()]

        return wait_until(found)[0]


def attributes(span: Any) -> dict[str, str]:
    return {each.key.removeprefix("webspool."): each.value.string_value for each in span.attributes}


TASKS = (
    (CODE / "tasks.py").read_text()
    + """

@task(max_attempts=2, first_wait=0.05, jitter=0)
def chain(delivery):
    import opentelemetry.trace
    place = opentelemetry.trace.get_current_span().get_span_context()
    note("chain", trace=os.environ.get("TRACEPARENT"), told=delivery.traceparent, inside=f"{place.span_id:016x}")
    if delivery.data.get("fail") and len(list(HERE.glob("failed"))) == 0:
        HERE.joinpath("failed").touch()
        raise ValueError("the first time")
    note("spooled", job=add.spool(a=1, b=2).id)
"""
)
APP = (
    CODE / "app.py"
).read_text() + '\nhooks.add(Source("chain", verify="github", secrets=GITHUB, on={"*": tasks.chain}))\n'


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Instance, Collector]]:
    """One instance that tells a collector."""
    needs_uwsgi()
    collector = Collector()
    instance = Instance(
        tmp_path_factory.mktemp("instance"),
        {"app.py": APP, "tasks.py": TASKS},
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_BSP_SCHEDULE_DELAY="100",
    )
    with instance:
        yield instance, collector
    collector.close()


def send(instance: Instance, body: bytes, id: str | None = None, **headers: str) -> Reply:
    given = signed_headers(body, event="push", id=id) | {"Content-Type": "application/json"} | headers
    return instance.post("/hooks/chain", body, given)


def test_a_webhook_and_its_attempts_are_spans_of_the_senders_trace(told: tuple[Instance, Collector]) -> None:
    """Told by processes that never met; what the task spools is linked, and what it starts learns its place."""
    instance, collector = told
    reply = send(instance, b'{"fail": 1}', traceparent=TOLD).json
    (job,), delivery = reply["jobs"], reply["delivery"]
    assert instance.ended(job)["state"] == "succeeded"
    received = collector.span("receive chain", delivery=delivery)
    assert (received.trace_id.hex(), received.parent_span_id.hex()) == (TRACE, SPAN)
    assert received.span_id.hex() == span_of(delivery)
    assert received.end_time_unix_nano > received.start_time_unix_nano
    failed = collector.span("run chain", job=job, outcome="failed")
    assert (failed.status.code, failed.status.message) == (2, "ValueError: the first time")
    run = collector.span("run chain", job=job, outcome="succeeded")
    for attempt in (failed, run):
        assert (attempt.trace_id, attempt.parent_span_id) == (received.trace_id, received.span_id)
    *_, seen = instance.notes("chain")
    assert (seen["trace"], seen["told"]) == (f"00-{TRACE}-{run.span_id.hex()}-01", TOLD)
    assert seen["inside"] == run.span_id.hex()
    other = instance.noted("spooled")["job"]
    spooled = collector.span("spool add", job=other)
    assert spooled.trace_id.hex() == trace_of(other, None)
    assert [each.span_id for each in spooled.links] == [run.span_id]
    assert collector.span("run add", job=other).parent_span_id == spooled.span_id
    (line,) = instance.said("delivery_accepted", delivery=delivery)
    assert line["traceparent"] == TOLD
    assert {each["traceparent"] for each in instance.said("attempt_ended", job=job)} == {TOLD}


def test_a_copy_is_linked_and_a_refusal_is_an_error(told: tuple[Instance, Collector]) -> None:
    """Without a trace of the sender's the delivery begins one of its own."""
    instance, collector = told
    first = send(instance, b'{"n": 1}', "one").json["delivery"]
    assert send(instance, b'{"n": 1}', "one").json["status"] == "duplicate"
    received = collector.span("receive chain", delivery=first, status="accepted")
    assert (received.trace_id.hex(), received.parent_span_id) == (trace_of(first, None), b"")
    copy = collector.span("receive chain", delivery=first, status="duplicate")
    assert copy.span_id != received.span_id
    assert [each.span_id for each in copy.links] == [received.span_id]
    assert send(instance, b"{}", **{"X-Hub-Signature-256": "sha256=00"}).status == 401
    assert collector.span("receive chain", cause="signature_invalid").status.code == 2


def test_a_sender_that_wants_nothing_recorded_is_heard(told: tuple[Instance, Collector]) -> None:
    """Its flags say so (W3C Trace Context, 3.2.2.5.1); another webhook after it is told."""
    instance, collector = told
    quiet = send(instance, b'{"n": 2}', traceparent=f"00-{TRACE}-{SPAN}-00").json["delivery"]
    loud = send(instance, b'{"n": 3}').json
    instance.ended(loud["jobs"][0])
    collector.span("run chain", job=loud["jobs"][0])
    assert quiet not in [attributes(each).get("delivery") for each in collector.spans]
