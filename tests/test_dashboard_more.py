"""The dashboard's page of failures: grouped, and acted on by the group."""

from __future__ import annotations

import html
import re
from collections import Counter

from werkzeug.test import TestResponse

from tests.furnished import failed
from tests.visitors import Visited, visited
from webspool.ledger import failing
from webspool.ledger.apply import apply
from webspool.ledger.database import Database
from webspool.ledger.operations import Operation, ending
from webspool.ledger.reading import Filters
from webspool.policy import Policy, Standing, judge
from webspool.records import Ending, Outcome, new_id

__all__ = ["visited"]

TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/tasks.py", line {line}, in {function}
    requests.post(url)
  File "/srv/shop/.venv/lib/python3.11/site-packages/requests/api.py", line 59, in request
    raise ConnectionError
{error}
"""


def dead(visited: Visited, error: str, line: int = 12, function: str = "charge") -> str:
    """A job of deploy that died there."""
    visited.spool("deploy")
    traceback = TRACEBACK.format(line=line, function=function, error=error)
    return visited.run(Outcome(Ending.FAILED, error=error, traceback=traceback), Policy(max_attempts=1))


def many_dead(visited: Visited, errors: list[str]) -> list[str]:
    """A job for each error, all in one transaction; returns their ids."""
    database, jobs = Database(visited.config.ledger_path), []
    with database.transaction(flush=False) as tx:
        for error in errors:
            given = {"task": "deploy", "calling": "keywords", "arguments": "{}"}
            jobs.append(apply(tx, Operation(new_id("j"), "spool", given)).values["job"])
            claim = {"attempt": new_id("a"), "process": str(visited.me), "instance": str(visited.me), "generation": 1}
            order = apply(tx, Operation(new_id("x"), "turn", {"end": None, "claim": claim})).values["order"]
            verdict = judge(failed(error), Policy(max_attempts=1), Standing(order["attempts"], 0))
            ended = ending(order["attempt"], failed(error), verdict) | {"output_bytes": 0}
            apply(tx, Operation(new_id("x"), "turn", {"end": ended, "claim": None}))
    database.close()
    return jobs


def key_of(page: str, message: str) -> str:
    """The key of the group whose row shows that message."""
    rows = re.findall(r'<tr data-row id="(\w{16})">(.*?)</tr>', html.unescape(page), re.DOTALL)
    (key,) = [key for key, row in rows if message in row]
    return str(key)


def confirmed(asked: TestResponse) -> dict[str, object]:
    """What the page that asks sends when it is agreed to."""
    fields = dict(re.findall(r'name="(verb|sure|back)" value="([^"]*)"', asked.text))
    return fields | {"id": re.findall(r'name="id" value="(j_\w+)"', asked.text)}


def test_failures_are_grouped_by_task_exception_and_place(visited: Visited) -> None:
    """What varies between them, and other words at one place, do not part them. Another place, error or task does."""
    dead(visited, "ConnectionError: no answer from 192.0.2.1 after 3 s")
    dead(visited, "ConnectionError: no answer from 192.0.2.77 after 9 s")
    newest = dead(visited, "ConnectionError: reset by peer")
    dead(visited, "ConnectionError: no refund", line=99, function="refund")
    dead(visited, "TimeoutError: no answer")
    visited.dead("ConnectionError: <b>refused</b>", task="audit")
    found = failing.groups(visited.config, Filters())
    assert [(each.jobs, each.task, each.exception) for each in found[:1]] == [(3, "deploy", "ConnectionError")]
    assert Counter((each.task, each.exception, each.place) for each in found) == {
        ("deploy", "ConnectionError", "tasks.py:12 charge"): 1,
        ("deploy", "ConnectionError", "tasks.py:99 refund"): 1,
        ("deploy", "TimeoutError", "tasks.py:12 charge"): 1,
        ("audit", "ConnectionError", None): 1,
    }
    first = found[0].as_dict()
    assert (first["example"], first["messages"], first["dead"], first["retrying"]) == (newest, 3, 3, 0)
    assert first["first_at"] < first["last_at"]
    page = visited.operator().page("/failures")
    assert page.count("<tr data-row") == 4
    assert "ConnectionError: &lt;b&gt;refused" in page
    assert "3 different messages" in page


def test_a_group_is_retried_once_its_count_is_confirmed_and_no_other(visited: Visited) -> None:
    """Errors that only contain the group's are not of it."""
    same = [visited.dead("ValueError: no such branch") for _ in range(2)]
    others = [visited.dead("ValueError: no such branch, nor tag"), visited.dead("OSError: full")]
    visitor = visited.operator()
    page = visitor.page("/failures")
    form = {"key": key_of(page, ">ValueError: no such branch<"), "verb": "retry", "back": "/dashboard/failures"}
    asked = visitor.post("/failures/act", form)
    assert "Retry 2 jobs?" in asked.text
    assert [visited.state(job) for job in same] == ["dead", "dead"]
    assert visitor.told(visitor.post("/jobs/act", confirmed(asked))) == "2 begin again."
    assert [visited.state(job) for job in same + others] == ["queued", "queued", "dead", "dead"]


def test_those_that_try_again_are_discarded(visited: Visited) -> None:
    """A group holds the dead and the waiting; to discard is for the waiting."""
    job = visited.spool("deploy")
    visited.run(failed("ValueError: no"))
    visited.dead("ValueError: no")
    visitor = visited.operator()
    asked = visitor.post(
        "/failures/act", {"key": key_of(visitor.page("/failures"), "ValueError: no"), "verb": "discard"}
    )
    assert "Declare 1 jobs dead?" in asked.text
    assert confirmed(asked)["id"] == [job]


def test_a_thousand_failures_are_retried_by_one_form(visited: Visited) -> None:
    """Whatever their messages hold, each once, and none that failed otherwise."""
    jobs = many_dead(visited, [f"KeyError: 'order-{number}'" for number in range(1000)])
    other = visited.dead("OSError: full")
    visitor = visited.operator()
    page = visitor.page("/failures")
    assert page.count("<tr data-row") == 2
    assert "1,000 different messages" in page
    asked = visitor.post("/failures/act", {"key": key_of(page, "KeyError"), "verb": "retry"})
    assert "Retry 1,000 jobs?" in asked.text
    assert visitor.told(visitor.post("/jobs/act", confirmed(asked))) == "1,000 begin again."
    assert dict(visited.query("SELECT state, count(*) FROM job GROUP BY state")) == {"queued": 1000, "dead": 1}
    assert visited.state(other) == "dead"
    assert len(jobs) == 1000


def test_a_group_that_is_gone_is_told(visited: Visited) -> None:
    """Somebody else was quicker."""
    visitor = visited.operator()
    answer = visitor.post("/failures/act", {"key": "0" * 16, "verb": "retry"})
    assert visitor.told(answer) == "Nothing fails like that any more."
    assert visitor.post("/failures/act", {"verb": "burn"}).status_code == 400


def test_an_error_of_any_kind_has_a_group(visited: Visited) -> None:
    """And is acted on as a whole."""
    errors = ["", " ", "x" * 5000, "a:b", "\\udcff'", "Error", "it did not end in time", "1: 2"]
    jobs = many_dead(visited, errors)
    visitor, found = visited.operator(), list[str]()
    for group in failing.groups(visited.config, Filters()):
        asked = visitor.post("/failures/act", {"key": group.key, "verb": "retry"})
        found += confirmed(asked)["id"]  # type: ignore[misc]
    assert sorted(found) == sorted(jobs)


def test_a_filter_of_failures_narrows_what_is_acted_on(visited: Visited) -> None:
    """One that cannot be read is shown back, and nothing is listed."""
    visited.dead("ValueError: no")
    visitor = visited.operator()
    page = visitor.get("/failures?since=nonsense")
    assert (page.status_code, 'value="nonsense"' in page.text, "<tr data-row" in page.text) == (400, True, False)
    key = key_of(visitor.page("/failures?since=1h&task=deploy"), "ValueError: no")
    assert len(confirmed(visitor.post("/failures/act", {"key": key, "verb": "retry", "since": "1h"}))["id"]) == 1  # type: ignore[arg-type]
    gone = visitor.post("/failures/act", {"key": key, "verb": "retry", "task": "audit"})
    assert visitor.told(gone) == "Nothing fails like that any more."
