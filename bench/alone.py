"""webspool by itself: a burst behind a busy spooler, a pool that is never idle, due times, idleness, large bodies."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.compare import RATE, begun, end, folder, of_paced, percentile, say
from bench.load import flood, paced, payload, webhook
from bench.noise import listen, machine
from bench.processes import largest_memory, memory, resident, used
from bench.stacks import Run, Stack, post, stamp, wait_for
from webspool.config import load
from webspool.ledger import reading

Found = dict[str, Any]

MIB = 2**20
LARGE_BYTES = 25 * MIB
BUSY_JOBS, BUSY_SLEEP_SECONDS = 800, 0.02
DUE_JOBS, DUE_AHEAD_SECONDS = 500, 3.0
IDLE_SECONDS = 20.0
FLOODS_AT_MOST = 40


def alone(measure: str, seconds: float, count: int) -> Found:
    """One of the measures below; what it found lies under `figures`."""
    with folder() as place:
        found: Found = {"what": measure, "machine": machine(place), "noise": [listen()]}
        found["figures"] = MEASURES[measure](place, seconds, count)
        found["noise"].append(listen())
    return found


# ── a burst ─────────────────────────────────────────────────────────────────────────────────────────────────────


def burst(place: Path, seconds: float, count: int) -> Found:
    """`count` webhooks are accepted while the only spooler is in a task; then they drain."""
    stack = begun("webspool", place, WEBSPOOL_SPOOLERS="1")
    try:
        gate = stack.directory / "gate"
        before = shares(stack)
        stack.forget()
        stack.spool({"sent": stamp(0), "gate": str(gate)})
        accepted, began = _pour(stack, count), time.time()
        say(f"{accepted:,} accepted; draining")
        parked = shares(stack)
        gate.touch()
        stack.wait_until_done(accepted + 1, 30 + accepted / 200)
        drained = shares(stack)
        runs = stack.runs()
        pauses = sorted((later.began - run.ended) * 1000 for run, later in pairwise(runs))
        return {
            "accepted": accepted,
            "drained_per_second": (len(runs) - 1) / (runs[-1].ended - began),
            "pause_p50_ms": percentile(pauses, 50),
            "pause_p99_ms": percentile(pauses, 99),
            "longest_pause_ms": pauses[-1],
            "memory_mib": {"before": before, "while they wait": parked, "drained": drained},
        }
    finally:
        end(stack)


def _pour(stack: Stack, count: int) -> int:
    accepted = 0
    for _ in range(FLOODS_AT_MOST):
        if accepted >= count:
            break
        accepted += flood(stack.url, stack.peer.hook, 4, stack.directory / "post.lua").accepted
    return accepted


def shares(stack: Stack) -> dict[str, float]:
    """MiB (PSS) by what a process is, the largest of each kind."""
    found: dict[str, float] = {}
    for pid, kind in kinds(stack).items():
        found[kind] = max(found.get(kind, 0.0), memory(pid) / MIB)
    return {kind: round(share, 1) for kind, share in sorted(found.items())}


def kinds(stack: Stack) -> dict[int, str]:
    """What each process of an instance of webspool's is: who spools and runs is in the ledger, the rest are workers."""
    config = load(stack.directory, stack.environ)
    wait_for(lambda: reading.serving(config).spoolers == config.spoolers, 30, "the spoolers")
    members = reading.serving(config).members
    found = dict.fromkeys(stack.pids(), "worker") | {stack.process.pid: "master"}
    found |= {member["pid"]: "spooler" for member in members} | {member["runner_pid"]: "runner" for member in members}
    return found | {(reading.keeper(config) or {}).get("pid", 0): "keeper"}


# ── a busy pool, and due times ──────────────────────────────────────────────────────────────────────────────────


def busy(place: Path, seconds: float, count: int) -> Found:
    """From one task's end to the next waiting job's start, in the same runner."""
    stack = begun("webspool", place)
    try:
        stack.forget()
        stack.spool({"sent": stamp(0), "sleep": BUSY_SLEEP_SECONDS}, count=BUSY_JOBS)
        stack.wait_until_done(BUSY_JOBS, 60)
        return spread_ms(gaps(stack.runs()))
    finally:
        end(stack)


def gaps(runs: Iterable[Run]) -> list[float]:
    """Seconds between two runs of one process."""
    last: dict[int, Run] = {}
    found = []
    for run in sorted(runs, key=lambda run: run.began):
        if run.pid in last:
            found.append(run.began - last[run.pid].ended)
        last[run.pid] = run
    return found


def due(place: Path, seconds: float, count: int) -> Found:
    """How exactly 500 due times within one second are kept; and of 500 at one instant, when the last begins."""
    stack = begun("webspool", place)
    try:
        over = _due(stack, spread=1.0)
        at_once = _due(stack, spread=0.0)
        return spread_ms(over) | {"earliest": min(over) * 1000, "at_one_instant_the_last": max(at_once) * 1000}
    finally:
        end(stack)


def _due(stack: Stack, spread: float) -> list[float]:
    stack.forget()
    stack.spool({}, count=DUE_JOBS, at=time.time() + DUE_AHEAD_SECONDS, spread=spread)
    stack.wait_until_done(DUE_JOBS, 30)
    return [run.began - run.sent for run in stack.runs()]


def spread_ms(values: Sequence[float]) -> Found:
    """Milliseconds: median, 99th percentile, worst."""
    ordered = sorted(abs(value) * 1000 for value in values)
    return {"p50": percentile(ordered, 50), "p99": percentile(ordered, 99), "worst": ordered[-1]}


# ── idle ────────────────────────────────────────────────────────────────────────────────────────────────────────


def idle(place: Path, seconds: float, count: int) -> Found:
    """An instance that has nothing to do: its start, its share of a core, its memory."""
    began = time.monotonic()
    stack = begun("webspool", place)
    try:
        ready = time.monotonic() - began
        time.sleep(3)
        share = used(stack.pids(), IDLE_SECONDS)
        return {
            "ready_seconds": ready,
            "share_of_a_core_percent": share * 100,
            "memory_mib": stack.memory_bytes() / MIB,
            "processes": len(stack.pids()),
            "largest_mib": shares(stack),
        }
    finally:
        end(stack)


# ── large bodies ────────────────────────────────────────────────────────────────────────────────────────────────


def large(place: Path, seconds: float, count: int) -> Found:
    """25 MiB bodies: what one of them costs in memory, and what it does to 200 small ones a second beside it."""
    stack = begun("webspool", place)
    try:
        found: Found = {"memory_by_size": {}}
        who = kinds(stack)
        at_rest = {pid: resident(pid) for pid in who}
        for words, body in (("JSON", payload(stamp(0), LARGE_BYTES)), ("any bytes", os.urandom(LARGE_BYTES))):
            found["memory_by_size"][words] = _growth(stack, body, who, at_rest)
        alone_ms = _small(stack, seconds)
        stop = threading.Event()
        sent: list[float] = []
        sender = threading.Thread(target=_send_large, args=(stack, stop, sent))
        sender.start()
        try:
            beside = _small(stack, seconds)
        finally:
            stop.set()
            sender.join()
        found |= {"alone": alone_ms, "beside": beside, "large_per_second": len(sent) / seconds}
        return found
    finally:
        end(stack)


def _growth(stack: Stack, body: bytes, who: dict[int, str], at_rest: dict[int, int]) -> dict[str, float]:
    """How far over its rest the process that rose most of each kind was at its height, in multiples of the body's size.

    Memory that is kept for the next such body counts too.
    """
    request = _large_request(body, os.urandom(16).hex())
    for pid in who:
        forget_height(pid)
    for _ in range(6):
        post(stack.port, request)
        time.sleep(0.3)
    grown: dict[str, float] = {}
    for pid, kind in who.items():
        grown[kind] = max(grown.get(kind, 0.0), (largest_memory(pid) - at_rest[pid]) / len(body))
    return {kind: round(times, 2) for kind, times in sorted(grown.items())}


def forget_height(pid: int) -> None:
    """Let the highest memory use count from now on (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _large_request(body: bytes, delivery: str) -> bytes:
    kind = b"application/json" if body.startswith(b"{") else b"application/octet-stream"
    return webhook("/hooks/noop", body, delivery).replace(b"application/json", kind, 1)


def _send_large(stack: Stack, stop: threading.Event, sent: list[float]) -> None:
    request = bytearray(_large_request(payload(stamp(0), LARGE_BYTES), delivery := os.urandom(16).hex()))
    at = request.index(delivery.encode())
    while not stop.is_set():
        request[at : at + len(delivery)] = os.urandom(16).hex().encode()
        began = time.monotonic()
        post(stack.port, request)
        sent.append(time.monotonic() - began)
        time.sleep(0.1)


def _small(stack: Stack, seconds: float) -> Found:
    stack.forget()
    count = int(RATE * seconds)
    sent = paced(stack.port, stack.peer.hook, count, RATE)
    stack.wait_until_done(count - sent.failed, 15)
    return of_paced(sent, stack.runs(), count)


MEASURES: dict[str, Callable[[Path, float, int], Found]] = {
    "burst": burst,
    "busy": busy,
    "due": due,
    "idle": idle,
    "large": large,
}
