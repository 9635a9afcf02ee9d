"""The short way of webhooks past Flask: the same answers, and Flask's way wherever the app would notice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from flask import Flask, Response
from werkzeug.test import TestResponse

from webspool import Source, Webspool, task
from webspool.ledger import reading
from webspool.receive import Receiver
from webspool.task import registry
from webspool.testing import inline, signed_request

SLACK = {"type": "url_verification", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}


@pytest.fixture(autouse=True)
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("WEBSPOOL_INSTANCE", str(tmp_path))
    before = registry.tasks.copy(), registry.instance
    yield
    registry.tasks.clear()
    registry.tasks.update(before[0])
    registry.bind(before[1])


class House:
    """An app with three sources, and what went through Flask's own way."""

    def __init__(self, change: Callable[[Flask], None] = lambda app: None, flask_class: type[Flask] = Flask) -> None:
        self.app = flask_class("door")
        self.seen: list[str] = []
        change(self.app)
        self.hooks = Webspool(self.app)
        starts = registry.tasks.get("start") or task(start)
        self.hooks.add(Source("github", verify="github", secrets=["literal:s"], on={"push": starts}, max_body=5000))
        self.hooks.add(Source("slack", verify="slack", secrets=["literal:s"]))
        self.hooks.add(Source("own", verify="github", secrets=["literal:s"], event_type=self.name_the_event))
        inner = self.app.dispatch_request
        self.app.dispatch_request = lambda: self.note(inner())  # type: ignore[method-assign]

    def note(self, response: Any) -> Any:
        self.seen.append(flask.request.path)
        return response

    def name_the_event(self, _request: object) -> str:
        return f"by:{flask.request.path}"

    def post(self, source: str = "github", body: Any = b"{}", **more: Any) -> TestResponse:
        given = signed_request(source, body, event="push", **more)
        return self.app.test_client().open(**given)


def start(delivery: Any) -> None:
    """Runs nowhere here."""


def told(response: TestResponse) -> tuple[Any, ...]:
    """What is to be the same: the ids are fresh ones."""
    headers = {name: value for name, value in response.headers.items() if name != "Location"}
    known = response.get_json(silent=True)
    said = {name: known[name] for name in known if name not in ("delivery", "jobs")} if known else response.data
    return response.status, headers, said, "Location" in response.headers


REQUESTS: dict[str, dict[str, Any]] = {
    "accepted": {"body": {"a": 1}},
    "a form": {"body": b"payload=%7B%7D", "content_type": "application/x-www-form-urlencoded"},
    "a wrong signature": {"secret": "another"},
    "no JSON": {"body": b"{"},
    "too large": {"body": b" " * 5001},
    "empty": {"body": b""},
    "a question": {"source": "slack", "body": SLACK},
    "not ascii": {"body": '{"ä": "ö"}'.encode()},
}


@pytest.mark.parametrize("name", REQUESTS)
def test_both_ways_give_the_same_answers(name: str) -> None:
    """Status, headers and body, but for ids."""
    house = House()
    with inline(house.app):
        short = told(house.post(**REQUESTS[name]))
        assert not house.seen
        house.app.before_request(lambda: None)
        assert told(house.post(**REQUESTS[name])) == short
        assert house.seen


def test_what_is_stored_is_the_same_both_ways() -> None:
    """URL, headers, address and names of the delivery."""
    house = House()
    with inline(house.app):
        first = stored(house, house.post(body={"a": "ä"}, event_id="e-1"))
        house.app.before_request(lambda: None)
        second = stored(house, house.post(body={"a": "ä"}, event_id="e-2"))
    assert first == second
    assert ["X-Github-Event", "push"] in first["headers"]
    assert first["url"] == "/hooks/github"
    assert first["remote"] == "127.0.0.1"


def stored(house: House, response: TestResponse) -> dict[str, Any]:
    found = reading.delivery(house.hooks.config, response.get_json()["delivery"])
    own = ("seq", "id", "event_id", "received_at", "jobs")
    found["headers"] = [each for each in found["headers"] if each[0] != "X-Github-Delivery"]
    return {name: value for name, value in found.items() if name not in own}


WATCHERS: dict[str, Callable[[Flask, list[str]], Any]] = {
    "before_request": lambda app, seen: app.before_request(lambda: seen.append("x")),
    "after_request": lambda app, seen: app.after_request(lambda response: (seen.append("x"), response)[1]),
    "teardown_request": lambda app, seen: app.teardown_request(lambda fault: seen.append("x")),
    "url_value_preprocessor": lambda app, seen: app.url_value_preprocessor(lambda end, given: seen.append("x")),
}


@pytest.mark.parametrize("name", WATCHERS)
def test_functions_of_the_app_see_every_webhook(name: str) -> None:
    """What the app registers for all its requests is called for webhooks too, also when it comes late."""
    house, seen = House(), list[str]()
    with inline(house.app):
        WATCHERS[name](house.app, seen)
        assert house.post().status_code == 202
    assert seen == ["x"]


def test_listeners_of_signals_hear_of_every_webhook() -> None:
    house, heard = House(), list[str]()

    def hear(_app: Flask, **_more: Any) -> None:
        heard.append(flask.request.path)

    with inline(house.app), flask.request_started.connected_to(hear, house.app):
        house.post()
    assert heard == ["/hooks/github"]


def test_middleware_sees_every_webhook() -> None:
    """What was put around the app before the instance, and what was put there after it."""
    seen: list[str] = []

    def wrap(app: Flask) -> None:
        inner = app.wsgi_app

        def around(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            seen.append(environ["PATH_INFO"])
            return inner(environ, start_response)

        app.wsgi_app = around  # type: ignore[method-assign]

    before, after = House(wrap), House()
    wrap(after.app)
    for house in (before, after):
        with inline(house.app):
            registry.bind(house.hooks)
            assert house.post().status_code == 202
    assert seen == ["/hooks/github"] * 2


def test_an_app_that_dispatches_in_its_own_way_keeps_it() -> None:
    class Mine(Flask):
        def full_dispatch_request(self) -> Response:
            return self.make_response("mine")

    house = House(flask_class=Mine)
    with inline(house.app):
        assert house.post().data == b"mine"


def test_a_route_of_the_app_at_the_same_path_is_kept() -> None:
    """Flask takes the one that came first."""
    house = House(lambda app: app.add_url_rule("/hooks/github", "mine", lambda: "mine", methods=["POST"]))
    with inline(house.app):
        assert house.post().data == b"mine"


def test_other_methods_and_paths_go_through_flask() -> None:
    house = House()
    with inline(house.app):
        client = house.app.test_client()
        assert client.get("/hooks/github").get_json()["cause"] == "method_not_allowed"
        assert client.post("/hooks/github/").get_json()["cause"] == "unknown_source"
        assert client.post("/hooks/nobody").get_json()["cause"] == "unknown_source"
    assert len(house.seen) == 3


def test_a_source_that_calls_the_apps_code_is_served_inside_a_request() -> None:
    """`event_type=` may look at flask.request."""
    house = House()
    with inline(house.app):
        assert house.post("own").get_json()["status"] == "ignored"
    assert house.seen == ["/hooks/own"]


def test_the_apps_own_limit_of_bodies_holds() -> None:
    house = House(lambda app: app.config.update(MAX_CONTENT_LENGTH=10))
    with inline(house.app):
        assert house.post(body=b" " * 11).get_json()["cause"] == "payload_too_large"
        house.app.before_request(lambda: None)
        assert house.post(body=b" " * 11).get_json()["cause"] == "payload_too_large"


def test_a_fault_of_ours_is_answered_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As Flask does it for a view: 500, and the traceback in the app's log."""

    def broken(*_: object) -> None:
        raise KeyError("never seen before")

    house = House()
    monkeypatch.setattr(Receiver, "receive", broken)
    with inline(house.app):
        assert house.post().status_code == 500
    assert "never seen before" in caplog.text
