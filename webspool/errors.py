"""One base error and its leaves: each leaf's docstring is its message, each carries its evidence."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


class WebspoolError(Exception):
    """Something webspool was asked to do cannot be done."""

    def __init__(self, **evidence: Any) -> None:
        self.__dict__.update(evidence)
        super().__init__(inspect.cleandoc(type(self).__doc__ or "").format(**evidence))


class ConfigurationError(WebspoolError):
    """The configuration of {where} is not usable:
    {listing}"""

    where: str
    faults: list[str]

    def __init__(self, *, where: str, faults: list[str]) -> None:
        super().__init__(where=where, faults=faults, listing="\n".join(f"- {fault}" for fault in faults))


class TaskDefinitionError(WebspoolError):
    """The task {task} is not usable: {why}."""

    task: str
    why: str


class ArgumentsDoNotFit(WebspoolError, TypeError):
    """The task {task} cannot be spooled with these arguments: {why}."""

    task: str
    why: str
    faults: Mapping[str, str] = MappingProxyType({})


class NotBytes(WebspoolError, ValueError):
    """The task {task} cannot be spooled: {why}; uWSGI's byte form takes bytes keys and bytes values only."""

    task: str
    why: str


class NoInstance(WebspoolError):
    """The task {task} cannot be spooled: no instance is bound in this process.
    Make one with Webspool(app), or use webspool.testing.inline(app) in a test."""

    task: str


class BodySealed(WebspoolError):
    """The body of {id} is encrypted and cannot be handled: {why}."""

    id: str
    why: str


class UnparsableBody(WebspoolError, ValueError):
    """The body of {delivery} is not readable as {kind}: {why}."""

    delivery: str
    kind: str
    why: str


class LedgerUnavailable(WebspoolError):
    """The ledger {ledger} could not be written: {why}. Nothing was stored; try again."""

    ledger: str
    why: str
    broken: bool = False


class LedgerRefused(WebspoolError):
    """The ledger {ledger} is not opened: {why}."""

    ledger: str
    why: str


class LedgerOutdated(LedgerRefused):
    """The ledger {ledger} is not opened: {why}."""

    found: int
    newest: int


class InstanceRunning(WebspoolError):
    """The ledger {ledger} is served by another instance: process {pid}, started {started_at}.
    Stop it first, or give this one another directory."""

    ledger: str
    pid: int
    started_at: str


class NotFound(WebspoolError):
    """There is no {kind} {id} in the ledger."""

    kind: str
    id: str


class WrongKind(WebspoolError):
    """{id} is a {kind}; {hint}."""

    id: str
    kind: str
    hint: str


class NotAllowed(WebspoolError):
    """{id} cannot be {verb}: it is {state}."""

    id: str
    verb: str
    state: str


class RunnerBroken(WebspoolError):
    """The runner of {app} did not start: {why}"""

    app: str
    why: str
