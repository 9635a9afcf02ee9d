"""webspool.job(id): how a job stands, and waiting for it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from webspool.config import Config, load
from webspool.ledger import reading
from webspool.records import FINISHED
from webspool.task import registry


class Job:
    """A job by its id; each look reads the ledger."""

    def __init__(self, job_id: str, config: Config) -> None:
        self.id = job_id
        self._config = config

    def __repr__(self) -> str:
        return f"<Job {self.id}>"

    @property
    def state(self) -> str:
        """One of scheduled, queued, blocked, running, succeeded, dead, cancelled. Raises NotFound."""
        return str(reading.job(self._config, self.id)["state"])

    @property
    def result(self) -> Any:
        """What the task returned, when that was a JSON value; None before it has succeeded."""
        return reading.job(self._config, self.id)["result"]

    def wait(self, seconds: float) -> str:
        """Wait at most that long for the job's end; returns the state it has then."""
        give_up, pause = time.monotonic() + seconds, 0.005
        while (state := self.state) not in FINISHED and time.monotonic() < give_up:
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)
        return state


def job(job_id: str, config: Config | None = None) -> Job:
    """The job of that id in this process's instance. Raises NotFound."""
    found = Job(job_id, config or getattr(registry.instance, "config", None) or load(Path.cwd()))
    _ = found.state
    return found
