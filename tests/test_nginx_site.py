"""The site of `webspool init --nginx` under Debian's nginx, in front of a real instance."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping

import pytest

from tests.conditions import wait_until
from tests.conftest import needs_uwsgi
from tests.instances import KEY, Instance, Reply, answer_on, signed_headers
from tests.nginx_house import NAME, Nginx, needs_nginx
from tests.test_live import UPGRADE

MAX_BODY = 26214400
SENDER = "127.0.0.5"
PASSWORD = "a-password-for-the-tests"


class Site:
    """An instance behind its site."""

    def __init__(self, instance: Instance, nginx: Nginx) -> None:
        self.instance, self.nginx = instance, nginx

    def connect(self) -> ssl.SSLSocket:
        bare = socket.create_connection(("127.0.0.1", self.nginx.port), timeout=60, source_address=(SENDER, 0))
        return self.nginx.trust.wrap_socket(bare, server_hostname=NAME)

    def request(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        given = {"Host": NAME, "Content-Length": str(len(body))} | dict(headers or {})
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
        return self.raw("\r\n".join([*lines, "", ""]).encode() + body)

    def raw(self, data: bytes) -> Reply:
        with self.connect() as connection:
            with contextlib.suppress(OSError):  # refused before all was sent: the answer is there
                connection.sendall(data)
            return answer_on(connection)

    def logged(self, **facts: object) -> dict[str, object]:
        """The first line of the access log with these facts, once there is one."""

        def found() -> list[dict[str, object]]:
            lines = [json.loads(line) for line in self.nginx.log.read_text().splitlines()]
            return [line for line in lines if facts.items() <= line.items()]

        return wait_until(found)[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One instance and one nginx for all laws; one proxy is trusted, as init writes it."""
    needs_uwsgi()
    needs_nginx()
    instance = Instance(
        tmp_path_factory.mktemp("instance"),
        WEBSPOOL_TRUSTED_PROXIES="1",
        WEBSPOOL_PASSWORD=PASSWORD,
        WEBSPOOL_SECRET_KEY="s" * 32,
        WEBSPOOL_USER_HEADER="X-Forwarded-User",
        WEBSPOOL_USER_HEADER_FROM="127.0.0.9",
        WEBSPOOL_USER_HEADER_ROLE="viewer",
    )
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), f"127.0.0.1:{instance.port}", MAX_BODY)
    with instance, nginx:
        yield Site(instance, nginx)


def webhook(site: Site, body: bytes, **more: str) -> Reply:
    return site.request("POST", "/hooks/github", body, signed_headers(body, event="ping") | more)


def test_a_webhook_takes_its_way_through_tls_and_proxy(site: Site) -> None:
    """Signature and all; the log has a line of JSON for it."""
    reply = webhook(site, b'{"zen": 1}')
    assert (reply.status, reply.json["status"]) == (202, "accepted")
    assert site.instance.ended(reply.json["jobs"][0])["state"] == "succeeded"
    assert site.logged(path="/hooks/github", status=202)["method"] == "POST"


def test_the_largest_body_passes_and_one_byte_more_does_not(site: Site) -> None:
    """Both limits come from one setting."""
    assert webhook(site, b'"' + b"a" * (MAX_BODY - 2) + b'"').status == 202
    assert webhook(site, b'"' + b"a" * (MAX_BODY - 1) + b'"').status == 413


def test_the_address_of_the_sender_is_what_nginx_saw(site: Site) -> None:
    """What the sender wrote into X-Forwarded-For is not believed."""
    for header in ("X-Forwarded-For", "X_Forwarded_For"):  # to uWSGI both are one variable; nginx drops the second
        reply = webhook(site, b"{}", **{header: "203.0.113.9"})
        told = json.loads(site.instance.command("delivery", reply.json["delivery"], "--json").stdout)
        assert told["remote"] == SENDER


def test_a_socket_of_the_dashboard_passes(site: Site) -> None:
    """Logged in over TLS, with a cookie that only this host's pages hold, and upgraded."""
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"https://{NAME}"}
    answer = site.request("POST", "/dashboard/login", f"password={PASSWORD}".encode(), form)
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert (answer.status, cookie.partition("=")[0]) == (303, "__Host-webspool_session")
    path = "/live/ws/?EIO=4&transport=websocket"
    assert site.request("GET", path, headers=UPGRADE | {"Cookie": cookie}).status == 101
    assert site.request("GET", path, headers=UPGRADE).status == 401


def test_a_key_in_the_address_is_in_no_log(site: Site) -> None:
    """Access logs live long and are read by many."""
    assert site.request("POST", f"/webhook/{KEY}", b"{}", {"Content-Type": "application/json"}).status == 202
    site.logged(path="/webhook/...", status=202)
    assert KEY not in site.nginx.log.read_text()


def test_metrics_are_not_for_the_world(site: Site) -> None:
    """Whatever token comes with it."""
    assert site.request("GET", "/metrics", headers={"Authorization": "Bearer x"}).status == 403


def test_plain_http_goes_to_https(site: Site) -> None:
    """With its method and body: 308."""
    connection = http.client.HTTPConnection("127.0.0.1", site.nginx.plain_port, timeout=20)
    connection.request("POST", "/hooks/github?a=1", b"{}", {"Host": NAME})
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Location")) == (308, f"https://{NAME}/hooks/github?a=1")


HEAD = f"POST /hooks/github HTTP/1.1\r\nHost: {NAME}\r\n"
MALFORMED = {
    "length and chunks at once": (f"{HEAD}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (f"{HEAD}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
    "a length that is no number": (f"{HEAD}Content-Length: three\r\n\r\nabc", 400),
    "headers of 70 KB": (f"{HEAD}X-Long: {'a' * 70_000}\r\n\r\n", 400),
    "a NUL in the path": (f"POST /hooks/git\0hub HTTP/1.1\r\nHost: {NAME}\r\n\r\n", 400),
    "a folded header": (f"{HEAD}X-Folded: a\r\n b\r\nContent-Length: 0\r\n\r\n", 400),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_malformed_does_not_reach_the_instance(site: Site, what: str) -> None:
    """nginx refuses it; uWSGI's parser would take some of it."""
    data, status = MALFORMED[what]
    assert site.raw(data.encode()).status == status


def test_a_body_that_drips_holds_no_worker(site: Site) -> None:
    """More slow bodies than there are workers, and webhooks beside them are answered."""
    slow = [site.connect() for _ in range(8)]
    try:
        for connection in slow:
            connection.sendall(f"{HEAD}Content-Length: 1000\r\n\r\nx".encode())
        assert webhook(site, b"{}").status == 202
    finally:
        for connection in slow:
            connection.close()


# ── a proxy that tells nothing ──────────────────────────────────────────────────────────────────────────────────


def plain(port: int, method: str, path: str, body: str = "", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, {name.replace("__", "-"): value for name, value in headers.items()})
    return connection.getresponse()


NEAR = (
    {},
    {"X__Forwarded__For": "127.0.0.1"},
    {"X__Real__IP": "127.0.0.1"},
    {"Forwarded": "for=127.0.0.1"},
    {"Host": "localhost"},
    {"X__Forwarded__Proto": "https"},
    {"X__Forwarded__User": "operator"},
    {"X_Forwarded_User": "operator"},
)


@pytest.mark.parametrize("headers", NEAR, ids=str)
def test_behind_a_bare_proxy_pass_everything_asks_for_a_login(site: Site, headers: dict[str, str]) -> None:
    """To the instance every stranger comes from 127.0.0.1 then: where one seems to come from opens nothing."""
    for path, status in (
        ("/dashboard/", 302),
        ("/dashboard/jobs", 302),
        ("/dashboard/api/status", 401),
        ("/live/events?job=j_0", 401),
        ("/metrics", 401),
    ):
        assert plain(site.nginx.bare_port, "GET", path, **headers).status == status, path


def test_behind_a_bare_proxy_pass_no_password_is_taken_over_plain_http(site: Site) -> None:
    """Though the proxy says that the page is of 127.0.0.1: the browser tells where it has it from, and the line to type
    names that machine. On the machine itself one may log in."""
    form = f"name=operator&password={PASSWORD}"
    kind = {"Content__Type": "application/x-www-form-urlencoded"}
    port = site.nginx.bare_port
    answer = plain(port, "POST", "/dashboard/login", form, Origin="http://hooks.example.com:8080", **kind)
    page = answer.read().decode()
    assert answer.status == 403
    assert answer.headers["Set-Cookie"] is None
    assert f"ssh -L {site.instance.port}:127.0.0.1:{site.instance.port}" in page
    assert "@hooks.example.com" in page
    near = plain(port, "POST", "/dashboard/login", form, Origin=f"http://127.0.0.1:{site.instance.port}", **kind)
    assert near.status == 303


def test_whom_a_proxy_names_is_believed_from_its_own_address_only(site: Site) -> None:
    """Its own header wins over what a stranger sends, with dashes or underscores; elsewhere nobody may name anybody."""
    for headers in ({}, {"X__Forwarded__User": "operator"}, {"X_Forwarded_User": "operator"}):
        answer = plain(site.nginx.login_port, "GET", "/dashboard/", **headers)
        assert answer.status == 200
        assert "<span>mina</span>" in answer.read().decode()
    held = answer.headers["Set-Cookie"].partition(";")[0]
    assert plain(site.nginx.login_port, "GET", "/live/events?job=j_0", Cookie=held).status == 404  # let in: no such job
    assert plain(site.nginx.login_port, "GET", "/live/events?job=j_0").status == 401
    assert plain(site.instance.port, "GET", "/dashboard/", X__Forwarded__User="mina", Cookie=held).status == 302
    twice = plain(site.instance.port, "GET", "/dashboard/", X__Forwarded__User="mina", X_Forwarded_User="mina")
    assert twice.status == 302
