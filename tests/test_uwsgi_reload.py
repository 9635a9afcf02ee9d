"""New code for a real instance under load: nothing is lost, nothing is cut, and a broken version changes nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conditions import wait_until
from tests.conftest import needs_uwsgi
from tests.instances import CODE, Instance, Reply, kill
from tests.under_load import BIN, command, load
from webspool.ledger.watchdog import tell_master

VERSION = """

@task
def version():
    return {number}


@task
def {name}(delivery):
    note("deployed", version={number})
"""
ROUTE = """

@app.get("/version")
def version():
    return {{"version": {number}}}


hooks.add(Source("deploys", verify="none", on={{"*": tasks.{name}}}))
"""


def code(number: int, name: str = "deploy") -> dict[str, str]:
    """The tests' instance with its version in a task and in a route."""
    tasks, app = (CODE / "tasks.py").read_text(), (CODE / "app.py").read_text()
    return {
        "tasks.py": tasks + VERSION.format(number=number, name=name),
        "app.py": app + ROUTE.format(number=number, name=name),
    }


def write(instance: Instance, files: dict[str, str]) -> None:
    for name, text in files.items():
        (instance.directory / name).write_text(text)


@pytest.fixture
def versioned(tmp_path: Path) -> Any:
    """An instance at version 1."""
    needs_uwsgi()
    with Instance(tmp_path, code(1)) as running:
        yield running


def sender(instance: Instance) -> Callable[[], Reply]:
    return lambda: instance.post("/hooks/deploys", b"{}")


def answered(instance: Instance) -> int:
    return int(instance.get("/version").json["version"])


def held(instance: Instance, gate: str) -> str:
    job = instance.spool("hold", gate=gate)
    instance.noted("held", job=job)
    return job


def reloaded(instance: Instance, *words: str) -> subprocess.CompletedProcess[str]:
    told = command(instance, "reload", *words)
    assert told.returncode == 0, told.stderr + instance.log.read_text()[-3000:]
    return told


# ── new code ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reload_under_load_loses_nothing_and_cuts_nothing(versioned: Instance) -> None:
    """200 a second: no refused connection, no 5xx, each job in one attempt; then workers and runners are all new."""
    before = versioned.processes()
    with load(sender(versioned)) as sent:
        for number in (2, 3):
            reached = len(sent.replies) + 100
            wait_until(lambda reached=reached: len(sent.replies) >= reached)
            write(versioned, code(number))
            reloaded(versioned)
            assert {answered(versioned) for _ in range(8)} == {number}
            assert versioned.ended(versioned.spool("version"))["result"] == number
    assert (dict(sent.statuses()), sent.faults) == ({202: len(sent.replies)}, [])
    versioned.until(lambda: not versioned.query("SELECT 1 FROM job WHERE state NOT IN ('succeeded', 'dead') LIMIT 1"))
    ended = {job: how for job, *how in versioned.query("SELECT id, state, number FROM job")}
    assert [ended[job] for job in sent.jobs()] == [["succeeded", 1]] * len(sent.replies)
    after = versioned.processes()
    assert after.spoolers == before.spoolers
    assert not set(after.workers) & set(before.workers)
    assert after.keeper != before.keeper


def test_a_job_that_runs_ends_with_its_old_code_and_the_next_one_has_the_new(versioned: Instance) -> None:
    """The reload waits for it; meanwhile the other runners and the workers are new already."""
    job = held(versioned, "a")
    write(versioned, code(2))
    going = subprocess.Popen([str(BIN / "webspool"), "reload"], cwd=versioned.directory, stderr=subprocess.DEVNULL)
    versioned.until(lambda: versioned.ended(versioned.spool("version"))["result"] == 2)
    versioned.until(lambda: {answered(versioned) for _ in range(4)} == {2})
    assert versioned.is_running(job)
    versioned.let_go("a")
    assert going.wait(30) == 0
    ended = versioned.ended(job)
    assert (ended["state"], ended["number"], ended["interruptions"]) == ("succeeded", 1, 0)


def test_a_job_longer_than_the_limit_is_cut_told_and_run_again_uncharged(versioned: Instance) -> None:
    """It says so in the attempt, in the command's words and in the log."""
    job = held(versioned, "b")
    write(versioned, code(2))
    told = reloaded(versioned, "--seconds", "0.3")
    assert f"{job} hold ran too long" in told.stderr
    versioned.let_go("b")
    ended = versioned.ended(job)
    assert (ended["state"], ended["attempts"], ended["interruptions"]) == ("succeeded", 1, 1)
    first = ended["history"][0]
    assert (first["outcome"], first["charged"]) == ("interrupted", False)
    assert "drain limit" in first["error"]


def test_all_busy_spoolers_do_not_keep_the_new_code_from_the_workers(versioned: Instance) -> None:
    """The workers are renewed at once, the runners as they become free."""
    jobs = [held(versioned, "c"), held(versioned, "c")]
    write(versioned, code(2))
    going = subprocess.Popen([str(BIN / "webspool"), "reload"], cwd=versioned.directory, stderr=subprocess.DEVNULL)
    versioned.until(lambda: {answered(versioned) for _ in range(4)} == {2})
    assert all(versioned.is_running(job) for job in jobs)
    versioned.let_go("c")
    assert going.wait(30) == 0


# ── broken code ─────────────────────────────────────────────────────────────────────────────────────────────────────

BROKEN = {
    "a syntax error in tasks.py": {"tasks.py": "def broken(:\n"},
    "half a file": {"tasks.py": (CODE / "tasks.py").read_text()[:700]},
    "a name that is not there": {"app.py": (CODE / "app.py").read_text() + "\ntasks.nothing\n"},
    "an exit": {"app.py": "raise SystemExit(0)\n"},
    "an empty app": {"app.py": ""},
}


@pytest.mark.parametrize("files", BROKEN.values(), ids=BROKEN)
def test_a_broken_version_is_refused_and_the_old_one_survives_every_kill(
    versioned: Instance, files: dict[str, str]
) -> None:
    """A worker, a spooler and a runner killed meanwhile come back with the code that was checked."""
    with load(sender(versioned), per_second=100) as sent:
        write(versioned, files)
        told = command(versioned, "reload")
        assert told.returncode == 1
        assert "The old code serves on." in told.stderr
        processes = versioned.processes()
        for pid in (*processes.workers, versioned.runner_of(processes.spoolers[0]), processes.spoolers[1]):
            kill(pid)
        versioned.until(lambda: not set(processes.workers) & set(versioned.processes().workers))
        versioned.until_it_serves()
        assert {answered(versioned) for _ in range(8)} == {1}
        assert versioned.ended(versioned.spool("version"))["result"] == 1
    assert set(sent.statuses()) == {202}
    assert {versioned.ended(job)["state"] for job in sent.jobs()} == {"succeeded"}
    assert not versioned.said("runner_broken")
    assert not versioned.said("app_unavailable")
    write(versioned, code(2))
    reloaded(versioned)
    assert answered(versioned) == 2


def test_what_lies_half_written_beside_a_running_instance_is_nobodys(versioned: Instance) -> None:
    """Without any reload: new files run at the next one only, whoever is replaced meanwhile."""
    write(versioned, code(2))
    for worker in versioned.processes().workers:
        kill(worker)
    spooler = versioned.processes().spoolers[0]
    kill(versioned.runner_of(spooler))
    kill(spooler)
    versioned.until_it_serves()
    assert {answered(versioned) for _ in range(8)} == {1}
    assert {versioned.ended(versioned.spool("version"))["result"] for _ in range(6)} == {1}
    assert versioned.stop() == 0
    versioned.start()
    assert answered(versioned) == 2


def test_code_that_only_the_check_can_import_leaves_the_old_runners_and_workers_at_work(versioned: Instance) -> None:
    """The runners say so, jobs and requests go on; the next good version repairs it."""
    broken = code(2)
    broken["app.py"] += """
import sys
if type(sys.modules.get("uwsgi")).__name__ != "_Nothing":
    raise RuntimeError("not in here")
"""
    with load(sender(versioned), per_second=100) as sent:
        write(versioned, broken)
        told = command(versioned, "reload")
        assert told.returncode == 1, told.stderr
        assert "RuntimeError: not in here" in told.stderr
        assert {answered(versioned) for _ in range(8)} == {1}
        assert versioned.ended(versioned.spool("version"))["result"] == 1
        assert versioned.said("runner_broken", serves_on=True)
        write(versioned, code(3))
        reloaded(versioned)
    assert (dict(sent.statuses()), sent.faults) == ({202: len(sent.replies)}, [])
    assert versioned.ended(versioned.spool("version"))["result"] == 3


# ── a task that is gone ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_renamed_under_load_blocks_its_jobs_until_it_is_back(versioned: Instance) -> None:
    """Refused without --force, which names the jobs; none fails, all run when the old name is known again."""
    gate = versioned.post("/spool/version", b'{"_delay": 3600}', {"Content-Type": "application/json"}).json["job"]
    late = versioned.query("SELECT count(*) FROM job WHERE id = ?", gate)
    assert late == [(1,)]
    command(versioned, "pause", "--task", "deploy")
    with load(sender(versioned), per_second=100) as sent:
        wait_until(lambda: len(sent.replies) >= 50)
        write(versioned, code(2, name="roll_out"))
        refused = command(versioned, "reload")
        assert refused.returncode == 1
        assert "for the task deploy, which this code lacks" in refused.stderr
        assert answered(versioned) == 1
        reloaded(versioned, "--force")
        command(versioned, "resume", "--task", "deploy")
        reached = len(sent.replies) + 50
        wait_until(lambda: len(sent.replies) >= reached)
    assert (dict(sent.statuses()), sent.faults) == ({202: len(sent.replies)}, [])
    old = {job for job, task in versioned.query("SELECT id, task FROM job WHERE state = 'blocked'") if task == "deploy"}
    assert old
    assert {versioned.job(job)["blocked_on"] for job in old} == {"unknown:deploy"}
    assert any("the task deploy" in sentence for sentence in versioned.status()["degraded"])
    assert versioned.until(lambda: versioned.said("task_unknown", task="deploy"))
    assert {versioned.ended(job)["task"] for job in set(sent.jobs()) - old} <= {"deploy", "roll_out"}
    write(versioned, code(3))
    reloaded(versioned, "--force")
    assert {(versioned.ended(job)["state"], versioned.job(job)["number"]) for job in old} == {("succeeded", 1)}
    assert versioned.query("SELECT count(*) FROM job WHERE state = 'dead'") == [(0,)]


# ── beside it ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_an_instance_there_is_nothing_to_reload(own_instance: Instance) -> None:
    """Exit code 1, and not even a copy of the code is left."""
    told = command(own_instance, "reload")
    assert (told.returncode, told.stdout) == (1, "")
    assert "no instance runs" in told.stderr
    assert not (own_instance.directory / "var").exists()


SLOW_WORKERS = """
import uwsgi

if getattr(uwsgi, "worker_id", int)():
    time.sleep(1)
"""


def test_a_reload_that_was_broken_off_does_not_keep_the_next_from_the_workers(tmp_path: Path) -> None:
    """uWSGI takes no other order while it replaces workers: that for the first ones would be lost."""
    needs_uwsgi()
    slow = code(1) | {"app.py": code(1)["app.py"] + SLOW_WORKERS}
    with Instance(tmp_path, slow) as running:
        before = running.processes().workers
        tell_master(running.config.master_fifo, b"c")
        wait_until(lambda: set(running.processes().workers) - set(before), 30)
        write(running, code(2))
        reloaded(running)
        assert {answered(running) for _ in range(20)} == {2}
        assert "chain reload already running" in running.log.read_text()


def test_one_reload_at_a_time(versioned: Instance) -> None:
    """The second one says so and changes nothing."""
    held(versioned, "d")
    going = subprocess.Popen([str(BIN / "webspool"), "reload"], cwd=versioned.directory, stderr=subprocess.DEVNULL)
    versioned.until(lambda: versioned.said("code_renewed"))
    told = command(versioned, "reload")
    assert told.returncode == 1
    assert "another reload is under way" in told.stderr
    versioned.let_go("d")
    assert going.wait(30) == 0
