"""Rows 1 and 2 of `make chaos` in short: every kind of process killed, and kills at steps that are hard to hit."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import webspool
from chaos.row import all_rows
from chaos.rows import steps
from chaos.run import Run
from chaos.steps import STEPS
from tests.conftest import needs_uwsgi

ROWS = {row.number: row for row in all_rows()}
HARD_TO_HIT = {
    "a batch applied, before its commit",
    "committed, before any answer",
    "a job given out, its webhook not flushed",
    "its end recorded, the answer not heard",
    "a bare spooler's file is a job, and a file still",
    "inside a direct transaction, before the commit",
    "a dead spooler's runner killed, its jobs not ended",
}
SEED = int(os.environ.get("WEBSPOOL_CHAOS_SEED", random.randrange(10**6)))


def a_run(number: str, folder: Path, seconds: float) -> Run:
    return Run(ROWS[number], folder, seconds, random.Random(SEED))


def test_processes_killed_in_turn_and_at_steps_lose_nothing(tmp_path: Path) -> None:
    """Every kind once, then where it is hard to hit; `make chaos` does more (WEBSPOOL_CHAOS_SEED: the same again)."""
    needs_uwsgi()
    run = a_run("2", tmp_path, 0)
    with steps.serving_steps(run), run.load(per_second=30) as load:
        for kind in ("worker", "spooler", "runner", "keeper", "live", "master"):
            assert run.kill(kind), kind
            load.wait_for_service()
        for step in STEPS:
            if step.name in HARD_TO_HIT:
                steps.die_at(run, step)
        steps.let_files_be_adopted(run)
    steps.adopted_once(run)
    found = run.judge()
    assert found["breaches"] == [], f"seed {SEED}"
    assert found["acked"] > 20
    taken = {line.get("step") for line in map(json.loads, (run.evidence / "harm.jsonl").read_text().splitlines())}
    assert taken >= HARD_TO_HIT


def test_every_step_is_the_place_of_a_function() -> None:
    """So that a function that gets another name takes its steps along."""
    code = "from pathlib import Path; from chaos import steps; steps.install(Path('.'))"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=True, timeout=60)
    assert {step.name for step in STEPS} > HARD_TO_HIT
    code = "".join(path.read_text() for path in Path(webspool.__path__[0]).rglob("*.py"))
    assert all(f"def {caller}(" in code for step in STEPS for caller in step.within)
