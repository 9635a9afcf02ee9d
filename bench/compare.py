"""Ours and the peers, one after the other, in turn and again: accepted and done a second, POST to start, memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any

from bench import slower_disk
from bench.load import Paced, flood, has_wrk, paced
from bench.noise import listen, machine
from bench.peers import PEERS
from bench.stacks import Run, Stack

RATE = 200
DRAIN_SECONDS = 15.0
Found = dict[str, Any]


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for the stacks, gone afterwards."""
    with TemporaryDirectory(prefix="webspool-bench-") as made:
        yield Path(made)


def compare(names: Sequence[str], rounds: int, seconds: float, flush_ms: float = 0.0) -> Found:
    """Everything measured, as it is kept in a file: the machine, its noise, and the figures of each round.

    With `flush_ms` no flush of a stack's takes less than so many milliseconds. Raises slower_disk.NoCompiler.
    """
    present = [name for name in names if not _skipped(name)]
    if not has_wrk():
        print("wrk is not installed (Debian: wrk): accepted and done a second are left out", flush=True)
    with folder() as place:
        found: Found = {"what": "compare", "machine": machine(place), "seconds": seconds, "noise": [], "rounds": []}
        disk = slower_disk.environ(place, flush_ms) if flush_ms else {}
        found["machine"]["flush_ms"] = flush_ms
        for number in range(rounds):
            for name in present:
                found["noise"].append(listen())
                say(f"round {number + 1} of {rounds}: {PEERS[name].title}")
                try:
                    found["rounds"].append({"stack": name, "round": number} | measured(name, place, seconds, disk))
                except (RuntimeError, OSError) as fault:  # TimeoutError is an OSError
                    print(f"{PEERS[name].title} is left out of round {number + 1}: {fault}", flush=True)
        found["noise"].append(listen())
    return found


def _skipped(name: str) -> bool:
    """Whether something is not installed that this stack needs; told."""
    missing = PEERS[name].missing()
    if missing:
        print(f"{PEERS[name].title} is skipped: it needs {missing}", flush=True)
    return missing is not None


def say(text: str) -> None:
    """Progress, beside what is printed in the end."""
    print(f"  {text}", file=sys.stderr, flush=True)


def measured(name: str, place: Path, seconds: float, environ: Mapping[str, str]) -> Found:
    """One round of one stack. A stack that is far behind after the flood is begun anew before the paced webhooks."""
    stack = begun(name, place, **environ)
    try:
        found = flooded(stack, seconds) if has_wrk() else {"behind": False}
        if found["behind"]:
            end(stack)
            stack = begun(name, place, **environ)
        return found | steady(stack, seconds) | {"memory_mib": stack.memory_bytes() / 2**20}
    finally:
        end(stack)


def begun(name: str, place: Path, **environ: str) -> Stack:
    """A stack that is ready."""
    stack = Stack(name, place / name, **environ)
    try:
        stack.wait_until_ready()
    except BaseException:
        end(stack)
        raise
    return stack


def end(stack: Stack) -> None:
    """Stop it and remove its folder."""
    stack.stop()
    rmtree(stack.directory, ignore_errors=True)


def flooded(stack: Stack, seconds: float) -> Found:
    """Webhooks from 16 connections for `seconds`, and how long the last of their jobs takes to be done."""
    stack.forget()
    sent = flood(stack.url, stack.peer.hook, seconds, stack.directory / "post.lua")
    drained = stack.wait_until_done(sent.accepted, seconds + DRAIN_SECONDS)
    if drained:
        time.sleep(0.2)  # wrk does not count what it no longer waited for
    runs = stack.runs()
    until = max((run.ended for run in runs), default=sent.began) if drained else time.time()
    return {
        "accepted_per_second": sent.accepted / sent.seconds,
        "done_per_second": len(runs) / (until - sent.began),
        "refused": sent.refused,
        "behind": not drained,
    }


def steady(stack: Stack, seconds: float, rate: float = RATE) -> Found:
    """Webhooks at a steady pace: from POST to the task's start, and to the answer, in milliseconds."""
    stack.forget()
    count = int(rate * seconds)
    sent = paced(stack.port, stack.peer.hook, count, rate)
    stack.wait_until_done(count - sent.failed, DRAIN_SECONDS)
    return of_paced(sent, stack.runs(), count)


def of_paced(sent: Paced, runs: Sequence[Run], count: int) -> Found:
    """What never began counts as begun never."""
    starts = sorted(run.began - run.sent for run in runs)
    starts += [float("inf")] * (count - len(starts))
    return {
        "start_p50_ms": percentile(starts, 50) * 1000,
        "start_p99_ms": percentile(starts, 99) * 1000,
        "answer_p50_ms": percentile(sent.answered, 50) * 1000,
        "answer_p99_ms": percentile(sent.answered, 99) * 1000,
        "sent_late_p99_ms": percentile(sent.late, 99) * 1000,
        "not_answered": sent.failed,
    }


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Of sorted values; infinite when there is none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("inf")
