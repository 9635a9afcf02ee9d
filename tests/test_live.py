"""Live output as a browser follows it: by a WebSocket through the instance's own port, or by a stream for curl."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import socketio

from tests.conftest import needs_uwsgi
from tests.engine_houses import LocalHouse, code
from tests.instances import Instance, answer_on, kill

PASSWORD = "a password for the tests"
SETTINGS = {"WEBSPOOL_PASSWORD": PASSWORD, "WEBSPOOL_SECRET_KEY": "s" * 32}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One instance for all laws."""
    needs_uwsgi()
    with Instance(tmp_path_factory.mktemp("live"), **SETTINGS) as instance:
        yield instance


def log_in(instance: Instance) -> dict[str, str]:
    """The headers of a browser that has logged in."""
    form = {"Content-Type": "application/x-www-form-urlencoded", "Host": f"127.0.0.1:{instance.port}"}
    answer = instance.post("/dashboard/login", urlencode({"password": PASSWORD}), form)
    assert answer.status == 303
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


class Viewer:
    """A browser's page: it asks for what follows the last chunk it has."""

    def __init__(self, instance: Instance, session: dict[str, str] | None = None) -> None:
        self.instance, self.headers = instance, session or log_in(instance)
        self.client = socketio.Client(reconnection=False)
        self.text, self.after, self.known = "", 0, ""

    def __enter__(self) -> Viewer:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()

    def connect(self) -> None:
        url = f"http://127.0.0.1:{self.instance.port}"
        self.client.connect(url, headers=self.headers, socketio_path="live/ws", transports=["websocket"])

    def ask(self, question: str, about: Any) -> dict[str, Any]:
        answer = self.client.call(question, about, timeout=40)
        assert isinstance(answer, dict)
        return answer

    def next(self, job: str) -> dict[str, Any]:
        told = self.ask("output", {"job": job, "after": self.after, "known": self.known})
        self.text += "".join(chunk["text"] for chunk in told["chunks"])
        self.after, self.known = told["after"], told["mark"]
        return told

    def follow(self, job: str, until: str = "") -> str:
        """What was printed, to the job's end or until it holds that text."""
        while True:
            told = self.next(job)
            if (until and until in self.text) or (told["finished"] and told["ended"] and not told["chunks"]):
                return self.text


COUNT = """

@task
def count(lines):
    for number in range(1, lines + 1):
        print(number, "a line", flush=True)
"""


def test_on_a_pc_the_same_socket_is_served_by_the_one_process(tmp_path: Path) -> None:
    """The `local` engine: no uWSGI, no live process, the same questions and answers."""
    files = code()
    with LocalHouse(tmp_path, files | {"tasks.py": files["tasks.py"] + COUNT}, **SETTINGS) as house:
        assert house.request("GET", "/live/ws/?EIO=4&transport=websocket", headers=UPGRADE).status == 401
        with Viewer(house) as viewer:
            job = house.spool("count", lines=20)
            assert lines(viewer.follow(job)) == list(range(1, 21))


def lines(text: str) -> list[int]:
    return [int(line.split()[0]) for line in text.splitlines()]


def test_lines_arrive_as_they_are_printed(watched: Instance) -> None:
    """Before the task has ended, and in the end all of them, once each."""
    with Viewer(watched) as viewer:
        job = watched.spool("count", lines=50, gate="seen")
        assert lines(viewer.follow(job, until="50 ")) == list(range(1, 51))
        assert watched.state(job) == "running"
        watched.let_go("seen")
        assert lines(viewer.follow(job)) == list(range(1, 51))


def test_who_comes_back_misses_nothing_and_sees_nothing_twice(watched: Instance) -> None:
    """Also when the live process was killed in between; webhooks and tasks take no notice of it."""
    viewer = Viewer(watched)
    job = watched.spool("count", lines=400, seconds=0.005, gate="all")
    with viewer:
        viewer.follow(job, until="\n5 ")
    before = watched.processes().live
    kill(before)
    assert watched.webhook().status == 202
    watched.until(lambda: watched.status()["processes"]["live"] and watched.processes().live != before)
    watched.let_go("all")
    viewer.client = socketio.Client(reconnection=False)
    with viewer:
        assert lines(viewer.follow(job)) == list(range(1, 401))
    assert watched.state(job) == "succeeded"


def test_a_second_attempt_is_told_and_its_output_follows(watched: Instance) -> None:
    """The answer says how many attempts there are; each is asked for by its number."""
    job = watched.spool("fail", times=1)
    watched.ended(job)
    with Viewer(watched) as viewer:
        told = viewer.ask("output", {"job": job, "attempt": 1})
        assert (told["attempt"], told["attempts"], told["ended"]) == (1, 2, True)
        assert "ValueError: failed 1" in "".join(chunk["text"] for chunk in told["chunks"])
        assert viewer.ask("output", {"job": job})["attempt"] == 2


def test_a_page_hears_that_the_ledger_has_changed(watched: Instance) -> None:
    """So it need not ask again and again."""
    with Viewer(watched) as viewer:
        version = viewer.ask("change", {})["version"]
        watched.webhook()
        assert viewer.ask("change", {"version": version})["version"] != version


def test_many_viewers_see_the_same_and_keep_no_worker(watched: Instance) -> None:
    """More open sockets than workers: a webhook beside them is answered."""
    job = watched.spool("count", lines=3, gate="many")
    session = log_in(watched)
    viewers = [Viewer(watched, session) for _ in range(20)]
    try:
        for viewer in viewers:
            viewer.connect()
        assert watched.webhook().status == 202
        assert all(lines(viewer.follow(job, until="3 ")) == [1, 2, 3] for viewer in viewers)
    finally:
        watched.let_go("many")
        for viewer in viewers:
            viewer.client.disconnect()


@pytest.mark.parametrize("asked", [{}, {"job": "j_none"}, {"job": 7, "after": "x", "attempt": -1}, [], None, "x"])
def test_a_question_that_makes_no_sense_is_answered_with_its_fault(watched: Instance, asked: Any) -> None:
    """The socket stays open."""
    with Viewer(watched) as viewer:
        assert viewer.ask("output", asked)["fault"] in ("not_found", "bad_question")
        assert viewer.ask("change", {"version": "x"})["version"]


# ── who may watch ───────────────────────────────────────────────────────────────────────────────────────────────────


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def test_nobody_watches_without_a_session(watched: Instance) -> None:
    """Wherever it seems to come from; a cookie that somebody made up is none."""
    for headers in ({}, {"X-Forwarded-For": "127.0.0.1"}, {"Cookie": "webspool_session=made.up.thing"}):
        for path in ("/live/ws/?EIO=4&transport=websocket", "/live/events?job=j_1"):
            assert watched.request("GET", path, headers=UPGRADE | headers).status == 401


def test_a_page_of_another_site_cannot_watch_with_our_cookie(watched: Instance) -> None:
    """Browsers send cookies along with the sockets of strangers' pages; the origin tells."""
    session = log_in(watched) | UPGRADE
    path = "/live/ws/?EIO=4&transport=websocket"
    assert watched.request("GET", path, headers=session | {"Origin": "https://evil.example"}).status == 403
    assert watched.request("GET", path, headers=session | {"Sec-Fetch-Site": "cross-site"}).status == 403


def test_a_session_that_is_over_is_told_nothing_more(watched: Instance) -> None:
    """Logging out reaches sockets that are open already."""
    with Viewer(watched) as viewer:
        assert viewer.ask("change", {})["version"]
        page = watched.request("GET", "/dashboard/", headers=viewer.headers).body.decode()
        csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
        form = viewer.headers | {"Content-Type": "application/x-www-form-urlencoded"}
        assert watched.post("/dashboard/logout", urlencode({"csrf": csrf}), form).status == 303
        assert viewer.ask("change", {})["fault"] == "login_required"


# ── the connection, which uWSGI hands over whole ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/live/events", "/live/ws", "/live/ws/?EIO=4&transport=polling", "/live/events/"])
def test_a_second_request_on_a_connection_that_was_handed_over_is_not_answered(watched: Instance, path: str) -> None:
    """It would never reach a worker; the connection ends after the first answer."""
    second = b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", watched.port), timeout=20) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + second)
        assert answer_on(connection).status in (400, 401, 404)
        assert connection.recv(1) == b""


def test_what_only_looks_like_live_goes_to_the_workers(watched: Instance) -> None:
    """Two exact paths are handed over."""
    for path in ("/live/", "/live/wsx", "/live/events/more", "/x/live/ws"):
        assert watched.get(path).status == 404
    assert watched.get("/healthz").status == 200


# ── the stream ──────────────────────────────────────────────────────────────────────────────────────────────────────


def stream(instance: Instance, job: str, **headers: str) -> Iterator[tuple[str, str]]:
    """Server-sent events, as (id, data)."""
    connection = http.client.HTTPConnection("127.0.0.1", instance.port, timeout=40)
    connection.request("GET", f"/live/events?job={job}", headers=log_in(instance) | headers)
    answer = connection.getresponse()
    assert answer.status == 200
    fields: dict[str, str] = {}
    for line in answer:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            yield fields["id"], fields["data"]
            fields = {}


def test_curl_follows_a_job_to_its_end(watched: Instance) -> None:
    """All lines, then how it ended; who comes with Last-Event-ID is told what follows it."""
    job = watched.spool("count", lines=30, seconds=0.02)
    events = list(stream(watched, job))
    assert '"state": "succeeded"' in events[-1][1]
    assert len(events) > 2
    again = list(stream(watched, job, **{"Last-Event-ID": events[0][0]}))
    assert [id for id, _ in again] == [id for id, _ in events[1:]]


def test_a_job_that_is_not_there_has_no_stream(watched: Instance) -> None:
    """404, with the connection closed."""
    assert watched.request("GET", "/live/events?job=j_none", headers=log_in(watched)).status == 404


def test_the_address_lies_where_only_the_instances_user_comes(watched: Instance) -> None:
    """The live process trusts nobody for coming by its socket, and others do not come that far."""
    assert (Path(watched.directory) / "var" / "live.sock").stat().st_mode & 0o777 == 0o600
