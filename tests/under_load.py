"""Senders that never stop while something is done to the instance, and commands typed beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.instances import Instance, Reply

BIN = Path(sys.executable).parent


def command(instance: Instance, *words: str, seconds: float = 90.0, **environ: str) -> subprocess.CompletedProcess[str]:
    """`webspool` typed in the instance's directory."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WEBSPOOL_")}
    return subprocess.run(
        [str(BIN / "webspool"), *words],
        cwd=instance.directory,
        env=kept | {"PATH": f"{BIN}:{os.environ['PATH']}"} | environ,
        capture_output=True,
        text=True,
        timeout=seconds,
    )


@dataclass
class Load:
    """What was sent, in the end: each request's reply, or the fault of its connection."""

    replies: list[Reply] = field(default_factory=list)
    faults: list[OSError] = field(default_factory=list)

    def statuses(self) -> Counter[int]:
        return Counter(reply.status for reply in self.replies)

    def jobs(self) -> list[str]:
        """The jobs of all that was accepted."""
        return [job for reply in self.replies if reply.status == 202 for job in _jobs(reply)]


def _jobs(reply: Reply) -> list[str]:
    return list(reply.json.get("jobs") or [reply.json["job"]])


@contextmanager
def load(send: Callable[[], Reply], *, per_second: float = 200.0, senders: int = 4) -> Iterator[Load]:
    """Requests at that rate, by as many senders, until the end of the block."""
    sent, over = Load(), threading.Event()

    def go_on() -> None:
        due = time.monotonic()
        while not over.is_set():
            due = max(due + senders / per_second, time.monotonic() - 1.0)
            over.wait(max(0.0, due - time.monotonic()))
            try:
                sent.replies.append(send())
            except OSError as fault:
                sent.faults.append(fault)

    with ThreadPoolExecutor(senders) as pool:
        sending = [pool.submit(go_on) for _ in range(senders)]
        try:
            yield sent
        finally:
            over.set()
    for each in sending:
        each.result()
