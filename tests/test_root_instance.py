"""The instance at the repository's root, as a new user meets it: under real uWSGI, from outside."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

pytest.importorskip("pyuwsgi")

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
SECRET_ROOM = "나의 비밀 방"
KEY, GITHUB_SECRET = "k" * 32, "g" * 32
CLASSIC = """
import time

import uwsgi
from flask import Flask, request
from webspool import Webspool
from webspool.uwsgidecorators import *

app = Flask(__name__)
hooks = Webspool(app)


def note(*words):
    with open("notes.txt", "a") as notes:
        print(*words, time.time(), file=notes)


def prepare_spooler_args(**kwargs):
    return {name.encode(): str(value).encode() for name, value in kwargs.items()}


@timer(3600)
def tick(signum):
    pass


@spool(first_wait=0.05, jitter=0)
def resize(args):
    tries = open("notes.txt", "a+").seek(0) or open("notes.txt").read().count("resize")
    note("resize", args["name"], args["spooler_task_name"], args["ud_spool_ret"])
    return uwsgi.SPOOL_OK if tries == 2 else uwsgi.SPOOL_RETRY


@spoolraw
def later(args):
    note("later", args["at"])
    return uwsgi.SPOOL_OK


@spool(pass_arguments=True)
def add(a, b=0):
    note("add", a + b)


@spoolforever(pause=0.05)
def beat(args):
    note("beat", args["heart"])
    return uwsgi.SPOOL_OK


@app.get("/start")
def start():
    jobs = [resize.spool(prepare_spooler_args(name=request.args["name"]))]
    jobs.append(later(prepare_spooler_args(at=int(time.time()) + 2)))
    jobs.append(add(2, b=3))
    beat({b"heart": b"one"})
    return [job.id for job in jobs]


@app.get("/wrong")
def wrong():
    try:
        resize({"a": 1})
    except ValueError as fault:
        return str(fault)
"""


class Running:
    """An instance under uWSGI, seen from outside."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.log = directory, directory / "uwsgi.log"
        self.url = f"http://127.0.0.1:{free_port()}"
        settings = {"WEBSPOOL_BIND": self.url.removeprefix("http://"), "WEBSPOOL_WEBHOOK_KEY": KEY}
        settings |= {"WEBSPOOL_WORKERS": "2", "WEBSPOOL_SPOOLERS": "4", "GITHUB_SECRET": GITHUB_SECRET}
        (directory / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WEBSPOOL_")}
        self.process = subprocess.Popen(
            [BIN / "uwsgi", "--ini", "uwsgi.ini"],
            cwd=directory,
            env=clean | {"PATH": f"{BIN}:{os.environ['PATH']}"},
            stdout=self.log.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.until(self.answers, "the first answer")

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.get("/healthz")[0] == 200
        except OSError:
            return False

    def get(self, path: str, data: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """Status and body (JSON when it says so); POST when there is data."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            answer = urllib.request.urlopen(urllib.request.Request(self.url + path, data, named), timeout=10)
        except urllib.error.HTTPError as fault:
            answer = fault
        with answer:
            text = answer.read().decode()
            return answer.status, json.loads(text) if "json" in answer.headers.get_content_type() else text

    def until(self, true: Callable[[], Any], what: str, seconds: float = 20) -> Any:
        give_up = time.monotonic() + seconds
        while not (found := true()):
            assert time.monotonic() < give_up, f"no {what} in {seconds} s:\n{self.log.read_text()}"
            time.sleep(0.02)
        return found

    def ended(self, job: str) -> str:
        """The state in which the job ended."""
        over = ("succeeded", "dead", "cancelled")
        return self.until(lambda: (state := self.get(f"/jobs/{job}")[1]["state"]) in over and state, f"end of {job}")

    def output(self, job: str) -> list[str]:
        """What the job printed, as the terminal shows it."""
        return re.findall(rf"^\[\w+ {job}\] (.*)$", self.log.read_text(), re.MULTILINE)

    def happenings(self, job: str) -> list[dict[str, Any]]:
        lines = re.findall(r"^{.*}$", self.log.read_text(), re.MULTILINE)
        return [told for line in lines if (told := json.loads(line)).get("job") == job]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The repository's root as it is in git, copied and started."""
    directory = tmp_path_factory.mktemp("root")
    for name in ("app.py", "tasks.py", "demo.py", "uwsgi.ini"):
        shutil.copy(ROOT / name, directory)
    for name in ("templates", "static", "my_spools"):
        shutil.copytree(ROOT / name, directory / name, ignore=lambda *_: ())
    running = Running(directory)
    yield running
    running.stop()


def test_the_front_page_says_what_waits_and_hides_the_key(root: Running) -> None:
    """Alive, how many jobs wait, and a curl to try; anybody may read it, so the key is masked."""
    status, page = root.get("/")
    assert status == 200
    assert re.search(r"\d+ jobs? waiting", page)
    assert f"{root.url}/webhook/********" in page
    assert KEY not in page


def test_a_template_and_a_static_file_are_served(root: Running) -> None:
    """Text of every language in the path; markup in it stays text."""
    assert f"<h1>Hello, {SECRET_ROOM}</h1>" in root.get("/hello/" + quote(SECRET_ROOM))[1]
    assert "<script>" not in root.get("/hello/" + quote("<script>", safe=""))[1]
    assert root.get("/static/style.css")[0] == 200


@pytest.mark.parametrize("kind", ["query", "form", "json"])
def test_the_simplest_source_hands_over_one_dict(root: Running, kind: str) -> None:
    """Query, form or JSON: the task sees the same, and so does the terminal."""
    given = {"room": SECRET_ROOM}
    match kind:
        case "query":
            status, answer = root.get(f"/webhook/{KEY}?{urlencode(given)}")
        case "form":
            status, answer = root.get(f"/webhook/{KEY}", urlencode(given).encode())
        case _:
            status, answer = root.get(f"/webhook/{KEY}", json.dumps(given).encode(), Content_Type="application/json")
    assert (status, answer["status"]) == (202, "accepted")
    assert root.ended(answer["jobs"][0]) == "succeeded"
    root.until(lambda: root.output(answer["jobs"][0]) == [f"auto: {given}"], "output")


def test_a_wrong_key_is_refused(root: Running) -> None:
    """A problem with a cause, never a traceback."""
    status, answer = root.get("/webhook/" + "x" * 32)
    assert (status, answer["cause"]) == (401, "signature_invalid")


def test_the_same_webhook_twice_runs_twice_one_after_the_other(root: Running) -> None:
    """It names no event, so it is no duplicate; concurrency=1 keeps the two apart."""
    jobs = [root.get(f"/webhook/{KEY}?n=1")[1]["jobs"][0] for _ in range(6)]
    assert [root.ended(job) for job in jobs] == ["succeeded"] * 6
    ends = [line for job in jobs for line in root.happenings(job) if line["event"].startswith("attempt_")]
    assert [line["job"] for line in sorted(ends, key=lambda line: line["timestamp"])] == [j for j in jobs for _ in "01"]


def test_a_push_of_github_starts_both_tasks_and_another_event_one(root: Running) -> None:
    """Every pattern that matches starts its task; the signature is checked."""
    body = json.dumps({"after": SECRET_ROOM}).encode()
    signed = "sha256=" + hmac.new(GITHUB_SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"Content_Type": "application/json", "X_Hub_Signature_256": signed}
    push = root.get("/hooks/github", body, **headers, X_GitHub_Event="push", X_GitHub_Delivery="one")[1]
    star = root.get("/hooks/github", body, **headers, X_GitHub_Event="star", X_GitHub_Delivery="two")[1]
    assert [root.ended(job) for job in push["jobs"] + star["jobs"]] == ["succeeded"] * 3
    assert root.until(lambda: root.output(push["jobs"][0]), "output") == [f"deploying {SECRET_ROOM}"]
    forged = root.get("/hooks/github", body + b" ", **headers, X_GitHub_Event="push", X_GitHub_Delivery="three")
    assert (forged[0], forged[1]["cause"]) == (401, "signature_invalid")


@pytest.mark.parametrize("way", ["thread", "uwsgi_thread", "uwsgi_spool", "uwsgi_spool_dropin"])
def test_each_of_the_four_ways_starts_its_work(root: Running, way: str) -> None:
    """All answer at once; the durable two name a job, whose output is kept."""
    before = root.log.read_text().count("Working... 1/1")
    status, answer = root.get(f"/{way}/1", X_Webspool_Key=KEY)
    assert (status, answer["started"], answer["seconds"]) == (202, True, 1)
    assert answer["durable"] == ("job" in answer) == way.startswith("uwsgi_spool")
    root.until(lambda: root.log.read_text().count("Working... 1/1") > before, "work")
    if answer["durable"]:
        assert root.ended(answer["job"]) == "succeeded"
        root.until(lambda: root.output(answer["job"]) == ["Working... 1/1"], "output")


@pytest.mark.parametrize("way", ["thread", "uwsgi_thread", "uwsgi_spool", "uwsgi_spool_dropin"])
def test_the_four_ways_ask_for_the_key_and_for_a_sensible_time(root: Running, way: str) -> None:
    """Closed by default; 5 seconds without a number, 1 to 60 with one."""
    assert root.get(f"/{way}")[1]["cause"] == "signature_missing"
    assert root.get(f"/{way}?key={quote(SECRET_ROOM)}")[1]["cause"] == "signature_invalid"
    for seconds in (0, 61, 10**30):
        assert root.get(f"/{way}/{seconds}", Authorization=f"Bearer {KEY}")[1]["cause"] == "seconds_out_of_range"
    assert root.get(f"/{way}?key={KEY}")[1]["seconds"] == 5


@pytest.mark.parametrize("way", ["uwsgi_spool", "uwsgi_spool_dropin"])
def test_a_delay_is_kept(root: Running, way: str) -> None:
    """?delay= sets `at`, in keywords and in uWSGI's bytes."""
    asked = time.time()
    job = root.get(f"/{way}/1?delay=1.5&key={KEY}")[1]["job"]
    assert root.ended(job) == "succeeded"
    begun = next(line for line in root.happenings(job) if line["event"] == "attempt_started")["timestamp"]
    assert 1.5 <= seconds_of(begun) - asked < 2.5
    for wrong in ("soon", "-1", "nan", "inf"):
        assert root.get(f"/{way}/1?delay={wrong}&key={KEY}")[1]["cause"] == "delay_out_of_range"


def seconds_of(timestamp: str) -> float:
    """Unix seconds of an RFC 3339 time in UTC."""
    whole, _, fraction = timestamp.rstrip("Z").partition(".")
    return time.mktime((*time.strptime(whole, "%Y-%m-%dT%H:%M:%S")[:8], 0)) - time.timezone + float(f"0.{fraction}")


def test_the_classic_example_runs_with_one_import_changed(tmp_path: Path) -> None:
    """SPOOL_RETRY is honoured, `at` kept, arguments passed, rounds follow each other, and a @timer does no harm."""
    (tmp_path / "app.py").write_text(CLASSIC)
    (tmp_path / "my_spools").mkdir()
    shutil.copy(ROOT / "uwsgi.ini", tmp_path)
    running = Running(tmp_path)
    try:
        asked = time.time()
        jobs = running.get("/start?name=" + quote(SECRET_ROOM))[1]
        assert [running.ended(job) for job in jobs] == ["succeeded"] * 3
        notes = [line.split(" ") for line in (tmp_path / "notes.txt").read_text().splitlines()]
        told = [" ".join(note[1:-1]) for note in notes if note[0] == "resize"]
        assert told == [f"{SECRET_ROOM} {jobs[0]} -2"] * 3
        assert [note[1] for note in notes if note[0] == "add"] == ["5"]
        (later,) = (float(note[-1]) for note in notes if note[0] == "later")
        assert int(asked) + 2 <= later < asked + 3
        running.until(lambda: (tmp_path / "notes.txt").read_text().count("beat one") >= 4, "fourth round")
        assert "resize" in running.get("/wrong")[1]
    finally:
        running.stop()


def test_without_uwsgi_the_same_app_says_what_is_missing(tmp_path: Path) -> None:
    """An ordinary Python process: three of the four ways work, @thread needs uWSGI."""
    pytest.importorskip("webspool.engines.local")
    for name in ("app.py", "tasks.py", "demo.py"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".env").write_text(f"WEBSPOOL_WEBHOOK_KEY={KEY}\nGITHUB_SECRET={GITHUB_SECRET}\n")
    script = f"import app; print(app.app.test_client().get('/uwsgi_thread/1?key={KEY}').text)"
    told = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert json.loads(told.stdout)["cause"] == "needs_uwsgi", told.stderr


def test_the_demo_leaves_with_its_marked_lines() -> None:
    """What is left still imports what it uses, and nothing else."""
    lines = (ROOT / "app.py").read_text().splitlines(keepends=True)
    rest = "".join(line for line in lines if not line.rstrip().endswith("# demo"))
    assert len(lines) - rest.count("\n") == 2
    assert "demo" not in rest
