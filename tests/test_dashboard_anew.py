"""Edit and run anew: a new job, linked to the old one, which stays as it is; and how many match."""

from __future__ import annotations

import html
import json
import re

import pytest

from tests.visitors import Visited, audit, deploy, visited
from webspool import task
from webspool.ledger import reading, searching
from webspool.task import registry

__all__ = ["visited"]


@task
def report(month: int) -> None: ...


registry.tasks.pop("report")


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tasks that the worker's code has."""
    monkeypatch.setattr(registry, "tasks", {each.name: each for each in (deploy, audit, report)})


def edited(page: str) -> tuple[str, dict[str, str]]:
    """What stands in the field, and the form's word against being sent twice."""
    text = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)
    once = re.search(r'name="once" value="(j_\w{32})"', page)
    assert text is not None
    assert once is not None
    return html.unescape(text[1]), {"once": once[1]}


def test_arguments_are_edited_into_a_new_job(visited: Visited) -> None:
    """Both tell of each other; the form sent twice is one job, and the action is kept."""
    old = visited.spool("report", month=13)
    visitor = visited.operator()
    assert f'href="/dashboard/jobs/{old}/anew"' in visitor.page(f"/jobs/{old}")
    text, form = edited(visitor.page(f"/jobs/{old}/anew"))
    assert json.loads(text) == {"month": 13}
    for _ in range(2):
        answer = visitor.post(f"/jobs/{old}/anew", form | {"text": '{"month": 12}'})
        assert answer.location.startswith(f"/dashboard/jobs/{form['once']}?")
    new = reading.job(visited.config, form["once"])
    assert (new["arguments"], new["parent"], new["state"]) == ({"month": 12}, old, "blocked")
    assert reading.job(visited.config, old)["arguments"] == {"month": 13}
    assert [each["id"] for each in reading.copies(visited.config, old)] == [new["id"]]
    assert f'href="/dashboard/jobs/{old}"' in visitor.page(f"/jobs/{new['id']}")
    told = json.loads(visited.query("SELECT arguments FROM action WHERE verb = 'run'")[0][0])
    assert (told["task"], told["parent"], told["actor"]) == ("report", old, "dashboard:operator")


def test_arguments_that_do_not_fit_are_told_and_stay_in_the_field(visited: Visited) -> None:
    """No job is made."""
    old = visited.spool("report", month=13)
    visitor = visited.operator()
    for text in ("", "{", "[]", '{"month": "May"}', '{"year": 1}'):
        answer = visitor.post(f"/jobs/{old}/anew", {"text": text})
        assert (answer.status_code, 'aria-invalid="true"' in answer.text) == (400, True)
        assert edited(answer.text)[0] == text
    assert len(reading.jobs(visited.config, reading.Filters())) == 1


def test_a_payload_is_edited_into_a_delivery_of_its_own(visited: Visited) -> None:
    """Of the same source and type; only this job's task starts, and the old delivery stays as it came."""
    delivery = visited.deliver("deploy", "audit", body='{"after":"가"}'.encode())
    old = reading.delivery(visited.config, delivery)["jobs"][0]["id"]
    visitor = visited.operator()
    text, form = edited(visitor.page(f"/jobs/{old}/anew"))
    assert text == '{\n  "after": "가"\n}'
    visitor.post(f"/jobs/{old}/anew", form | {"text": text.replace("가", "나").replace("\n", "\r\n")})
    new = reading.job(visited.config, form["once"])
    made = reading.delivery(visited.config, new["delivery"])
    assert (made["source"], made["type"], made["parent"]) == ("github", "push", delivery)
    assert made["body"] == '{\n  "after": "나"\n}'.encode()
    assert [each["task"] for each in made["jobs"]] == ["deploy"]
    assert new["parent"] == old
    assert reading.delivery(visited.config, delivery)["body"] == '{"after":"가"}'.encode()


def test_a_payload_that_is_no_text_is_not_edited(visited: Visited) -> None:
    """It can be replayed as it is."""
    visitor = visited.operator()
    no_text = "The payload is no text."
    for body, told in ((b"\xff", no_text), (b"a\0b", no_text), (b"1" * (600 << 10), "The payload is too large")):
        delivery = visited.deliver("deploy", body=body)
        job = reading.delivery(visited.config, delivery)["jobs"][0]["id"]
        assert told in visitor.told(visitor.get(f"/jobs/{job}/anew"))


def test_what_no_field_can_hold_is_escaped_and_comes_back(visited: Visited) -> None:
    """Half letters, as uWSGI's bytes may have, and what turns the direction of writing."""
    odd = "\udcff \u202e \x07 가"
    old = visited.spool("gone", a=odd)
    visitor = visited.operator()
    text, form = edited(visitor.page(f"/jobs/{old}/anew"))
    assert json.loads(text) == {"a": odd}
    visitor.post(f"/jobs/{old}/anew", form | {"text": text})
    assert reading.job(visited.config, form["once"])["arguments"] == {"a": odd}


def test_a_task_that_the_code_no_longer_has_keeps_its_way_of_calling(visited: Visited) -> None:
    """The new job waits for it as the old one does."""
    old = visited.spool("gone", a=1)
    visitor = visited.operator()
    _, form = edited(visitor.page(f"/jobs/{old}/anew"))
    visitor.post(f"/jobs/{old}/anew", form | {"text": '{"a": 2}'})
    new = reading.job(visited.config, form["once"])
    assert (new["arguments"], new["calling"], new["state"]) == ({"a": 2}, "keywords", "blocked")


def test_how_many_match_is_told_before_all_are_chosen(visited: Visited, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only those of the page; of very many, that there are more."""
    for number in range(7):
        visited.spool("deploy" if number % 2 else "audit", number=number)
    visitor = visited.operator()
    assert "all 7 that match" in visitor.page("/jobs?limit=3")
    assert "all 3 that match" in visitor.page("/jobs?task=deploy&limit=2")
    assert "all 7 that match" in visitor.page("/jobs?state=queued&limit=3")
    assert "all that match" in visitor.page("/jobs?text=number&limit=3")
    monkeypatch.setattr(searching, "COUNTED_AT_MOST", 5)
    assert "all 5+ that match" in visitor.page("/jobs?limit=3")
