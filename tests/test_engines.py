"""One set of laws that every engine keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import needs_uwsgi
from tests.engine_houses import HOUSES, act, code
from tests.instances import Instance

UNKNOWN = "\n\n@task\ndef newcomer():\n    return 'here now'\n"


@pytest.fixture(scope="module", params=list(HOUSES))
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "spool":
        needs_uwsgi()
    return str(request.param)


@pytest.fixture(scope="module")
def house(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """The instance under that engine, for all tests."""
    with HOUSES[engine](tmp_path_factory.mktemp(engine), code()) as running:
        yield running


@pytest.fixture
def own_house(engine: str, tmp_path: Any) -> Iterator[Instance]:
    """One that a test stops and starts."""
    made = HOUSES[engine](tmp_path, code())
    yield made
    made.end()


def outcomes(job: dict[str, Any]) -> list[str]:
    return [attempt["outcome"] for attempt in job["history"]]


def names(house: Instance, jobs: list[str], note: str = "begun") -> list[str]:
    return [told["who"] for told in house.notes(note) if told["job"] in jobs]


# ── endings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_webhook_becomes_a_succeeded_job(house: Instance) -> None:
    """202 first, then each task that the event starts sees its body; both are jobs of their own."""
    reply = house.webhook(b'{"ref": "main"}', event="push")
    assert (reply.status, len(reply.json["jobs"])) == (202, 2)
    assert [house.ended(job)["state"] for job in reply.json["jobs"]] == ["succeeded", "succeeded"]
    assert house.noted("seen", job=reply.json["jobs"][0])["body"] == '{"ref": "main"}'
    assert house.noted("audited", job=reply.json["jobs"][1])["body"] == '{"ref": "main"}'


def test_the_same_event_is_accepted_once(house: Instance) -> None:
    """The second copy is answered with the first delivery, and starts nothing."""
    first = house.webhook(event="ping", id="the-same")
    house.ended(first.json["jobs"][0])
    second = house.webhook(event="ping", id="the-same")
    assert (second.status, second.json["status"]) == (200, "duplicate")
    assert second.json["delivery"] == first.json["delivery"]
    assert len(house.notes("audited", job=first.json["jobs"][0])) == 1


def test_a_result_is_kept(house: Instance) -> None:
    """What the task returned is the job's result."""
    job = house.ended(house.spool("add", a=2, b=3))
    assert (job["state"], job["result"], job["attempts"]) == ("succeeded", {"sum": 5}, 1)


def test_a_failing_job_is_tried_until_its_attempts_are_spent(house: Instance) -> None:
    """Dead after the third attempt, with the error; each wait was at least as long as the backoff says."""
    job = house.ended(house.spool("fail"))
    assert (job["state"], outcomes(job)) == ("dead", ["failed"] * 3)
    assert "ValueError: 나의 비밀 방" in job["error"]
    assert all("ValueError: 나의 비밀 방" in attempt["traceback"] for attempt in job["history"])


def test_a_failure_that_passes_is_no_harm(house: Instance) -> None:
    """The second attempt succeeds."""
    job = house.ended(house.spool("fail_once"))
    assert (job["state"], job["result"], outcomes(job)) == ("succeeded", "done", ["failed", "succeeded"])


def test_spool_ok_and_spool_retry_mean_what_they_say(house: Instance) -> None:
    """The first succeeds without a result, the second fails."""
    ok, retried = house.spool("fine"), house.spool("ask_again")
    assert (house.ended(ok)["state"], house.ended(ok)["result"]) == ("succeeded", None)
    assert (house.ended(retried)["state"], outcomes(house.job(retried))) == ("dead", ["failed", "failed"])


def test_retry_is_charged_unless_it_says_not(house: Instance) -> None:
    """Of two attempts three charged rounds are too many, three uncharged are not."""
    charged, free = house.spool("again", rounds=3, charge=True), house.spool("again", rounds=3, charge=False)
    assert house.ended(charged)["state"] == "dead"
    assert outcomes(house.job(charged)) == ["snoozed", "snoozed"]
    assert (house.ended(free)["state"], house.job(free)["result"]) == ("succeeded", 4)
    assert house.job(free)["attempts"] == 1


def test_a_discarded_job_is_dead_at_once(house: Instance) -> None:
    """By Discard or by a type in discard_on."""
    for task, error in (("give_up", "no use"), ("key_error", "KeyError: 'x'")):
        job = house.ended(house.spool(task))
        assert (job["state"], outcomes(job)) == ("dead", ["discarded"])
        assert error in job["error"]


# ── when, and in which order ────────────────────────────────────────────────────────────────────────────────────────


def test_a_delayed_job_is_not_begun_before_its_time(house: Instance) -> None:
    """It is scheduled first; its attempt started when it was due, or later."""
    job = house.spool("add", a=1, b=1, _delay=0.4)
    waiting = house.job(job)
    assert waiting["state"] == "scheduled"
    assert house.ended(job)["history"][0]["started_at"] >= waiting["due_at"]


def test_jobs_begin_in_the_order_of_acceptance(house: Instance) -> None:
    """One at a time, never two at once."""
    jobs = [house.spool("alone", who=f"o{number}") for number in range(12)]
    for job in jobs:
        assert house.ended(job)["state"] == "succeeded"
    told = [(each["note"], each["who"]) for each in house.notes() if each["job"] in jobs]
    assert told == [(note, f"o{number}") for number in range(12) for note in ("begun", "ended")]


def test_a_higher_priority_goes_first(house: Instance) -> None:
    """Of the jobs that are due together."""
    first = house.spool("alone", who="p-first", gate=house_gate(house))
    if house_runs_by_itself(house):
        house.noted("begun", who="p-first")
    low = [house.spool("alone", who=f"p-low{number}") for number in range(3)]
    high = house.spool("alone", who="p-high", _priority=5)
    house.let_go("priority")
    for job in (first, *low, high):
        house.ended(job)
    begun = names(house, [*low, high])
    assert begun == ["p-high", "p-low0", "p-low1", "p-low2"]


def house_runs_by_itself(house: Instance) -> bool:
    return getattr(house, "engine", "") != "inline"


def house_gate(house: Instance) -> str | None:
    return "priority" if house_runs_by_itself(house) else None


def test_jobs_of_one_key_never_overlap(house: Instance) -> None:
    """Whatever other keys do."""
    jobs = [house.spool("keyed", who=f"k{number}", _key="one") for number in range(6)]
    others = [house.spool("keyed", who="other") for _ in range(3)]
    for job in (*jobs, *others):
        assert house.ended(job)["state"] == "succeeded"
    told = [(each["note"], each["who"]) for each in house.notes() if each["job"] in jobs]
    assert told == [(note, f"k{number}") for number in range(6) for note in ("begun", "ended")]


# ── around a task ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_output_is_kept_in_true_lines(house: Instance) -> None:
    """stdout, stderr and logging in the order in which they were written."""
    job = house.spool("speak")
    house.ended(job)
    lines = house.output(job).splitlines()
    assert [line.rpartition("third")[1] or line for line in lines] == [
        "first",
        "second",
        "third",
        "fourth: 나의 비밀 방",
        "fifth without an end",
    ]


def test_a_traceback_is_part_of_the_output(house: Instance) -> None:
    """Its last line is the error."""
    job = house.spool("key_error")
    house.ended(job)
    assert house.output(job).endswith("KeyError: 'x'\n")


def test_a_task_runs_in_a_fresh_context_and_in_the_instance_directory(house: Instance) -> None:
    """Also after a task that went elsewhere."""
    house.ended(house.spool("wander"))
    for _ in range(4):
        job = house.ended(house.spool("where"))
        assert job["result"] == {"directory": str(house.directory), "app": "app", "fresh": True}


def test_a_waiting_job_is_cancelled(house: Instance) -> None:
    """It is never begun."""
    job = house.spool("add", a=1, b=1, _delay=3600)
    assert act(house, "cancel", job) == "done"
    assert (house.state(job), house.job(job)["history"]) == ("cancelled", [])


def test_a_dead_job_is_retried_by_an_operator(house: Instance) -> None:
    """A new round of attempts."""
    job = house.spool("ask_again")
    house.ended(job)
    assert act(house, "retry", job) == "done"
    house.until(lambda: house.state(job) == "dead" and len(house.job(job)["history"]) == 4)


# ── ends and starts ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_jobs_left_over_run_at_the_next_start(own_house: Instance) -> None:
    """Before any request."""
    own_house.start()
    jobs = [own_house.spool("add", a=number, b=1, _delay=0.5) for number in range(3)]
    own_house.end()
    own_house.start()
    assert [own_house.ended(job)["result"]["sum"] for job in jobs] == [1, 2, 3]


def test_a_task_that_is_unknown_waits_for_the_code_that_knows_it(own_house: Instance) -> None:
    """Blocked, not dead; it runs once the code is there."""
    tasks = own_house.directory / "tasks.py"
    known = tasks.read_text()
    tasks.write_text(known + UNKNOWN)
    own_house.start()
    job = own_house.spool("newcomer", _delay=0.5)
    own_house.end()
    tasks.write_text(known)
    own_house.start()
    own_house.until(lambda: own_house.state(job) == "blocked")
    own_house.end()
    tasks.write_text(known + UNKNOWN)
    own_house.start()
    assert own_house.ended(job)["result"] == "here now"
