"""The dashboard's Run page: the form fits the task, what does not fit is told before anything is stored."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

import pytest

from tests.visitors import Visited, audit, deploy, visited
from webspool import task
from webspool.ledger import reading
from webspool.passwords import hashed
from webspool.task import registry

__all__ = ["visited"]


@task
def report(
    month: int, title: str = "sales", kind: Literal["pdf", "html"] = "pdf", mail: bool = False, *, to: Any = None
) -> None:
    """A report of one month.

    More of it.
    """


registry.tasks.pop("report")


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tasks that the worker's code has."""
    monkeypatch.setattr(registry, "tasks", {each.name: each for each in (deploy, audit, report)})


def counted(visited: Visited) -> int:
    return len(visited.query("SELECT 1 FROM job"))


def test_tasks_are_listed_with_what_they_take(visited: Visited) -> None:
    """Each leads to its form."""
    page = visited.operator().page("/run")
    assert re.findall(r'data-open href="/dashboard/run\?task=(\w+)"', page) == ["audit", "deploy", "report"]
    assert "month, title, kind, mail, to" in page
    assert "A report of one month.</td>" in page


def test_the_form_follows_the_signature(visited: Visited) -> None:
    """A field an argument, of its kind, with its default; what has none is needed."""
    page = visited.operator().page("/run?task=report&arg.month=7")
    assert re.search(r'name="arg\.month" value="7"[^>]*inputmode="numeric"[^>]* required', page)
    assert re.search(r'name="arg\.title" value="" placeholder="sales"[^>]*spellcheck="false">', page)
    assert re.findall(r'<option value="(\w*)"', page) == ["", "pdf", "html", "", "true", "false"]
    assert visited.operator().get("/run?task=nothing").status_code == 404


def test_a_run_is_one_job_and_is_kept_with_who_did_it(visited: Visited) -> None:
    """A browser goes to the job's page; the same form sent twice is the same job."""
    visitor = visited.operator()
    once = re.search(r'name="once" value="(j_\w{32})"', visitor.page("/run?task=report"))
    assert once is not None
    form = {"task": "report", "once": once[1], "arg.month": "11", "arg.mail": "true", "delay": "10m", "priority": "5"}
    for _ in range(2):
        assert visitor.post("/run", form).headers["Location"] == f"/dashboard/jobs/{once[1]}"
    job = reading.job(visited.config, once[1])
    assert job["arguments"] == {"month": 11, "mail": True}
    assert (job["state"], job["priority"], counted(visited)) == ("scheduled", 5, 1)
    told = [json.loads(row[0]) for row in visited.query("SELECT arguments FROM action WHERE verb = 'run'")]
    assert told[0] == {"verb": "run", "actor": "dashboard:operator", "remote": "127.0.0.1", "task": "report"}


def test_a_script_is_told_where_the_output_comes(visited: Visited) -> None:
    """As JSON, with a fresh word for the next run."""
    answer = visited.operator().post(
        "/run", {"task": "report", "json": '{"month": 3}'}, headers={"Accept": "application/json"}
    )
    told = answer.json
    assert told["output"] == f"/dashboard/api/jobs/{told['job']}/output"
    assert told["once"] != told["job"]
    assert reading.job(visited.config, told["job"])["arguments"] == {"month": 3}


UNFIT: list[tuple[dict[str, str], dict[str, str]]] = [
    ({}, {"month": "it is needed"}),
    ({"arg.month": "May"}, {"month": "'May' is no whole number"}),
    ({"arg.month": "5", "arg.kind": "doc"}, {"kind": "'doc' is none of pdf, html"}),
    ({"arg.month": "5", "arg.mail": "perhaps"}, {"mail": "'perhaps' is neither yes nor no"}),
    ({"arg.month": "5", "at": "soon"}, {"at": "'soon' is no time; write 2026-01-31T12:00:00Z"}),
    ({"arg.month": "5", "delay": "soon"}, {"delay": "'soon' is no length of time; write 90, 10m, 2h, 1d"}),
    ({"arg.month": "5", "delay": "5", "at": "2026-01-31"}, {"delay": "give at or delay, not both"}),
    ({"arg.month": "5", "delay": "999999d"}, {"delay": "'999999d' is longer than a hundred years"}),
    ({"arg.month": "5", "priority": "high"}, {"priority": "'high' is no whole number"}),
    ({"arg.month": "5", "json": "{}"}, {"json": "give the fields or the JSON, not both"}),
    ({"json": '{"month": "5"}'}, {"json": "month: '5' is no whole number"}),
    ({"json": '{"month": 5, "year": 1}'}, {"json": "got an unexpected keyword argument 'year'"}),
    ({"json": "[5]"}, {"json": "they are no JSON object: {...}"}),
]


def test_arguments_that_do_not_fit_are_told_and_nothing_is_stored(visited: Visited) -> None:
    """Beside their field; the form stays filled."""
    visitor = visited.operator()
    for form, fault in UNFIT:
        told = visitor.post("/run", form | {"task": "report"}, headers={"Accept": "application/json"})
        assert (told.status_code, told.json) == (400, {"faults": fault})
        page = visitor.post("/run", form | {"task": "report"})
        assert (page.status_code, 'aria-invalid="true"' in page.text) == (400, True), form
    assert counted(visited) == 0


def test_a_task_that_webhooks_start_is_run_with_a_payload(visited: Visited) -> None:
    """The payload becomes a delivery that says who made it; the source's other tasks do not start."""
    form = {"task": "deploy", "payload": '{"after": "abc"}', "type": "push", "once": f"j_{'0' * 31}1"}
    location = visited.operator().post("/run", form).headers["Location"]
    job = reading.job(visited.config, location.rpartition("/")[2])
    delivery = reading.delivery(visited.config, job["delivery"])
    assert (delivery["source"], delivery["type"], delivery["body"]) == ("github", "push", b'{"after": "abc"}')
    assert delivery["remote"] == "dashboard:operator"
    assert [each["task"] for each in delivery["jobs"]] == ["deploy"]


def test_a_viewer_may_look_and_not_run(visited: Visited) -> None:
    """The button is off, and a form of theirs is refused."""
    visited.call("put_user", {"name": "anna", "role": "viewer", "password": hashed("of-anna"), "actor": "t"})
    visitor = visited.visitor()
    assert visitor.log_in("of-anna", "anna").status_code == 303
    assert '<button class="primary" disabled' in visitor.page("/run?task=report")
    assert visitor.post("/run", {"task": "report", "arg.month": "5"}).status_code == 403
    assert counted(visited) == 0
