"""The two stacks that are compared: webspool, and uWSGI's bare spooler with nothing durable.

Both have the same uWSGI front and do the same: a POST orders a task, which appends what it saw to a file.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

PROBE = """
import json, os, time
TOLD = os.open(__file__.replace("probe.py", "told.jsonl"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def tell(**facts):
    os.write(TOLD, (json.dumps(facts) + "\\n").encode())

def work(facts):
    began = time.time()
    if facts.get("sleep"):
        time.sleep(float(facts["sleep"]))
    tell(began=began, ended=time.time(), **facts)
"""

OURS = """
from flask import Flask, request
from webspool import Source, Webspool, task
import json, time, probe

app = Flask(__name__)
hooks = Webspool(app)

@task
def hook(delivery):
    probe.work({"sent": delivery.data.get("sent")})

@task
def work(**facts):
    probe.work(facts)

@task
def nothing(delivery):
    pass

hooks.add(Source("bench", verify="github", secrets=["literal:bench"], on={"push": hook}))
hooks.add(Source("noop", verify="github", secrets=["literal:bench"], on={"push": nothing}))

@app.post("/spool")
def spool():
    facts = request.get_json()
    return {"job": work.spool(**facts, at=facts.get("at_time")).id}
"""

BARE = """
from flask import Flask, request
import json, uwsgi, probe

app = Flask(__name__)

@app.post("/hooks/<name>")
def hook(name):
    uwsgi.spool({b"name": name.encode(), b"facts": json.dumps({"sent": request.get_json().get("sent")}).encode()})
    return {"ok": True}, 202

@app.post("/spool")
def spool():
    facts = request.get_json()
    order = {b"name": b"spool", b"facts": json.dumps(facts).encode()}
    if facts.get("at_time"):
        order[b"at"] = str(int(facts["at_time"])).encode()
    uwsgi.spool(order)
    return {"ok": True}

def run(order):
    facts = json.loads(order[b"facts"])
    if order[b"name"] != b"noop":
        probe.work(facts)
    return uwsgi.SPOOL_OK

uwsgi.spooler = run
"""

BARE_INI = """[uwsgi]
master = true
single-interpreter = true
enable-threads = true
module = app:app
processes = 4
spooler = {directory}/my_spools
spooler-processes = 4
spooler-frequency = 1
spooler-quiet = true
http-socket = {address}
chdir = {directory}
pythonpath = {directory}
disable-logging = true
buffer-size = 32768
no-orphans = true
"""


class Stack:
    """One running stack in a folder of its own; `told` is what its tasks wrote."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name, self.directory = name, directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.directory.mkdir(parents=True)
        (directory / "probe.py").write_text(PROBE)
        (directory / "my_spools").mkdir(mode=0o700)
        getattr(self, f"_make_{name}")()
        self.process = self._start()

    def _make_webspool(self) -> None:
        (self.directory / "app.py").write_text(OURS)
        shutil.copy(Path(__file__).parent.parent / "uwsgi.ini", self.directory)
        (self.directory / ".env").write_text(f"WEBSPOOL_BIND=127.0.0.1:{self.port}\n")

    def _make_bare(self) -> None:
        (self.directory / "app.py").write_text(BARE)
        ini = BARE_INI.format(directory=self.directory, address=f"127.0.0.1:{self.port}")
        (self.directory / "uwsgi.ini").write_text(ini)

    def _start(self) -> subprocess.Popen[bytes]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        log = open(self.directory / "log", "wb")  # noqa: SIM115
        command = ["uwsgi", "--ini", "uwsgi.ini"]
        environ = {**os.environ, "PATH": path}
        return subprocess.Popen(
            command, cwd=self.directory, env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )

    def wait_until_ready(self, seconds: float = 20.0) -> None:
        """Until a job has gone through."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            try:
                post(f"{self.url}/spool", {"warm": 1})
                self.wait_for(lambda: self.told(), 5)
                return
            except OSError:
                time.sleep(0.1)
        raise TimeoutError(f"{self.name} did not start; see {self.directory / 'log'}")

    def wait_for(self, condition, seconds: float) -> None:
        give_up = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > give_up:
                raise TimeoutError(f"{self.name}: waited {seconds} s in vain")
            time.sleep(0.02)

    def told(self) -> list[dict]:
        path = self.directory / "told.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def forget(self) -> None:
        os.truncate(self.directory / "told.jsonl", 0)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def post(url: str, payload: dict, headers: dict[str, str] | None = None) -> bytes:
    body = json.dumps(payload).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **(headers or {})})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()
