"""The operations that callers ask of a ledger, with the fields a test does not care about filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from webspool.ledger.operations import Answer, Operation, ending
from webspool.policy import Policy, Standing, judge
from webspool.records import Order, Outcome, new_id
from webspool.stint import claims_in

INSTANCE = "the-instance"


def start(instance: str = INSTANCE, host: str = "here") -> Operation:
    return Operation(instance, "start", {"host": host, "boot": "", "pid": 1, "start": 0, "engine": "spool"})


def stop(instance: str = INSTANCE, *, stopping: bool = True) -> Operation:
    return Operation(new_id("s"), "stop", {"instance": instance, "stopping": stopping})


def join(process: str, tasks: dict[str, Policy] | None = None, **given: Any) -> Operation:
    """A spooler comes, with the tasks its runner knows; None says nothing about tasks."""
    values = {"process": process, "instance": INSTANCE, "pid": 1, "start": 0, "runner_pid": 0, "runner_start": 0}
    known = None if tasks is None else {name: policy.as_dict() for name, policy in tasks.items()}
    return Operation(new_id("p"), "join", values | {"generation": 1, "tasks": known} | given)


def accept(*tasks: str, body: bytes = b"x", **given: Any) -> Operation:
    """A webhook that starts these tasks."""
    values = {"source": "github", "method": "POST", "url": "/", "headers": "[]", "remote": None, "event_id": None}
    values |= {"event_type": "push", "body_file": False, "body_size": len(body), "body_sha256": "x"}
    jobs = [{"id": new_id("j"), "task": task} for task in tasks]
    return Operation(new_id("d"), "accept", values | {"jobs": jobs} | given, body)


def spool(task: str, **given: Any) -> Operation:
    return Operation(new_id("j"), "spool", {"task": task, "calling": "keywords", "arguments": "{}"} | given)


def act(verb: str, *targets: str, **given: Any) -> Operation:
    """An operator's action on jobs, or on names (pause and resume)."""
    of = "names" if verb in ("pause", "resume") else "jobs"
    return Operation(new_id("x"), "act", {"verb": verb, of: list(targets), "actor": "test"} | given)


def turn(process: str = "", *, end: dict[str, Any] | None = None, claim: bool = True, **given: Any) -> Operation:
    """The end of a process's last attempt, and its next claim."""
    wanted = {"attempt": new_id("a"), "process": process, "instance": INSTANCE, "generation": 1} | given
    return Operation(new_id("t"), "turn", {"end": end, "claim": wanted if claim else None})


def orders_in(answer: Answer) -> list[Order]:
    """What a turn was answered with, as a runner gets it."""
    return [claim.order.unpacked() for claim in claims_in(answer, 0.0, Path("bodies"))]


def body_in(answer: Answer) -> bytes:
    """The body that came with a claim of one job."""
    (order,) = orders_in(answer)
    assert order.delivery is not None
    return order.delivery.body


def end_of(order: dict[str, Any], outcome: Outcome, policy: Policy = Policy()) -> dict[str, Any]:  # noqa: B008
    """How an attempt ended, judged as its spooler does."""
    standing = Standing(order["attempts"], order["interruptions"])
    return ending(order["attempt"], outcome, judge(outcome, policy, standing, chance=lambda: 0.5))


def refuse(cause: str = "signature_invalid", source: str = "github") -> Operation:
    values = {"source": source, "cause": cause, "status": 401, "method": "POST", "url": "/", "headers": "[]"}
    return Operation(new_id("r"), "refuse", values | {"remote": None, "body_size": 1}, b"x")
