"""The end of an instance and its next start: what is in flight is answered, what is left is done, none is charged."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conditions import wait_until
from tests.instances import CODE, INI, Instance, runs


def everybody(instance: Instance) -> list[int]:
    """The pids of the instance, its runners too."""
    assert instance.master is not None
    processes = instance.processes()
    runners = [instance.runner_of(spooler) for spooler in processes.spoolers]
    return [instance.master.pid, processes.keeper, *processes.workers, *processes.spoolers, *runners]


def test_a_stop_lets_requests_in_flight_be_answered(own_instance: Instance) -> None:
    """SIGTERM: the request that is being handled gets its answer, then every process ends, exit code 0."""
    own_instance.start()
    there = everybody(own_instance)
    assert own_instance.master is not None
    with ThreadPoolExecutor(1) as sender:
        answer = sender.submit(own_instance.get, "/slow/answer")
        own_instance.until(lambda: (own_instance.directory / "inside-answer").exists())
        own_instance.master.send_signal(signal.SIGTERM)
        own_instance.until(lambda: "graceful" in own_instance.log.read_text())
        own_instance.let_go("answer")
        assert answer.result().status == 200
    assert own_instance.master.wait(20) == 0
    wait_until(lambda: not [pid for pid in there if runs(pid)], 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM to the master", "Ctrl-C to all"])
def test_a_stop_leaves_nothing_running_and_the_next_start_does_the_rest(own_instance: Instance, number: int) -> None:
    """A running job is cut, not charged, and what it started ends with it; the next instance does it and the others."""
    own_instance.start()
    there = everybody(own_instance)
    assert own_instance.master is not None
    cut = own_instance.spool("with_a_child", gate="stop")
    child = own_instance.noted("held", job=cut)["child"]
    other = own_instance.spool("hold", gate="stop")
    own_instance.noted("held", job=other)
    left = [own_instance.spool("say", text=f"left {n}") for n in range(5)]
    later = own_instance.spool("say", text="later", _delay=1)
    if number == signal.SIGINT:
        os.killpg(own_instance.master.pid, number)
        assert own_instance.master.wait(20) == 0
    else:
        assert own_instance.stop() == 0
    wait_until(lambda: not [pid for pid in [*there, child] if runs(pid)], 10)

    own_instance.let_go("stop")
    own_instance.start()
    done = [own_instance.ended(job) for job in (cut, other, *left, later)]
    assert {job["state"] for job in done} == {"succeeded"}
    assert {job["attempts"] for job in done} == {1}
    assert [job["interruptions"] for job in done[:2]] == [1, 1]
    assert [len(own_instance.notes("said", job=job)) for job in left] == [1] * 5


SLOW_TO_IMPORT = """
import pathlib, time
if pathlib.Path("checked").exists():
    pathlib.Path("importing").touch()
    time.sleep(600)
pathlib.Path("checked").touch()
"""


def test_a_stop_while_workers_import_the_app_is_not_lost(tmp_path: Path) -> None:
    """uWSGI forks workers with the handlers of the master, which then waits for them without a limit."""
    instance = Instance(tmp_path, {"app.py": SLOW_TO_IMPORT + (CODE / "app.py").read_text()})
    try:
        instance.launch()
        instance.until(lambda: (tmp_path / "importing").exists() and "exited with code 0" in instance.log.read_text())
        assert instance.stop() == 0
    finally:
        instance.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM to the master", "Ctrl-C to all"])
def test_a_stop_at_the_first_answer_waits_for_nobody(own_instance: Instance, number: int) -> None:
    """Other workers still import the app then, and the keeper has hardly begun; none is torn down in the middle."""
    master = own_instance.launch()
    own_instance.until(own_instance.answers)
    send = os.killpg if number == signal.SIGINT else os.kill
    send(master.pid, number)
    assert master.wait(20) == 0
    log = own_instance.log.read_text()
    assert "NO MERCY" not in log
    assert "KeyboardInterrupt" not in log


def test_a_stop_while_the_instance_is_checked_is_not_lost(own_instance: Instance) -> None:
    """uWSGI ignores SIGTERM until its master is up; here it ends at once."""
    own_instance.launch()
    own_instance.until(lambda: "(asap)" in own_instance.log.read_text())
    own_instance.stop()
    assert "spawned uWSGI worker" not in own_instance.log.read_text()


def test_a_reload_takes_new_code_and_charges_nothing(own_instance: Instance) -> None:
    """SIGHUP to the master: the same instance with the code of now; a job that was cut is run by it."""
    own_instance.start()
    assert own_instance.master is not None
    job = own_instance.spool("hold", gate="reload")
    own_instance.noted("held", job=job)
    before = set(own_instance.processes().spoolers)
    tasks = own_instance.directory / "tasks.py"
    tasks.write_text(tasks.read_text().replace("return a + b", "return a * b"))
    own_instance.master.send_signal(signal.SIGHUP)
    own_instance.until(lambda: own_instance.serves() and not before & set(own_instance.processes().spoolers))
    own_instance.let_go("reload")
    ended = own_instance.ended(job)
    assert (ended["state"], ended["attempts"]) == ("succeeded", 1)
    assert own_instance.ended(own_instance.spool("add", a=3, b=4))["result"] == 12


def test_a_request_that_never_ends_does_not_hold_up_a_stop_for_ever(tmp_path: Path) -> None:
    """uWSGI's master waits for its workers without a limit of its own; a stop ends within the mercy given to them."""
    with (
        Instance(tmp_path, {"uwsgi.ini": INI + "worker-reload-mercy = 2\n"}) as instance,
        ThreadPoolExecutor(1) as sender,
    ):
        cut = sender.submit(instance.get, "/slow/never")
        instance.until(lambda: (tmp_path / "inside-never").exists())
        assert instance.stop() == 0
        assert isinstance(cut.exception(20), OSError)


def test_a_stop_leaves_no_job_running_in_the_ledger(own_instance: Instance) -> None:
    """The keeper outlives the spoolers and records what was cut; who reads a stopped instance's ledger sees it so."""
    own_instance.start()
    job = own_instance.spool("hold", gate="never")
    own_instance.noted("held", job=job)
    own_instance.stop()
    cut = own_instance.job(job)
    assert (cut["state"], cut["attempts"], cut["interruptions"]) == ("queued", 0, 1)
    assert not own_instance.query("SELECT id FROM process WHERE ended_at IS NULL")


def test_a_keeper_that_is_told_to_end_alone_ends_alone(own_instance: Instance) -> None:
    """SIGTERM to it by hand is no end of the instance: the master starts another, workers and spoolers stay."""
    own_instance.start()
    before = own_instance.processes()
    os.kill(before.keeper, signal.SIGTERM)
    own_instance.until(lambda: own_instance.serves() and own_instance.processes().keeper not in (0, before.keeper))
    assert own_instance.ended(own_instance.spool("add", a=1, b=2))["result"] == 3
    assert (own_instance.processes().workers, own_instance.processes().spoolers) == (before.workers, before.spoolers)
