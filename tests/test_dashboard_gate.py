"""Who comes into the dashboard: nobody without a session, for as long as it lasts, and nobody acts from elsewhere."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from flask import Flask, Request, session
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import EnvironBuilder

from tests.visitors import PASSWORD, Visited, visited
from webspool.config import load
from webspool.dashboard import gate
from webspool.dashboard.gate import Sessions
from webspool.errors import ConfigurationError
from webspool.ledger import accounts
from webspool.ledger.accounts import SESSION_SECONDS, TRIES_OF_ADDRESS, TRIES_OF_ALL, TRIES_OF_ONE
from webspool.live.server import Live
from webspool.passwords import hashed

__all__ = ["visited"]

OPEN = {"static", "entrance.show", "entrance.enter", "entrance.language"}


def site_of(house: Visited) -> Flask:
    found: Flask = house.app.wsgi_app._site.site  # type: ignore[attr-defined]
    return found


def test_nothing_is_shown_or_done_without_a_login(visited: Visited) -> None:
    """Every route but the login's leads to it, or says 401 to a program; whatever the address it seems to come from."""
    site = site_of(visited)
    visitor = visited.visitor()
    seen = 0
    with site.test_request_context():
        adapter = site.url_map.bind("localhost")
        for rule in site.url_map.iter_rules():
            if rule.endpoint in OPEN:
                continue
            path = adapter.build(
                rule.endpoint, {name: "x" for name in rule.arguments}, method=next(iter(rule.methods or ()))
            )
            for method in (rule.methods or set()) - {"OPTIONS"}:
                answer = visitor.client.open(
                    f"/dashboard{path}", method=method, headers={"X-Forwarded-For": "127.0.0.1"}
                )
                if path.startswith("/api/"):
                    assert answer.status_code == 401, (method, path)
                else:
                    assert answer.status_code == 302, (method, path)
                    assert answer.headers["Location"].startswith("/dashboard/login?to="), (method, path)
                seen += 1
    assert seen > 10
    assert visitor.get("/no/such/page").status_code == 302


def test_a_login_leads_to_where_the_visitor_was_going(visited: Visited) -> None:
    """Only to pages of ours: an address of somebody else's leads to the overview."""
    visitor = visited.visitor()
    asked = visitor.get("/jobs?state=dead&task=deploy")
    assert asked.headers["Location"] == "/dashboard/login?to=/dashboard/jobs?state%3Ddead%26task%3Ddeploy"
    to = "/dashboard/jobs?state=dead&task=deploy"
    assert visitor.log_in(to=to).headers["Location"] == to
    for elsewhere in (
        "https://evil.example/",
        "//evil.example/dashboard/",
        "/dashboard\\@evil",
        "/other",
        "javascript:x",
    ):
        assert visited.visitor().log_in(to=elsewhere).headers["Location"] == "/dashboard/"


@pytest.mark.parametrize(
    ("name", "password"),
    [("operator", "no"), ("operator", ""), ("nobody", PASSWORD), ("x" * 99, PASSWORD), ("operator", "x" * 9999)],
)
def test_a_wrong_name_or_password_opens_nothing(visited: Visited, name: str, password: str) -> None:
    """One sentence for all of them, which does not say what was wrong."""
    visitor = visited.visitor()
    answer = visitor.log_in(password, name)
    assert answer.status_code == 401
    assert "That name and password do not fit." in answer.text
    assert "Set-Cookie" not in answer.headers
    assert visitor.get().status_code == 302


def test_a_password_may_be_kept_as_a_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`scrypt:...`, as webspool user add and werkzeug write it."""
    monkeypatch.setenv("WEBSPOOL_INSTANCE", str(tmp_path))
    house = Visited(tmp_path, WEBSPOOL_PASSWORD=hashed("another"))
    assert house.visitor().log_in(hashed("another")).status_code == 401
    assert house.visitor().log_in("another").status_code == 303


def test_without_a_password_or_a_key_the_dashboard_is_closed_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty password opens nothing."""
    for missing in ("WEBSPOOL_PASSWORD", "WEBSPOOL_SECRET_KEY"):
        directory = tmp_path / missing
        directory.mkdir()
        monkeypatch.setenv("WEBSPOOL_INSTANCE", str(directory))
        visitor = Visited(directory, **{missing: ""}).visitor()
        answer = visitor.get("/login")
        assert answer.status_code == 503
        assert missing in answer.text
        assert 'type="password"' not in answer.text
        assert visitor.log_in("").status_code == 503


def test_tries_to_log_in_are_counted_and_held_up(visited: Visited) -> None:
    """After five wrong ones the right one has to wait too; other addresses only when all together try too often."""
    visitor = visited.visitor()
    for _ in range(TRIES_OF_ONE):
        assert visitor.log_in("no").status_code == 401
    held = visitor.log_in()
    assert held.status_code == 429
    assert 0 < int(held.headers["Retry-After"]) <= 60
    other = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}
    assert visited.visitor().post("/login", {"password": PASSWORD}, **other).status_code == 303
    for number in range(TRIES_OF_ALL):
        visited.call("try_log_in", {"who": f"{number} operator", "address": f"{number}"})
    assert visited.visitor().post("/login", {"password": PASSWORD}, **other).status_code == 429
    visited.query("UPDATE login_try SET since = since - 61")
    assert visitor.log_in().status_code == 303


def test_whether_there_is_a_user_of_that_name_is_not_told_by_the_waits(visited: Visited) -> None:
    """Known names and others wait alike, and one address does not use up what is left for everybody."""

    def tried(name: str, address: str) -> list[int]:
        form, base = {"name": name, "password": "no"}, {"REMOTE_ADDR": address}
        visitor = visited.visitor()
        return [visitor.post("/login", form, environ_base=base).status_code for _ in range(TRIES_OF_ONE + 1)]

    assert tried("operator", "192.0.2.1") == tried("nobody", "192.0.2.2") == [401] * TRIES_OF_ONE + [429]
    statuses = [status for name in ("operator", "a", "b") for status in tried(name, "192.0.2.3")]
    assert statuses.count(401) == TRIES_OF_ADDRESS
    assert set(tried("c", "192.0.2.3")) == {429}
    other = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}
    assert visited.visitor().post("/login", {"password": PASSWORD}, **other).status_code == 303


def test_only_wrong_tries_count(visited: Visited) -> None:
    """Whoever may come in holds up nobody else at the same address; and does not win back what others used up."""
    for _ in range(TRIES_OF_ADDRESS + 1):
        assert visited.visitor().log_in().status_code == 303
    for name in ("operator", "a"):
        for _ in range(TRIES_OF_ONE):
            assert visited.visitor().log_in("no", name).status_code == 401
    assert visited.visitor().log_in().status_code == 429
    assert visited.query("SELECT tries FROM login_try WHERE name = '*'") == [(2 * TRIES_OF_ONE,)]


def test_behind_a_trusted_proxy_tries_are_counted_by_the_address_that_it_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One stranger holds up nobody else, and gets no fresh tries by writing addresses into the header; one /64 counts
    as one."""
    monkeypatch.setenv("WEBSPOOL_INSTANCE", str(tmp_path))
    house = Visited(tmp_path, WEBSPOOL_TRUSTED_PROXIES="1")

    def tried(password: str, forwarded: str) -> int:
        form = {"name": "operator", "password": password}
        return house.visitor().post("/login", form, headers={"X-Forwarded-For": forwarded}).status_code

    for number in range(TRIES_OF_ONE):
        assert tried("no", f"198.51.100.{number}, 192.0.2.66") == 401
    assert tried("no", "198.51.100.99, 192.0.2.66") == 429
    for number in range(TRIES_OF_ONE):
        assert tried("no", f"2001:db8::{number}") == 401
    assert tried("no", "2001:db8::99") == 429
    assert tried(PASSWORD, "192.0.2.7") == 303
    assert house.query("SELECT json_extract(arguments, '$.remote') FROM action WHERE verb = 'log_in'") == [
        ("192.0.2.7",)
    ]


def test_without_trusted_proxies_nobody_writes_the_address_that_is_counted(visited: Visited) -> None:
    """What stands in X-Forwarded-For is anybody's word."""
    visitor = visited.visitor()
    for number in range(TRIES_OF_ONE):
        form = {"name": "operator", "password": "no"}
        answer = visitor.post("/login", form, headers={"X-Forwarded-For": f"192.0.2.{number}"})
        assert answer.status_code == 401
    assert visitor.log_in().status_code == 429


def test_logging_out_ends_the_session_wherever_its_cookie_is(visited: Visited) -> None:
    """The ledger forgets it: a copy of the cookie opens nothing."""
    visitor, thief = visited.operator(), visited.visitor()
    cookie = visitor.client.get_cookie("webspool_session")
    assert cookie is not None
    thief.client.set_cookie("webspool_session", cookie.value)
    assert thief.get().status_code == 200
    assert visitor.post("/logout").status_code == 303
    assert visitor.get().status_code == 302
    assert thief.get().status_code == 302


def test_a_session_ends_when_it_is_not_used_and_at_the_latest_after_a_week(
    visited: Visited, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Being used prolongs it; looking by itself, as an open page does, is not being used."""
    visitor, real = visited.operator(), time.time
    begun = visitor.client.get_cookie("webspool_session")
    assert begun is not None
    monkeypatch.setattr(time, "time", lambda: real() + gate.SIGN_AGAIN_SECONDS + 10)
    assert "Set-Cookie" not in visitor.get("/", headers={"X-Webspool-Refresh": "1"}).headers
    assert "Set-Cookie" in visitor.get().headers
    monkeypatch.setattr(time, "time", lambda: real() + gate.IDLE_SECONDS + 60)
    assert visitor.get().status_code == 200
    visitor.client.set_cookie("webspool_session", begun.value)
    assert visitor.get().status_code == 302
    monkeypatch.setattr(time, "time", real)
    assert visitor.get().status_code == 200
    visited.query(f"UPDATE session SET begun_at = begun_at - {SESSION_SECONDS}")
    assert visitor.get().status_code == 302


def test_a_forged_cookie_opens_nothing(visited: Visited) -> None:
    """Neither one signed with another key, nor one whose session there is none of, nor nonsense."""
    visitor = visited.operator()
    cookie = visitor.client.get_cookie("webspool_session")
    assert cookie is not None
    for value in (cookie.value[:-2], f"x{cookie.value}", "", "a.b.c", "\N{SNOWMAN}"):
        thief = visited.visitor()
        thief.client.set_cookie("webspool_session", value)
        assert thief.get().status_code == 302


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"Origin": "http://localhost"}, 303),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://elsewhere"}, 303),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_an_action_comes_from_a_page_of_ours(visited: Visited, headers: dict[str, str], status: int) -> None:
    """A page of another site that sends our form is refused by what the browser says of it."""
    job, visitor = visited.dead(), visited.operator()
    answer = visitor.post("/jobs/act", {"verb": "retry", "id": job}, headers=headers)
    assert answer.status_code == status
    assert (visited.state(job) == "queued") == (status == 303)


@pytest.mark.parametrize("csrf", ["", "0" * 64, "\N{SNOWMAN}"])
def test_an_action_shows_the_word_of_its_session(visited: Visited, csrf: str) -> None:
    """Without it, or with another session's, nothing is done."""
    job, visitor = visited.dead(), visited.operator()
    other = visited.operator().csrf
    for word in (csrf, other):
        assert visitor.post("/jobs/act", {"verb": "retry", "id": job}, csrf=word).status_code == 403
    assert visited.state(job) == "dead"


def test_over_plain_http_beyond_this_machine_there_is_no_form_but_a_line_to_type(visited: Visited) -> None:
    """A password typed in there could be read on the way: it is not even looked at."""
    visitor = visited.visitor("http://hooks.example.com:8000")
    page = visitor.get("/login")
    assert page.status_code == 403
    assert 'type="password"' not in page.text
    assert "ssh -L 8000:127.0.0.1:8000" in page.text
    assert "@hooks.example.com" in page.text
    assert visitor.log_in().status_code == 403
    for near in ("http://127.0.0.1:8000", "http://[::1]:8000", "http://localhost"):
        assert visited.visitor(near).log_in().status_code == 303


def test_over_https_the_cookie_is_bound_to_the_host(visited: Visited) -> None:
    """__Host-, Secure, HttpOnly, SameSite; over plain http on this machine a plain name, which https does not take."""
    visitor = visited.visitor("https://hooks.example.com")
    cookie = visitor.log_in().headers["Set-Cookie"]
    assert cookie.startswith("__Host-webspool_session=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))
    assert visitor.get().status_code == 200
    assert "Strict-Transport-Security" in visitor.get().headers
    near = visited.visitor().log_in().headers["Set-Cookie"]
    assert near.startswith("webspool_session=")
    assert "Secure" not in near.split("; ")


def test_every_answer_forbids_what_no_page_needs(visited: Visited) -> None:
    """Pages, faults, the login, JSON: no foreign script, no frame, no guess at kinds, nothing kept on the way."""
    visitor = visited.operator()
    for path in ("/", "/login", "/jobs", "/no-such-page", "/api/jobs/j_1/output"):
        headers = visitor.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"


def test_a_users_own_app_stays_as_it_is(visited: Visited) -> None:
    """Its secret key, sessions, routes, error handlers and hooks are its own, and none reaches the dashboard."""
    app = visited.app
    rules = {rule.rule for rule in app.url_map.iter_rules()}
    assert not any(rule.startswith("/dashboard") for rule in rules)
    assert app.secret_key is None
    app.secret_key = "the user's"
    app.register_error_handler(404, lambda _: ("mine", 418))
    app.before_request(lambda: ("closed", 403) if "shut" in session else None)

    @app.get("/remember")
    def remember() -> str:
        session["shut"] = True
        return "remembered"

    visitor = visited.operator()
    assert visitor.client.get("/nothing").status_code == 418
    assert visitor.client.get("/remember").status_code == 200
    assert visitor.client.get("/healthz").status_code == 403
    assert visitor.get().status_code == 200
    assert visitor.get("/nothing").status_code == 404


def test_a_viewer_looks_and_does_not_act(visited: Visited) -> None:
    """Once there is a user, the password of the configuration opens nothing any more."""
    job, before = visited.dead(), visited.operator()
    visited.call("put_user", {"name": "mina", "role": "viewer", "password": hashed("m"), "actor": "test"})
    assert before.get().status_code == 302
    assert visited.visitor().log_in().status_code == 401
    viewer = visited.visitor()
    assert viewer.log_in("m", "mina").status_code == 303
    assert "Retry" not in viewer.page(f"/jobs/{job}")
    assert viewer.post("/jobs/act", {"verb": "retry", "id": job}).status_code == 403
    assert visited.state(job) == "dead"
    visited.call("remove_user", {"name": "mina", "actor": "test"})
    assert viewer.get().status_code == 302


def test_what_the_ledger_keeps_of_a_session_does_not_open_it(visited: Visited) -> None:
    """Who reads the ledger or a backup of it cannot log in with what is there."""
    visited.operator()
    ((kept,),) = visited.query("SELECT id FROM session")
    found = accounts.visitor_of_session(visited.config, kept, time.time())
    assert found is not None
    thief = visited.visitor()
    thief.client.set_cookie("webspool_session", str(kept))
    assert thief.get().status_code == 302


# ── a proxy that logs people in ─────────────────────────────────────────────────────────────────────────────────

PROXY = {"REMOTE_ADDR": "10.0.0.5"}
BY_PROXY = {"WEBSPOOL_USER_HEADER": "X-Forwarded-User", "WEBSPOOL_USER_HEADER_FROM": "10.0.0.0/29 unix"}


@pytest.fixture
def proxied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Visited:
    monkeypatch.setenv("WEBSPOOL_INSTANCE", str(tmp_path))
    return Visited(tmp_path, **BY_PROXY, WEBSPOOL_USER_HEADER_ROLE="viewer")


def seen(house: Visited, name: str | None, path: str = "/", **environ: str) -> int:
    """What somebody gets whom the header names, at a connection from the proxy unless said otherwise."""
    headers = {} if name is None else {"X-Forwarded-User": name}
    return house.visitor().get(path, headers=headers, environ_base=PROXY | environ).status_code


def test_whom_the_proxy_names_is_in_and_nobody_else(proxied: Visited) -> None:
    """Only at a connection from its own address; what other headers say of addresses does not count."""
    assert seen(proxied, "mina@example.com") == 200
    assert seen(proxied, "mina", REMOTE_ADDR="0.0.0.0") == 200  # as uWSGI calls the peer on a unix socket
    assert seen(proxied, None) == 302
    assert seen(proxied, "mina", REMOTE_ADDR="127.0.0.1") == 302
    assert seen(proxied, "mina", REMOTE_ADDR="10.0.0.8") == 302
    assert seen(proxied, "mina", REMOTE_ADDR="203.0.113.1", HTTP_X_FORWARDED_FOR="10.0.0.5") == 302
    assert seen(proxied, "mina", "/login") == 302


def test_an_address_that_middleware_of_the_users_has_written_is_not_the_proxys(proxied: Visited) -> None:
    """ProxyFix puts in place of the peer's address what a header tells; the peer's own is the one that counts."""
    proxied.app.wsgi_app = ProxyFix(proxied.app.wsgi_app)  # type: ignore[method-assign]
    assert seen(proxied, "mina", REMOTE_ADDR="203.0.113.1", HTTP_X_FORWARDED_FOR="10.0.0.5") == 302
    assert seen(proxied, "mina", HTTP_X_FORWARDED_FOR="203.0.113.1") == 200


@pytest.mark.parametrize("name", ["", "mina, operator", "operator,mina", "a b", "x" * 65, "token:grafana", "mina\n"])
def test_a_name_that_is_none_or_comes_twice_is_not_believed(proxied: Visited, name: str) -> None:
    """uWSGI joins X-Forwarded-User and X_Forwarded_User by a comma: a stranger's one takes the proxy's along."""
    environ = {"HTTP_X_FORWARDED_USER": name}
    assert proxied.visitor().get("/", environ_base=PROXY, environ_overrides=environ).status_code == 302


def test_whom_the_proxy_names_watches_live_by_a_pass_that_opens_nothing_else(
    proxied: Visited, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The live process does not see the proxy; a pass is good for ten minutes, and each page renews it."""
    visitor, live, real = proxied.visitor(), Live(proxied.config, "threading"), time.time
    named = {"headers": {"X-Forwarded-User": "mina"}, "environ_base": PROXY}
    cookie = visitor.get("/", **named).headers["Set-Cookie"]
    assert cookie.startswith("webspool_pass=mina.")
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"} <= set(cookie.split("; "))
    pair = cookie.partition(";")[0]

    def watches(shown: str) -> bool:
        asked = Request(EnvironBuilder("/live/events", headers={"Cookie": shown}).get_environ())
        return live.visitor(asked) is not None

    assert watches(pair)
    assert not watches(pair.replace("mina", "jun"))
    assert visitor.get("/").status_code == 302
    assert visitor.get("/api/status").status_code == 401
    assert "Set-Cookie" not in visitor.get("/", **named).headers
    monkeypatch.setattr(time, "time", lambda: real() + gate.SIGN_AGAIN_SECONDS + 10)
    assert "Set-Cookie" in visitor.get("/", **named).headers
    monkeypatch.setattr(time, "time", lambda: real() + gate.PASS_SECONDS + 10)
    assert not watches(pair)


def test_without_the_setting_the_header_says_nothing(visited: Visited) -> None:
    """As it is with a new instance."""
    assert seen(visited, "operator") == 302


def test_whom_the_proxy_names_has_the_users_role_or_the_given_one(proxied: Visited) -> None:
    """Acting asks for the word of the page, and one of another name does not fit."""
    job = proxied.dead()
    proxied.call("put_user", {"name": "mina", "role": "operator", "password": hashed("m"), "actor": "test"})

    def acts(name: str, csrf: str, **more: str) -> int:
        form, headers = {"verb": "retry", "id": job}, {"X-Forwarded-User": name} | more
        return proxied.visitor().post("/jobs/act", form, csrf=csrf, headers=headers, environ_base=PROXY).status_code

    page = proxied.visitor().page(f"/jobs/{job}", headers={"X-Forwarded-User": "mina"}, environ_base=PROXY)
    word = page.partition('name="csrf" value="')[2][:64]
    other = Sessions(proxied.config).csrf(accounts.Visitor("jun", "viewer", proxied=True))
    assert acts("jun", other) == 403
    assert acts("mina", "") == acts("mina", other) == 403
    assert acts("mina", word, Origin="https://evil.example") == 403
    assert proxied.state(job) == "dead"
    assert acts("mina", word) == 303
    assert proxied.query("SELECT actor FROM action WHERE verb = 'retry'") == [("dashboard:mina",)]
    assert "Log out" not in page


def test_without_a_role_for_others_only_users_come_in_by_the_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of the configuration's own operator is none: nobody added it."""
    monkeypatch.setenv("WEBSPOOL_INSTANCE", str(tmp_path))
    house = Visited(tmp_path, **BY_PROXY)
    assert seen(house, "operator") == seen(house, "mina") == 302
    house.call("put_user", {"name": "mina", "role": "viewer", "password": hashed("m"), "actor": "test"})
    assert seen(house, "mina") == 200
    assert seen(house, "jun") == 302


@pytest.mark.parametrize(("peers", "told"), [("127.0.0.0/8", 1), ("::1", 1), ("10.0.0.5 unix", 0)])
def test_a_proxy_that_shares_its_address_with_everything_here_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peers: str, told: int
) -> None:
    """`webspool check -v` says what that means."""
    monkeypatch.setenv("WEBSPOOL_INSTANCE", str(tmp_path))
    house = Visited(tmp_path, **BY_PROXY | {"WEBSPOOL_USER_HEADER_FROM": peers})
    assert sum("every program and every tunnel here" in hint for hint in house.hooks.hints()) == told


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"WEBSPOOL_USER_HEADER": "X-User"}, "believed from nobody"),
        ({"WEBSPOOL_USER_HEADER": "X_User", "WEBSPOOL_USER_HEADER_FROM": "unix"}, "letters, digits and dashes"),
        ({"WEBSPOOL_USER_HEADER": "X-User", "WEBSPOOL_USER_HEADER_FROM": "proxy"}, "no address or network"),
        ({"WEBSPOOL_USER_HEADER_ROLE": "admin"}, "viewer or operator"),
    ],
)
def test_a_half_set_proxy_is_told_at_the_start(tmp_path: Path, settings: dict[str, str], why: str) -> None:
    """Rather than a header that is believed from everywhere, or from nowhere without a word."""
    with pytest.raises(ConfigurationError, match=why):
        load(tmp_path, settings)


def test_a_form_of_an_expired_session_leads_to_the_login_and_back_to_its_page(visited: Visited) -> None:
    """What it was to do is not done: the page is shown again, with what is true by then."""
    job, visitor = visited.dead(), visited.visitor()
    form = {"verb": "retry", "id": job, "back": "/dashboard/jobs?state=dead"}
    sent = visitor.post("/jobs/act", form)
    assert sent.headers["Location"] == "/dashboard/login?to=/dashboard/jobs?state%3Ddead"
    assert visitor.log_in(to="/dashboard/jobs?state=dead").headers["Location"] == "/dashboard/jobs?state=dead"
    assert visited.state(job) == "dead"
    elsewhere = visited.visitor().post("/jobs/act", form | {"back": "https://evil.example/"})
    assert visited.visitor().log_in(to="https://evil.example/").headers["Location"] == "/dashboard/"
    assert elsewhere.status_code == 302
