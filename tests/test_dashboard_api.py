"""The API is what its OpenAPI file says: every route both ways, what it takes, what it answers, and to whom."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
from flask import Flask
from jsonschema import Draft202012Validator
from werkzeug.test import TestResponse

from tests.furnished import failed
from tests.visitors import Visited, audit, deploy, visited
from webspool import task
from webspool.ledger import reading
from webspool.ledger.accounts import ROLES
from webspool.passwords import digest
from webspool.policy import Policy
from webspool.records import new_id
from webspool.task import registry

__all__ = ["visited"]

FILE = Path(__file__).parents[1] / "webspool" / "dashboard" / "openapi.json"
DESCRIBED: dict[str, Any] = json.loads(FILE.read_text())
OPERATIONS = {
    (method, path): asked for path, methods in DESCRIBED["paths"].items() for method, asked in methods.items()
}
IDS = [f"{method} {path}" for method, path in OPERATIONS]
UNKNOWN = {"job_id": "j_0", "delivery_id": "d_0", "refusal_id": "r_0"}


def exact(schema: Any) -> Any:
    """The schema, in which an object has no other fields than those it names: a field more is told too."""
    if isinstance(schema, list):
        return [exact(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: exact(each) for name, each in schema.items()}
    return found | ({"additionalProperties": False} if "properties" in found and "required" in found else {})


EXACT = exact(DESCRIBED["components"])


def fits(schema: dict[str, Any], value: Any) -> None:
    Draft202012Validator({"components": EXACT, **exact(schema)}).validate(value)


class Program:
    """Who asks the API with a token; each answer is held against the file."""

    def __init__(self, house: Visited, role: str = "operator", *, known: bool = False) -> None:
        self.house, self.seen = house, set[tuple[str, str, int]]()
        if not known:
            given = {"name": role, "digest": digest(f"wsp_{role}"), "role": role, "user": None, "actor": "test"}
            house.call("put_token", given)
        self.headers = {"Authorization": f"Bearer wsp_{role}"}
        self.client = house.app.test_client()

    def ask(self, method: str, path: str, /, query: Any = None, json: Any = None, **named: str) -> TestResponse:
        """Ask, and hold the answer against what the file says of it."""
        address = "/dashboard/api" + re.sub(r"\{(\w+)\}", lambda found: named[found[1]], path)
        answer = self.client.open(address, method=method.upper(), query_string=query, json=json, headers=self.headers)
        told = OPERATIONS[method, path]["responses"]
        assert str(answer.status_code) in told, (answer.status_code, answer.text)
        content = told[str(answer.status_code)]["content"]
        assert answer.mimetype in content
        if answer.mimetype.endswith("json"):
            fits(content[answer.mimetype]["schema"], answer.get_json())
        if answer.status_code >= 400:
            assert answer.get_json()["cause"] in told[str(answer.status_code)]["description"].split(", ")
        self.seen.add((method, path, answer.status_code))
        return answer

    def get(self, path: str, /, query: Any = None, **named: str) -> Any:
        answer = self.ask("get", path, query=query, **named)
        assert answer.status_code == 200, answer.text
        return answer.get_json()

    def post(self, path: str, /, json: Any = None, **named: str) -> Any:
        answer = self.ask("post", path, json=json, **named)
        assert answer.status_code == 200, answer.text
        return answer.get_json()

    def problem(self, method: str, path: str, /, **asked: Any) -> Any:
        answer = self.ask(method, path, **asked)
        assert answer.status_code >= 400, answer.text
        return answer.get_json()


@task
def bill(month: int, to: str = "all") -> None: ...


registry.tasks.pop("bill")


@pytest.fixture
def program(visited: Visited, monkeypatch: pytest.MonkeyPatch) -> Program:
    monkeypatch.setattr(registry, "tasks", {"deploy": deploy, "audit": audit, "bill": bill})
    return Program(visited)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visited]:
    """One instance for the laws by which nothing is done: a dead job is there, and who may look and who may act."""
    directory = tmp_path_factory.mktemp("instance")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEBSPOOL_INSTANCE", str(directory))
        bound = registry.instance
        house = Visited(directory)
        patch.setattr(registry, "tasks", {"deploy": deploy, "audit": audit, "bill": bill})
        house.dead()
        for role in ROLES:
            Program(house, role)
        yield house
        registry.instance = bound


@pytest.fixture
def asking(shared: Visited) -> Iterator[Program]:
    """An operator's program there, whose questions change nothing."""
    before = kept(shared)
    yield Program(shared, known=True)
    assert kept(shared) == before


def kept(house: Visited) -> list[tuple[Any, ...]]:
    """What an action would change."""
    return house.query("SELECT (SELECT count(*) FROM action), (SELECT count(*) FROM job), (SELECT state FROM job)")


def site_of(house: Visited) -> Flask:
    found: Flask = house.app.wsgi_app._site.site  # type: ignore[attr-defined]
    return found


def routes(house: Visited) -> dict[tuple[str, str], Any]:
    """Every route of the API with its function, written as the file writes it."""
    site = site_of(house)
    return {
        (method.lower(), re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule.removeprefix("/api"))): site.view_functions[
            rule.endpoint
        ]
        for rule in site.url_map.iter_rules()
        if rule.rule.startswith("/api/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


# ── the file and the routes ─────────────────────────────────────────────────────────────────────────────────────


def test_every_route_is_described_and_what_is_described_is_there(shared: Visited) -> None:
    """With its method; and each parameter of its address by name."""
    assert set(routes(shared)) == set(OPERATIONS)
    for (_, path), asked in OPERATIONS.items():
        inside = [each["name"] for each in asked["parameters"] if each["in"] == "path"]
        assert inside == re.findall(r"\{(\w+)\}", path)


@pytest.mark.parametrize(("method", "path"), list(OPERATIONS), ids=IDS)
def test_what_a_route_takes_is_what_the_file_says(asking: Program, method: str, path: str) -> None:
    """Every parameter and every field, no more and no less; and another one is refused before anything is done."""
    program, asked = asking, OPERATIONS[method, path]
    view = routes(asking.house)[method, path]
    named = UNKNOWN | {"name": "all"}
    inside = {name: named[name] for name in re.findall(r"\{(\w+)\}", path)}
    query = {each["name"] for each in asked["parameters"] if each["in"] == "query"}
    body = asked.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    assert set(getattr(view, "takes", ())) == query
    assert set(getattr(view, "reads", ())) == set(body.get("properties", {}))
    assert program.problem(method, path, query={"stat": "dead"}, **inside)["cause"] == "unknown_parameter"
    if method != "get":
        assert program.problem(method, path, json={"everything": True}, **inside)["cause"] == "unknown_field"
        assert program.problem(method, path, json=["all"], **inside)["cause"] == "unparsable_body"


@pytest.mark.parametrize(
    ("path", "name", "example"),
    [
        (path, each["name"], each["example"])
        for (_, path), asked in OPERATIONS.items()
        for each in asked["parameters"]
        if each["in"] == "query"
    ],
)
def test_each_parameter_takes_its_example(asking: Program, path: str, name: str, example: Any) -> None:
    """What the file shows is right, of a job that is there; of a place in a list that of its own kind."""
    example = {"/scheduled": "4000000000.5:7", "/audit": "x_0"}.get(path, example) if name == "after" else example
    (job,) = asking.house.query("SELECT id FROM job")
    assert asking.ask("get", path, query={name: example}, job_id=str(job[0])).status_code == 200


def test_the_file_and_the_page_are_made_anew_from_what_is_written_once() -> None:
    """Type: python docs/make_api.py"""
    made = run_path(str(FILE.parents[2] / "docs" / "make_api.py"))
    assert made["file"]() == FILE.read_text()
    assert made["page"]() == (FILE.parents[2] / "docs" / "reference" / "api.md").read_text()


def test_the_schemas_are_schemas() -> None:
    """Of the draft that OpenAPI 3.1 uses; every reference leads somewhere; every operation has a name of its own."""
    for schema in DESCRIBED["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    named = set(re.findall(r'"#/components/schemas/(\w+)"', FILE.read_text()))
    assert named == set(DESCRIBED["components"]["schemas"])
    names = [asked["operationId"] for asked in OPERATIONS.values()]
    assert len(set(names)) == len(names)


# ── what is answered ────────────────────────────────────────────────────────────────────────────────────────────


def test_every_operation_answers_in_its_shape(visited: Visited, program: Program) -> None:
    """One of everything is asked and done, on an instance where everything is there."""
    delivery = visited.deliver("deploy", "audit", event_id="e-0", body=b'{"ref": "main"}')
    job = visited.run(failed(exit_code=1), Policy(max_attempts=1), output=b"a line\n")
    refusal = visited.refuse()
    waiting, later = visited.spool("deploy", branch="main"), visited.spool("deploy", due_at=4e9)
    get, post = program.get, program.post
    get("/openapi.json")
    assert get("/status")["jobs"]["dead"] == 1
    assert len(get("/jobs")["jobs"]) == 4
    assert [each["exit_code"] for each in get("/jobs/{job_id}", job_id=job)["history"]] == [1]
    assert get("/jobs/{job_id}/output", job_id=job)["chunks"][0]["text"] == "a line\n"
    assert get("/failures")["failures"][0]["example"] == job
    assert get("/deliveries")["deliveries"][0]["id"] == delivery
    assert get("/deliveries/{delivery_id}", delivery_id=delivery)["body"] == '{"ref": "main"}'
    assert program.ask("get", "/deliveries/{delivery_id}/body", delivery_id=delivery).data == b'{"ref": "main"}'
    assert get("/refusals")["refusals"][0]["id"] == refusal
    assert get("/refusals/{refusal_id}", refusal_id=refusal)["cause"] == "signature_invalid"
    assert program.ask("get", "/refusals/{refusal_id}/body", refusal_id=refusal).data == b"{}"

    assert post("/jobs/{job_id}/retry", job_id=job) == {"id": job, "answer": "done"}
    assert post("/jobs/{job_id}/discard", json={"reason": "of no use"}, job_id=waiting)["answer"] == "done"
    assert reading.job(visited.config, waiting)["error"] == "of no use"
    assert post("/jobs/{job_id}/cancel", job_id=later)["answer"] == "done"
    answers = post("/jobs/cancel", json={"ids": [job, waiting, "j_0"]})["answers"]
    told = ["done", "not_allowed: it is dead", "not_found"]
    assert answers == [{"id": id, "answer": answer} for id, answer in zip((job, waiting, "j_0"), told, strict=True)]
    assert post("/jobs/retry", json={"ids": [job], "spread_seconds": 10})["answers"][0]["answer"] == "done"
    assert post("/jobs/discard", json={"ids": [job]})["answers"][0]["answer"] == "done"
    assert len(post("/deliveries/{delivery_id}/replay", delivery_id=delivery)["jobs"]) == 2
    assert post("/refusals/{refusal_id}/replay", refusal_id=refusal)["answer"] == "accepted"
    assert post("/deliveries/replay", json={"ids": [delivery]})["answers"][0]["answer"] == "replayed"
    assert post("/refusals/replay", json={"ids": [refusal], "vouch": True})["answers"][0]["answer"] == "duplicate"

    assert post("/tasks/{name}/run", json={"payload": {"ref": "x"}, "type": "push"}, name="deploy")["state"] == "queued"

    sent = post("/sources/{name}/send", json={"type": "push", "payload": {"ref": "y"}}, name="github")
    assert (sent["status"], len(sent["jobs"])) == ("accepted", 2)
    assert get("/scheduled")["next"] is None
    assert get("/sources")["sources"][0]["last"]["type"] == "push"
    assert {each["name"] for each in get("/tasks")["tasks"]} >= {"deploy", "audit"}
    visited.begin()
    (spooler,) = get("/processes")["spoolers"]
    assert spooler["runs"]["task"] in ("deploy", "audit")
    assert get("/audit")["actions"][0]["verb"] == "send"

    assert program.ask("put", "/pauses/{name}", name="task:deploy").get_json()["answer"] == "done"
    assert program.ask("put", "/pauses/{name}", name="task:deploy").get_json()["answer"] == "paused already"
    assert get("/pauses")["pauses"][0]["name"] == get("/status")["paused"][0]["name"] == "task:deploy"
    assert program.ask("delete", "/pauses/{name}", name="task:deploy").get_json()["answer"] == "done"
    assert program.ask("delete", "/pauses/{name}", name="task:deploy").get_json()["answer"] == "not paused"
    assert {(method, path) for method, path, status in program.seen if status == 200} == set(OPERATIONS)
    assert {actor for (actor,) in visited.query("SELECT actor FROM action")} == {
        "token:operator",
        "source:github",
        "test",
    }


def test_the_shapes_are_those_of_the_commands(visited: Visited, program: Program) -> None:
    """The same reading, so the same words for the same things."""
    delivery = visited.deliver("deploy")
    job, refusal = visited.run(failed(), Policy(max_attempts=1)), visited.refuse(body=b"\xff")
    assert program.get("/jobs")["jobs"] == visited.json("jobs")
    assert program.get("/jobs/{job_id}", job_id=job) == visited.json("job", job)
    assert program.get("/deliveries")["deliveries"] == visited.json("deliveries")
    assert program.get("/deliveries/{delivery_id}", delivery_id=delivery) == visited.json("delivery", delivery)
    assert program.get("/refusals")["refusals"] == visited.json("deliveries", "--refused")
    assert program.get("/refusals/{refusal_id}", refusal_id=refusal) == visited.json("delivery", refusal)
    assert program.get("/failures")["failures"] == visited.json("failures")
    assert program.get("/status") == visited.json("status")
    assert program.post("/jobs/retry", json={"ids": [job]})["answers"] == [{"id": job, "answer": "done"}]


def test_a_list_is_walked_by_its_next(visited: Visited, program: Program) -> None:
    """Each once, newest first, while new ones come in; the last page has none."""
    jobs = [visited.spool() for _ in range(5)]
    seen, after = list[str](), None
    while True:
        page = program.get("/jobs", query={"limit": 2} | ({"after": after} if after else {}))
        seen += [each["id"] for each in page["jobs"]]
        visited.spool()
        if (after := page["next"]) is None:
            break
    assert seen == jobs[::-1]


def test_filters_narrow_as_they_do_everywhere(visited: Visited, program: Program) -> None:
    """By state, task, error, and by a text of the arguments."""
    dead, other = visited.dead(), visited.spool("audit", branch="main")
    assert [each["id"] for each in program.get("/jobs", query={"state": "dead", "error": "BRANCH"})["jobs"]] == [dead]
    assert [each["id"] for each in program.get("/jobs", query={"text": "main", "task": "audit"})["jobs"]] == [other]
    assert program.get("/jobs", query=[("state", "dead"), ("state", "queued")])["jobs"][1]["id"] == dead


def test_what_is_scheduled_and_what_was_done_is_walked_by_its_next(visited: Visited, program: Program) -> None:
    """Each once: the next due first, the last done first."""
    jobs = [visited.spool("deploy", due_at=4e9 + number // 2 + 0.123456) for number in range(5)]
    for job in jobs:
        program.post("/jobs/{job_id}/retry", job_id=job)
    later = [visited.spool("audit", due_at=4e9 + number // 2 + 0.123456) for number in range(5)]

    def walked(path: str, name: str, **query: Any) -> list[str]:
        found = program.get(path, query=query | {"limit": 2})
        return [each["id"] for each in found[name]] + (
            walked(path, name, **query | {"after": found["next"]}) if found["next"] else []
        )

    assert walked("/scheduled", "jobs", task="audit") == later
    done = walked("/audit", "actions", verb="retry")
    assert len(done) == len(set(done)) == 5
    assert done == sorted(done, reverse=True)
    for path, after in (("/scheduled", "1"), ("/scheduled", "nan:1"), ("/audit", "1"), ("/audit", "x_zz")):
        assert program.problem("get", path, query={"after": after})["cause"] == "bad_after"


@pytest.mark.parametrize(
    ("query", "cause"),
    [
        ({"state": "dying"}, "bad_filter"),
        ({"since": "yesterdayish"}, "bad_filter"),
        ({"limit": "0"}, "bad_filter"),
        ({"after": "-1"}, "bad_filter"),
        ({"text": "x" * 501}, "bad_filter"),
        ([("task", "a"), ("task", "b")], "repeated_parameter"),
    ],
)
def test_a_filter_that_cannot_be_read_is_told(asking: Program, query: Any, cause: str) -> None:
    """By its name; nothing is guessed."""
    found = asking.problem("get", "/jobs", query=query)
    assert found["cause"] == cause
    if cause == "bad_filter":
        assert list(found["faults"]) == list(query)


# ── acting on all that fit ──────────────────────────────────────────────────────────────────────────────────────


def test_what_filters_find_is_acted_on_once_its_number_is_confirmed(visited: Visited, program: Program) -> None:
    """Without it nothing happens; what died after the count stays dead."""
    dead = [visited.dead() for _ in range(3)]
    question = {"filter": {"error": "no such branch"}}
    asked = program.problem("post", "/jobs/retry", json=question)
    assert (asked["cause"], asked["count"], asked["more"]) == ("confirm_count", 3, False)
    assert {visited.state(job) for job in dead} == {"dead"}
    late = visited.dead()
    confirmed = question | {"confirm": asked["count"], "upto": asked["upto"]}
    assert program.problem("post", "/jobs/retry", json=confirmed | {"confirm": 2})["count"] == 3
    assert [each["id"] for each in program.post("/jobs/retry", json=confirmed)["answers"]] == dead
    assert visited.state(late) == "dead"
    assert program.post("/jobs/retry", json=confirmed)["answers"] == []


def test_deliveries_that_fit_are_replayed_once_confirmed(visited: Visited, program: Program) -> None:
    """The same question for webhooks, and for refusals."""
    deliveries, refusal = [visited.deliver("deploy") for _ in range(2)], visited.refuse()
    for path, question, ids in (
        ("/deliveries/replay", {"filter": {"source": "github"}}, deliveries),
        ("/refusals/replay", {"filter": {"error": "signature"}, "vouch": True}, [refusal]),
    ):
        asked = program.problem("post", path, json=question)
        assert asked["count"] == len(ids)
        done = program.post(path, json=question | {"confirm": len(ids), "upto": asked["upto"]})
        assert [each["id"] for each in done["answers"]] == ids
        assert (done["more"], done["upto"]) == (False, None)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ids": [], "filter": {}},
        {"ids": ["j_0"], "filter": {"state": "dead"}},
        {"ids": []},
        {"ids": "j_0"},
        {"ids": [1]},
        {"ids": ["j_" + "0" * 65]},
        {"ids": ["d_0"]},
        {"ids": ["j_0\n"]},
        {"ids": ["j_0"], "spread_seconds": -1},
        {"ids": ["j_0"], "spread_seconds": "1"},
        {"ids": ["j_0"], "spread_seconds": True},
        {"ids": ["j_0"], "spread_seconds": 1e308},
        {"filter": {}},
        {"filter": "dead"},
        {"filter": {"stat": "dead"}},
        {"filter": {"state": ""}},
        {"filter": {"state": []}},
        {"filter": {"state": "dead", "task": " "}},
        {"filter": {"state": "dead", "error": ""}},
        {"filter": {"state": ["dead", 1]}},
        {"filter": {"task": ["a"]}},
        {"filter": {"state": "dead"}, "confirm": "3"},
        {"filter": {"state": "dead"}, "confirm": -1},
        {"filter": {"state": "dead"}, "confirm": 3},
        {"filter": {"state": "dead"}, "confirm": 1, "upto": True},
    ],
    ids=json.dumps,
)
def test_a_question_that_makes_no_sense_is_refused_and_nothing_is_done(asking: Program, body: Any) -> None:
    """Above all no action on everything because a filter was empty or misspelt."""
    assert asking.problem("post", "/jobs/retry", json=body)["cause"] in ("bad_field", "bad_filter")


@pytest.mark.parametrize(
    "body", [b"{", b'{"ids": NaN}', b"[" * 100_000, b'"ids"', b"\xff", b"null", b'{"ids": ["\\ud800"]}']
)
def test_a_body_that_is_no_json_object_is_refused(asking: Program, body: bytes) -> None:
    """Whatever it is; and one that is not sent as JSON."""
    program = asking
    headers = program.headers | {"Content-Type": "application/json"}
    answer = program.client.post("/dashboard/api/jobs/retry", data=body, headers=headers)
    assert (answer.status_code, answer.get_json()["cause"]) == (400, "unparsable_body")
    headers["Content-Type"] = "text/plain"
    answer = program.client.post("/dashboard/api/jobs/retry", data=b'{"ids": ["j_0"]}', headers=headers)
    assert (answer.status_code, answer.get_json()["cause"]) == (415, "unsupported_media_type")
    assert program.client.post("/dashboard/api/jobs/retry", data=b" " * (3 << 20), headers=headers).status_code == 413


def test_what_happened_meanwhile_is_told(visited: Visited, program: Program) -> None:
    """An action that comes too late changes nothing and says why."""
    visited.deliver("deploy")
    job = visited.run()
    late = program.problem("post", "/jobs/{job_id}/cancel", job_id=job)
    assert (late["cause"], late["answer"]) == ("not_allowed", "not_allowed: it is succeeded")
    assert "it is succeeded" in late["detail"]
    for method, path in (("get", "/jobs/{job_id}"), ("post", "/jobs/{job_id}/retry")):
        assert program.problem(method, path, job_id="j_0")["cause"] == "not_found"
    assert program.problem("put", "/pauses/{name}", name="tasks:deploy")["cause"] == "not_found"


def test_a_body_that_is_gone_is_told_as_gone(visited: Visited, program: Program) -> None:
    """It was there, so not as if there had been none."""
    delivery = visited.deliver("deploy")
    visited.query("UPDATE delivery SET body = NULL")
    assert program.problem("get", "/deliveries/{delivery_id}/body", delivery_id=delivery)["cause"] == "body_gone"
    assert program.get("/deliveries/{delivery_id}", delivery_id=delivery)["body"] is None


# ── running ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_is_run_once_however_often_it_is_sent(visited: Visited, program: Program) -> None:
    """By the id that the caller made; with its arguments, when and how."""
    job = new_id("j")
    order = {"arguments": {"month": 11}, "delay_seconds": 3600, "priority": 5, "key": "bills", "id": job}
    for _ in range(2):
        assert program.post("/tasks/{name}/run", json=order, name="bill") == {"job": job, "state": "scheduled"}
    assert visited.query("SELECT count(*) FROM job") == [(1,)]
    found = program.get("/jobs/{job_id}", job_id=job)
    assert (found["arguments"], found["priority"], found["key"]) == ({"month": 11}, 5, "bills")
    at = program.post("/tasks/{name}/run", json={"arguments": {"month": 12}, "at": "2100-01-01T00:00:00Z"}, name="bill")
    assert program.get("/jobs/{job_id}", job_id=at["job"])["due_at"] == "2100-01-01T00:00:00.000Z"


def test_a_task_that_webhooks_start_is_run_with_a_payload(visited: Visited, program: Program) -> None:
    """A delivery is made of it, so that the task finds what it always finds."""
    order = {"payload": {"ref": "main"}, "type": "push", "source": "github"}
    job = program.post("/tasks/{name}/run", json=order, name="audit")["job"]
    delivery = program.get(
        "/deliveries/{delivery_id}", delivery_id=program.get("/jobs/{job_id}", job_id=job)["delivery"]
    )
    assert (delivery["body"], delivery["type"], delivery["remote"]) == ('{"ref":"main"}', "push", "token:operator")


@pytest.mark.parametrize(
    ("name", "order", "cause"),
    [
        ("bill", {}, "arguments_do_not_fit"),
        ("bill", {"arguments": {"month": "11"}}, "arguments_do_not_fit"),
        ("bill", {"arguments": {"month": 11, "year": 1}}, "arguments_do_not_fit"),
        ("bill", {"arguments": [11]}, "bad_field"),
        ("bill", {"payload": {}}, "bad_field"),
        ("bill", {"arguments": {"month": 11}, "at": "tomorrow"}, "bad_field"),
        ("bill", {"arguments": {"month": 11}, "at": "2100-01-01", "delay_seconds": 1}, "bad_field"),
        ("bill", {"arguments": {"month": 11}, "priority": 1 << 40}, "bad_field"),
        ("bill", {"arguments": {"month": 11}, "id": "j_1"}, "bad_field"),
        ("deploy", {"arguments": {}}, "bad_field"),
        ("deploy", {"payload": {}, "source": "gitlab"}, "bad_field"),
        ("nothing", {}, "not_found"),
    ],
    ids=str,
)
def test_an_order_that_does_not_fit_is_refused(asking: Program, name: str, order: Any, cause: str) -> None:
    """And makes no job."""
    assert asking.problem("post", "/tasks/{name}/run", json=order, name=name)["cause"] == cause


def test_a_paused_source_that_refuses_takes_no_payload(visited: Visited, program: Program) -> None:
    """It is told, and nothing is kept."""
    program.ask("put", "/pauses/{name}", name="refuse:github")
    found = program.problem("post", "/tasks/{name}/run", json={"payload": {}}, name="deploy")
    assert (found["status"], found["cause"]) == (409, "not_allowed")
    assert visited.query("SELECT count(*) FROM job") == [(0,)]


# ── who may ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("method", "path"), list(OPERATIONS), ids=IDS)
def test_who_has_no_token_gets_nothing_and_a_viewer_does_nothing(asking: Program, method: str, path: str) -> None:
    """The role that the file names is the one that is asked for."""
    viewer = Program(asking.house, "viewer", known=True)
    inside = {name: (UNKNOWN | {"name": "all"})[name] for name in re.findall(r"\{(\w+)\}", path)}
    if OPERATIONS[method, path]["x-role"] == "operator":
        assert viewer.problem(method, path, json={}, **inside)["cause"] == "viewer"
    else:
        assert viewer.ask(method, path, **inside).status_code in (200, 404)
    for headers in ({}, {"Authorization": "Bearer wsp_nobody"}, {"Authorization": "Basic wsp_viewer"}):
        viewer.headers = headers
        answer = viewer.ask(method, path, **inside)
        assert answer.get_json()["cause"] == "login_required"
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_browsers_session_acts_with_its_word_only(visited: Visited) -> None:
    """A token needs none: no browser sends it by itself."""
    job, visitor = visited.dead(), visited.operator()
    address = f"/dashboard/api/jobs/{job}/retry"
    for headers in ({}, {"X-CSRF-Token": "0" * 64}, {"X-CSRF-Token": visitor.csrf, "Origin": "http://evil.example"}):
        answer = visitor.client.post(address, json={}, headers=headers)
        assert (answer.status_code, answer.get_json()["cause"]) == (403, "not_from_here")
    assert visited.state(job) == "dead"
    assert visitor.client.post(address, json={}, headers={"X-CSRF-Token": visitor.csrf}).status_code == 200
    assert visitor.get("/api/jobs").status_code == 200


def test_a_token_opens_the_api_and_no_page(visited: Visited, program: Program) -> None:
    """What a program may do it does by the API."""
    assert program.client.get("/dashboard/", headers=program.headers).status_code == 302
    assert program.client.post("/dashboard/jobs/act", headers=program.headers).status_code == 302
    assert program.client.get("/dashboard/api/no-such-address", headers=program.headers).mimetype.endswith(
        "problem+json"
    )
