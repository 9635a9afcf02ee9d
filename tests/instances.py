"""A real instance for tests: written into a folder, started under uWSGI, asked, harmed and stopped from outside."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

import webspool
from tests.conditions import wait_until
from webspool.config import Config, load
from webspool.errors import WebspoolError
from webspool.ledger import reading
from webspool.ledger.output import read_pieces
from webspool.processes import Identity, children_of, entered, is_running, session_members, start_time
from webspool.records import FINISHED, WebhookRequest, new_id
from webspool.signatures import sign

CODE = Path(__file__).parent / "data" / "instance"
INI = (Path(webspool.__path__[0]) / "template" / "uwsgi.ini").read_text()
BIN = Path(sys.executable).parent

KEY, SECRET = "k" * 32, "the-secret-of-the-tests"
SETTINGS = {"WEBSPOOL_WORKERS": "2", "WEBSPOOL_SPOOLERS": "2", "WEBSPOOL_WEBHOOK_KEY": KEY, "GITHUB_SECRET": SECRET}
BEGUN_SECONDS, ENDED_SECONDS = 30.0, 30.0


@dataclass(frozen=True)
class Reply:
    """What the instance answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def cause(self) -> str | None:
        """The cause of a problem; None when it is none."""
        return self.json["cause"] if self.headers["content-type"] == "application/problem+json" else None


@dataclass(frozen=True)
class Processes:
    """The processes of an instance by what they are; meaningful while it serves."""

    workers: list[int]
    spoolers: list[int]
    keeper: int
    live: int


class Instance:
    """One instance in a folder of its own. `code` are its files by name; those not given are the tests' own."""

    def __init__(self, directory: Path, code: Mapping[str, str] = {}, **settings: str) -> None:
        self.directory = directory
        self.log = directory / "uwsgi.log"
        self.master: subprocess.Popen[bytes] | None = None
        self._port = free_port()
        self._write(code, SETTINGS | {"WEBSPOOL_BIND": f"127.0.0.1:{self._port}"} | settings)

    def _write(self, code: Mapping[str, str], settings: Mapping[str, str]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        given = {path.name: path.read_text() for path in CODE.glob("*.py")} | {"uwsgi.ini": INI}
        for name, text in (given | dict(code)).items():
            (self.directory / name).write_text(text)
        (self.directory / "my_spools").mkdir(mode=0o700, exist_ok=True)
        (self.directory / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    # ── its life ────────────────────────────────────────────────────────────────────────────────────────────────

    def __enter__(self) -> Instance:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.end()

    def launch(self, *prefix: str, **environ: str) -> subprocess.Popen[bytes]:
        """Type the command; whether it comes up is for others to see."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WEBSPOOL_")}
        self.master = subprocess.Popen(
            [*prefix, str(BIN / "uwsgi"), "--ini", "uwsgi.ini"],
            cwd=self.directory,
            env=clean | {"PATH": f"{BIN}:{os.environ['PATH']}"} | environ,
            stdin=subprocess.DEVNULL,
            stdout=self.log.open("ab"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self.master

    def start(self) -> Instance:
        """Begin to serve: HTTP is answered, and every spooler is in its claim loop."""
        self.launch()
        try:
            self.until_it_serves()
        except BaseException:
            self.end()
            raise
        return self

    def until_it_serves(self) -> None:
        self.until(self.serves, BEGUN_SECONDS, why=lambda: f"not all there: {_asked(self.status)}")

    def serves(self) -> bool:
        assert self.master is not None
        if self.master.poll() is not None:
            raise AssertionError(f"uWSGI ended with {self.master.returncode}:\n{self.log.read_text()}")
        processes = self.status()["processes"]
        all_there = processes["spoolers"] == self.config.spoolers and processes["keeper"] and processes["live"]
        return bool(all_there and self.answers())

    def answers(self) -> bool:
        try:
            return self.get("/healthz").status == 200
        except OSError:
            return False

    def stop(self, number: int = signal.SIGTERM, seconds: float = 20.0) -> int:
        """Signal the master and wait for its end; returns the exit code."""
        assert self.master is not None
        self.master.send_signal(number)
        return self.master.wait(seconds)

    def kill_master(self) -> None:
        """What the OOM killer does."""
        assert self.master is not None
        self.master.kill()
        self.master.wait()

    def end(self) -> None:
        """Kill whatever of it is left: its group, and the sessions of its runners."""
        if self.master is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.master.pid, signal.SIGKILL)
        self.master.wait()
        for pid in self._left_by_runners():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _left_by_runners(self) -> Iterable[int]:
        try:
            if not self.config.ledger_path.exists():
                return
        except WebspoolError:  # the test has spoilt the configuration: nothing was started
            return
        for runner, start in self.query("SELECT runner_pid, runner_start FROM process WHERE runner_pid > 1"):
            if start_time(runner) in (0, start):
                yield from session_members(runner)

    # ── its processes ───────────────────────────────────────────────────────────────────────────────────────────

    def processes(self) -> Processes:
        """Who runs now: the spoolers are in the ledger, the keeper has written who it is, the rest are workers."""
        assert self.master is not None
        children = children_of(self.master.pid)
        spoolers = {pid for (pid,) in self.query("SELECT pid FROM process WHERE ended_at IS NULL")} & children
        keeper = (reading.keeper(self.config) or {}).get("pid", 0)
        entry = entered(self.config.live_file)
        live = 0 if entry is None else entry.identity.pid
        return Processes(sorted(children - spoolers - {keeper, live}), sorted(spoolers), keeper, live)

    def runner_of(self, spooler: int) -> int:
        """The runner of a spooler, as the ledger knows it."""
        rows = self.query("SELECT runner_pid FROM process WHERE pid = ? AND ended_at IS NULL", spooler)
        return int(rows[0][0])

    def spooler_of(self, job: str) -> int:
        """The spooler that runs this job."""
        rows = self.query(
            "SELECT process.pid FROM attempt JOIN process ON process.id = attempt.process "
            "WHERE attempt.job = ? AND attempt.ended_at IS NULL",
            job,
        )
        return int(rows[0][0])

    # ── HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def port(self) -> int:
        return self._port

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        except http.client.HTTPException as fault:
            raise ConnectionError(repr(fault)) from fault
        finally:
            connection.close()

    def get(self, path: str) -> Reply:
        return self.request("GET", path)

    def post(self, path: str, body: Any = b"", headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("POST", path, body, headers)

    def raw(self, data: bytes, *, hang_up: bool = False) -> Reply:
        """Bytes as they are on a connection of their own, and the answer to them; `hang_up`: no more will come."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=60) as connection:
            connection.sendall(data)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
            return answer_on(connection)

    def webhook(
        self,
        body: bytes = b"{}",
        *,
        event: str = "ping",
        id: str | None = None,
        source: str = "github",
        secret: str = SECRET,
        **headers: str,
    ) -> Reply:
        """A webhook as GitHub signs it, posted."""
        signed = signed_headers(body, event=event, id=id, secret=secret) | headers
        return self.post(f"/hooks/{source}", body, signed)

    def spool(self, task: str, **arguments: Any) -> str:
        """Order a run of one of the instance's tasks by its route; returns the job's id."""
        reply = self.post(f"/spool/{task}", json.dumps(arguments), {"Content-Type": "application/json"})
        assert reply.status == 202, reply
        return str(reply.json["job"])

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What `webspool` does with these words in the instance's directory."""
        return subprocess.run(
            [BIN / "webspool", *words], cwd=self.directory, capture_output=True, text=True, timeout=60
        )

    # ── what became of it ───────────────────────────────────────────────────────────────────────────────────────

    @property
    def config(self) -> Config:
        return load(self.directory, {})

    def status(self) -> dict[str, Any]:
        return reading.status(self.config)

    def job(self, job: str) -> dict[str, Any]:
        """The job with its attempts as `history`."""
        return reading.job(self.config, job)

    def state(self, job: str) -> str:
        return str(self.job(job)["state"])

    def ended(self, job: str, seconds: float = ENDED_SECONDS) -> dict[str, Any]:
        """The job once it has ended."""
        self.until(lambda: self.state(job) in FINISHED, seconds, lambda: f"{job} did not end: {self.job(job)}")
        return self.job(job)

    def is_running(self, job: str) -> bool:
        return self.state(job) == "running"

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of the ledger, read as any other program may."""
        connection = apsw.Connection(str(self.config.ledger_path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(2000)
            return list(connection.execute(sql, values))
        finally:
            connection.close()

    def output(self, job: str, attempt: int = -1) -> str:
        """What an attempt of the job printed, once all of it is kept."""
        chosen = self.job(job)["history"][attempt]
        size = chosen["output_bytes"]
        return str(self.until(lambda: self._kept(chosen["id"], size)).decode()) if size else ""

    def _kept(self, attempt: str, size: int) -> bytes:
        found = b"".join(piece.bytes for piece in read_pieces(self.config.output_path, attempt))
        return found if len(found) == size else b""

    def refusals(self) -> list[dict[str, Any]]:
        return reading.refusals(self.config, reading.Filters())

    def notes(self, name: str | None = None, **facts: Any) -> list[dict[str, Any]]:
        """What tasks have noted, in the order in which it happened."""
        path = self.directory / "notes.jsonl"
        found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        wanted = facts if name is None else facts | {"note": name}
        return [note for note in found if wanted.items() <= note.items()]

    def noted(self, name: str, seconds: float = ENDED_SECONDS, **facts: Any) -> dict[str, Any]:
        """The first such note, once there is one."""
        return self.until(lambda: self.notes(name, **facts), seconds, lambda: f"no note {name} {facts}")[0]

    def let_go(self, gate: str) -> None:
        """Open the gate at which a task waits."""
        (self.directory / f"gate-{gate}").touch()

    def said(self, happening: str, **facts: Any) -> list[dict[str, Any]]:
        """The log's lines about a happening."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            if happening not in line:  # a deaf worker's loop in uWSGI writes a million lines a second of its own
                continue
            with contextlib.suppress(ValueError):
                told = json.loads(line)
                if isinstance(told, dict) and (facts | {"event": happening}).items() <= told.items():
                    found.append(told)
        return found

    def until(self, condition: Any, seconds: float = ENDED_SECONDS, why: Any = None) -> Any:
        """`wait_until`, which shows the end of the log when it fails."""
        try:
            return wait_until(lambda: _asked(condition), seconds)
        except AssertionError as fault:
            last = "\n".join(self.log.read_text(errors="replace").splitlines()[-40:]) if self.log.exists() else ""
            raise AssertionError(f"{why() if why else fault}\n{last}") from None


def _asked(condition: Any) -> Any:
    """Its value; nothing while the ledger is not there or not readable yet."""
    try:
        return condition()
    except (apsw.Error, WebspoolError):
        return None


# ── senders ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def signed_headers(body: bytes, *, event: str, id: str | None = None, secret: str = SECRET) -> dict[str, str]:
    """The headers that GitHub would send with this body."""
    bare = WebhookRequest("POST", "/hooks/github", {"Content-Type": "application/json"}, body)
    signed = sign("github", secret, bare, event_id=id or new_id("e"), event_type=event)
    return {name: signed.headers[name] for name in signed.headers}


def raw_request(path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A POST as bytes on the wire; the body as it is, chunked or not."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(body: bytes, size: int) -> bytes:
    """The body in chunks of that size, with the last one of none."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def answer_on(connection: socket.socket) -> Reply:
    answer = http.client.HTTPResponse(connection)
    try:
        answer.begin()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        answer.close()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


# ── processes ───────────────────────────────────────────────────────────────────────────────────────────────────────


def processor_seconds(pid: int) -> float:
    """The processor time that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def runs(pid: int) -> bool:
    """Whether a process of that number runs and is no zombie."""
    return is_running(pid, start_time(pid))


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Signal one process; returns when a SIGKILL has ended it, or a SIGSTOP has reached every one of its threads."""
    who = Identity.of(pid)
    os.kill(pid, number)
    if number == signal.SIGKILL:
        wait_until(lambda: not who.alive, 5)
    elif number == signal.SIGSTOP:
        wait_until(lambda: all(_is_stopped(thread) for thread in Path(f"/proc/{pid}/task").iterdir()), 5)


def _is_stopped(thread: Path) -> bool:
    return (thread / "stat").read_text().rpartition(") ")[2].startswith("T")
