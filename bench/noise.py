"""How still this machine is: a fixed piece of work timed again and again, and what others used meanwhile."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

PIECES = 300
WORK = 20_000
CALM_SPREAD, CALM_OTHERS, CALM_STOLEN = 1.35, 0.20, 0.02
PACKAGES = ("webspool", "pyuwsgi", "flask", "apsw", "huey", "celery", "dramatiq", "rq", "redis")


@dataclass(frozen=True)
class Noise:
    """`spread`: the slowest twentieth of the pieces by their median; `others`: cores that others used; `stolen`: the
    share of time that the machine's host kept for itself; `load`: of the last minute, our own included.
    """

    spread: float
    others: float
    stolen: float
    load: float

    @property
    def faults(self) -> list[str]:
        """Why figures taken now would be worth little."""
        found = []
        if self.spread > CALM_SPREAD:
            found.append(f"the same piece of work took {self.spread:.2f} times its median in one of twenty times")
        if self.others > CALM_OTHERS:
            found.append(f"other processes used {self.others:.2f} of a core")
        if self.stolen > CALM_STOLEN:
            found.append(f"the host kept {self.stolen:.0%} of the time for itself")
        return found


def listen(pieces: int = PIECES) -> Noise:
    """Measure for about a quarter of a second, in which nothing of ours should run."""
    began, before, own = time.perf_counter(), _processor_times(), time.process_time()
    times = sorted(_piece() for _ in range(pieces))
    seconds, after, own = time.perf_counter() - began, _processor_times(), time.process_time() - own
    busy, stolen = ((now - then) / os.sysconf("SC_CLK_TCK") for now, then in zip(after, before, strict=True))
    spread = times[int(len(times) * 0.95)] / statistics.median(times)
    return Noise(spread, max(0.0, (busy - own) / seconds), stolen / seconds, os.getloadavg()[0])


def _piece() -> float:
    began = time.perf_counter()
    for _ in range(WORK):
        pass
    return time.perf_counter() - began


def _processor_times() -> tuple[int, int]:
    """Ticks in which some processor worked for this machine, and ticks that were stolen from it (proc(5))."""
    user, nice, system, _idle, _waiting, irq, softirq, stolen, *_ = _numbers("/proc/stat")
    return user + nice + system + irq + softirq, stolen


def _numbers(path: str) -> list[int]:
    return [int(word) for word in Path(path).read_text().split("\n", 1)[0].split()[1:]]


def interpreter_milliseconds() -> float:
    """How fast this Python is: the best of ten rounds of 10,000 small objects made, kept and looked up.

    One that was built without optimisations (pyenv's own builds are) takes a third longer than a distribution's.
    """
    return min(_interpreted() for _ in range(10)) * 1000


def _interpreted() -> float:
    began, kept = time.perf_counter(), {}
    for number in range(10_000):
        name = f"job {number}"
        kept[name] = (number, name.partition(" "))
        kept.get(name)
    return time.perf_counter() - began


def flush_milliseconds(folder: Path) -> float:
    """The median of twenty flushes of a file in there: what no durable answer can be faster than."""
    times = []
    with TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(20):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def machine(folder: Path) -> dict[str, Any]:
    """What has to stand beside a figure: date, processors, versions, and the disk under `folder`."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "python_ms": round(interpreter_milliseconds(), 1),
        "fsync_ms": round(flush_milliseconds(folder), 2),
        "versions": {name: found for name in PACKAGES if (found := _version(name))} | _redis(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _redis() -> dict[str, str]:
    try:
        told = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"redis-server": next((word[2:] for word in told.split() if word.startswith("v=")), "")}


def worst(heard: Sequence[Noise]) -> Noise:
    """The worst of each."""
    columns = zip(*(asdict(each).values() for each in heard), strict=True)
    return Noise(*(max(column) for column in columns))
