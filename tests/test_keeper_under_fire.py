"""The keeper stopped, resumed and killed at random under the load of real processes."""

from __future__ import annotations

import os
import random
from pathlib import Path

from tests.fire import House, Weather, under_fire
from webspool.ledger.operations import Operation

SECONDS = float(os.environ.get("WEBSPOOL_FIRE_SECONDS", "10"))
SEED = int(os.environ.get("WEBSPOOL_FIRE_SEED", random.randrange(10**6)))


def test_a_keeper_stopped_resumed_and_killed_loses_nothing_and_runs_nothing_twice(tmp_path: Path) -> None:
    """No ghost, no job run twice, nothing acknowledged and absent (WEBSPOOL_FIRE_SECONDS: for how long)."""
    after = under_fire(House(tmp_path), SECONDS, SEED)
    print(f"seed {SEED}: {dict(after.events)}")
    assert after.events["accepted"] > 0
    assert after.faults == {}, f"seed {SEED}"


def test_a_keeper_that_heeds_no_deadline_runs_jobs_twice(tmp_path: Path) -> None:
    """The fence taken out: a claim given up by its caller is done when the keeper is resumed, and takes a job away."""
    slow = Weather(sending=0.3, longest_job_seconds=0.15, killing=0.0, longest_stop_seconds=1.2)
    for number in range(6):
        house = House(tmp_path / str(number))
        house.root.mkdir()
        if under_fire(house, 5, number, weather=slow, change=without_deadlines).twice:
            return
    raise AssertionError("nothing ran twice: the fence is not what keeps that law, or is not tested")


def without_deadlines() -> None:
    """In the keeper's process: every operation may be done at any time."""
    read = Operation.from_frame
    Operation.from_frame = lambda message, body: read(message | {"by": None}, body)  # type: ignore[method-assign]
