"""Processes of this machine told apart by pid and start time, and the killing of a runner's session."""

from __future__ import annotations

import calendar
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from webspool import windows

PROC = Path("/proc")
KILLING_TURNS = 40


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that a reused pid cannot be taken for: `start` is its start time in clock ticks since boot."""

    boot: str
    pid: int
    start: int

    def __str__(self) -> str:
        return f"{self.boot}:{self.pid}:{self.start}"

    @classmethod
    def of(cls, pid: int) -> Identity:
        return cls(boot_id(), pid, start_time(pid))

    @classmethod
    def read(cls, text: str) -> Identity:
        """The identity that `str` or `of_thread` wrote."""
        boot, pid, start = text.partition("#")[0].rsplit(":", 2)
        return cls(boot, int(pid), int(start))

    def of_thread(self, number: int) -> str:
        """A name for one of the process's threads."""
        return f"{self}#{number}"

    @property
    def alive(self) -> bool:
        """Whether that very process runs still; a zombie does not."""
        if self.boot != boot_id():
            return False
        return is_running(self.pid, self.start)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a process has written of itself: who it is, and since when, in Unix and in monotonic seconds."""

    identity: Identity
    since: float
    began_at_monotonic: float
    viewers: int = 0


def enter(path: Path, *, viewers: int = 0) -> None:
    """Write who this process is, in place of the one before it, and how many watch what it shows."""
    me = Identity.of(os.getpid())
    known = {"boot": me.boot, "pid": me.pid, "start": me.start, "since": time.time(), "viewers": viewers}
    known["began_at_monotonic"] = time.monotonic()
    path.with_suffix(".new").write_text(json.dumps(known))
    path.with_suffix(".new").replace(path)


def entered(path: Path) -> Entry | None:
    """The process that has entered itself last, whether it runs or not; None when there was none."""
    try:
        known = json.loads(path.read_text())
        identity = Identity(known["boot"], known["pid"], known["start"])
        return Entry(identity, known["since"] + 0.0, known.get("began_at_monotonic", 0.0), known.get("viewers", 0))
    except (OSError, ValueError, KeyError, TypeError):
        return None


@cache
def boot_id() -> str:
    """A name of this boot of the machine; empty where the system gives none."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@cache
def host_name() -> str:
    return socket.gethostname()


def interpreter() -> Path:
    """The Python that runs this process; what a uWSGI that is a program of its own calls so may be that program."""
    told = Path(sys.executable)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return told if told.name.startswith("python") else Path(sys.prefix, "bin", version)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (proc(5)); empty when there is no such process."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def start_time(pid: int) -> int:
    """When the process started: in clock ticks since boot, or as the system tells it; 0 when it is gone."""
    if _has_proc():
        fields = _stat(pid)
        return int(fields[19]) if fields else 0
    return windows.start_time(pid) if sys.platform == "win32" else told_by_ps(pid)


def is_running(pid: int, start: int) -> bool:
    """Whether the process of that pid and start time runs and is no zombie."""
    if not _has_proc():
        return pid == os.getpid() or 0 < start == start_time(pid)
    fields = _stat(pid)
    return bool(fields) and int(fields[19]) == start and fields[0] not in "ZX"


def resident_bytes(pid: int) -> int | None:
    """The memory that the process holds, what it shares included; None when it is gone, or the system does not tell."""
    fields = _stat(pid)
    return int(fields[21]) * os.sysconf("SC_PAGE_SIZE") if fields else None


@cache
def _has_proc() -> bool:
    return PROC.joinpath("self").exists()


def told_by_ps(pid: int) -> int:
    """When the process started, in Unix seconds, where there is no /proc (macOS); 0 when it is gone or a zombie."""
    command = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
    try:
        told = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C", "TZ": "UTC"})  # noqa: S603
        state, _, started = told.stdout.strip().partition(" ")
        return 0 if state[:1] in ("", "Z") else calendar.timegm(time.strptime(started.strip(), "%a %b %d %H:%M:%S %Y"))
    except (OSError, ValueError):
        return 0


def kill_session(leader: int, start: int) -> int:
    """SIGKILL every process of the session that `leader` began; returns how many.

    A leader of another start time means that the pid was reused: nothing is killed. While a member lives, the
    kernel gives the session's number to no other. Members may fork while they are being listed: it looks again until
    there are none.
    """
    killed: set[int] = set()
    for turn in range(KILLING_TURNS):
        if leader <= 1 or (_stat(leader) and start_time(leader) != start):
            break
        if not (members := session_members(leader)):
            break
        for pid in members:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        time.sleep(0.001 * turn)
    return len(killed)


def children_of_ours() -> set[int]:
    """The pids of this process's children, zombies among them; empty where the system does not tell."""
    return children_of("self")


def children_of(pid: int | str) -> set[int]:
    """As `children_of_ours`, of that process: what any of its threads has begun."""
    found: set[int] = set()
    with contextlib.suppress(OSError):  # no /proc
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):  # it has just ended
                found.update(map(int, _read(f"/proc/{pid}/task/{thread}/children").split()))
    return found


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 1 << 20)
    finally:
        os.close(descriptor)


def session_members(leader: int) -> list[int]:
    """The pids of the session's processes that are no zombies."""
    pids = [int(each) for each in os.listdir(PROC) if each.isdigit()] if PROC.exists() else []
    return [pid for pid in pids if (fields := _stat(pid)) and int(fields[3]) == leader and fields[0] not in "ZX"]


def open_pidfd(pid: int, start: int) -> int | None:
    """A descriptor that becomes readable when that very process ends; None when it has, or the system has none."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    if is_running(pid, start):
        return descriptor
    os.close(descriptor)
    return None
