"""@task: a Python function with its policy, kept in a registry by name; `.spool` hands to the bound instance."""

from __future__ import annotations

import inspect
import json
import math
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from webspool.errors import ArgumentsDoNotFit, NoInstance, NotBytes, TaskDefinitionError
from webspool.policy import Policy
from webspool.records import Order

P = ParamSpec("P")
R = TypeVar("R")

SCHEDULING = ("at", "delay")
LARGEST_PRIORITY = (1 << 31) - 1


class Sentinel:
    """A value tested by identity, that reads and counts like uWSGI's constant of its name."""

    def __init__(self, name: str, number: int) -> None:
        self.name, self.number = name, number

    def __int__(self) -> int:
        return self.number

    __index__ = __int__

    def __repr__(self) -> str:
        return self.name


SPOOL_OK = Sentinel("SPOOL_OK", -2)
SPOOL_RETRY = Sentinel("SPOOL_RETRY", -1)
SPOOL_IGNORE = Sentinel("SPOOL_IGNORE", 0)


class Retry(Exception):
    """Raised by a task that wants to be run again `after` seconds from now.

    It counts as an attempt unless `charge` is False (polling, which only `max_age` bounds).
    """

    def __init__(self, reason: object = None, *, after: float, charge: bool = True) -> None:
        super().__init__(reason if reason is not None else f"asked to run again after {after:g} s")
        self.after, self.charge = float(after), charge


class Discard(Exception):
    """Raised by a task that knows that trying again is useless: its job is dead at once."""


class TimeLimitExceeded(BaseException):
    """Raised inside a task when its `timeout` has passed; `grace` seconds later its process is killed."""

    def __init__(self, reason: object = "the task ran past its timeout") -> None:
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Options:
    """When and how a job is to run: `due_at` in Unix seconds, higher `priority` first, one job per `key`."""

    due_at: float | None = None
    priority: int = 0
    key: str | None = None

    def stored(self) -> dict[str, Any]:
        """As a job of the ledger has them."""
        return {"due_at": self.due_at, "priority": self.priority, "key": self.key}


@dataclass(frozen=True, slots=True)
class SpoolRequest:
    """One order to run a task, bound to its signature: `calling` is "keywords" or "bytes".

    `id` is the job's own; the same id again means the same job, which is then not made twice. None: a fresh one.
    """

    task: Task[Any, Any]
    calling: str
    arguments: Mapping[str, Any]
    options: Options
    id: str | None = None

    def stored(self) -> dict[str, Any]:
        """As a job of the ledger has it."""
        given = {"task": self.task.name, "calling": self.calling, "arguments": as_json(self.arguments)}
        return given | self.options.stored()


class JobHandle(Protocol):
    """What `.spool` returns: the job's id, and what became of it."""

    @property
    def id(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def result(self) -> Any: ...
    def wait(self, seconds: float) -> str: ...


class Instance(Protocol):
    """Whoever makes spooled jobs durable."""

    def spool(self, request: SpoolRequest) -> JobHandle: ...


class Registry:
    """The tasks of this process by name, the instance to which they are handed, and the clock of `delay`."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task[Any, Any]] = {}
        self.instance: Instance | None = None
        self.clock: Callable[[], float] = time.time

    def add(self, task: Task[Any, Any]) -> None:
        known = self.tasks.get(task.name)
        if known is not None and known.place != task.place:
            why = f"{known.place} and {task.place} both have that name; give one of them another: @task(name=...)"
            raise TaskDefinitionError(task=task.name, why=why)
        self.tasks[task.name] = task

    def bind(self, instance: Instance | None) -> None:
        self.instance = instance


registry = Registry()

current: ContextVar[Order | None] = ContextVar("current", default=None)
"""The job that is being run here; None outside of a run."""


@dataclass(frozen=True)
class Task(Generic[P, R]):
    """A Python function with its policy. Calling it calls the function; `.spool` orders a run of it."""

    function: Callable[P, R]
    name: str
    policy: Policy
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    discard_on: tuple[type[BaseException], ...] = ()
    bare_returns: bool = False
    options_given: Options = field(default_factory=Options)

    @property
    def place(self) -> str:
        return f"{self.function.__module__}.{self.function.__qualname__}"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def options(
        self,
        *,
        at: datetime | float | None = None,
        delay: float | None = None,
        priority: int = 0,
        key: str | None = None,
    ) -> Task[P, R]:
        """This task with options for the next `.spool`.

        `at` is an aware datetime or Unix seconds, `delay` seconds from now; a higher `priority` is begun first; of
        jobs of this task with the same `key` one runs at a time.
        Raises ArgumentsDoNotFit when one of them is not of that kind.
        """
        if not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > LARGEST_PRIORITY:
            raise ArgumentsDoNotFit(task=self.name, why=f"priority is {priority!r}, not a whole number of 32 bits")
        if key is not None and not _is_text(key):
            raise ArgumentsDoNotFit(task=self.name, why=f"key is {key!r}, not text")
        return replace(self, options_given=Options(_due(self.name, at, delay), priority, key))

    def spool(self, *args: Any, **kwargs: Any) -> JobHandle:
        """Order a run of this task; returns its job once that is durable.

        Keyword arguments (JSON types) are bound to the function's signature at once; one dictionary of bytes is
        uWSGI's own form. `at=` and `delay=` may stand here when the task has no parameter of that name.
        Raises ArgumentsDoNotFit, NotBytes, NoInstance, or LedgerUnavailable when nothing was stored.
        """
        task, kwargs = self._with_shortcuts(kwargs)
        if len(args) == 1 and isinstance(args[0], Mapping) and not kwargs:
            request = SpoolRequest(task, "bytes", _decoded(self.name, args[0]), task.options_given)
        elif args:
            raise ArgumentsDoNotFit(task=self.name, why="give them by name, as in .spool(month=11)")
        else:
            request = SpoolRequest(task, "keywords", bound(self, kwargs), task.options_given)
        return hand_over(request)

    def _with_shortcuts(self, kwargs: dict[str, Any]) -> tuple[Task[P, R], dict[str, Any]]:
        taken = _parameters(self.function)
        given = {name: kwargs[name] for name in SCHEDULING if name in kwargs and name not in taken}
        if not given:
            return self, kwargs
        rest = {name: value for name, value in kwargs.items() if name not in given}
        return replace(self, options_given=replace(self.options_given, due_at=_due(self.name, **given))), rest


def _is_text(value: object) -> bool:
    """Text that any database can hold: lone surrogates have no UTF-8."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def hand_over(request: SpoolRequest) -> JobHandle:
    """Give an order to the bound instance. Raises NoInstance."""
    if registry.instance is None:
        raise NoInstance(task=request.task.name)
    return registry.instance.spool(request)


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(
    *,
    name: str | None = None,
    max_attempts: int = 20,
    timeout: float | None = 600.0,
    grace: float = 10.0,
    first_wait: float = 5.0,
    longest_wait: float = 3600.0,
    jitter: float = 0.2,
    max_age: float | None = None,
    concurrency: int | None = None,
    retry_on: tuple[type[BaseException], ...] = (Exception,),
    discard_on: tuple[type[BaseException], ...] = (),
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(function: Callable[P, R] | None = None, /, **settings: Any) -> Any:
    """Make a function a task, stored by `name` (default: the function's own). Settings are those of Policy, and:

    `retry_on`: the exception types that are tried again, `discard_on`: those that end the job at once.
    Raises TaskDefinitionError when a setting is not usable or two tasks have one name.
    """
    if function is None:
        return lambda decorated: _define(decorated, **settings)
    return _define(function)


def _define(function: Callable[P, R], *, name: str | None = None, **settings: Any) -> Task[P, R]:
    name = name or getattr(function, "__name__", None)
    if not isinstance(name, str):
        raise TaskDefinitionError(task=repr(function), why="it is no function with a name")
    if inspect.iscoroutinefunction(function):
        raise TaskDefinitionError(task=name, why="it is a coroutine function; wrap it: asyncio.run(...) in a task")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TaskDefinitionError(task=name, why="it is a generator function: to call it runs none of its body")
    retry_on = _types(name, "retry_on", settings.pop("retry_on", Exception))
    discard_on = _types(name, "discard_on", settings.pop("discard_on", ()))
    bare = settings.pop("bare_returns", False)
    try:
        policy = Policy(**settings)
    except TypeError as fault:
        raise TaskDefinitionError(task=name, why=str(fault).replace("Policy.__init__()", "@task")) from None
    if faults := policy.faults():
        raise TaskDefinitionError(task=name, why="; ".join(faults))
    made = Task(function, name, policy, retry_on, discard_on, bare_returns=bare)
    registry.add(made)
    return made


def _types(name: str, setting: str, given: Any) -> tuple[type[BaseException], ...]:
    types = given if isinstance(given, tuple) else tuple(given) if isinstance(given, list | set) else (given,)
    if not all(isinstance(each, type) and issubclass(each, BaseException) for each in types):
        raise TaskDefinitionError(task=name, why=f"{setting} is {given!r}, not exception types")
    return types


def takes_one_delivery(made: Task[Any, Any]) -> str | None:
    """Why this task cannot stand in an `on=` table (it is called with one Delivery), or None when it can."""
    try:
        inspect.signature(made.function).bind(object())
    except TypeError as fault:
        return f"the task {made.name} ({made.place}) is called with one delivery, but: {fault}"
    return None


def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def bound(made: Task[Any, Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments that fit the task's signature and go through JSON. Raises ArgumentsDoNotFit."""
    try:
        inspect.signature(made.function).bind(**kwargs)
    except TypeError as fault:
        raise ArgumentsDoNotFit(task=made.name, why=fault) from None
    for name, value in kwargs.items():
        if fault_in := not_json(value):
            raise ArgumentsDoNotFit(task=made.name, why=f"{name}{fault_in}")
    return kwargs


def not_json(value: Any) -> str | None:
    """Why a value would not come back from JSON as it went in, or None when it would."""
    match value:
        case None | bool() | int() | str():
            return None if type(value) in (type(None), bool, int, str) else f" is {value!r}, not a plain JSON type"
        case float():
            return None if math.isfinite(value) else f" is {value!r}, which JSON cannot hold"
        case list():
            faults = (f"[{at}]{fault}" for at, each in enumerate(value) if (fault := not_json(each)))
            return next(faults, None)
        case dict():
            if strange := next((key for key in value if type(key) is not str), None):
                return f" has the key {strange!r}, which is not text"
            return next((f"[{key!r}]{fault}" for key, each in value.items() if (fault := not_json(each))), None)
        case _:
            return f" is of type {type(value).__name__}, which JSON cannot hold: {str(value)[:80]!r}"


def _decoded(name: str, given: Mapping[Any, Any]) -> dict[str, Any]:
    for key, value in given.items():
        if not isinstance(key, bytes) or not isinstance(value, bytes):
            raise NotBytes(task=name, why=f"{key!r}: {value!r} are {type(key).__name__}, {type(value).__name__}")
    return {from_bytes(key): from_bytes(value) for key, value in given.items()}


def from_bytes(value: bytes) -> str:
    """Bytes as text that goes through JSON and back unharmed (undecodable ones as surrogates, PEP 383)."""
    return value.decode("utf-8", "surrogateescape")


def as_json(arguments: Mapping[str, Any]) -> str:
    """Arguments as the ledger stores them: ASCII JSON."""
    return json.dumps(arguments, separators=(",", ":"), allow_nan=False)


def _due(name: str, at: datetime | float | None = None, delay: float | None = None) -> float | None:
    if at is not None and delay is not None:
        raise ArgumentsDoNotFit(task=name, why="give at= or delay=, not both")
    if delay is not None:
        return registry.clock() + _seconds(name, "delay", delay)
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise ArgumentsDoNotFit(task=name, why=f"at is {at!r} without a time zone; add one, as tzinfo=UTC")
        return at.timestamp()
    return None if at is None else _seconds(name, "at", at)


def _seconds(name: str, option: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ArgumentsDoNotFit(task=name, why=f"{option} is {value!r}, not a number of seconds")
    return float(value)
