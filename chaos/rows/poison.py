"""Row 7: tasks that destroy what they can reach, among others that must not notice."""

from __future__ import annotations

import json
import time
from pathlib import Path

from chaos.orders import Order
from chaos.row import row
from chaos.run import ROOT, Run
from tests.instances import runs

CODE = ROOT / "tests" / "data" / "poison.py"
POISON = {
    "exits": "exit code 7",
    "segfaults": "SIGSEGV",
    "is_killed": "SIGKILL",
    "exits_in_a_thread": "exit code 5",
    "leaves_by_exit": "SystemExit",
    "becomes_a_daemon": "exit code 0",
    "closes_everything_and_sleeps": "closed the descriptors",
    "wants_all_memory": "MemoryError",
    "recurses": "RecursionError",
    "recurses_without_a_limit": "",
    "fills_the_descriptor_table": "Too many open files",
    "prints_without_end": "timeout",
    "hangs_with_children": "timeout",
    "heeds_nothing": "timeout",
    "stays_in_c": "timeout",
    "stops_itself": "timeout",
    "takes_a_lock_over_a_fork": "timeout",
    "kills_its_spooler": "was killed",
}
LEAVING = ("changes_its_surroundings", "leaves_a_thread", "lowers_a_limit_for_good")
TASKS = f"""

import importlib.util

from webspool.task import registry

_harmless = dict(registry.tasks)
_spec = importlib.util.spec_from_file_location("poison", {str(CODE)!r})
_poison = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_poison)
registry.tasks.clear()
registry.tasks.update(_harmless)  # those of that module take no delivery


def _ordered(name):
    inner = getattr(_poison, name)

    def poisoned(delivery):
        begin(delivery)
        inner.function()
        note("done")

    policy = inner.policy
    settings = dict(max_attempts=policy.max_attempts, timeout=policy.timeout, grace=policy.grace)
    task(name=f"poison_{{name}}", first_wait=0.1, **settings)(poisoned)


for _name in {[*POISON, *LEAVING]!r}:
    _ordered(_name)
"""
MOST_GROWN = 32 << 20


@row(
    7,
    "poison",
    broken="tasks that end, crash, exhaust, block, stop, leave or kill what they can reach, among others",
    promise="each is dead after its attempts with its cause told, its children are gone, no other job notices",
)
def poison(run: Run) -> None:
    """All manners at once beside the usual load; what outlives its attempt, and how the spoolers grow, is looked at."""
    run.more_tasks = TASKS
    run.orders |= {f"poison_{name}": Order(1, limit=2, dead_by=cause) for name, cause in POISON.items()}
    run.orders |= {f"poison_{name}": Order(1) for name in LEAVING}
    with run.serving(WEBSPOOL_SPOOLERS="4") as house, run.load(per_second=12):
        began = {pid: _peak(pid) for pid in house.pids("spooler")}
        while run.time_left():
            time.sleep(0.2)
        grown = [_peak(pid) - before for pid, before in began.items() if runs(pid)]
        run.figures["spoolers grown by MiB"] = [each >> 20 for each in grown]
        if any(each > MOST_GROWN for each in grown):
            run.breach(f"a spooler grew by {max(grown) >> 20} MiB")
        run.settle()
        _look_for_left_processes(run)


def _look_for_left_processes(run: Run) -> None:
    """Daemons of attempts that ended badly; those of a killed spooler are out of reach, and none is made there."""
    lines = [json.loads(line) for line in (run.evidence / "effects.jsonl").read_text().splitlines()]
    left = [line for line in lines if line["what"] == "daemon" and runs(line["child"])]
    for line in left:
        run.breach(f"process {line['child']}, which job {line['job']} started, runs still")


def _peak(pid: int) -> int:
    """The most memory that it ever had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) << 10
