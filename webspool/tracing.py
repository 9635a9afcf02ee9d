"""Whether this process tells OpenTelemetry what it does; while it does not, this costs and imports nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from webspool.config import Config
from webspool.records import Order
from webspool.telemetry import Say, listen

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
OURS = "OTEL_"

F = TypeVar("F", bound=Callable[..., object])


class Spans(Protocol):
    """Who tells: webspool.spans, where OpenTelemetry is installed."""

    def timed(self, receive: F) -> F: ...
    def place_of(self, order: Order) -> str: ...
    def around(self, order: Order) -> AbstractContextManager[None]: ...


class Switch:
    """What this process does about it."""

    spans: Spans | None = None


def begin(config: Config, say: Say) -> Spans | None:
    """Tell from now on, where it is wanted and can be; once in a process."""
    if Switch.spans is not None or not wanted(config):
        return Switch.spans
    try:
        from webspool import spans
    except ImportError as fault:
        say("tracing_unavailable", why=f"{fault}; install it: pip install 'webspool[otel]'")
        return None
    for name, value in config.environ.items():  # what stands in .env: OpenTelemetry reads the real environment
        if name.startswith(OURS):
            os.environ.setdefault(name, value)
    told = spans.Told(say)
    listen(told.hear)
    Switch.spans = told
    return told


def wanted(config: Config) -> bool:
    """By WEBSPOOL_OTEL, else when a collector is named."""
    if config.otel is not None:
        return config.otel
    return any(config.environ.get(name) for name in ENDPOINTS)


def traceparent_of(order: Order) -> str | None:
    """What a task hands on to whom it calls: its attempt's place in the trace, else what the webhook told."""
    if Switch.spans is not None:
        return Switch.spans.place_of(order)
    return None if order.delivery is None else order.delivery.traceparent
