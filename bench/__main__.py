"""Measure webspool against uWSGI's bare spooler on this machine: `make bench`. Ratios count, seconds are noisy.

What is measured: from POST to the task's start at 200 a second; a job spooled while every spooler is busy, from the
first of them going idle to its start; how exactly `at` is kept; and with wrk, webhooks done a second.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.stacks import Stack, post

RATE = 200


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=10, help="how long each paced run lasts")
    options.add_argument("--rounds", type=int, default=3, help="how often each stack is measured, in turn")
    given = options.parse_args()
    warn_of_noise()
    measured: dict[str, dict[str, list[float]]] = {"webspool": {}, "bare": {}}
    with tempfile.TemporaryDirectory(prefix="webspool-bench-") as folder:
        for number in range(given.rounds):
            for name, figures in measured.items():
                stack = Stack(name, Path(folder) / f"{name}{number}")
                try:
                    stack.wait_until_ready()
                    measure(stack, figures, given.seconds)
                finally:
                    stack.stop()
    report(measured, given.rounds)


def warn_of_noise() -> None:
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > 0.3 * cores:
        print(f"note: this machine is busy (load {load:.1f} on {cores} cores); the figures are worth little\n")


def measure(stack: Stack, figures: dict[str, list[float]], seconds: float) -> None:
    starts = sorted(paced(stack, seconds))
    note(figures, "POST to start, p50 ms", percentile(starts, 50))
    note(figures, "POST to start, p99 ms", percentile(starts, 99))
    note(figures, "all busy: idle to start, ms", busy(stack))
    note(figures, "at kept within, worst of 20, ms", at_kept(stack))
    if shutil.which("wrk"):
        note(figures, "accepted a second (wrk, 16 connections)", flood(stack, seconds))


def note(figures: dict[str, list[float]], name: str, value: float) -> None:
    figures.setdefault(name, []).append(value)


def paced(stack: Stack, seconds: float) -> list[float]:
    """Milliseconds from the sending of each webhook to its task's start."""
    stack.forget()
    count = int(RATE * seconds)
    began = time.monotonic()

    def send(number: int) -> None:
        time.sleep(max(0.0, began + number / RATE - time.monotonic()))
        payload = {"sent": time.time(), "filling": "x" * 900}
        post(f"{stack.url}/hooks/bench", payload, signed(payload))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(send, range(count)))
    stack.wait_for(lambda: len(stack.told()) >= count, 30)
    return [(each["began"] - each["sent"]) * 1000 for each in stack.told()]


def signed(payload: dict) -> dict[str, str]:
    signature = hmac.new(b"bench", json.dumps(payload).encode(), hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={signature}", "X-GitHub-Event": "push"}


def busy(stack: Stack) -> float:
    """Milliseconds from the first spooler going idle to the start of a job spooled while all were busy."""
    waits = []
    for _ in range(3):
        stack.forget()
        for number in range(4):
            post(f"{stack.url}/spool", {"sleep": 0.8 + number * 0.6})
        time.sleep(0.4)
        post(f"{stack.url}/spool", {"late": True})
        stack.wait_for(lambda: len(stack.told()) >= 5, 20)
        first_end = min(each["ended"] for each in stack.told() if each.get("sleep"))
        late = next(each for each in stack.told() if each.get("late"))
        waits.append((late["began"] - first_end) * 1000)
    return statistics.median(waits)


def at_kept(stack: Stack) -> float:
    """The largest distance in milliseconds between `at` and the start, of 20 jobs spread over two seconds."""
    stack.forget()
    now = time.time() + 1.0
    for number in range(20):
        post(f"{stack.url}/spool", {"at_time": now + number * 0.1})
    stack.wait_for(lambda: len(stack.told()) >= 20, 20)
    return max(abs(each["began"] - each["at_time"]) for each in stack.told()) * 1000


def flood(stack: Stack, seconds: float) -> float:
    """Webhooks accepted a second with 16 connections; the tasks run beside it."""
    script = stack.directory / "post.lua"
    body = json.dumps({"filling": "x" * 1000})
    signature = hmac.new(b"bench", body.encode(), hashlib.sha256).hexdigest()
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = '{body}'\nwrk.headers['Content-Type'] = 'application/json'\n"
        f"wrk.headers['X-Hub-Signature-256'] = 'sha256={signature}'\nwrk.headers['X-GitHub-Event'] = 'push'\n"
    )
    command = ["wrk", "-t2", "-c16", f"-d{int(seconds)}s", "-s", str(script), f"{stack.url}/hooks/noop"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    return float(next(line.split()[1] for line in told.splitlines() if line.startswith("Requests/sec")))


def percentile(ordered: list[float], percent: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def report(measured: dict[str, dict[str, list[float]]], rounds: int) -> None:
    print(f"medians of {rounds} runs in turn; in brackets the least and the most\n")
    print(f"{'':44}{'webspool':>26}{'bare spooler':>26}{'ratio':>8}")
    for name, ours in measured["webspool"].items():
        theirs = measured["bare"][name]
        ratio = statistics.median(ours) / max(statistics.median(theirs), 1e-9)
        print(f"{name:44}{spread(ours):>26}{spread(theirs):>26}{ratio:8.2f}")


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
