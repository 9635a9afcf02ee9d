"""Users and tokens by the command line: who may come in, who is out at once, and what is kept of it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.visitors import PASSWORD, Visited, visited
from webspool.ledger import accounts
from webspool.ledger.operations import Operation
from webspool.passwords import digest
from webspool.records import new_id

__all__ = ["visited"]

WEBSPOOL = str(Path(sys.executable).parent / "webspool")


def add(house: Visited, name: str, *more: str, password: str = "of-the-morning") -> None:
    result = house.webspool("user", "add", name, *more, input=f"{password}\n")
    assert result.exit_code == 0, result.stderr


def test_the_first_user_comes_in_and_the_configurations_password_no_longer(visited: Visited) -> None:
    """Who was logged in by it is out; and the person is told so."""
    before = visited.operator()
    result = visited.webspool("user", "add", "mina", input="of-the-morning\n")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "mina may log in as operator." in result.stderr
    assert "WEBSPOOL_PASSWORD opens nothing any more" in result.stderr
    assert before.get().status_code == 302
    assert visited.visitor().log_in().status_code == 401
    mina = visited.visitor()
    assert mina.log_in("of-the-morning", "mina").status_code == 303
    assert mina.post("/jobs/act", {"verb": "retry", "id": visited.dead()}).status_code == 303


def test_a_viewer_alone_leaves_nobody_to_act_which_is_told(visited: Visited) -> None:
    """As long as it is so."""
    result = visited.webspool("user", "add", "jun", "--role", "viewer", input="of-the-evening\n")
    assert "Nobody may act in the dashboard now" in result.stderr
    assert "Nobody may act" not in visited.webspool("user", "add", "mina", input="of-the-morning\n").stderr
    assert "Nobody may act" in visited.webspool("user", "remove", "mina").stderr


def test_a_removed_user_is_out_at_once_with_every_token(visited: Visited) -> None:
    """Session, token, name: all at once, and other people's stay."""
    add(visited, "mina")
    add(visited, "jun", password="of-the-evening")
    mina, jun = visited.visitor(), visited.visitor()
    mina.log_in("of-the-morning", "mina")
    jun.log_in("of-the-evening", "jun")
    hers = visited.webspool("token", "add", "deployer", "--role", "operator", "--user", "mina").stdout.strip()
    ours = visited.webspool("token", "add", "grafana").stdout.strip()
    assert asked(visited, hers) == asked(visited, ours) == 404
    result = visited.webspool("user", "remove", "mina")
    assert "mina is removed and logged out, and 1 tokens open nothing any more." in result.stderr
    assert mina.get().status_code == 302
    assert visited.visitor().log_in("of-the-morning", "mina").status_code == 401
    assert asked(visited, hers) == 401
    assert asked(visited, ours) == 404
    assert jun.get().status_code == 200


def asked(house: Visited, token: str) -> int:
    """What the API answers to that token about a job that is not there."""
    headers = {"Authorization": f"Bearer {token}"}
    return house.visitor().get("/api/jobs/j_0/output", headers=headers).status_code


def test_another_password_ends_the_sessions_and_keeps_the_role(visited: Visited) -> None:
    """Whoever knew the old one is out."""
    add(visited, "jun", "--role", "viewer")
    visitor = visited.visitor()
    visitor.log_in("of-the-morning", "jun")
    assert visited.webspool("user", "password", "jun", input="of-the-night\n").exit_code == 0
    assert visitor.get().status_code == 302
    assert visited.visitor().log_in("of-the-morning", "jun").status_code == 401
    assert visited.visitor().log_in("of-the-night", "jun").status_code == 303
    assert visited.json("user", "list")[0]["role"] == "viewer"


def test_the_last_user_removed_opens_the_configurations_password_again(visited: Visited) -> None:
    """And nobody is locked out."""
    add(visited, "mina")
    assert "WEBSPOOL_PASSWORD opens the dashboard again" in visited.webspool("user", "remove", "mina").stderr
    assert visited.visitor().log_in(PASSWORD).status_code == 303


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["user", "add", "mina"], "There is a user mina already"),
        (["user", "password", "nobody"], "There is no user nobody"),
        (["user", "remove", "nobody"], "There is no user nobody"),
        (["token", "add", "grafana"], "There is a token grafana already"),
        (["token", "add", "his", "--user", "nobody"], "There is no user nobody"),
        (["token", "add", "his", "--user", "jun", "--role", "operator"], "jun is a viewer"),
        (["token", "remove", "nothing"], "There is no token nothing"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_told_and_not_done(visited: Visited, words: list[str], why: str) -> None:
    """With exit code 1, and nothing of it in the audit log."""
    for name, role in (("mina", "operator"), ("jun", "viewer")):
        visited.call("put_user", {"name": name, "role": role, "password": "x", "actor": "test"})
    visited.webspool("token", "add", "grafana")
    before = accounts.users(visited.config), accounts.tokens(visited.config)
    result = visited.webspool(*words, input="of-the-night\n")
    assert result.exit_code == 1
    assert why in result.stderr
    assert (accounts.users(visited.config), accounts.tokens(visited.config)) == before


@pytest.mark.parametrize("name", ["", "a b", "token:x", "x" * 65, "a\x1b", "dashboard:mina"])
def test_a_name_is_one_that_the_audit_log_cannot_mistake(visited: Visited, name: str) -> None:
    """A user called token:x would act under a token's name."""
    assert visited.webspool("user", "add", name, input="of-the-morning\n").exit_code == 2
    assert visited.json("user", "list") == []


@pytest.mark.parametrize("given", ["", "\n", "short\n", "x" * 1025 + "\n"])
def test_a_password_is_neither_empty_nor_short_nor_endless(visited: Visited, given: str) -> None:
    """The same bounds as at the login."""
    result = visited.webspool("user", "add", "mina", input=given)
    assert result.exit_code == 2
    assert "a password has 8 to 1024 letters" in result.stderr
    assert visited.json("user", "list") == []


def test_what_is_kept_opens_nothing_and_is_in_the_audit_log(visited: Visited) -> None:
    """Neither password nor token stands anywhere in the ledger; who did it does."""
    add(visited, "mina")
    token = visited.webspool("token", "add", "grafana").stdout.strip()
    visited.webspool("token", "remove", "grafana")
    visited.webspool("user", "remove", "mina")
    assert token.startswith("wsp_")
    kept = b"".join(path.read_bytes() for path in visited.config.var.glob("ledger.db*"))
    assert b"of-the-morning" not in kept
    assert token.encode() not in kept
    told = visited.query("SELECT verb, json_extract(arguments, '$.name'), actor FROM action ORDER BY id")
    assert [row[:2] for row in told] == [
        ("put_user", "mina"),
        ("put_token", "grafana"),
        ("remove_token", "grafana"),
        ("remove_user", "mina"),
    ]
    assert all(row[2] not in ("", "unknown") for row in told)


def test_tokens_and_users_are_listed_without_what_opens(visited: Visited) -> None:
    """Names, roles, since when."""
    add(visited, "mina")
    visited.webspool("token", "add", "deployer", "--role", "operator", "--user", "mina")
    (user,) = visited.json("user", "list")
    (token,) = visited.json("token", "list")
    assert {key: user[key] for key in user if key != "created_at"} == {"name": "mina", "role": "operator"}
    assert {key: token[key] for key in token if key != "created_at"} == {
        "name": "deployer",
        "role": "operator",
        "user": "mina",
    }
    assert "deployer  operator  mina" in visited.webspool("token", "list").stdout


def test_a_change_that_is_told_twice_is_done_once(visited: Visited) -> None:
    """As when the keeper's answer was lost and the caller did it directly."""
    made = {"name": "grafana", "digest": digest("t"), "role": "viewer", "user": None, "actor": "test"}
    added = {"name": "mina", "role": "viewer", "password": "x", "fresh": True, "actor": "test"}
    for verb, given in (("put_token", made), ("put_user", added), ("remove_user", {"name": "mina", "actor": "test"})):
        operation = Operation(new_id("x"), verb, given)
        first = visited.client.call(operation).values
        assert first["done"] is True
        assert visited.client.call(operation).values == first


def test_on_a_terminal_the_password_is_asked_for_twice_and_not_shown(visited: Visited) -> None:
    """Two that differ are asked for again."""
    leader, follower = pty.openpty()
    command = [WEBSPOOL, "--instance", str(visited.directory), "user", "add", "mina"]
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, start_new_session=True)
    os.close(follower)
    seen = ""

    def read_until(text: str) -> None:
        nonlocal seen
        while text not in seen:
            seen += os.read(leader, 4096).decode()
        seen = seen.partition(text)[2]

    for line in ("of-the-morning", "another-one"):
        read_until("Password: " if line == "of-the-morning" else "The same again: ")
        os.write(leader, f"{line}\n".encode())
    read_until("do not match")
    read_until("Password: ")
    os.write(leader, b"of-the-night\n")
    read_until("The same again: ")
    os.write(leader, b"of-the-night\n")
    read_until("mina may log in as operator.")
    assert "of-the-night" not in seen
    assert process.wait(20) == 0
    os.close(leader)
    assert visited.visitor().log_in("of-the-night", "mina").status_code == 303


def test_without_a_ledger_nothing_is_asked(tmp_path: Path) -> None:
    """What cannot be kept is not typed in."""
    (tmp_path / "uwsgi.ini").touch()
    command = [WEBSPOOL, "--instance", str(tmp_path), "user", "add", "mina"]
    result = subprocess.run(command, input="of-the-morning\n", capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "There is no ledger yet" in result.stderr
    assert json.dumps(sorted(path.name for path in tmp_path.iterdir())) == '["uwsgi.ini"]'
