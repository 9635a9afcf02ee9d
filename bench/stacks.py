"""One running stack in a folder of its own, and what its tasks have told: when each was sent, began and ended."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from bench.load import webhook
from bench.peers import PATH, PEERS
from bench.processes import descendants, end, memory

T = TypeVar("T")

READY_SECONDS = 30.0

PROBE = """
import os
import time

TOLD = os.open(os.path.join("{directory}", "told"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def work(facts):
    began = time.time()
    if facts.get("sleep"):
        time.sleep(facts["sleep"])
    while facts.get("gate") and not os.path.exists(facts["gate"]):
        time.sleep(0.001)
    line = "%s %017.6f %017.6f %07d\\n" % (facts["sent"], began, time.time(), os.getpid())
    os.write(TOLD, line.encode())


def orders(given):
    for number in range(given["count"]):
        if given["at"] is None:
            yield given["facts"], None
            continue
        at = given["at"] + given["spread"] * number / given["count"]
        yield {**given["facts"], "sent": "%017.6f" % at}, at
"""

LINE_BYTES = 17 * 2 + 7 + 17 + 4


class Run(NamedTuple):
    """One run of the task, in Unix seconds; `sent` is what its webhook carried."""

    sent: float
    began: float
    ended: float
    pid: int


class Stack:
    """A stack that is started at once; `name` is a peer's key. It is ready when a job has gone through."""

    def __init__(self, name: str, directory: Path, **environ: str) -> None:
        self.peer = PEERS[name]
        self.name, self.directory = name, directory
        self.port, self._redis = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._forgotten = 0
        self._write_files()
        front, *others = self.peer.commands
        own_first = os.pathsep.join(filter(None, (str(directory), os.environ.get("PYTHONPATH"))))
        self.environ = {**os.environ, "PATH": PATH, "PYTHONPATH": own_first, **environ}
        self.processes: list[subprocess.Popen[bytes]] = []
        try:
            for command in (*others, front):
                self._begin(command)
        except BaseException:
            self.stop()
            raise

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The front's master."""
        return self.processes[-1]

    def _write_files(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "my_spools").mkdir(mode=0o700)
        for name, text in {"probe.py": PROBE, **self.peer.files}.items():
            path = self.directory / name
            path.write_text(self._filled(text))
            path.chmod(0o700)

    def _filled(self, text: str) -> str:
        for name, value in {"directory": self.directory, "port": self.port, "redis": self._redis}.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    def _begin(self, command: Sequence[str]) -> None:
        with open(self.directory / "log", "ab") as log:
            self.processes.append(
                subprocess.Popen(
                    [self._filled(word) for word in command],
                    cwd=self.directory,
                    env=self.environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        if command[0] == "redis-server":
            wait_for(lambda: connects(self._redis), READY_SECONDS, "redis-server")

    # ── its life ────────────────────────────────────────────────────────────────────────────────────────────────

    def wait_until_ready(self, seconds: float = READY_SECONDS) -> None:
        """Until the front answers and a job has gone through."""
        self._until(self._answers, seconds)
        self._until(lambda: self.count() > 0, seconds)

    def _answers(self) -> bool:
        if any(process.poll() is not None for process in self.processes):
            raise RuntimeError(f"{self.name} ended by itself; see {self.directory / 'log'}:\n{self._last_words()}")
        try:
            self.hook({"sent": stamp(0)})
        except (OSError, http.client.HTTPException):
            return False
        return True

    def _last_words(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-2000:]

    def _until(self, condition: Callable[[], T], seconds: float) -> T:
        return wait_for(condition, seconds, f"{self.name} (its log: {self.directory / 'log'})")

    def pids(self) -> list[int]:
        """Every process of the stack."""
        return descendants([process.pid for process in self.processes])

    def memory_bytes(self) -> int:
        """The proportional share of memory (PSS) of all its processes."""
        return sum(memory(pid) for pid in self.pids())

    def stop(self) -> None:
        """End the front first, then what works behind it; what does not go is killed."""
        left = self.pids()
        for process in reversed(self.processes):
            end(process, signal.SIGTERM)
        for pid in left:
            end_pid(pid)

    # ── what it is asked ────────────────────────────────────────────────────────────────────────────────────────

    def hook(self, payload: Mapping[str, Any]) -> None:
        """One webhook. Raises OSError when it is not accepted."""
        post(self.port, webhook(self.peer.hook, json.dumps(payload).encode(), os.urandom(16).hex()))

    def spool(self, facts: Mapping[str, Any], *, count: int = 1, at: float | None = None, spread: float = 0.0) -> None:
        """Let the stack's own code order jobs (webspool's and the bare spooler's can), due from `at` on over `spread`
        seconds; a job that is due at a time carries it as `sent`.
        """
        body = json.dumps({"facts": facts, "count": count, "at": at, "spread": spread}).encode()
        head = (
            f"POST /spool HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        post(self.port, f"{head}\r\nConnection: close\r\n\r\n".encode() + body)

    # ── what its tasks have told ────────────────────────────────────────────────────────────────────────────────

    def count(self) -> int:
        """How many runs there were since `forget`."""
        try:
            return (self.directory / "told").stat().st_size // LINE_BYTES - self._forgotten
        except FileNotFoundError:
            return 0

    def runs(self) -> list[Run]:
        """The runs since `forget`, in the order in which they ended."""
        with open(self.directory / "told", "rb") as file:
            file.seek(self._forgotten * LINE_BYTES)
            lines = file.read().decode().splitlines()
        return [
            Run(float(sent), float(began), float(ended), int(pid)) for sent, began, ended, pid in map(str.split, lines)
        ]

    def forget(self) -> None:
        """Count from here."""
        self._forgotten += self.count()

    def wait_until_done(self, count: int, seconds: float) -> bool:
        """Until that many have run; False: not within `seconds`."""
        give_up = time.monotonic() + seconds
        while self.count() < count:
            if time.monotonic() > give_up:
                return False
            time.sleep(0.02)
        return True


def end_pid(pid: int) -> None:
    """Kill what was left of a stack."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_for(condition: Callable[[], T], seconds: float, what: str) -> T:
    """What the condition is once it is true. Raises TimeoutError."""
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > give_up:
            raise TimeoutError(f"{what}: waited {seconds:.0f} s in vain")
        time.sleep(0.02)
    return found


def stamp(moment: float) -> str:
    """A time as webhooks carry it, always as long."""
    return f"{moment:017.6f}"


def post(port: int, request: bytes | bytearray) -> bytes:
    """Send a request as it is; the answer's body. Raises OSError when it is no 2xx."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection, method="POST")
        answer.begin()
        body = answer.read()
    if answer.status >= 300:
        raise OSError(f"answered {answer.status}: {body[:200]!r}")
    return body


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
