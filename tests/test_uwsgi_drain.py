"""Draining a real instance, and stopping it: nothing that was accepted is lost, nothing that was cut is charged."""

from __future__ import annotations

import json
import subprocess

from tests.conditions import wait_until
from tests.instances import Instance, kill
from tests.under_load import BIN, command, load


def held(instance: Instance, gate: str) -> str:
    """A job in the middle of its task."""
    job = instance.spool("hold", gate=gate)
    instance.noted("held", job=job)
    return job


def test_a_drained_instance_accepts_and_begins_nothing(instance: Instance) -> None:
    """Webhooks get their 202 and wait; /readyz says why nothing more should be sent; undone, everything runs."""
    told = command(instance, "drain", "--json")
    assert (told.returncode, json.loads(told.stdout)) == (0, {"stopping": True, "running": []})
    ready = instance.get("/readyz")
    assert (ready.status, ready.json["reasons"]) == (503, ["the instance is draining: it begins no further job"])
    with load(instance.webhook) as sent:
        wait_until(lambda: len(sent.replies) >= 100)
    assert (dict(sent.statuses()), sent.faults) == ({202: len(sent.replies)}, [])
    assert {instance.state(job) for job in sent.jobs()} == {"queued"}
    assert any("draining" in sentence for sentence in instance.status()["degraded"])
    assert command(instance, "drain", "--undo").returncode == 0
    assert {instance.ended(job)["state"] for job in sent.jobs()} == {"succeeded"}
    assert instance.get("/readyz").status == 200
    assert instance.said("draining")
    assert instance.said("draining_undone")


def test_draining_waits_for_what_runs(instance: Instance) -> None:
    """The command returns when the last running job has ended; what came meanwhile did not begin."""
    running = held(instance, "a")
    draining = subprocess.Popen([str(BIN / "webspool"), "drain"], cwd=instance.directory, stderr=subprocess.DEVNULL)
    instance.until(lambda: instance.get("/readyz").status == 503)
    waiting = instance.spool("add", a=1, b=2)
    assert draining.poll() is None
    instance.let_go("a")
    assert draining.wait(20) == 0
    assert (instance.state(running), instance.state(waiting)) == ("succeeded", "queued")
    command(instance, "drain", "--undo")
    assert instance.ended(waiting)["result"] == 3


def test_a_drain_that_is_over_names_what_is_left(instance: Instance) -> None:
    """Exit code 1, the jobs on standard output, and they run on unharmed."""
    running = held(instance, "b")
    told = command(instance, "drain", "--seconds", "0.2")
    assert (told.returncode, told.stdout.split()[:2]) == (1, [running, "hold"])
    assert "no attempt is charged" in told.stderr
    instance.let_go("b")
    assert command(instance, "drain").returncode == 0
    assert instance.ended(running)["state"] == "succeeded"
    assert command(instance, "drain", "--undo").returncode == 0


def test_a_keeper_that_is_gone_does_not_hinder_draining(instance: Instance) -> None:
    """The mark is in the ledger: spoolers that ask it directly are given nothing either."""
    kill(instance.processes().keeper)
    assert command(instance, "drain").returncode == 0
    job = instance.spool("add", a=1, b=1)
    instance.until(lambda: instance.status()["processes"]["keeper"])
    assert instance.state(job) == "queued"
    command(instance, "drain", "--undo")
    assert instance.ended(job)["result"] == 2


def test_what_a_stop_cuts_is_not_charged_and_runs_again(own_instance: Instance) -> None:
    """Drained or not: the attempt says `cut`, the next start runs the job, and it begins with no mark left."""
    own_instance.start()
    cut = [held(own_instance, "c"), held(own_instance, "c")]
    assert command(own_instance, "drain", "--seconds", "0").returncode == 1
    waiting = own_instance.spool("add", a=2, b=3)
    assert own_instance.stop() == 0
    own_instance.let_go("c")
    own_instance.start()
    for job in cut:
        ended = own_instance.ended(job)
        assert (ended["state"], ended["attempts"], ended["interruptions"]) == ("succeeded", 1, 1)
        assert [(each["outcome"], each["charged"]) for each in ended["history"]] == [
            ("interrupted", False),
            ("succeeded", True),
        ]
        assert ended["history"][0]["error"].startswith("cut: ")
    assert own_instance.ended(waiting)["result"] == 5


def test_a_drain_and_a_stop_under_load_lose_nothing(own_instance: Instance) -> None:
    """As systemd does it: drain, then SIGTERM. What was answered 202 runs after the next start, once."""
    own_instance.start()
    with load(own_instance.webhook) as sent:
        wait_until(lambda: len(sent.replies) >= 50)
        assert command(own_instance, "drain").returncode == 0
        before = len(sent.replies)
        wait_until(lambda: len(sent.replies) >= before + 50)
        assert not sent.faults
        assert own_instance.stop() == 0
    assert set(sent.statuses()) == {202}
    assert own_instance.query("SELECT count(*) FROM attempt WHERE outcome IS NOT 'succeeded'") == [(0,)]
    own_instance.start()
    for job in sent.jobs():
        ended = own_instance.ended(job)
        assert (ended["state"], ended["number"]) == ("succeeded", 1)


def test_without_an_instance_there_is_nothing_to_drain(own_instance: Instance) -> None:
    """ExecStop= after a crash must not fail."""
    told = command(own_instance, "drain")
    assert (told.returncode, told.stdout) == (0, "")
    assert "No instance runs" in told.stderr
