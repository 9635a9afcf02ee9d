"""Instances and their processes: who serves this ledger, and which tasks their code knows."""

from __future__ import annotations

import json
from typing import Any

from webspool.ledger.admission import admit_blocked, hold_queued
from webspool.ledger.database import Transaction
from webspool.ledger.operations import Answer, Operation

COMPARED_SECONDS = 60.0


def start(tx: Transaction, operation: Operation) -> Answer:
    """An instance begins to serve this ledger; those of this host before it have ended."""
    given = operation.arguments
    tx.run("insert_instance", id=operation.id, now=tx.now, **{"generation": 1} | given)
    tx.run("end_other_instances", id=operation.id, host=given["host"], now=tx.now)
    tx.run("end_other_processes", instance=operation.id, now=tx.now)
    return Answer({"instance": operation.id})


def stop(tx: Transaction, operation: Operation) -> Answer:
    """No further claim is given to this instance (`stopping`), or again (not `stopping`)."""
    given = operation.arguments
    changed = tx.run("mark_stopping", id=given["instance"], stopping=int(given["stopping"]))
    return Answer({"changed": bool(changed)})


def renew(tx: Transaction, operation: Operation) -> Answer:
    """The instance's processes are to run code of this generation from now on; it never goes back."""
    given = operation.arguments
    changed = tx.run("renew_instance", id=given["instance"], generation=given["generation"])
    return Answer({"changed": bool(changed)})


def cut(tx: Transaction, operation: Operation) -> Answer:
    """The attempts that still run code older than this generation; the keeper tells their spoolers to cut them."""
    rows = tx.all("attempts_of_instance", **operation.arguments)
    return Answer({"attempts": [[attempt, process] for attempt, process in rows]})


def compare(tx: Transaction, operation: Operation) -> Answer:
    """How the last attempts at these tasks ended in other processes: how many succeeded, how many did not."""
    given = operation.arguments
    after = f"a_{int((tx.now - COMPARED_SECONDS) * 1000):012x}"  # ids begin with their time
    row = tx.one("ended_elsewhere", process=given["process"], tasks=json.dumps(given["tasks"]), after=after)
    succeeded, failed = row or (0, 0)
    return Answer({"succeeded": succeeded or 0, "failed": failed or 0})


def renewal(tx: Transaction, given: dict[str, Any]) -> int | None:
    """The generation that this process is to try next, if there is one."""
    standing = tx.standing(given["instance"])
    newest = standing[1] if standing else 0
    return newest if newest > max(given["generation"], given.get("tried", 0)) else None


def anybody_runs(tx: Transaction, instance: str, generation: int) -> bool:
    """Whether a runner of that code or newer has begun."""
    return tx.one("any_of_generation", instance=instance, generation=generation) is not None


def leave(tx: Transaction, operation: Operation) -> Answer:
    """A process has ended; its open attempts are ended by whoever saw it end."""
    tx.run("end_process", id=operation.arguments["process"], now=tx.now)
    return Answer({})


def join(tx: Transaction, operation: Operation) -> Answer:
    """A spooler with its runner: the tasks it knows are known from now on, others no more."""
    given = operation.arguments
    if given["runner_pid"]:
        tx.happened.append(("process:runner", "started", None))
    tx.run(
        "upsert_process",
        id=given["process"],
        instance=given["instance"],
        pid=given["pid"],
        start=given["start"],
        runner_pid=given["runner_pid"],
        runner_start=given["runner_start"],
        generation=given["generation"],
        tried=given.get("tried", 0),
        broken=given.get("broken"),
        now=tx.now,
    )
    if given.get("tasks") is not None and _runs_the_newest(tx, given):
        learn_tasks(tx, given["tasks"])
    return Answer({"process": given["process"]})


def _runs_the_newest(tx: Transaction, given: dict[str, Any]) -> bool:
    """Whether its tasks are those of the instance: in a reload the old code does not take back what the new knows."""
    standing = tx.standing(given["instance"])
    newest = standing[1] if standing else 0
    return given["generation"] >= newest or not anybody_runs(tx, given["instance"], newest)


def learn_tasks(tx: Transaction, tasks: dict[str, dict[str, Any]]) -> None:
    before = {name: (known, concurrency, policy) for name, known, concurrency, policy in tx.all("all_tasks")}
    for name, policy in tasks.items():
        _learn(tx, name, policy, before.get(name))
    for name, (known, _, _) in before.items():
        if known and name not in tasks:
            tx.run("forget_task", name=name)
            hold_queued(tx, "queued_by_task", f"unknown:{name}", task=name)


def unknown_tasks(tx: Transaction) -> set[str]:
    """The tasks for which jobs wait that the code does not know; one look into the index for each."""
    found, after = set[str](), "unknown:"
    while row := tx.one("next_unknown", after=after):
        after = row[0]
        found.add(after.removeprefix("unknown:"))
    return found


def _learn(tx: Transaction, name: str, policy: dict[str, Any], before: tuple[int, int | None, str] | None) -> None:
    text = json.dumps(policy, sort_keys=True)
    if before == (1, policy["concurrency"], text):
        return
    tx.run("upsert_task", name=name, concurrency=policy["concurrency"], policy=text)
    if before is not None and before[1] != policy["concurrency"]:
        _limit_anew(tx, name)
    admit_blocked(tx, f"unknown:{name}")


def _limit_anew(tx: Transaction, name: str) -> None:
    """The task's limit has changed: what is running holds its place, what waits queues up for the rest."""
    holds = f"task:{name}"
    for (job,) in tx.all("running_by_task", task=name):
        tx.run("take_slot", holds=holds, job=job)
    hold_queued(tx, "queued_by_task", f"limit:{holds}", task=name)
    admit_blocked(tx, f"limit:{holds}")
