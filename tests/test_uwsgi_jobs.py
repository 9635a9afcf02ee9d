"""The life of a job under real uWSGI: what its task does, how that ends, when it is tried again, what is kept of it."""

from __future__ import annotations

import re
import signal
import time
from itertools import pairwise
from typing import Any

import pytest

from tests.instances import Instance


def outcomes(job: dict[str, Any]) -> list[str]:
    return [attempt["outcome"] for attempt in job["history"]]


def waits(instance: Instance, job: str) -> list[float]:
    """Seconds between the tries of a job."""
    times = [note["at"] for note in instance.notes("tried", job=job)]
    return [after - before for before, after in pairwise(times)]


# ── what a task does ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_result_comes_back(instance: Instance) -> None:
    """Arguments by name go in, a JSON value comes out; whoever spooled it can wait for it."""
    job = instance.spool("add", a=2, b=3)
    assert instance.get(f"/result/{job}").json == {"state": "succeeded", "result": 5}


def test_what_does_not_fit_a_task_raises_at_the_caller(instance: Instance) -> None:
    """The route that spools gets the error, named by task and argument; no job is made."""
    before = instance.status()["jobs"]
    reply = instance.post("/spool/add", b'{"a": 1, "c": 2}', {"Content-Type": "application/json"})
    assert reply.status == 500
    assert "ArgumentsDoNotFit: The task add cannot be spooled" in instance.log.read_text()
    assert instance.status()["jobs"] == before


def test_a_task_of_the_same_name_in_bytes(instance: Instance) -> None:
    """uWSGI's own form, a dictionary of bytes, arrives as one dictionary of text."""
    job = instance.post("/spool_bytes/take_bytes", b"duration=5&name=%EB%82%98%EC%9D%98").json["job"]
    assert instance.ended(job)["result"] == {"duration": "5", "name": "나의"}


def test_a_task_that_waits_for_nothing_runs_beside_one_that_waits(instance: Instance) -> None:
    """The pool has two spoolers: one held up does not stop the other."""
    held = instance.spool("hold", gate="beside")
    instance.noted("held", job=held)
    assert instance.ended(instance.spool("add", a=1, b=1))["state"] == "succeeded"
    assert instance.is_running(held)
    instance.let_go("beside")
    assert instance.ended(held)["state"] == "succeeded"


# ── when ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_is_not_begun_before_its_time(instance: Instance) -> None:
    """`delay` and `at` take fractions of a second: bare uWSGI has whole seconds, seen when it looks next."""
    begun = time.time()
    delayed, at = instance.spool("note_time", _delay=0.35), instance.spool("note_time", _at=begun + 0.6)
    assert {instance.state(delayed), instance.state(at)} <= {"scheduled", "running", "succeeded"}
    assert instance.ended(delayed)["state"] == instance.ended(at)["state"] == "succeeded"
    assert instance.notes("time", job=delayed)[0]["at"] >= begun + 0.35
    assert instance.notes("time", job=at)[0]["at"] >= begun + 0.6


def test_a_thousand_future_jobs_are_no_files(instance: Instance) -> None:
    """Bare uWSGI looks at every waiting file on every wake-up; here the spool holds a ticket a spooler at most."""
    for _ in range(50):
        instance.spool("say", text="tomorrow", _delay=86400)
    assert instance.status()["jobs"]["scheduled"] >= 50
    assert instance.status()["spool"]["files"] <= instance.config.spoolers
    assert instance.ended(instance.spool("add", a=1, b=1))["state"] == "succeeded"


def test_jobs_of_a_task_with_concurrency_one_run_one_by_one_in_order(instance: Instance) -> None:
    """Begun in order of acceptance and never overlapping, though two spoolers are idle."""
    jobs = [instance.spool("one_by_one", n=n) for n in range(12)]
    assert {instance.ended(job)["state"] for job in jobs} == {"succeeded"}
    told = [(note["note"], note["n"]) for note in instance.notes(task="one_by_one")]
    assert told == [(what, n) for n in range(12) for what in ("began", "ended")]


def test_order_and_priority_are_the_ledgers(instance: Instance) -> None:
    """uWSGI sorts files by the pid that wrote them; here jobs of two workers begin by priority, then as accepted."""
    gates = [instance.spool("hold", gate="order") for _ in range(2)]
    for gate in gates:
        instance.noted("held", job=gate)
    jobs = {n: instance.spool("one_by_one", n=n, _priority=n % 3) for n in range(100, 112)}
    assert {instance.state(job) for job in jobs.values()} <= {"queued", "blocked"}
    instance.let_go("order")
    for job in [*jobs.values(), *gates]:
        instance.ended(job)
    begun = [note["n"] for note in instance.notes("began", task="one_by_one") if note["n"] >= 100]
    first, rest = begun[0], begun[1:]
    assert first == 100  # the only one of its task that was queued, not blocked
    assert rest == sorted(rest, key=lambda n: (-(n % 3), n))


# ── endings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_fails_is_tried_again_after_a_doubling_wait(instance: Instance) -> None:
    """Failed, failed, succeeded: each wait is kept, where bare uWSGI would try again at once and for ever."""
    job = instance.ended(instance.spool("fail", times=2))
    assert (job["state"], outcomes(job), job["result"]) == ("succeeded", ["failed", "failed", "succeeded"], "at last")
    assert [attempt["error"] for attempt in job["history"]] == ["ValueError: failed 1", "ValueError: failed 2", None]
    first, second = waits(instance, job["id"])
    assert first >= 0.1
    assert second >= 0.2


def test_a_job_whose_attempts_are_spent_is_dead(instance: Instance) -> None:
    """SPOOL_RETRY returned from a task is honoured, where uWSGI's @spool throws it away, and it has an end."""
    job = instance.ended(instance.spool("return_retry"))
    assert (job["state"], outcomes(job)) == ("dead", ["failed"] * 3)
    assert job["error"] == "3 of 3 attempts spent: the task returned SPOOL_RETRY"
    assert len(instance.notes("tried", job=job["id"])) == 3


@pytest.mark.parametrize("charge", [True, False])
def test_retry_asks_for_its_own_time(instance: Instance, charge: bool) -> None:
    """After the seconds it names; charged as an attempt unless it says otherwise."""
    job = instance.ended(instance.spool("ask_again", after=0.15, charge=charge))
    assert job["state"] == ("dead" if charge else "succeeded")
    assert outcomes(job) == (["snoozed"] if charge else ["snoozed", "snoozed", "succeeded"])
    assert all(wait >= 0.15 for wait in waits(instance, job["id"]))


def test_discard_is_the_end(instance: Instance) -> None:
    """Dead at once, with the reason."""
    job = instance.ended(instance.spool("discard"))
    assert (job["state"], outcomes(job), job["error"]) == ("dead", ["discarded"], "nobody wants it")


def test_a_task_past_its_time_is_told(instance: Instance) -> None:
    """TimeLimitExceeded is raised inside it; it may clean up."""
    job = instance.ended(instance.spool("sleep_too_long"))
    assert (job["state"], outcomes(job)) == ("dead", ["timed_out"] * 2)
    assert len(instance.notes("told_of_the_time", job=job["id"])) == 2


def test_a_task_that_does_not_heed_its_time_is_killed(instance: Instance) -> None:
    """`grace` seconds later its process ends, and only its process: both spoolers are the same as before."""
    before = instance.processes().spoolers
    job = instance.ended(instance.spool("ignore_the_time"))
    assert (job["state"], outcomes(job)) == ("dead", ["timed_out"] * 2)
    assert {attempt["signal"] for attempt in job["history"]} == {signal.SIGKILL}
    assert len({note["pid"] for note in instance.notes("began", job=job["id"])}) == 2
    assert instance.processes().spoolers == before


@pytest.mark.parametrize(
    ("how", "error", "exit_code", "number"),
    [
        ("exit", "its process ended with exit code 7", 7, None),
        ("kill", "its process was killed by SIGKILL", None, signal.SIGKILL),
        ("segfault", "its process was killed by SIGSEGV", None, signal.SIGSEGV),
    ],
)
def test_a_task_that_kills_its_process_cannot_loop(
    instance: Instance, how: str, error: str, exit_code: int | None, number: int | None
) -> None:
    """Charged before it was called: dead after max_attempts, the cause told; bare uWSGI starts it again for ever."""
    before = instance.processes().spoolers
    job = instance.ended(instance.spool("die", how=how))
    assert (job["state"], outcomes(job)) == ("dead", ["interrupted"] * 2)
    assert [(each["error"], each["exit_code"], each["signal"]) for each in job["history"]] == [
        (error, exit_code, number)
    ] * 2
    assert job["error"] == f"2 of 2 attempts spent: {error}"
    assert len(instance.notes("tried", job=job["id"])) == 2
    assert instance.processes().spoolers == before


def test_a_task_that_closes_every_descriptor_harms_only_itself(instance: Instance) -> None:
    """The spooler's lock on its ticket and the keeper's socket are in another process."""
    before = instance.processes().spoolers
    job = instance.spool("close_everything")
    instance.until(lambda: [each for each in instance.job(job)["history"] if each["ended_at"]])
    assert instance.ended(instance.spool("add", a=1, b=1))["state"] == "succeeded"
    assert instance.processes().spoolers == before


# ── output ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_output_is_kept_in_order_and_passed_on(instance: Instance) -> None:
    """print, stderr, logging, a subprocess and the traceback: with the job, and in the server's log line by line."""
    job = instance.ended(instance.spool("print_in_many_ways"))
    kept = instance.output(job["id"]).splitlines()
    assert [line.split()[0] for line in kept[:2]] == ["one", "two"]
    assert kept[2:5] == ["WARNING house: three from logging", "four from a subprocess", "five from its stderr"]
    mark = f"[print_in_many_ways {job['id']}] "
    echoed = re.findall(rf"^{re.escape(mark)}(.*)$", instance.log.read_text(), re.MULTILINE)
    assert echoed == kept


def test_each_attempt_keeps_its_own_output(instance: Instance) -> None:
    """And the traceback stands in it."""
    job = instance.ended(instance.spool("fail", times=1))
    assert "ValueError: failed 1" in instance.output(job["id"], 0)
    assert instance.output(job["id"], 1) == ""


def test_very_much_output_is_cut_and_told(instance: Instance) -> None:
    """A mebibyte is kept; the rest is counted, and the task is not held up."""
    job = instance.ended(instance.spool("flood", size=3 << 20))
    assert job["state"] == "succeeded"
    attempt = job["history"][0]
    assert (attempt["output_bytes"], attempt["output_cut"]) == (3 << 20, True)
