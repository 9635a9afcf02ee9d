"""Whether the kernel has killed for want of memory: a SIGKILL of its own looks like anybody's, but it counts them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path("/")
STALE_SECONDS = 1.0


class Watch:
    """Kills counted since a moment that `renew` moves on, at most once a second."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root, self._since, self._at = root, kills(root), time.monotonic()

    def renew(self) -> None:
        """What was killed so far is no concern of the attempt that begins."""
        if time.monotonic() - self._at >= STALE_SECONDS:
            self._since, self._at = kills(self._root), time.monotonic()

    def has_struck(self) -> bool:
        """Whether the kernel has killed since then."""
        return kills(self._root) > self._since


def kills(root: Path = ROOT) -> int:
    """How often it has, in our control group, else on the whole machine; 0: never, or nothing tells (cgroups(7))."""
    for path in _counters(root):
        with suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
    return 0


def _counters(root: Path) -> Iterator[Path]:
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            inside = group.lstrip("/")
            if not controllers:
                yield root / "sys/fs/cgroup" / inside / "memory.events"
            elif "memory" in controllers.split(","):
                yield root / "sys/fs/cgroup/memory" / inside / "memory.oom_control"
    yield root / "proc/vmstat"
