"""Processes of a real instance are killed one by one, in the middle of their work: what was accepted is done anyway."""

from __future__ import annotations

import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conditions import wait_until
from tests.instances import Instance, Reply, kill, processor_seconds, runs
from webspool.processes import children_of

SENDERS = 3


@pytest.fixture(autouse=True)
def whole_again(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test leaves the shared instance serving as it found it."""
    yield
    if "instance" in request.fixturenames:
        instance = request.getfixturevalue("instance")
        for note in instance.notes("held"):
            instance.let_go(instance.job(note["job"])["arguments"]["gate"])
        instance.until_it_serves()


@contextmanager
def load(instance: Instance) -> Iterator[list[Reply]]:
    """Webhooks from a few senders at once, all the time; the replies grow meanwhile."""
    replies: list[Reply] = []
    over = threading.Event()

    def send() -> None:
        while not over.is_set():
            try:
                replies.append(instance.webhook(event="push"))
            except OSError:  # the worker was killed: the sender does not know, and would send again
                continue

    with ThreadPoolExecutor(SENDERS) as senders:
        sending = [senders.submit(send) for _ in range(SENDERS)]
        try:
            yield replies
        finally:
            over.set()
    for each in sending:
        each.result()


def nothing_is_lost(instance: Instance, replies: list[Reply]) -> None:
    """What was answered 202 is in the ledger and succeeds, each job in one attempt; all else was 503."""
    assert {reply.status for reply in replies} <= {202, 503}
    accepted = [reply.json for reply in replies if reply.status == 202]
    assert accepted
    stored = {delivery for (delivery,) in instance.query("SELECT id FROM delivery")}
    assert {reply["delivery"] for reply in accepted} <= stored
    instance.until(lambda: not instance.query("SELECT 1 FROM job WHERE finished_at IS NULL LIMIT 1"))
    states = dict(instance.query("SELECT id, state FROM job"))
    assert Counter(states[job] for reply in accepted for job in reply["jobs"]) == {"succeeded": 2 * len(accepted)}
    assert not instance.query("SELECT id FROM attempt WHERE ended_at IS NULL")


def held(instance: Instance, gate: str) -> str:
    """A job in the middle of its task."""
    job = instance.spool("hold", gate=gate)
    instance.noted("held", job=job)
    return job


# ── a worker ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_killed_worker_loses_nothing_that_was_answered(instance: Instance) -> None:
    """Each worker is killed under load; the master puts others in their place."""
    before = instance.processes().workers
    with load(instance) as replies:
        for worker in before:
            reached = len(replies) + 20
            instance.until(lambda reached=reached: len(replies) >= reached)
            kill(worker)
        instance.until(lambda: len(set(instance.processes().workers) - set(before)) == 2)
        reached = len(replies) + 20
        instance.until(lambda: len(replies) >= reached)
    nothing_is_lost(instance, replies)


# ── a spooler ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_killed_spooler_takes_its_runner_and_all_it_started_along(instance: Instance) -> None:
    """Its job is run again by another, the only one to do so."""
    job = instance.spool("with_a_child", gate="spooler")
    told = instance.noted("held", job=job)
    kill(instance.spooler_of(job))
    instance.until(lambda: not runs(told["pid"]) and not runs(told["child"]))
    assert instance.noted("held", job=job, number=2)["pid"] != told["pid"]
    instance.let_go("spooler")
    ended = instance.ended(job)
    assert (ended["state"], [each["outcome"] for each in ended["history"]]) == (
        "succeeded",
        ["interrupted", "succeeded"],
    )
    assert "was killed" in ended["history"][0]["error"]
    assert len(instance.notes("let_go", job=job)) == 1


def test_a_killed_idle_spooler_is_replaced(instance: Instance) -> None:
    """A ticket brings the new one into its claim loop; it runs jobs when the other cannot."""
    kill(instance.processes().spoolers[0])
    instance.until_it_serves()
    jobs = [held(instance, "replaced") for _ in range(2)]
    assert {instance.spooler_of(job) for job in jobs} == set(instance.processes().spoolers)
    instance.let_go("replaced")
    assert {instance.ended(job)["state"] for job in jobs} == {"succeeded"}


def test_killed_spoolers_lose_nothing_under_load(instance: Instance) -> None:
    """Each is killed while jobs stream through; what they had claimed is run again."""
    with load(instance) as replies:
        for _ in range(2):
            reached = len(replies) + 20
            instance.until(lambda reached=reached: len(replies) >= reached)
            kill(instance.processes().spoolers[0])
            instance.until_it_serves()
    nothing_is_lost(instance, replies)


# ── a runner ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_killed_runner_is_charged(instance: Instance) -> None:
    """As the OOM killer does it: the attempt is interrupted and counts, the spooler goes on with a new runner."""
    job = held(instance, "runner")
    spooler = instance.spooler_of(job)
    runner = instance.runner_of(spooler)
    assert runner == instance.notes("held", job=job)[0]["pid"]
    kill(runner)
    instance.noted("held", job=job, number=2)
    instance.let_go("runner")
    ended = instance.ended(job)
    assert (ended["state"], ended["attempts"]) == ("succeeded", 2)
    first = ended["history"][0]
    assert (first["outcome"], first["signal"], first["charged"]) == ("interrupted", signal.SIGKILL, True)
    assert first["error"] == "its process was killed by SIGKILL"
    assert spooler in instance.processes().spoolers


def test_a_runner_killed_between_two_jobs_costs_nothing(instance: Instance) -> None:
    """The next job gets a new one, in its first attempt."""
    for spooler in instance.processes().spoolers:
        kill(instance.runner_of(spooler))
    jobs = [instance.ended(instance.spool("add", a=1, b=n)) for n in range(4)]
    assert {(job["state"], job["attempts"]) for job in jobs} == {("succeeded", 1)}


# ── the keeper ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_jobs_run_while_there_is_no_keeper(instance: Instance) -> None:
    """Killed, workers and spoolers commit directly at once; the master starts another."""
    before = instance.processes().keeper
    held_job = held(instance, "keeper")
    kill(before)
    reply = instance.webhook(event="push")
    assert reply.status == 202
    assert {instance.ended(job)["state"] for job in reply.json["jobs"]} == {"succeeded"}
    instance.let_go("keeper")
    ended = instance.ended(held_job)
    assert (ended["state"], ended["attempts"]) == ("succeeded", 1)
    instance.until(lambda: instance.processes().keeper not in (0, before))


def test_a_running_job_is_cancelled_by_way_of_the_next_keeper(instance: Instance) -> None:
    """The spooler calls the new keeper while its task runs; until then it waits without burning the processor."""
    job = held(instance, "cancelled")
    spooler, before = instance.spooler_of(job), instance.processes().keeper
    used = processor_seconds(spooler)
    kill(before)
    instance.until(lambda: instance.status()["processes"]["keeper"] and instance.processes().keeper != before)
    told = instance.command("cancel", job, "--yes")
    assert told.returncode == 0, told.stderr
    ended = instance.ended(job)
    assert (ended["state"], ended["history"][0]["outcome"]) == ("cancelled", "interrupted")
    assert not runs(instance.notes("held", job=job)[0]["pid"])
    assert processor_seconds(spooler) - used < 0.3


def test_a_killed_keeper_loses_nothing_under_load(instance: Instance) -> None:
    """Killed three times while webhooks stream in: every 202 is in the ledger and its jobs are done."""
    with load(instance) as replies:
        for _ in range(3):
            before = instance.processes().keeper
            reached = len(replies) + 30
            instance.until(lambda reached=reached: len(replies) >= reached)
            kill(before)
            instance.until(lambda before=before: instance.status()["processes"]["keeper"])
    nothing_is_lost(instance, replies)


def test_a_hung_keeper_is_replaced_and_nobody_waits_for_it(instance: Instance) -> None:
    """Stopped, not dead: senders are answered 202 or 503 all the time, and the watchdog ends it."""
    before = instance.processes().keeper
    with load(instance) as replies:
        reached = len(replies) + 10
        instance.until(lambda: len(replies) >= reached)
        kill(before, signal.SIGSTOP)
        at = len(replies)
        instance.until(lambda: not runs(before) and instance.status()["processes"]["keeper"], 15)
        assert len(replies) > at + SENDERS
        reached = len(replies) + 10
        instance.until(lambda: len(replies) >= reached)
    nothing_is_lost(instance, replies)
    assert instance.said("hung_keeper_killed", keeper=before)


def test_in_place_of_a_hung_keeper_a_process_writes_that_runs_no_code_of_the_apps(instance: Instance) -> None:
    """Workers have the ledger open at no time: their threads run the app's code, which may take SQLite's locks away."""
    instance.until_it_serves()
    before, workers = instance.processes().keeper, instance.processes().workers
    kill(before, signal.SIGSTOP)
    replies: list[Reply] = []
    while len([reply for reply in replies if reply.status == 202]) < 3 and instance.processes().keeper == before:
        replies.append(instance.webhook(event="push"))
        opened = [str(path) for worker in workers for path in descriptors_of(worker)]
        assert not [path for path in opened if "ledger.db" in path]
    deputies = [deputy for worker in workers for deputy in children_of(worker)]
    assert "deputy_process.py" in " ".join(Path(f"/proc/{each}/cmdline").read_text() for each in deputies)
    if runs(before):
        kill(before)
    instance.until_it_serves()
    nothing_is_lost(instance, replies)


def descriptors_of(pid: int) -> Iterator[Path]:
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # it has been closed
            yield path.readlink()


# ── the spool's directory ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_wiped_spool_loses_nothing(instance: Instance) -> None:
    """Tickets are only wake-ups: jobs that wait and jobs that run are in the ledger."""
    jobs = [held(instance, "wiped") for _ in range(2)]
    jobs += [instance.spool("say", text="waits") for _ in range(3)]
    for path in instance.config.spool_path.glob("uwsgi_spoolfile*"):
        path.unlink()
    assert instance.webhook().status == 202
    instance.let_go("wiped")
    ended = [instance.ended(job) for job in jobs]
    assert {(job["state"], job["attempts"]) for job in ended} == {("succeeded", 1)}


def test_a_removed_spool_directory_comes_back(instance: Instance) -> None:
    """uWSGI's spoolers respawn in a loop without it; the keeper makes it anew, and nothing is lost."""
    job = held(instance, "removed")
    shutil.rmtree(instance.config.spool_path)
    accepted = instance.webhook(event="push")
    assert accepted.status == 202
    instance.until(lambda: instance.config.spool_path.is_dir())
    assert instance.config.spool_path.stat().st_mode & 0o077 == 0
    instance.let_go("removed")
    assert {instance.ended(each)["state"] for each in [job, *accepted.json["jobs"]]} == {"succeeded"}


# ── the master ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_after_the_master_was_killed_nothing_runs_twice_at_once(own_instance: Instance) -> None:
    """A busy spooler outlives it and finishes its job while the next instance serves; nothing is charged twice."""
    own_instance.start()
    busy = held(own_instance, "outlives")
    spooler = own_instance.spooler_of(busy)
    waiting = own_instance.spool("say", text="later", _delay=0.5)
    own_instance.kill_master()
    own_instance.start()
    assert own_instance.ended(waiting)["state"] == "succeeded"
    if runs(spooler):
        assert own_instance.is_running(busy)
        assert len(own_instance.notes("held", job=busy)) == 1
    own_instance.let_go("outlives")
    ended = own_instance.ended(busy)
    assert (ended["state"], ended["attempts"]) == ("succeeded", 1)
    assert len(own_instance.notes("let_go", job=busy)) == 1
    wait_until(lambda: not runs(spooler), 20)


def test_jobs_of_an_instance_that_died_whole_are_cut_not_charged(own_instance: Instance) -> None:
    """Every process killed at once, as by a power cut: run again at the next start, as if for the first time."""
    own_instance.start()
    job = held(own_instance, "whole")
    own_instance.end()
    own_instance.start()
    own_instance.noted("held", job=job, number=2)
    own_instance.let_go("whole")
    ended = own_instance.ended(job)
    assert (ended["state"], ended["attempts"], ended["interruptions"]) == ("succeeded", 1, 1)
    assert "cut: the instance of its spooler" in ended["history"][0]["error"]


def test_a_second_instance_on_the_same_ledger_ends_and_names_the_first(own_instance: Instance, tmp_path: Path) -> None:
    """Its exit code is not 0; the first one serves on."""
    own_instance.start()
    assert own_instance.master is not None
    second = Instance(tmp_path / "second", WEBSPOOL_DATABASE_URL=f"sqlite:///{own_instance.config.ledger_path}")
    try:
        assert second.launch().wait(30) != 0
        assert str(own_instance.master.pid) in second.log.read_text()
    finally:
        second.end()
    assert own_instance.webhook().status == 202
    own_instance.until_it_serves()
