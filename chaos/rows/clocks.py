"""Row 6: the wall clock is set, under load and under running jobs."""

from __future__ import annotations

import time
from datetime import datetime
from zoneinfo import ZoneInfo

from chaos.row import row
from chaos.run import Run
from tests.shim import Shim

HOUR = 3600
ZONE = "Europe/Berlin"
LEAPS = (HOUR, -HOUR, 0, 24 * HOUR, -HOUR, 400 * 24 * HOUR, 0)


def moments() -> tuple[float, ...]:
    """Five seconds before summer time, before its end, and before 32 bits of seconds are over."""
    zone = ZoneInfo(ZONE)
    begins, ends = datetime(2027, 3, 28, 1, 59, 55, tzinfo=zone), datetime(2027, 10, 31, 2, 59, 55, tzinfo=zone)
    return begins.timestamp(), ends.timestamp(), 2.0**31 - 5


@row(
    6,
    "the clock set",
    broken="the wall clock set by an hour ahead and back, a day, a year; over both changes of summer time, over 2038",
    promise="it is noticed; running jobs are neither cut nor lost, retries wait as long as meant, nothing runs twice",
)
def the_clock_set(run: Run) -> None:
    """Every process sees the new time at once; clocks that nobody sets, and the times of files, are the machine's."""
    shim = Shim(run.folder)
    with run.serving(environ=shim.environ | {"TZ": ZONE}) as house, run.load(per_second=50):
        ways = [*LEAPS, *(round(moment - time.time()) for moment in moments()), 0]
        turn = 0
        while run.time_left() or turn < len(ways):
            told = len(house.instance.said("clock_jumped"))
            run.harmed(f"set by {ways[turn % len(ways)]} s", "clock")
            shim.set_clock(ways[turn % len(ways)])
            _noticed(run, told)
            time.sleep(run.chance.uniform(1.0, 2.0) if turn % len(ways) < len(LEAPS) else 7.0)
            run.kill("spooler")
            turn += 1
        shim.set_clock(0)
    timed_out = house.instance.query("SELECT job FROM attempt WHERE outcome = 'timed_out'")
    for (job,) in timed_out[:5]:
        run.breach(f"job {job} was timed out by a clock that was set")


def _noticed(run: Run, told: int) -> None:
    give_up = time.monotonic() + 3.0
    while len(run.house.instance.said("clock_jumped")) == told:
        if time.monotonic() > give_up:
            run.breach("the clock was set, and nobody noticed")
            return
        time.sleep(0.05)
