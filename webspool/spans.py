"""Spans for OpenTelemetry, made of what is told: a webhook received, a job spooled, an attempt run.

The ids of spans follow from those of deliveries, jobs and attempts (webspool.traces), so that the processes which
receive, run and are run need not hand them on.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, TypeVar, cast

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from webspool.records import Order
from webspool.task import current
from webspool.telemetry import Say
from webspool.traces import SAMPLED, Trace, read, span_of, trace_of
from webspool.unlogged import listen_in, unlogged

listen_in()

RECEIVED = ("accepted", "held", "ignored")
AGAIN = ("duplicate", "retried")
OPEN_AT_MOST = 1000
SEND_AFTER_MILLISECONDS = 1000.0  # uWSGI's processes end without a last word: what they have not sent by then is lost

F = TypeVar("F", bound=Callable[..., object])


class Names(RandomIdGenerator):
    """Ids as they are given, for the next span of this thread; random ones else."""

    def __init__(self) -> None:
        self.given = threading.local()

    def name(self, trace: str, span: str) -> None:
        self.given.trace, self.given.span = int(trace, 16), int(span, 16)

    def generate_trace_id(self) -> int:
        return self._taken("trace") or super().generate_trace_id()

    def generate_span_id(self) -> int:
        return self._taken("span") or super().generate_span_id()

    def _taken(self, name: str) -> int | None:
        found: int | None = vars(self.given).pop(name, None)
        return found


class Sender(SpanExporter):
    """Sends to the collector. That it fails is told once, where the log is ours, and not in a task's output."""

    def __init__(self, told: Told) -> None:
        self._told, self._inner, self._failing = told, OTLPSpanExporter(), False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with unlogged():
            result = self._inner.export(spans)
        failing = result is not SpanExportResult.SUCCESS
        if failing and not self._failing:
            self._told.tell_failure()
        self._failing = failing
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()  # type: ignore[no-untyped-call]


class Told:
    """Hears what happens in this process and tells it on."""

    def __init__(self, say: Say) -> None:
        self._say, self._is_ours = say, False
        self._names = Names()
        self._here = threading.local()
        self._begun: dict[str, int] = {}
        self._made: tuple[int, TracerProvider] | None = None
        self._lock = threading.Lock()

    @property
    def provider(self) -> TracerProvider:
        """Made in the process that uses it: its thread lives through no fork."""
        with self._lock:
            if self._made is None or self._made[0] != os.getpid():
                named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "webspool"}
                provider = TracerProvider(resource=Resource.create(named), id_generator=self._names)
                delay = None if os.environ.get("OTEL_BSP_SCHEDULE_DELAY") else SEND_AFTER_MILLISECONDS
                provider.add_span_processor(BatchSpanProcessor(Sender(self), schedule_delay_millis=delay))
                self._made = (os.getpid(), provider)
            return self._made[1]

    def tell_failure(self) -> None:
        if self._is_ours:
            self._say("tracing_failed", why="the collector takes no spans; they are lost until it does")

    def timed(self, receive: F) -> F:
        """The way of a webhook, its begin noted for the span that is made of its end."""

        @wraps(receive)
        def timed(source: Any, environ: Mapping[str, Any]) -> object:
            self._here.began, self._here.above = time.time_ns(), read(environ.get("HTTP_TRACEPARENT"))
            try:
                return receive(source, environ)
            finally:
                vars(self._here).clear()

        return cast(F, timed)

    # ── what is heard ───────────────────────────────────────────────────────────────────────────────────────────

    def hear(self, happening: str, facts: Mapping[str, Any]) -> None:
        with suppress(Exception):
            kind, _, status = happening.partition("_")
            self._is_ours = self._is_ours or happening != "job_spooled"  # which alone is told in a runner
            if kind == "delivery" and status in (*RECEIVED, *AGAIN):
                self._received(status, facts)
            elif happening == "webhook_refused":
                self._refused(facts)
            elif happening == "attempt_started":
                if len(self._begun) < OPEN_AT_MOST:
                    self._begun[facts["attempt"]] = time.time_ns()
            elif happening == "attempt_ended":
                self._attempted(facts)
            elif happening == "job_spooled":
                self._spooled(facts)

    def _received(self, status: str, facts: Mapping[str, Any]) -> None:
        above, delivery = self._above(), facts["delivery"]
        kept = {"webspool.delivery": delivery, "webspool.status": status, "webspool.event_type": facts["event_type"]}
        if status in AGAIN:  # the delivery's own span is that of its first copy
            first = _context(self._root(delivery, above))
            self._tell(f"receive {facts['source']}", SpanKind.SERVER, above, facts, kept, links=[Link(first)])
            return
        named = (trace_of(delivery, above), span_of(delivery))
        self._tell(f"receive {facts['source']}", SpanKind.SERVER, above, facts, kept, named=named)

    def _refused(self, facts: Mapping[str, Any]) -> None:
        kept = {"webspool.refusal": facts["refusal"], "webspool.cause": facts["cause"]}
        name = f"receive {facts['source']}".strip()
        self._tell(name, SpanKind.SERVER, self._above(), facts, kept, error=facts["cause"])

    def _spooled(self, facts: Mapping[str, Any]) -> None:
        job, order = facts["job"], current.get(None)
        links = [] if order is None else [Link(_context(self._place(order)))]
        named = (trace_of(job, None), span_of(job))
        kept = {"webspool.job": job, "webspool.task": facts["task"]}
        self._tell(f"spool {facts['task']}", SpanKind.PRODUCER, None, facts, kept, named=named, links=links)

    def _attempted(self, facts: Mapping[str, Any]) -> None:
        began = self._begun.pop(facts["attempt"], None)
        above = self._root(facts.get("delivery") or facts["job"], read(facts.get("traceparent")))
        kept = {f"webspool.{name}": facts[name] for name in ("job", "task", "attempt", "outcome", "state")}
        kept |= {"webspool.delivery": facts.get("delivery")}
        failed = None if facts["outcome"] in ("succeeded", "snoozed") else facts["error"] or facts["outcome"]
        named = (above.trace, span_of(facts["attempt"]))
        name = f"run {facts['task']}"
        self._tell(name, SpanKind.CONSUMER, above, facts, kept, named=named, error=failed, began=began)

    # ── places in a trace ───────────────────────────────────────────────────────────────────────────────────────

    def _above(self) -> Trace | None:
        found: Trace | None = vars(self._here).get("above")
        return found

    def _root(self, id: str, above: Trace | None) -> Trace:
        """The span of a delivery, or of a job that no webhook started."""
        trace_id = trace_of(id, above)
        if above is not None:
            return Trace(trace_id, span_of(id), above.flags)
        chosen = self.provider.sampler.should_sample(None, int(trace_id, 16), "")
        return Trace(trace_id, span_of(id), SAMPLED if chosen.decision.is_sampled() else 0)  # type: ignore[no-untyped-call]

    def _place(self, order: Order) -> Trace:
        delivery = order.delivery
        root = self._root(delivery.id if delivery else order.job, read(delivery.traceparent) if delivery else None)
        return Trace(root.trace, span_of(order.attempt), root.flags)

    def place_of(self, order: Order) -> str:
        """The attempt's own place, for whom the task calls."""
        return str(self._place(order))

    @contextmanager
    def around(self, order: Order) -> Iterator[None]:
        """Spans that the task makes with OpenTelemetry's own functions belong under its attempt."""
        token = context.attach(trace.set_span_in_context(NonRecordingSpan(_context(self._place(order)))))
        try:
            yield
        finally:
            context.detach(token)

    # ── telling ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _tell(
        self,
        name: str,
        kind: SpanKind,
        above: Trace | None,
        facts: Mapping[str, Any],
        kept: Mapping[str, Any],
        *,
        named: tuple[str, str] | None = None,
        links: list[Link] | None = None,
        error: str | None = None,
        began: int | None = None,
    ) -> None:
        where = context.Context()
        if above is not None:
            where = trace.set_span_in_context(NonRecordingSpan(_context(above)), where)
        if named is not None:
            self._names.name(*named)
        attributes = {key: value for key, value in kept.items() if value is not None}
        if "source" in facts:
            attributes["webspool.source"] = facts["source"]
        begun = began or vars(self._here).get("began") or time.time_ns()
        tracer = self.provider.get_tracer("webspool")
        with unlogged():
            span = tracer.start_span(name, where, kind, attributes, links or [], start_time=begun)
            vars(self._names.given).clear()
            if error is not None:
                span.set_status(Status(StatusCode.ERROR, error))
            span.end()


def _context(place: Trace) -> SpanContext:
    flags = TraceFlags(place.flags & SAMPLED)
    return SpanContext(int(place.trace, 16), int(place.span, 16), is_remote=True, trace_flags=flags)
