"""The local engine: what is its own. The laws of every engine are in test_engines.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_houses import LocalHouse, act, code
from typist import ready
from webspool.processes import told_by_ps

TASKS = """

import threading


@task(timeout=0.2, grace=30, max_attempts=1)
def too_slow():
    while True:
        time.sleep(0.005)


@task(timeout=0.1, grace=0.1, max_attempts=1)
def deaf(gate):
    while True:
        try:
            wait_at(gate)
            return
        except BaseException:
            note("heard")


@task
def with_a_thread():
    thread = threading.Thread(target=print, args=("from a thread",))
    thread.start()
    thread.join()
    print("from the task")


@task
def crowd():
    return sorted(thread.name for thread in threading.enumerate())
"""
OTHER_SERVER = """
from wsgiref.simple_server import make_server

from app import app, hooks

make_server(hooks.config.address.host, hooks.config.address.port, app).serve_forever()
"""
NO_SERVER = """
import time

from app import hooks

hooks.begin()
time.sleep(60)
"""
ON_A_BARE_SYSTEM = (ready.BARE / "sitecustomize.py").read_text()
BARE_APP = ON_A_BARE_SYSTEM + "\nimport runpy\n\nrunpy.run_path('app.py', run_name='__main__')\n"
BARE_CLI = ON_A_BARE_SYSTEM + "\nimport webspool.cli as run\n\nrun.main()\n"


class OtherServer(LocalHouse):
    """A server that does not say when it begins to serve."""

    program = ("serve.py",)


class FlaskRun(LocalHouse):
    """`flask run --debug`: the reloader's parent imports the app too."""

    def launch(self, *prefix: str, **environ: str) -> subprocess.Popen[bytes]:
        self.program = ("-m", "flask", "run", "--debug", "--port", str(self.port))
        return super().launch(*prefix, **environ)


class DebugRun(LocalHouse):
    """`app.run(debug=True)`."""

    program = ("debug.py",)


class BareSystem(LocalHouse):
    """A system with nothing that only Unix has."""

    program = ("bare.py",)


FILES = {
    "serve.py": OTHER_SERVER,
    "begin.py": NO_SERVER,
    "debug.py": "from app import app, hooks\n\napp.run(port=hooks.config.address.port, debug=True)\n",
    "bare.py": BARE_APP,
    "bare_cli.py": BARE_CLI,
}


def files() -> dict[str, str]:
    own = code()
    return own | FILES | {"tasks.py": own["tasks.py"] + TASKS}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHouse]:
    with LocalHouse(tmp_path_factory.mktemp("local"), files()) as running:
        yield running


@pytest.fixture
def own_house(tmp_path: Path) -> Iterator[LocalHouse]:
    made = LocalHouse(tmp_path, files())
    yield made
    made.end()


# ── ends and starts ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_what_ran_when_the_process_ended_runs_again_uncharged(own_house: LocalHouse, number: int) -> None:
    """The process does not wait for its tasks; at the next start they run before any request."""
    own_house.start()
    job = own_house.spool("wait", gate="x")
    own_house.noted("waiting", job=job)
    own_house.stop(number)
    own_house.let_go("x")
    own_house.launch()
    ended = own_house.ended(job)
    assert (ended["state"], ended["result"], ended["attempts"], ended["interruptions"]) == ("succeeded", "let go", 1, 1)
    assert [attempt["outcome"] for attempt in ended["history"]] == ["interrupted", "succeeded"]


def test_a_second_process_is_refused_and_told_which_is_the_first(own_house: LocalHouse) -> None:
    """Two keepers on one ledger would be one too many."""
    own_house.start()
    assert own_house.master is not None
    second = subprocess.run(
        [sys.executable, "app.py"],
        cwd=own_house.directory,
        env={"PATH": os.environ["PATH"], "WEBSPOOL_BIND": "127.0.0.1:65000", "WEBSPOOL_ENGINE": "local"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert second.returncode == 1
    assert f"process {own_house.master.pid}" in second.stderr
    assert own_house.ended(own_house.spool("add", a=1, b=1))["state"] == "succeeded"


def test_importing_the_app_starts_nothing_and_creates_nothing(tmp_path: Path) -> None:
    """As `flask shell`, `webspool check` and test runs do."""
    LocalHouse(tmp_path, files())
    before = sorted(path.name for path in tmp_path.iterdir())
    script = "import threading, app; print(threading.active_count(), app.hooks.engine.serves)"
    told = subprocess.run(
        [sys.executable, "-B", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True
    )
    assert told.stdout.split() == ["1", "False"]
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_what_is_spooled_beside_the_instance_waits_for_it(own_house: LocalHouse) -> None:
    """A shell's `.spool` is durable with no process serving, and runs when one does."""
    script = "import app, tasks; print(tasks.add.spool(a=1, b=1).id)"
    told = subprocess.run(
        [sys.executable, "-c", script],
        cwd=own_house.directory,
        env={"PATH": os.environ["PATH"], "WEBSPOOL_ENGINE": "local"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    own_house.launch()
    assert own_house.ended(told.stdout.strip())["result"] == {"sum": 2}


@pytest.mark.parametrize("kind", [FlaskRun, DebugRun])
def test_under_the_reloader_only_the_serving_process_runs_jobs(kind: type[LocalHouse], tmp_path: Path) -> None:
    """And when a file changes, the next one goes on without being refused."""
    with kind(tmp_path, files()) as house:
        assert house.master is not None
        first = house.query("SELECT pid FROM instance WHERE ended_at IS NULL")
        assert len(first) == 1
        assert first[0][0] != house.master.pid
        tasks = house.directory / "tasks.py"
        tasks.write_text(tasks.read_text() + "\n\n@task\ndef added():\n    return 'new code'\n")
        house.until(lambda: house.query("SELECT pid FROM instance WHERE ended_at IS NULL") != first)
        house.until(house.answers)
        assert house.ended(house.spool("added"))["result"] == "new code"
        assert house.said("thread_failed") == []


def test_another_server_begins_at_the_first_request(tmp_path: Path) -> None:
    """A WSGI server has no word for it; the first request, whatever it is, begins the instance."""
    with OtherServer(tmp_path, files()) as house:
        assert house.ended(house.spool("add", a=1, b=1))["result"] == {"sum": 2}


def test_it_begins_where_the_user_says_so(own_house: LocalHouse) -> None:
    """`hooks.begin()`: what was left over runs without any request."""
    own_house.start()
    job = own_house.spool("add", a=1, b=1, _delay=0.5)
    own_house.end()
    own_house.program = ("begin.py",)
    own_house.launch()
    assert own_house.ended(job)["result"] == {"sum": 2}


def test_a_second_server_is_a_way_to_the_ledger_and_takes_over(tmp_path: Path) -> None:
    """Its requests are answered while the first process runs the jobs, and once that has gone it runs them."""
    with LocalHouse(tmp_path, files()) as first:
        second = OtherServer(tmp_path, files())
        with second:
            job = second.spool("add", a=1, b=1)
            assert second.ended(job)["result"] == {"sum": 2}
            assert second.said("not_begun") != []
            first.stop(signal.SIGKILL)
            job = second.spool("add", a=2, b=2)
            second.until(lambda: second.answers() and second.state(job) == "succeeded")


# ── tasks in threads ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_past_its_timeout_has_time_limit_exceeded_raised_in_it(house: LocalHouse) -> None:
    """The attempt is timed out, and the traceback shows where it was."""
    job = house.ended(house.spool("too_slow"))
    assert (job["state"], job["history"][0]["outcome"]) == ("dead", "timed_out")
    assert "TimeLimitExceeded: the task ran past its timeout" in job["error"]
    assert "time.sleep(0.005)" in job["history"][0]["traceback"]


def test_a_task_that_does_not_heed_it_is_left_behind(house: LocalHouse) -> None:
    """The attempt ends and says so; other jobs go on; the thread ends when its task does."""
    jobs = [house.spool("deaf", gate="deaf") for _ in range(3)]
    for job in jobs:
        ended = house.ended(job)
        assert (ended["state"], ended["history"][0]["outcome"]) == ("dead", "timed_out")
        assert "left behind" in house.output(job)
    assert len([name for name in crowd(house) if "runner" in name]) == 5
    house.let_go("deaf")
    house.until(lambda: len([name for name in crowd(house) if "runner" in name]) == 2)


def crowd(house: LocalHouse) -> list[str]:
    found: list[str] = house.ended(house.spool("crowd"))["result"]
    return found


def test_a_running_job_is_cancelled(house: LocalHouse) -> None:
    """Its task is interrupted where it is."""
    job = house.spool("wait", gate="never")
    house.noted("waiting", job=job)
    assert act(house, "cancel", job) == "interrupting"
    assert house.ended(job)["state"] == "cancelled"
    assert house.job(job)["history"][0]["outcome"] == "interrupted"


def test_what_a_tasks_own_threads_print_is_captured(house: LocalHouse) -> None:
    """And what others print is not."""
    job = house.spool("with_a_thread")
    house.ended(job)
    assert house.output(job).splitlines() == ["from a thread", "from the task"]


def test_the_terminal_shows_each_line_with_its_task_and_job(house: LocalHouse) -> None:
    """What is captured is passed on."""
    job = house.spool("with_a_thread")
    house.ended(job)
    house.until(lambda: f"[with_a_thread {job}] from a thread" in house.log.read_text())


# ── other systems ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_needs_what_only_unix_has(tmp_path: Path) -> None:
    """A webhook becomes a finished task, and is there at the next start, without fork, poll, SIGKILL, fcntl, uwsgi."""
    with BareSystem(tmp_path, files()) as house:
        reply = house.webhook(b'{"a": 1}', event="push")
        assert [house.ended(job)["state"] for job in reply.json["jobs"]] == ["succeeded", "succeeded"]
        assert house.ended(house.spool("fail_once"))["result"] == "done"
        assert house.ended(house.spool("too_slow"))["state"] == "dead"
        assert [job["task"] for job in json.loads(typed(house, "jobs", "--json"))][-2:] == ["audit", "see"]
        assert json.loads(typed(house, "send", "github", "--event", "ping"))["status"] == "accepted"
        left = house.spool("wait", gate="bare")
        house.noted("waiting", job=left)
        house.stop(signal.SIGKILL)
        house.let_go("bare")
        house.start()
        assert house.ended(left)["result"] == "let go"


def typed(house: LocalHouse, *command: str) -> str:
    """What a command prints on that system."""
    return subprocess.run(
        [sys.executable, "bare_cli.py", *command],
        cwd=house.directory,
        env={"PATH": os.environ["PATH"], "WEBSPOOL_ENGINE": "auto"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout


def test_ps_tells_when_a_process_started() -> None:
    """Where there is no /proc: the same each time, and nothing of a process that is gone."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert told_by_ps(child.pid) == told_by_ps(child.pid) > 0
    finally:
        child.communicate(b"\n")
    assert told_by_ps(child.pid) == 0


def test_the_first_start_writes_the_secrets(tmp_path: Path) -> None:
    """`python app.py` in a fresh folder: .env is there, and the source that needs it takes the webhook at once."""
    house = LocalHouse(tmp_path, files())
    port = house.port
    (tmp_path / ".env").unlink()
    house.launch(WEBSPOOL_BIND=f"127.0.0.1:{port}", WEBSPOOL_SPOOLERS="1")
    try:
        house.until(house.answers)
        written = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines() if "=" in line)
        reply = house.webhook(json.dumps({"a": 1}).encode(), event="push", secret=written["GITHUB_SECRET"])
        assert reply.status == 202
    finally:
        house.end()
