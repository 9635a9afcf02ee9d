"""What users' own tests need: jobs that run when told, a clock that stands still, signed webhooks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, current_app

import webspool
from webspool import Discard, Retry, Source, Webspool, task
from webspool.engines.inline import InlineEngine
from webspool.ledger import reading
from webspool.task import registry
from webspool.testing import inline, signed_request

BODIES: list[bytes] = []


class Broken(Exception):
    """What a task of these tests raises."""


@task(name="testing.deploy")
def deploy(delivery):
    BODIES.append(delivery.body)
    print("deploying", delivery.json["after"])
    return delivery.event_type


@task(name="testing.breaks", max_attempts=2, first_wait=60, jitter=0)
def breaks():
    raise Broken("as ever")


@task(name="testing.asks")
def asks(why):
    raise Retry(after=30) if why == "retry" else Discard("no use")


@task(name="testing.where")
def where():
    return [os.getcwd(), current_app.name]


@task(name="testing.fans_out")
def fans_out(number):
    return [where.spool().id for _ in range(number)]


@task(name="testing.for_ever")
def for_ever():
    raise Retry(after=0, charge=False)


@task(name="testing.ages", max_age=100, first_wait=60, jitter=0)
def ages():
    raise Broken("older each time")


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setenv("WEBSPOOL_INSTANCE", str(tmp_path))
    monkeypatch.setenv("GITHUB_SECRET", "the-secret")
    before = registry.instance
    made = Flask("shop")
    Webspool(made).add(Source("github", verify="github", secrets=["env:GITHUB_SECRET"], on={"push": deploy}))
    yield made
    registry.bind(before)


@pytest.fixture
def jobs(app: Flask) -> Iterator[InlineEngine]:
    with inline(app) as engine:
        yield engine


def test_a_signed_webhook_is_accepted_and_runs_when_told(app: Flask, jobs: InlineEngine) -> None:
    """What the task did is told: outcome, result and output."""
    reply = app.test_client().open(**signed_request("github", {"after": "abc"}, event="push"))
    assert reply.status_code == 202
    (ran,) = jobs.run()
    assert (ran.job, ran.task, ran.number) == (reply.json["jobs"][0], "testing.deploy", 1)
    assert (ran.outcome, ran.state, ran.result, ran.output) == ("succeeded", "succeeded", "push", "deploying abc\n")
    assert BODIES.pop() == b'{"after": "abc"}'
    assert jobs.run() == []


def test_a_forged_webhook_is_refused(app: Flask, jobs: InlineEngine) -> None:
    """Another secret signs a forgery; the refusal is in the ledger, and nothing runs."""
    reply = app.test_client().open(**signed_request("github", "{}", event="push", secret="another"))
    assert (reply.status_code, reply.json["cause"]) == (401, "signature_invalid")
    assert jobs.run() == []
    config = app.extensions["webspool"].config
    assert [each["cause"] for each in reading.refusals(config, reading.Filters())] == ["signature_invalid"]


def test_an_event_id_makes_duplicates(app: Flask, jobs: InlineEngine) -> None:
    """Without one each request is an event of its own."""
    for event_id, status in (("one", 202), ("one", 200), ("two", 202)):
        given = signed_request("github", {"after": "x"}, event="push", event_id=event_id)
        assert app.test_client().open(**given).status_code == status
    assert len(jobs.run()) == 2


def test_an_exception_is_an_outcome_and_its_retry_waits_for_the_clock(jobs: InlineEngine) -> None:
    """No wait passes by itself, none has to be waited for."""
    job = breaks.spool()
    (first,) = jobs.run()
    assert (first.outcome, first.state, first.error) == ("failed", "scheduled", "Broken: as ever")
    assert "raise Broken" in (first.traceback or "")
    jobs.advance(59)
    assert jobs.run() == []
    jobs.advance(1)
    (second,) = jobs.run()
    assert (second.number, second.state, job.state) == (2, "dead", "dead")


def test_raise_errors_raises_what_the_task_raised(jobs: InlineEngine) -> None:
    """After its attempt is recorded; Retry and Discard are no errors."""
    job = breaks.spool()
    with pytest.raises(Broken, match="as ever"):
        jobs.run(raise_errors=True)
    assert job.state == "scheduled"
    asks.spool(why="retry"), asks.spool(why="discard")
    assert [ran.outcome for ran in jobs.run(raise_errors=True)] == ["snoozed", "discarded"]


def test_a_delay_is_kept_by_the_frozen_clock(jobs: InlineEngine) -> None:
    """Not begun before its time, begun at its time."""
    job = where.spool(delay=3600)
    assert (job.state, jobs.run()) == ("scheduled", [])
    jobs.advance(3599.9)
    assert jobs.run() == []
    jobs.advance(0.1)
    assert [ran.state for ran in jobs.run()] == ["succeeded"]


def test_a_job_ages_by_the_frozen_clock(jobs: InlineEngine) -> None:
    """`max_age` is reached without waiting."""
    ages.spool()
    assert jobs.run()[0].state == "scheduled"
    jobs.advance(60)
    assert jobs.run()[0].state == "dead"


def test_a_task_runs_in_the_app_and_in_the_instance_directory(tmp_path: Path, jobs: InlineEngine) -> None:
    """The test stays where it was."""
    before = Path.cwd()
    where.spool()
    assert jobs.run()[0].result == [str(tmp_path), "shop"]
    assert Path.cwd() == before


def test_jobs_that_tasks_spool_run_too(jobs: InlineEngine) -> None:
    """Until nothing is due."""
    fans_out.spool(number=2)
    assert [ran.task for ran in jobs.run()] == ["testing.fans_out", "testing.where", "testing.where"]


def test_a_job_that_is_always_due_again_is_told(jobs: InlineEngine) -> None:
    """Not run for ever."""
    for_ever.spool()
    with pytest.raises(RuntimeError, match=r"1000 attempts.*testing\.for_ever"):
        jobs.run()


def test_a_task_defined_later_is_known(jobs: InlineEngine) -> None:
    """A test may define its own."""

    @task(name="testing.later")
    def later():
        return 1

    try:
        assert later.spool().state == "queued"
        assert jobs.run()[0].result == 1
    finally:
        del registry.tasks["testing.later"]


def test_nothing_is_left_behind(app: Flask, tmp_path: Path) -> None:
    """Ledger, bodies and output are thrown away; the app is what it was, clock included."""
    instance = app.extensions["webspool"]
    before = instance.config, instance.engine, instance.client, registry.clock
    with inline(app) as engine:
        scratch = instance.config.var
        body = {"after": "x" * 100_000}
        assert app.test_client().open(**signed_request("github", body, event="push")).status_code == 202
        assert len(engine.run()[0].output) > 100_000
    assert (instance.config, instance.engine, instance.client, registry.clock) == before
    assert list(tmp_path.iterdir()) == []
    assert not scratch.exists()


def test_a_result_can_be_read_by_its_job(jobs: InlineEngine) -> None:
    """`webspool.job(id)` as anywhere."""
    spooled = where.spool()
    jobs.run()
    assert webspool.job(spooled.id).result == spooled.result != None  # noqa: E711


def test_the_environment_selects_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WEBSPOOL_ENGINE=inline: nothing runs by itself, and `engine.run()` is there."""
    monkeypatch.setenv("WEBSPOOL_INSTANCE", str(tmp_path))
    monkeypatch.setenv("WEBSPOOL_ENGINE", "inline")
    before, clock = registry.instance, registry.clock
    try:
        hooks = Webspool(Flask("other"))
        job = where.spool()
        assert job.state == "queued"
        assert isinstance(hooks.engine, InlineEngine)
        assert hooks.engine.run()[0].job == job.id
        hooks.engine.close()
    finally:
        registry.bind(before)
        registry.clock = clock


PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "test-your-tasks.md"
REPORT = "\n\n@task\ndef report(month):\n    return month\n"


def test_the_page_about_it_works_as_it_stands(tmp_path: Path) -> None:
    """Its blocks are a conftest.py and a test file of a new instance."""
    for name in ("app.py", "tasks.py"):
        shutil.copy(Path(webspool.__path__[0]) / "template" / name, tmp_path)
    with open(tmp_path / "tasks.py", "a") as tasks:
        tasks.write(REPORT)
    conftest, *tests = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_page.py").write_text("\n\n".join(["import tasks", *tests]))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("WEBSPOOL_", "PYTEST_"))}
    run = subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)],
        cwd=tmp_path,
        env=clean | {"GITHUB_SECRET": "for-tests"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "4 passed" in run.stdout, run.stdout + run.stderr
    assert not (tmp_path / "var").exists()
