"""What one webhook costs: processor microseconds by kind of process, from the kernel's own clock of each.

Seconds of wall time vary with whatever else the machine does; the time that a process was on a processor hardly does.
`python -m bench.costs`; with `--profile SECONDS` py-spy, where it is installed, looks at one process of each kind.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from bench.load import CONNECTIONS, flood
from bench.stacks import Stack, wait_for
from webspool.config import load
from webspool.ledger import standing

NOOP = "/hooks/noop"
KINDS = ("worker", "keeper", "spooler", "runner", "master")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=4, help="how long each round sends")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--connections", type=int, default=CONNECTIONS)
    options.add_argument("--profile", type=Path, help="a folder for py-spy's raw stacks of one process of each kind")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="webspool-costs-") as folder:
        stack = Stack("webspool", Path(folder) / "stack")
        try:
            stack.wait_until_ready()
            send(stack, 1, given.connections)
            measured = [round_of(stack, given.seconds, given.connections, given.profile) for _ in range(given.rounds)]
        finally:
            stack.stop()
    report(measured)


def round_of(stack: Stack, seconds: float, connections: int, profile: Path | None) -> dict[str, float]:
    """One flood: microseconds a webhook by kind of process, webhooks a second, jobs done a second."""
    processes = kinds(stack)
    jobs = jobs_done(stack)
    before, began = used(processes), time.monotonic()
    looking = list(profilers(processes, profile, seconds)) if profile else []
    sent = send(stack, seconds, connections)
    wait_for(lambda: jobs_done(stack) - jobs >= sent, 60, "every job to end")
    took, after = time.monotonic() - began, used(processes)
    done = jobs_done(stack) - jobs
    for each in looking:
        each.wait()
    figures = {kind: (after[kind] - before[kind]) / done / 1000 for kind in KINDS}
    return figures | {"all": sum(figures.values()), "accepted/s": sent / seconds, "done/s": done / took}


def send(stack: Stack, seconds: float, connections: int) -> int:
    """Webhooks for so long; returns how many were accepted."""
    script = stack.directory / "costs.lua"
    return flood(stack.url, NOOP, seconds, script, connections).accepted


def jobs_done(stack: Stack) -> int:
    """The jobs that have succeeded, as `webspool status` counts them."""
    found: int = standing.status(load(stack.directory, {}))["jobs"]["succeeded"]
    return found


def kinds(stack: Stack) -> dict[str, list[int]]:
    """The pids of an instance by kind: who has a child is a spooler, and the keeper says who it is."""
    master = stack.process.pid
    keeper = int(json.loads((stack.directory / "var/keeper/keeper.json").read_text())["pid"])
    children = children_of(master)
    spoolers = [pid for pid in children if children_of(pid)]
    runners = [runner for pid in spoolers for runner in children_of(pid)]
    workers = [pid for pid in children if pid not in (*spoolers, keeper)]
    return {"worker": workers, "keeper": [keeper], "spooler": spoolers, "runner": runners, "master": [master]}


def children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def used(processes: dict[str, list[int]]) -> dict[str, int]:
    """Nanoseconds on a processor so far, all threads, by kind."""
    return {kind: sum(map(nanoseconds, pids)) for kind, pids in processes.items()}


def nanoseconds(pid: int) -> int:
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def profilers(processes: dict[str, list[int]], folder: Path, seconds: float) -> Iterable[subprocess.Popen[bytes]]:
    """py-spy on one process of each kind, while the flood runs; their stacks are files for flame graphs."""
    if shutil.which("py-spy") is None:
        raise SystemExit("--profile needs py-spy: pip install py-spy")
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("worker", "keeper", "spooler", "runner"):
        typed = ["py-spy", "record", "-d", f"{seconds:.0f}", "-r", "1000", "-f", "raw", "-F", "-g"]
        typed += ["-o", str(folder / f"{kind}.txt"), "-p", str(processes[kind][0])]
        yield subprocess.Popen(typed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def report(measured: list[dict[str, float]]) -> None:
    print(f"{'':12}" + "".join(f"{f'round {number}':>10}" for number in range(1, len(measured) + 1)) + "    median")
    for name in measured[0]:
        values = [each[name] for each in measured]
        unit = "" if "/s" in name else " us"
        print(f"{name:12}" + "".join(f"{value:10.0f}" for value in [*values, sorted(values)[len(values) // 2]]) + unit)


if __name__ == "__main__":
    main()
