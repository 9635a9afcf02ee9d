"""Processes as /proc shows them: who descends from whom, memory, processor time; and how they are ended, by pid."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

MERCY_SECONDS = 10.0


def descendants(roots: Iterable[int]) -> list[int]:
    """These processes and all that descend from them."""
    children: dict[int, list[int]] = {}
    for pid, fields in _all_processes():
        children.setdefault(int(fields[1]), []).append(pid)
    found: list[int] = []
    left = list(roots)
    while left:
        pid = left.pop()
        found.append(pid)
        left += children.get(pid, [])
    return found


def _all_processes() -> Iterable[tuple[int, list[str]]]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError):
                yield int(entry.name), _fields(int(entry.name))


def _fields(pid: int) -> list[str]:
    """Of /proc/PID/stat, what follows the name: state, parent, ... (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def memory(pid: int) -> int:
    """The proportional share of the process's memory (PSS) in bytes; 0 when it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def resident(pid: int) -> int:
    """The memory (RSS) that the process holds, in bytes; 0 when it is gone."""
    return _of_status(pid, "VmRSS:")


def largest_memory(pid: int) -> int:
    """The most memory (RSS) that the process ever held, in bytes; 0 when it is gone."""
    return _of_status(pid, "VmHWM:")


def _of_status(pid: int, name: str) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0


def processor_seconds(pid: int) -> float:
    """The processor time that the process has used; 0 when it is gone."""
    with suppress(OSError):
        fields = _fields(pid)
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
    """Signal a process that we have started, and kill it when it does not go."""
    if process.poll() is not None:
        return
    process.send_signal(number)
    try:
        process.wait(MERCY_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def used(pids: Iterable[int], seconds: float) -> float:
    """The share of one core that these processes use, watched for `seconds`."""
    pids = list(pids)
    before = sum(map(processor_seconds, pids))
    time.sleep(seconds)
    return (sum(map(processor_seconds, pids)) - before) / seconds
