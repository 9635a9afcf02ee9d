"""The drop-in for uWSGI's module of this name: `@spool` and its sisters, durable; the other decorators passed through.

Change `from uwsgidecorators import ...` to `from webspool.uwsgidecorators import ...`. A decorated function becomes a
task of its own name; calling it orders a run of it and returns the job's handle (uWSGI: the spool file's path).
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import math
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from webspool.errors import ArgumentsDoNotFit, NotBytes, TaskDefinitionError, WebspoolError
from webspool.records import Order
from webspool.task import (
    SPOOL_OK,
    SPOOL_RETRY,
    Discard,
    JobHandle,
    Options,
    Retry,
    SpoolRequest,
    Task,
    current,
    from_bytes,
    hand_over,
    not_json,
    registry,
    task,
)

OURS = ("spool", "spool_decorate", "spoolforever", "spoolraw")
REGISTERING = frozenset({"cron", "filemon", "rbtimer", "rpc", "signal", "timer"})
WRAPPING = frozenset({"harakiri", "lock", "thread"})
PASSED = REGISTERING | WRAPPING | {"get_free_signal"}

_MULE = "a mule never loads your app here (lazy-apps), so this would never run; use a task, or a process of its own"
_FORK = "your app is loaded after the fork (lazy-apps), so uWSGI would never run this; do it where app.py is imported"
_LOOP = "tasks are called by name from the ledger; those of this process are in webspool.task.registry.tasks"
_IMPORT = "uWSGI's module merely imports it; import it from where it lives"
EXPLAINED: Mapping[str, str] = {
    **dict.fromkeys(("farm", "farm_loop", "mule", "mule_brain", "mule_brainloop", "mule_functions"), _MULE),
    **dict.fromkeys(("mule_msg_dispatcher", "mulefunc", "muleloop", "mulemsg", "mulemsg_loop"), _MULE),
    **dict.fromkeys(("postfork", "postfork_chain", "postfork_chain_hook"), _FORK),
    **dict.fromkeys(("manage_spool_request", "spooler_functions"), _LOOP),
    **dict.fromkeys(("Thread", "partial", "pickle", "sys", "uwsgi"), _IMPORT),
    "erlang": "this build of uWSGI has no Erlang support",
}
NO_FUNCTIONS = frozenset({"mule_functions", "postfork_chain", "spooler_functions", "Thread", "partial", "pickle"}) | {
    "sys",
    "uwsgi",
}

__all__ = sorted({*OURS, *PASSED, *EXPLAINED} - NO_FUNCTIONS)

FIRST_PRIORITY = 1000
"""What uWSGI's priority 0 is here: there the lower number goes first and all of them before none, here the higher."""


class NotHere(WebspoolError, ImportError):
    """webspool.uwsgidecorators.{decorator} cannot be used here: {why}."""

    decorator: str
    why: str


class Spooled:
    """A function under `@spool` or its sisters: calling it orders a run, `.f` is the function itself."""

    def __init__(self, f: Callable[..., Any], pass_arguments: bool, made: Task[..., Any]) -> None:
        functools.update_wrapper(self, f, updated=())
        self.f, self.pass_arguments, self.task = f, pass_arguments, made
        f.spool = self.spool  # type: ignore[attr-defined]

    def __call__(self, *args: Any, **kwargs: Any) -> JobHandle:
        """Order a run; returns its job once that is durable.

        Takes uWSGI's dictionary (bytes or text) and further keys by name; `at` (Unix seconds), `priority`, `body` and
        `spooler` may stand inside or beside it. With `pass_arguments` the function's own arguments, of JSON types.
        Raises NotBytes, ArgumentsDoNotFit, NoInstance, or LedgerUnavailable when nothing was stored.
        """
        read = _read_arguments if self.pass_arguments else _read_message
        return hand_over(read(self, args, kwargs))

    spool = __call__


def spool(
    f: Callable[..., Any] | None = None, pass_arguments: bool = False, *, strict_uwsgi: bool = False, **settings: Any
) -> Any:
    """Make a function a durable task; `settings` are those of `webspool.task`.

    What it returns is honoured (SPOOL_OK, SPOOL_RETRY, uWSGI's bare numbers); `strict_uwsgi` ignores it, as uWSGI does.
    """
    if f is None:
        return functools.partial(spool, pass_arguments=pass_arguments, strict_uwsgi=strict_uwsgi, **settings)
    run = _caller(f, pass_arguments, {"ud_spool_ret": str(int(SPOOL_OK))})
    return _define(f, pass_arguments, _heedless(run) if strict_uwsgi else run, settings)


def spoolraw(f: Callable[..., Any] | None = None, pass_arguments: bool = False, **settings: Any) -> Any:
    """As `spool`, but the task's dictionary holds no `ud_spool_ret`; returning nothing is success."""
    if f is None:
        return functools.partial(spoolraw, pass_arguments=pass_arguments, **settings)
    return _define(f, pass_arguments, _caller(f, pass_arguments, {}), settings)


spool_decorate = spoolraw


def spoolforever(
    f: Callable[..., Any] | None = None, pass_arguments: bool = False, *, pause: float = 1.0, **settings: Any
) -> Any:
    """Run a function round after round, each a job that ends; `pause` seconds lie between two rounds.

    A round that fails is tried again as its settings say; the next one follows when it ended, whichever way. To end
    the chain cancel the round that waits (with uWSGI: remove the file).
    """
    if f is None:
        return functools.partial(spoolforever, pass_arguments=pass_arguments, pause=pause, **settings)
    run = _caller(f, pass_arguments, {"ud_spool_ret": str(int(SPOOL_RETRY))})
    return _define(f, pass_arguments, _followed(_heedless(run), pause), settings)


def _define(f: Callable[..., Any], pass_arguments: bool, run: Callable[..., Any], settings: dict[str, Any]) -> Spooled:
    if inspect.iscoroutinefunction(f):
        raise TaskDefinitionError(task=f.__name__, why="it is a coroutine function; wrap it: asyncio.run(...)")
    return Spooled(f, pass_arguments, task(**{"bare_returns": True, **settings})(run))


def _caller(f: Callable[..., Any], pass_arguments: bool, ending: dict[str, str]) -> Callable[..., Any]:
    """What the runner calls: with the stored message, to which uWSGI's own keys are added, or with the arguments."""

    @functools.wraps(f)
    def with_message(message: dict[str, str]) -> Any:
        order = current.get()
        extra = {"spooler_task_name": order.job if order else "", "ud_spool_func": f.__name__, **ending}
        return f(extra | message)

    @functools.wraps(f)
    def with_arguments(args: list[Any], kwargs: dict[str, Any]) -> Any:
        return f(*args, **kwargs)

    del with_arguments.__wrapped__  # its signature is its own, not the function's
    return with_arguments if pass_arguments else with_message


def _heedless(run: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(run)
    def returning_ok(*args: Any, **kwargs: Any) -> Any:
        run(*args, **kwargs)
        return SPOOL_OK

    return returning_ok


def _followed(run: Callable[..., Any], pause: float) -> Callable[..., Any]:
    @functools.wraps(run)
    def one_round(*args: Any, **kwargs: Any) -> Any:
        order = current.get()
        try:
            ending = run(*args, **kwargs)
        except BaseException as fault:
            if order and _ends_the_round(order, fault):
                _follow(order, pause)
            raise
        if order:
            _follow(order, pause)
        return ending

    return one_round


def _ends_the_round(order: Order, fault: BaseException) -> bool:
    """Whether this job will not be tried again. (After cuts it may: then the next round begins a little early.)"""
    made = registry.tasks[order.task]
    if isinstance(fault, (Discard, *made.discard_on)):
        return True
    if isinstance(fault, Exception) and not isinstance(fault, (Retry, *made.retry_on)):
        return True
    uncharged = isinstance(fault, Retry) and not fault.charge
    return order.number >= made.policy.max_attempts and not uncharged


def _follow(order: Order, pause: float) -> None:
    """Order the next round. Its id comes from this job, so that a repeated attempt does not make a second chain."""
    options = Options(due_at=time.time() + pause, priority=_priority(order.task, order.arguments.get("priority")))
    request = SpoolRequest(registry.tasks[order.task], order.calling, order.arguments, options, id=_next_id(order))
    hand_over(request)


def _next_id(order: Order) -> str:
    """An id as `records.new_id` makes them, of this job's time and, in place of chance, this job's id."""
    chance = int.from_bytes(hashlib.sha256(order.job.encode()).digest()[:10], "big")
    value = int(order.created_at * 1000) << 80 | 0x7 << 76 | (chance >> 68 & 0xFFF) << 64
    return f"j_{value | 0b10 << 62 | chance & 0x3FFFFFFFFFFFFFFF:032x}"


def _read_message(spooled: Spooled, args: tuple[Any, ...], kwargs: dict[str, Any]) -> SpoolRequest:
    name = spooled.task.name
    if len(args) > 1 or (args and not isinstance(args[0], Mapping)):
        raise NotBytes(task=name, why=f"{args!r} is not one dictionary")
    given = {_text(name, key): value for key, value in (dict(*args) | kwargs).items()}
    for key in given.keys() & {"at", "priority"}:
        given[key] = _number_as_text(given[key])
    message = {key: _text(name, value) for key, value in given.items()}
    options = Options(due_at=_due(name, message.get("at")), priority=_priority(name, message.get("priority")))
    return SpoolRequest(spooled.task, "bytes", message, options)


def _read_arguments(spooled: Spooled, args: tuple[Any, ...], kwargs: dict[str, Any]) -> SpoolRequest:
    name, signature = spooled.task.name, inspect.signature(spooled.f)
    scheduling = {key for key in ("at", "priority", "spooler") if key in kwargs and key not in signature.parameters}
    beside = {key: _text(name, _number_as_text(kwargs.pop(key))) for key in scheduling}
    try:
        signature.bind(*args, **kwargs)
    except TypeError as fault:
        raise ArgumentsDoNotFit(task=name, why=fault) from None
    arguments = {"args": list(args), "kwargs": kwargs}
    for key, value in arguments.items():
        if fault_in := not_json(value):
            raise ArgumentsDoNotFit(task=name, why=f"{key}{fault_in}")
    options = Options(due_at=_due(name, beside.get("at")), priority=_priority(name, beside.get("priority")))
    return SpoolRequest(spooled.task, "keywords", arguments, options)


def _text(name: str, value: object) -> str:
    match value:
        case str():
            return value
        case bytes() | bytearray() | memoryview():
            return from_bytes(bytes(value))
    raise NotBytes(task=name, why=f"{value!r} is of type {type(value).__name__}")


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _due(name: str, at: str | None) -> float | None:
    """Unix seconds; empty means at once, as in uWSGI. There unreadable text means so too: here it is refused."""
    if not at:
        return None
    try:
        seconds = float(at)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise ArgumentsDoNotFit(task=name, why=f"at is {at!r}, not Unix seconds")
    return seconds


def _priority(name: str, given: str | None) -> int:
    """uWSGI's number (0 is the most urgent, none the least) as the ledger's (higher goes first, none is 0)."""
    if not given:
        return 0
    try:
        return max(FIRST_PRIORITY - int(given), 1)
    except ValueError:
        why = f"priority is {given!r}, not a whole number (uWSGI would never run it)"
        raise ArgumentsDoNotFit(task=name, why=why) from None


def __getattr__(name: str) -> Any:
    if name in EXPLAINED:
        return _explained(name)
    if name not in PASSED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    uwsgi = _module("uwsgi")
    if name in REGISTERING and (uwsgi is None or uwsgi.i_am_the_spooler()):
        return functools.partial(_registers_nothing, name, uwsgi is None)
    if uwsgi is None:
        return functools.partial(_needs_uwsgi, name)
    return getattr(_original(uwsgi), name)


def _explained(name: str) -> Any:
    if name in NO_FUNCTIONS:
        raise NotHere(decorator=name, why=EXPLAINED[name])
    return functools.partial(_refuse, name, EXPLAINED[name])


def _refuse(name: str, why: str, *args: Any, **kwargs: Any) -> Any:
    raise NotHere(decorator=name, why=why)


def _needs_uwsgi(name: str, *args: Any, **kwargs: Any) -> Any:
    """Decorating goes well, so that the app can be imported anywhere; calling what was decorated does not."""
    refuse = functools.partial(_refuse, name, "it needs uWSGI, and this process is none")
    if name not in WRAPPING:
        return refuse()
    if args and callable(args[0]):
        return functools.wraps(args[0])(refuse)
    return functools.partial(_needs_uwsgi, name)


def _registers_nothing(name: str, tell: bool, *args: Any, **kwargs: Any) -> Any:
    """uWSGI refuses to register in a spooler (ValueError at import); without uWSGI nobody is there to register with."""
    if tell:
        warnings.warn(f"@{name} registers nothing: this process is no uWSGI worker", RuntimeWarning, stacklevel=2)
    return lambda function: function


def _original(uwsgi: Any) -> Any:
    """uWSGI's own module; importing it overwrites the process's hooks, so those that were set are put back."""
    hooks = {
        name: getattr(uwsgi, name) for name in ("spooler", "post_fork_hook", "mule_msg_hook") if hasattr(uwsgi, name)
    }
    module = importlib.import_module("uwsgidecorators")
    for name, hook in hooks.items():
        setattr(uwsgi, name, hook)
    return module


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
