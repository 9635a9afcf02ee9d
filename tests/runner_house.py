"""A house for runners' tests: a directory with a user's app in it, and the runners that serve it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from webspool.policy import Policy
from webspool.records import Order, Outcome, new_id
from webspool.runner import Program, Runner
from webspool.task import registry

LONG = 60.0
"""Seconds that no test here may need."""

HEAD = """
import ctypes, logging, os, signal, socket, subprocess, sys, threading, time
from pathlib import Path
from webspool.task import Discard, Retry, SPOOL_IGNORE, SPOOL_OK, SPOOL_RETRY, TimeLimitExceeded, current, task
app = None
"""


class House:
    """A directory with a user's app in it, and the runner that serves it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.output = b""
        self.runners: list[Runner] = []

    def start(self, code: str, app: str = "app:app") -> Runner:
        (self.directory / "app.py").write_text(HEAD + code)
        self.runners.append(Runner.start(Program(self.directory, app)))
        return self.runners[-1]

    def serve(self, code: str, app: str = "app:app") -> Runner:
        runner = self.start(code, app)
        self.policies = runner.hello(LONG)
        return runner

    def take(self, data: bytes) -> None:
        self.output += data

    def run(self, task: str, *, calling="keywords", delivery=None, tick=None, **arguments) -> Outcome:
        order = Order(
            job="j_1",
            task=task,
            attempt=new_id("a"),
            number=1,
            calling=calling,
            arguments=arguments,
            delivery=delivery,
            created_at=time.time(),
        )
        return self.runners[-1].call(order, self.policies.get(task, Policy()), self.take, tick)

    @property
    def lines(self) -> list[str]:
        return self.output.decode().splitlines()


@pytest.fixture
def house(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "tasks", {})  # a runner is forked with the tasks that this process knows
    house = House(tmp_path)
    yield house
    for runner in house.runners:
        runner.kill()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def until(condition) -> None:
    limit = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < limit, "it never came true"
        time.sleep(0.005)
