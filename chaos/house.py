"""The instance that is harmed: its processes by what they are, and a master that is restarted as systemd would."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import apsw

from tests.instances import Instance
from webspool.errors import WebspoolError
from webspool.processes import children_of, start_time

CODE = Path(__file__).parent / "instance"
LOOK_SECONDS, RESTART_SECONDS = 0.05, 0.5


class House:
    """A folder with an instance in it, and its evidence beside it."""

    def __init__(self, folder: Path, more_tasks: str = "", **settings: str) -> None:
        code = {path.name: path.read_text() for path in CODE.glob("*.py")}
        code["tasks.py"] += more_tasks
        self.instance = Instance(folder / "instance", code, **settings)
        self.restarts = 0
        self.restart_seconds = RESTART_SECONDS
        self.kill_the_rest = True
        self._launched: list[int] = []
        self._environ: Mapping[str, str] = {}
        self._prefix: tuple[str, ...] = ()
        self._over = threading.Event()
        self._guard: threading.Thread | None = None

    def start(self, *prefix: str, **environ: str) -> None:
        """Begin to serve, and start the master anew whenever it ends; `prefix` goes before the command (faketime)."""
        self._prefix, self._environ = prefix, environ
        self._launch()
        try:
            self.instance.until_it_serves()
        except BaseException:
            self.end()
            raise
        self._guard = threading.Thread(target=self._keep_up, daemon=True)
        self._guard.start()

    def _launch(self) -> None:
        self._launched.append(self.instance.launch(*self._prefix, **self._environ).pid)

    def _keep_up(self) -> None:
        """What `Restart=always` and `KillMode=mixed` come to; `kill_the_rest` False: what is left lives on."""
        while not self._over.wait(LOOK_SECONDS):
            master = self.instance.master
            if master is not None and master.poll() is not None:
                if self.kill_the_rest:
                    self._kill_what_is_left()
                if self._over.wait(self.restart_seconds):
                    return
                self.restarts += 1
                self._launch()

    def end(self) -> None:
        """Stop it as systemd would; then kill whatever is left of any of its lives."""
        self._over.set()
        if self._guard is not None:
            self._guard.join()
        with contextlib.suppress(Exception):
            self.instance.stop()
        self.instance.end()
        self._kill_what_is_left()

    def _kill_what_is_left(self) -> None:
        for leader in self._launched:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(leader, signal.SIGKILL)

    # ── its processes ───────────────────────────────────────────────────────────────────────────────────────────

    def pids(self, kind: str) -> list[int]:
        """The processes that are a worker, deputy, spooler, runner, keeper, live process, or the master now."""
        master = self.instance.master
        if master is None or master.poll() is not None:
            return []
        if kind == "master":
            return [master.pid]
        try:
            found = self.instance.processes()
        except (apsw.Error, WebspoolError, OSError):
            return []
        match kind:
            case "runner":
                return [runner for spooler in found.spoolers for runner in sorted(children_of(spooler))]
            case "spooler":
                return found.spoolers
            case "deputy":
                return [deputy for worker in found.workers for deputy in sorted(children_of(worker))]
            case "keeper" | "live":
                return [pid for pid in (getattr(found, kind),) if pid in children_of(master.pid)]
        return [pid for pid in found.workers if _is_uwsgi(pid)]

    def kill(self, pid: int) -> bool:
        """SIGKILL, and wait for its end; False when it was gone already."""
        started = start_time(pid)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        give_up = time.monotonic() + 5
        while started and start_time(pid) == started and not _is_zombie(pid) and time.monotonic() < give_up:
            time.sleep(0.002)
        return bool(started)


def _is_uwsgi(pid: int) -> bool:
    """And no zombie, which has no command line any more."""
    try:
        return b"uwsgi" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
