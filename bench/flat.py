"""Whether a long past slows today down: the same measures on an empty ledger and on a filled one, in turn."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apsw

from bench.compare import begun, flooded, folder, say, steady
from bench.filled import Size, filled
from bench.lists import asked, commands, config_of
from bench.noise import listen, machine
from webspool.keep.prune import Pruner, Retention
from webspool.ledger.database import Database

Found = dict[str, Any]

FULL = Size()
BITES = 300
PRUNED_DAYS = 14.0


def flat(rounds: int, seconds: float, size: Size = FULL) -> Found:
    """Both, in turn; then how long the operator's questions take there, and how long pruning holds the writer."""
    say(f"filling a ledger: {size.finished:,} finished, {size.later:,} later, {size.dead:,} dead")
    kept = filled(size)
    with folder() as place:
        found: Found = {"what": "flat", "machine": machine(place), "noise": [], "rounds": []}
        ledger = place / "ledger.db"
        shutil.copyfile(kept, ledger)
        flush(ledger)
        for number in range(rounds):
            for which in ("empty", "filled"):
                found["noise"].append(listen())
                say(f"round {number + 1} of {rounds}: {which}")
                figures = _measured(place, seconds, ledger if which == "filled" else None)
                found["rounds"].append({"stack": "webspool", "ledger": which, "round": number} | figures)
        say("lists")
        config = config_of(ledger, place / "reading")
        found["lists_ms"], found["commands_ms"] = asked(config), commands(config)
        say("pruning")
        found["pruning"] = pruning(ledger)
    return found


def flush(path: Path) -> None:
    """What was copied is on disk, so that no measure pays for it."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _measured(place: Path, seconds: float, ledger: Path | None) -> Found:
    directory = place / "webspool"
    if ledger is not None:
        (directory / "var").mkdir(parents=True)
        ledger.rename(directory / "var" / "ledger.db")
    try:
        stack = begun("webspool", place)
        try:
            return flooded(stack, seconds) | steady(stack, seconds) | {"memory_mib": stack.memory_bytes() / 2**20}
        finally:
            stack.stop()
    finally:
        if ledger is not None and directory.exists():  # a stack that did not begin has been cleared away
            settle(directory / "var" / "ledger.db")
            (directory / "var" / "ledger.db").rename(ledger)
        shutil.rmtree(directory, ignore_errors=True)


def settle(ledger: Path) -> None:
    """Its log is copied into the file."""
    connection = apsw.Connection(str(ledger))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()


def pruning(ledger: Path) -> Found:
    """How long each bite of the pruner holds the writer, from BEGIN to the end of COMMIT, in milliseconds: where half
    of the rows are old, and where event keys are looked through, of which none is.
    """
    database = Database(ledger)
    bodies = ledger.parent / "bodies"
    rows = bites(database, Pruner(Retention(days=PRUNED_DAYS, dead_days=PRUNED_DAYS), bodies))
    keys = bites(database, Pruner(Retention(), bodies))
    database.close()
    return {"rows": rows, "keys": keys}


def bites(database: Database, pruner: Pruner) -> Found:
    """Of one round, as many as there are."""
    held, gone = [], 0
    for _ in range(BITES):
        began = time.perf_counter()
        with database.transaction(flush=False) as tx:
            bitten = pruner.bite(tx)
        held.append((time.perf_counter() - began) * 1000)
        gone += bitten.jobs + bitten.deliveries
        if pruner.rests:
            break
    return {"bites": len(held), "gone": gone, **spread_of(held)}


def spread_of(values: Iterable[float]) -> Found:
    """Median, 99th percentile and worst."""
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {"p50": statistics.median(ordered), "p99": p99, "worst": ordered[-1]}
