"""The dashboard's pages that tell how things stand: scheduled, sources, tasks, processes, the audit log."""

from __future__ import annotations

import html
import json
import re
import time

import pytest

from tests.furnished import SUCCEEDED, failed
from tests.visitors import Visited, audit, deploy, visited
from webspool import Source
from webspool.alerts.conditions import Facts, conditions
from webspool.ledger import reading, surveys, tallies
from webspool.ledger.database import Database
from webspool.ledger.tallies import Tally
from webspool.policy import Policy
from webspool.records import new_id
from webspool.task import registry

__all__ = ["visited"]


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tasks that the worker's code has."""
    monkeypatch.setattr(registry, "tasks", {each.name: each for each in (deploy, audit)})


def rows(page: str) -> list[str]:
    return re.findall(r'<tr id="([jx]_\w+)"', page)


# ── scheduled ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_due_first_stands_first_page_by_page(visited: Visited) -> None:
    """Each once, in the order in which they will begin, whatever the order in which they came."""
    now = time.time()
    jobs = [visited.spool("deploy" if at % 2 else "audit", due_at=now + at * 100.0) for at in (5, 1, 4, 2, 3)]
    wanted = [jobs[place] for place in (1, 3, 4, 2, 0)]
    visitor, path, seen = visited.operator(), "/scheduled?limit=2", list[str]()
    while path:
        page = visitor.page(path)
        seen += rows(page)
        more = re.search(r'href="/dashboard([^"]+)" rel="next"', page)
        path = html.unescape(more[1]) + "&limit=2" if more else ""
    assert seen == wanted
    assert rows(visitor.page("/scheduled?task=audit")) == [wanted[1], wanted[3]]
    assert "5 jobs wait for their time" in visitor.page("/scheduled")
    for later in ("x:y", f"1:{'9' * 30}", "nan:1", ":"):
        assert visitor.get(f"/scheduled?later={later}").status_code == 400


def test_a_scheduled_job_is_begun_now_or_cancelled(visited: Visited) -> None:
    """By the forms of the jobs' own actions, and back to the page."""
    first, second = (visited.spool("deploy", due_at=time.time() + at) for at in (100, 200))
    visitor = visited.operator()
    back = {"back": "/dashboard/scheduled"}
    assert visitor.told(visitor.post("/jobs/act", {"verb": "retry", "id": first} | back)) == "1 begin again."
    assert visitor.post("/jobs/act", {"verb": "cancel", "id": second} | back).location.startswith(back["back"])
    assert (visited.state(first), visited.state(second)) == ("queued", "cancelled")


# ── sources ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_sources_tell_what_came_and_what_they_start(visited: Visited) -> None:
    """Those of the code and those of which there are deliveries."""
    visited.deliver("deploy")
    visited.deliver("deploy", source="gone")
    database, counts = Database(visited.config.ledger_path), tallies.Tallies()
    counts.add("source:github", "refused", 1)
    with database.transaction(flush=False) as tx:
        counts.flush(tx)
    database.close()
    page = visited.operator().page("/sources")
    assert re.findall(r'data-open href="[^"]*">(\w+)</a></h2>', page) == ["github", "gone"]
    assert "http://localhost/hooks/github" in page
    assert "not in the code" in page
    assert re.search(r"<code>push</code></dt><dd>deploy</dd>", page)
    found = {each["name"]: each for each in surveys.sources(visited.config, ["github", "gone", "never"])}
    assert [found[name]["accepted"] for name in found] == [1, 1, 0]
    assert (found["github"]["refused"], found["github"]["refusal_rate"]) == (1, 0.5)
    assert found["never"]["last"] is None
    hours = found["github"]["hours"]
    assert (len(hours), sum(each["accepted"] for each in hours[-2:])) == (24, 1)


def test_a_source_that_has_gone_silent_is_told(visited: Visited) -> None:
    """Ten times its usual pause, and an hour at least; as the alert has it."""
    for _ in range(20):
        visited.deliver()
    now = time.time()
    assert [each["silent"] for each in surveys.sources(visited.config, ["github"], now=now + 3600)] == [False]
    (late,) = surveys.sources(visited.config, ["github"], now=now + 4 * 86400)
    assert (late["silent"], late["usual_pause_seconds"]) == (True, 7 * 86400 / 20)


def test_a_source_is_paused_made_to_refuse_and_resumed(visited: Visited) -> None:
    """To refuse is confirmed first; each is kept with who did it."""
    visitor = visited.operator()
    pauses = "SELECT name FROM pause ORDER BY name"
    form = {"name": "source:github", "back": "/dashboard/sources"}
    assert visitor.told(visitor.post("/pause", form | {"verb": "pause"})) == "github is paused."
    asked = visitor.post("/pause", form | {"verb": "refuse"})
    assert (asked.status_code, "Take no webhooks of github?" in asked.text) == (200, True)
    assert visited.query(pauses) == [("source:github",)]
    assert (
        visitor.told(visitor.post("/pause", form | {"verb": "refuse", "sure": "1"})) == "github is paused and refuses."
    )
    assert "paused, refuses" in visitor.page("/sources")
    assert visitor.told(visitor.post("/pause", form | {"verb": "resume"})) == "github goes on."
    assert visited.query(pauses) == []
    assert visitor.told(visitor.post("/pause", form | {"verb": "resume"})) == "github: not paused."


def test_a_pause_of_nothing_is_refused(visited: Visited) -> None:
    """With what there is."""
    visitor = visited.operator()
    for verb, name in (("stop", "all"), ("pause", "source:"), ("refuse", "task:x"), ("", "")):
        assert visitor.post("/pause", {"verb": verb, "name": name}).status_code == 400


def test_everything_is_paused_once_it_is_confirmed(visited: Visited) -> None:
    """And says so where it can be undone."""
    visitor = visited.operator()
    assert "Pause everything?" in visitor.post("/pause", {"verb": "pause", "name": "all"}).text
    assert visited.query("SELECT name FROM pause") == []
    done = visitor.post("/pause", {"verb": "pause", "name": "all", "sure": "1", "back": "/dashboard/processes"})
    assert visitor.told(done) == "everything is paused."
    assert "Resume everything" in visitor.page("/processes")


def test_a_test_webhook_passes_the_receiver_and_says_who_sent_it(visited: Visited) -> None:
    """Signed with the source's own secret, so that it is accepted as its sender's would be."""
    visitor = visited.operator()
    assert "its tasks really run" in visitor.page("/sources/send?source=github")
    form = {"source": "github", "type": "push", "body": '{"after": "no hex"}'}
    answer = visitor.post("/sources/send", form)
    delivery = reading.delivery(visited.config, answer.location.split("?")[0].rpartition("/")[2])
    assert (delivery["remote"], delivery["type"], delivery["body"]) == (
        "dashboard:operator",
        "push",
        b'{"after": "no hex"}',
    )
    assert sorted(each["task"] for each in delivery["jobs"]) == ["audit", "deploy"]
    assert visitor.told(answer) == "The test webhook was accepted."
    refused = visitor.post("/sources/send", form | {"body": "{"})
    assert (refused.status_code, "unparsable_body" in refused.text, "no hex" in refused.text) == (400, True, False)
    told = [json.loads(row[0]) for row in visited.query("SELECT arguments FROM action WHERE verb = 'send' ORDER BY id")]
    assert [each["came_to"] for each in told] == ["accepted", "unparsable_body"]


def test_a_test_webhook_shows_no_secret(visited: Visited) -> None:
    """Also where the secret is a part of the address."""
    visited.hooks.sources["keyed"] = Source("keyed", path="/in/<key>", verify="key", secrets=["literal:k3y-of-it"])
    visitor = visited.operator()
    answer = visitor.post("/sources/send", {"source": "keyed", "type": "", "body": "a=1"})
    assert answer.status_code == 303, answer.text
    for path in (answer.location.removeprefix("/dashboard"), "/audit", "/deliveries", "/sources"):
        assert "k3y-of-it" not in visitor.page(path), path


def test_what_cannot_be_signed_is_told(visited: Visited) -> None:
    """A source that holds a public key only."""
    visited.hooks.sources["keyed"] = Source("keyed", verify="discord", secrets=["literal:" + "a" * 64])
    answer = visited.operator().post("/sources/send", {"source": "keyed", "body": "{}"})
    assert (answer.status_code, "public key" in html.unescape(answer.text)) == (400, True)
    assert visited.operator().get("/sources/send?source=nobody").status_code == 404


# ── tasks ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tasks_tell_their_policy_and_what_became_of_them(visited: Visited) -> None:
    """Attempts, failures, waits and run times of a day, what runs, what is paused."""
    for outcome in (SUCCEEDED, SUCCEEDED, failed(), failed()):
        visited.spool("deploy")
        visited.run(outcome, Policy(max_attempts=1))
    visited.spool("deploy")
    visited.begin()
    found = {each["name"]: each for each in surveys.tasks(visited.config)}
    told = found["deploy"]
    assert (told["ended"], told["failed"], told["failure_rate"], told["running"]) == (4, 2, 0.5, 1)
    assert told["ever"] == {"ended": 4, "failed": 2, "dead": 2}
    assert told["run_seconds"]["p50"] is not None
    assert found["audit"]["run_seconds"] == {"p50": None, "p95": None}
    visitor = visited.operator()
    page = visitor.page("/tasks")
    assert "20 attempts, at most 10 min" in page
    assert 'href="/dashboard/run?task=deploy"' in page
    assert visitor.told(visitor.post("/pause", {"verb": "pause", "name": "task:deploy"})) == "deploy is paused."
    assert "paused</span>" in visitor.page("/tasks")


# ── processes ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_processes_tell_what_runs_where_and_since(visited: Visited) -> None:
    """The spooler with its job, the keeper that is down, how often runners were begun."""
    job, *_ = [visited.spool("deploy") for _ in range(3)]
    claim = {"attempt": new_id("a"), "process": str(visited.me), "instance": str(visited.me), "generation": 1}
    visited.call("turn", {"end": None, "claim": claim | {"further": [new_id("a"), new_id("a")], "among": 1}})
    page = visited.operator().page("/processes")
    assert re.search(r"and \d claimed behind it", page)
    assert re.search(rf"Spooler</td><td class=\"number\">{visited.me.pid}</td>.*?busy", page)
    assert f'href="/dashboard/jobs/{job}"' in page
    assert re.search(r"Master</td>.*?<td class=\"number\">\d+(\.\d)? [MG]iB</td>", page)
    assert re.search(r"Keeper</td><td class=\"number\">–</td><td><span class=\"state down\"", page)


# ── audit ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_action_is_told_with_who_did_what_to_what(visited: Visited) -> None:
    """From where, and what it came to."""
    dead, delivery = visited.dead(), visited.deliver("audit")
    visitor = visited.operator()
    visitor.post("/jobs/act", {"verb": "retry", "id": dead})
    visitor.post("/jobs/act", {"verb": "discard", "id": dead, "reason": "of no use"})
    visitor.post("/replay", {"id": delivery})
    visitor.post("/pause", {"verb": "pause", "name": "source:github"})
    ran = visitor.post("/run", {"task": "deploy", "payload": "{}"}).location.rpartition("/")[2]
    page = visitor.page("/audit")
    assert [len(rows(visitor.page(f"/audit?text={job}"))) for job in (ran, dead, "j_nobody")] == [1, 2, 0]
    told = re.findall(r'<td class="name">([^<]+)</td><td class="muted">([^<]+)</td><td>([^<]+)</td>', page)
    verbs = ["ran", "paused", "replayed", "discarded", "retried"]
    assert told[:5] == [("dashboard:operator", "127.0.0.1", verb) for verb in verbs]
    assert told[5][2] == "logged in"
    assert "of no use" in page
    found = surveys.actions(visited.config, 10).found
    assert [each["came_to"] for each in found[1:5]] == [{"done": 1}, {"replayed": 1}, {"done": 1}, {"done": 1}]
    assert [len(each["made"]) for each in found[:3]] == [1, 0, 2]


def test_the_audit_log_is_narrowed_and_read_page_by_page(visited: Visited) -> None:
    """By who, what and when; each action once."""
    visitor = visited.operator()
    for number in range(5):
        visited.call("note", {"verb": "send", "actor": "anna" if number % 2 else "ben", "source": f"s{number}"})
    assert len(rows(visitor.page("/audit?actor=ANN"))) == 2
    assert len(rows(visitor.page("/audit?verb=send&text=s3"))) == 1
    assert len(rows(visitor.page("/audit?since=1h"))) == 6
    assert len(rows(visitor.page("/audit?until=1h"))) == 0
    assert visitor.get("/audit?since=x").status_code == 400
    path, seen = "/audit?verb=send&limit=2", list[str]()
    while path:
        page = visitor.page(path)
        seen += rows(page)
        more = re.search(r'href="/dashboard([^"]+)" rel="next"', page)
        path = html.unescape(more[1]) + "&limit=2" if more else ""
    assert len(seen) == len(set(seen)) == 5


def test_a_search_in_many_actions_ends_and_goes_on(visited: Visited, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how far back it has looked."""
    monkeypatch.setattr(surveys, "WINDOW", 2)
    for number in range(5):
        visited.call("note", {"verb": "send", "actor": "anna", "source": f"s{number}"})
    first = surveys.actions(visited.config, 10, text="s0")
    assert (first.found, first.back_to is None) == ([], False)
    found, before, looks = list[str](), first.before, 1
    while before is not None:
        page = surveys.actions(visited.config, 10, text="s0", before=before)
        found, before, looks = found + [str(each["of"]) for each in page.found], page.before, looks + 1
    assert (found, looks) == (["['s0']"], 3)


def test_an_action_of_any_age_is_shown(visited: Visited) -> None:
    """Older versions kept less of an action."""
    database = Database(visited.config.ledger_path)
    with database.transaction(flush=False) as tx:
        for number, answer in enumerate(
            ('{"done": true}', '{"done": false}', "{}", '{"status": "not_found", "jobs": []}')
        ):
            tx.run(
                "insert_action", id=f"x_{number:032x}", verb="odd", arguments="{}", answer=answer, actor="<b>", now=1.0
            )
    database.close()
    page = visited.operator().page("/audit?verb=odd")
    assert len(rows(page)) == 4
    assert "&lt;b&gt;" in page


# ── alerts ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_link_of_every_alert_leads_to_a_page_that_is_narrowed_to_it(visited: Visited) -> None:
    """What it is about stands in the form."""
    now = time.time()
    failing = {"task:a b": Tally(0.0, {"failed": 30}), "source:s&t": Tally(0.0, {"refused": 9})}
    before = {"source:s&t": Tally(0.0, {"accepted": 90})}
    found = Facts(
        now=now,
        died={"deploy": 1},
        oldest_queued_at=now - 600,
        quarter=failing,
        day=before,
        week=before,
        last_delivery_at={"s&t": now - 6 * 86400},
        degraded=["the disk is low"],
    )
    told = {alert.key.partition(":")[0]: alert for alert in conditions(found)}
    assert told.keys() == {"dead", "standing", "failing", "refused", "silent", "degraded"}
    visitor = visited.operator()
    pages = {kind: html.unescape(visitor.page(f"/{alert.page}")) for kind, alert in told.items()}
    assert "<option selected>a b</option>" in pages["failing"]
    assert all("<option selected>s&t</option>" in pages[kind] for kind in ("refused", "silent"))
    assert "Refused webhooks" in pages["refused"]
