"""The steps between which a process can die: each is a place before or after one of webspool's own functions.

With CHAOS_STEPS set, every process of the instance has them (`install`); webspool itself knows nothing of them. A step
is armed by a file of its name in that folder. The first process that reaches it takes the file away, notes its own
death in the killer's log, and dies by SIGKILL.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Step:
    """`place` is module:function. The process dies `when` it is about to call it, or when it has returned.

    `within`: only when one of these functions called it. `where`: only with such arguments. `provoked`: the process to
    be killed so that the step is reached at all; "keepers" is each that comes, so that others write in their place, and
    "file" a bare spooler's file.
    """

    name: str
    place: str
    when: str
    within: tuple[str, ...] = ()
    where: Callable[..., bool] = lambda *_, **__: True
    provoked: str | None = None

    def is_reached(self, caller: str, *given: Any, **named: Any) -> bool:
        return (not self.within or caller in self.within) and self.where(*given, **named)


def _verb(name: str) -> Callable[..., bool]:
    """A request, or a client and an operation, of that verb."""
    return lambda first, second=None, **_: (
        getattr(second, "verb", None) == name or (getattr(getattr(first, "operation", None), "verb", None) == name)
    )


def _gives_a_job(request: Any, answer: Any) -> bool:
    return bool(request.operation.verb == "turn" and answer.values.get("order"))


def _accepts(_keeper: Any, requests: list[Any], _answers: Any) -> bool:
    return any(request.operation.verb == "accept" for request in requests)


def _direct(wanted: bool) -> Callable[..., bool]:
    return lambda tx: tx.direct is wanted and bool(tx.changes)


ANSWER = "webspool.ledger.sockets:SocketRequest.answer"
FLUSH = "webspool.ledger.database:Database.flush"
THE_KEEPERS = ("_flush", "_work")
"""Its own, and its thread's for when it takes its time; who writes directly flushes too."""

STEPS = (
    # the worker
    Step("verified, before the ledger is asked", "webspool.receive:Receiver._accept", "before"),
    Step("a large body written, its folder not flushed", "webspool.body_files:flush_folder", "before", ("write_body",)),
    Step("a large body durable, its delivery not", "webspool.receive:write_body", "after"),
    Step("stored, before the HTTP answer", "webspool.receive:Receiver._store", "after"),
    # the keeper
    Step(
        "a batch applied, before its commit",
        "webspool.ledger.database:Transaction.write_counters",
        "before",
        where=_direct(False),
    ),
    Step("committed, before any answer", "webspool.keep.keeper:Keeper._do_all", "after", where=_accepts),
    Step("a job's order, before its spooler hears of it", ANSWER, "before", where=_gives_a_job),
    Step("a job given out, its webhook not flushed", FLUSH, "before", THE_KEEPERS),
    Step("flushed, before the worker hears of it", FLUSH, "after", THE_KEEPERS),
    Step("the worker's answer, before it is written", ANSWER, "before", where=_verb("accept")),
    Step("what is due is queued, before the commit", "webspool.keep.keeper:release_due", "after"),
    Step(
        "a dead spooler's runner killed, its jobs not ended",
        "webspool.keep.rescue:kill_session",
        "after",
        ("rescue",),
        provoked="spooler",
    ),
    Step(
        "a dead spooler's jobs ended, before anything else",
        "webspool.keep.rescue:Rescuer.rescue",
        "after",
        provoked="spooler",
    ),
    Step("a keeper listens, before it says who it is", "webspool.mule:enter_process", "before", provoked="keeper"),
    Step(
        "a bare spooler's file is a job, and a file still",
        "webspool.keep.keeper:Keeper.transact",
        "after",
        ("_make_job",),
        provoked="file",
    ),
    Step("a new instance entered, before the commit", "webspool.ledger.serving:apply", "after", provoked="master"),
    # the spooler
    Step("claimed, before the call", "webspool.perform:Performer.run", "before"),
    Step("called, before its end is recorded", "webspool.perform:Performer.run", "after"),
    Step("its end recorded, the answer not heard", "webspool.perform:Performer._recorded", "after"),
    Step("a runner begun, not made known", "webspool.perform:Performer._take_on", "before", provoked="runner"),
    Step("a runner made known, nothing claimed", "webspool.perform:Performer._join", "after", provoked="runner"),
    # the runner
    Step("in the runner, before the task", "webspool.runner_child:call", "before"),
    Step("the task has returned, nobody knows", "webspool.runner_child:call", "after"),
    # worker or spooler, while there is no keeper
    Step(
        "inside a direct transaction, before the commit",
        "webspool.ledger.database:Transaction.write_counters",
        "before",
        where=_direct(True),
        provoked="keeper",
    ),
    Step(
        "a direct accept committed, before the answer",
        "webspool.ledger.client:Client.call_directly",
        "after",
        where=_verb("accept"),
        provoked="keepers",
    ),
    Step(
        "a direct turn committed, before it is heard",
        "webspool.ledger.client:Client.call_directly",
        "after",
        where=_verb("turn"),
        provoked="keeper",
    ),
)


def install(folder: Path) -> None:
    """Put every step into this process, and into those that it forks."""
    for place in {step.place for step in STEPS}:
        _wrap(place, [step for step in STEPS if step.place == place], folder)


def _wrap(place: str, steps: list[Step], folder: Path) -> None:
    module, _, path = place.partition(":")
    house: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for each in classes:
        house = getattr(house, each)
    function = getattr(house, name)

    @functools.wraps(function)
    def stepped(*given: Any, **named: Any) -> Any:
        caller = sys._getframe(1).f_code.co_name
        reached = [step for step in steps if step.is_reached(caller, *given, **named)]
        die_if_armed([step for step in reached if step.when == "before"], folder)
        result = function(*given, **named)
        die_if_armed([step for step in reached if step.when == "after"], folder)
        return result

    setattr(house, name, stepped)


def die_if_armed(steps: list[Step], folder: Path) -> None:
    for step in steps:
        try:
            (folder / step.name).unlink()
        except OSError:
            continue
        die(step, folder.parent / "harm.jsonl")


def die(step: Step, diary: Path) -> None:
    facts = {"at": time.monotonic(), "time": time.time(), "what": "SIGKILL", "who": _who(step), "pid": os.getpid()}
    descriptor = os.open(diary, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, (json.dumps(facts | {"step": step.name}) + "\n").encode())
    os.kill(os.getpid(), signal.SIGKILL)


def _who(step: Step) -> str:
    """What this process is; uWSGI numbers its mules and workers from 1."""
    if step.place.startswith("webspool.runner_child:"):
        return "runner"
    uwsgi = importlib.import_module("uwsgi")
    mule = {1: "keeper", 2: "live"}.get(uwsgi.mule_id())
    return mule or ("worker" if uwsgi.worker_id() else "spooler")
