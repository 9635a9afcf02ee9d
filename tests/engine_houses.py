"""The same instance under each engine, asked and waited for in the same words."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.instances import SECRET, Instance
from webspool.ledger.client import Client
from webspool.ledger.operations import Operation
from webspool.records import new_id

CODE = Path(__file__).parent / "data" / "engines"


def code() -> dict[str, str]:
    return {path.name: path.read_text() for path in CODE.glob("*.py")}


def act(instance: Instance, verb: str, job: str) -> str:
    """An operator's action from a process beside the instance; returns what became of it."""
    config = instance.config
    client = Client(config.ledger_path, config.output_path, None)
    answer = client.call(Operation(new_id("x"), "act", {"verb": verb, "jobs": [job], "actor": "tests"}))
    return str(answer.values["done"][job])


class SpoolHouse(Instance):
    """Under uWSGI."""

    engine = "spool"


class LocalHouse(Instance):
    """`python app.py`: one ordinary process."""

    engine = "local"
    program: tuple[str, ...] = ("app.py",)

    def launch(self, *prefix: str, **environ: str) -> subprocess.Popen[bytes]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("WEBSPOOL_", "WERKZEUG_"))}
        self.master = subprocess.Popen(
            [*prefix, sys.executable, *self.program],
            cwd=self.directory,
            env=clean | {"WEBSPOOL_ENGINE": self.engine} | environ,
            stdin=subprocess.DEVNULL,
            stdout=self.log.open("ab"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self.master

    def serves(self) -> bool:
        assert self.master is not None
        if self.master.poll() is not None:
            raise AssertionError(f"it ended with {self.master.returncode}:\n{self.log.read_text()}")
        return self.answers()


class InlineHouse(LocalHouse):
    """Runs when told: waiting for something tells it, and lets some time pass."""

    engine = "inline"

    def until(self, condition: Any, seconds: float = 30.0, why: Any = None) -> Any:
        def told() -> Any:
            with contextlib.suppress(OSError):
                self.post("/run/0.05")
            return condition()

        return super().until(told if self.master is not None and self.answers() else condition, seconds, why)


HOUSES: Mapping[str, type[Instance]] = {"spool": SpoolHouse, "local": LocalHouse, "inline": InlineHouse}

__all__ = ["HOUSES", "SECRET", "InlineHouse", "LocalHouse", "SpoolHouse", "act", "code"]
