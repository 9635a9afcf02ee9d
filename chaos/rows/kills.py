"""Row 1: every process of the instance is killed, in turn and several at once, under load."""

from __future__ import annotations

import time
from itertools import cycle

from chaos.row import row
from chaos.run import Run

ALONE = ("worker", "spooler", "runner", "keeper", "live")
TOGETHER = 0.3
PAUSE_SECONDS = (0.1, 1.0)


@row(
    1,
    "killed processes",
    broken="SIGKILL of workers, spoolers, runners, keeper, live process and master",
    promise="what was acknowledged is stored once and runs to its end; service is back within 10 s",
)
def killed_processes(run: Run) -> None:
    """In turn, so that each kind has its share, and now and then several at once; the master as a unit restarts it."""
    with run.serving() as house, run.load(per_second=30) as load:
        turns = cycle((*ALONE, "master"))
        while run.time_left():
            victims = [next(turns)]
            if run.chance.random() < TOGETHER:
                victims += run.chance.choices(ALONE, k=run.chance.randint(1, 4))
            house.kill_the_rest = run.chance.random() < 0.5
            for kind in victims:
                run.kill(kind)
            if "master" in victims:
                load.wait_for_service()
            time.sleep(run.chance.uniform(*PAUSE_SECONDS))
