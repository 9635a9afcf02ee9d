"""What the dashboard is given of the instance, and who asks at the moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

from flask import current_app, g, request

from webspool.addresses import client_of
from webspool.config import Config
from webspool.ledger.accounts import Visitor
from webspool.ledger.client import Client
from webspool.ledger.operations import Operation
from webspool.operate import Operator, Today
from webspool.receive import Receiver, plan_of
from webspool.records import new_id
from webspool.source import Source
from webspool.telemetry import Say


class House(Protocol):
    """The instance: its configuration, its way into the ledger, its sources."""

    @property
    def config(self) -> Config: ...
    @property
    def client(self) -> Client: ...
    @property
    def sources(self) -> Mapping[str, Source]: ...
    @property
    def receiver(self) -> Receiver: ...
    @property
    def say(self) -> Say: ...


def house() -> House:
    """The instance whose dashboard is asked."""
    return cast(House, current_app.extensions["house"])


def config() -> Config:
    return house().config


def visitor() -> Visitor:
    """Who asks; the gate lets nobody else in."""
    return cast(Visitor, g.visitor)


def actor() -> str:
    """The visitor as the audit log names it."""
    name = visitor().name
    return name if ":" in name else f"dashboard:{name}"


def client_address() -> str | None:
    """Where the request comes from, as the trusted proxies tell: for counting and for the record, never a key."""
    return client_of(request.environ, config().trusted_proxies, config().proxy_header)


def operator() -> Operator:
    """Who acts on the ledger in the visitor's name."""
    return Operator(house().client, actor(), client_address())


def today() -> Today:
    """The routing and the secrets of the code that this process runs."""
    return Today(house().sources, plan_of, house().receiver.verifier.judge)


def call(verb: str, **given: Any) -> dict[str, Any]:
    """One operation on the ledger. Raises LedgerUnavailable."""
    return house().client.call(Operation(new_id("x"), verb, given)).values
