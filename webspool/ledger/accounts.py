"""Who may see and steer: users, who is logged in, tokens of programs, and how often somebody tried to log in."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from webspool.config import Config
from webspool.ledger.actions import recorded
from webspool.ledger.database import Transaction
from webspool.ledger.operations import Answer, Operation
from webspool.ledger.reader import Reader, read, rfc3339
from webspool.settings import ROLES

OPERATOR = "operator"
LONGEST_NAME, LONGEST_PASSWORD = 64, 1024
NAME = re.compile(rf"[\w.@+-]{{1,{LONGEST_NAME}}}")
SESSION_SECONDS = 7 * 86400.0
SESSIONS_OF_A_USER = 20
TRY_SECONDS = 60.0
TRIES_OF_ONE = 5
TRIES_OF_ADDRESS = 10
TRIES_OF_ALL = 60
EVERYBODY = "*"


# ── verbs ───────────────────────────────────────────────────────────────────────────────────────────────────────


def try_log_in(tx: Transaction, operation: Operation) -> Answer:
    """Count a try, or say how many seconds to wait (`wait_seconds`) before the next is looked at.

    `who` is a name at an address, whether or not there is such a user: else the waits would tell. `address` bounds
    what one of them may try in all, so that nobody's guesses use up what is left for everybody.
    """
    given = operation.arguments
    limits = {EVERYBODY: TRIES_OF_ALL, given["address"]: TRIES_OF_ADDRESS, given["who"]: TRIES_OF_ONE}
    tx.run("delete_old_login_tries", before=tx.now - TRY_SECONDS)
    for name, most in limits.items():
        row = tx.one("login_tries", name=name)
        if row and row[0] >= most:
            return Answer({"wait_seconds": math.ceil(max(row[1] + TRY_SECONDS - tx.now, 1.0))})
    for name in limits:
        tx.run("count_login_try", name=name, now=tx.now)
    return Answer({"wait_seconds": 0})


def log_in(tx: Transaction, operation: Operation) -> Answer:
    """A new session; old ones, and those over twenty of one user, end. Its try was none: only wrong ones count."""
    given = operation.arguments
    tx.run("delete_login_try", name=given["who"])
    session = {name: given[name] for name in ("id", "user", "remote", "agent")}
    if tx.run("insert_session", **session, now=tx.now):
        for name in (EVERYBODY, given["address"]):
            tx.run("take_back_login_try", name=name)
        spare = {"user": given["user"], "before": tx.now - SESSION_SECONDS, "keep": SESSIONS_OF_A_USER}
        tx.run("delete_spare_sessions", **spare)
        told = {"verb": "log_in", "actor": given["user"], "remote": given["remote"]}
        return recorded(tx, operation.id, told, {"done": True})
    return Answer({"done": True})


def log_out(tx: Transaction, operation: Operation) -> Answer:
    """A session is over, wherever its cookie is shown again."""
    return Answer({"done": bool(tx.run("delete_session", id=operation.arguments["id"]))})


def put_user(tx: Transaction, operation: Operation) -> Answer:
    """A user is added (`fresh`: only where there is none of that name, else: only who is there), or gets another role
    and password; who is logged in under the name has to come again. `done` says whether."""
    given = operation.arguments
    if answered := _answered(tx, operation):
        return answered
    fresh = given.get("fresh")
    done = fresh is None or fresh != bool(tx.one("user_is_there", name=given["name"]))
    if done:
        tx.run("put_user", name=given["name"], role=given["role"], password=given["password"], now=tx.now)
        tx.run("delete_sessions_of", user=given["name"])
    told = {"verb": "put_user", "name": given["name"], "role": given["role"], "actor": given["actor"]}
    return recorded(tx, operation.id, told, {"done": done})


def remove_user(tx: Transaction, operation: Operation) -> Answer:
    """A user is removed and logged out, the user's tokens open nothing any more."""
    given = operation.arguments
    if answered := _answered(tx, operation):
        return answered
    done = bool(tx.run("delete_user", name=given["name"]))
    tx.run("delete_sessions_of", user=given["name"])
    tokens = tx.run("delete_tokens_of", user=given["name"])
    return recorded(tx, operation.id, given | {"verb": "remove_user"}, {"done": done, "tokens": tokens})


def put_token(tx: Transaction, operation: Operation) -> Answer:
    """A token is entered under a name that no other has; one of a `user`: only while that user is there, and may what
    the token may."""
    given = operation.arguments
    if answered := _answered(tx, operation):
        return answered
    token = {name: given.get(name) for name in ("name", "digest", "role", "user")}
    owner = tx.one("user_is_there", name=token["user"]) if token["user"] is not None else (given["role"],)
    may = owner is not None and owner[0] in (OPERATOR, given["role"])
    done = may and bool(tx.run("put_token", **token, now=tx.now))
    told = {"verb": "put_token", "actor": given["actor"]} | {name: token[name] for name in ("name", "role", "user")}
    return recorded(tx, operation.id, told, {"done": done})


def remove_token(tx: Transaction, operation: Operation) -> Answer:
    """A token opens nothing any more."""
    given = operation.arguments
    if answered := _answered(tx, operation):
        return answered
    done = bool(tx.run("delete_token", name=given["name"]))
    return recorded(tx, operation.id, given | {"verb": "remove_token"}, {"done": done})


def _answered(tx: Transaction, operation: Operation) -> Answer | None:
    """What the operation came to when it was done before."""
    answered = tx.one("action_answer", id=operation.id)
    return Answer(json.loads(answered[0])) if answered else None


VERBS = {
    "try_log_in": try_log_in,
    "log_in": log_in,
    "log_out": log_out,
    "put_user": put_user,
    "remove_user": remove_user,
    "put_token": put_token,
    "remove_token": remove_token,
}


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class User:
    """Who may log in. `password` is a hash, or the configuration's own words for the user `operator`."""

    name: str
    role: str
    password: str


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks: a user with a session, whom the proxy in front has let in (`proxied`), or a program with a token."""

    name: str
    role: str
    session: str | None = None
    proxied: bool = False

    @property
    def browses(self) -> bool:
        """Whether a browser shows by itself who it is, so that a page of others could make it act."""
        return self.session is not None or self.proxied

    @property
    def may_act(self) -> bool:
        return self.role == OPERATOR


def user(config: Config, name: str) -> User | None:
    """The user of that name; while there are none, `operator` with WEBSPOOL_PASSWORD is the one."""

    def work(reader: Reader) -> User | None:
        if row := reader.one("user", name=name):
            return User(**row)
        return None if reader.one("any_user") else _of_configuration(config, name)

    return read(config, work)


def _of_configuration(config: Config, name: str) -> User | None:
    if name != OPERATOR or not config.password:
        return None
    return User(OPERATOR, OPERATOR, config.password)


def visitor_of_session(config: Config, session: str, now: float) -> Visitor | None:
    """Who is logged in under the digest of a session."""

    def work(reader: Reader) -> Visitor | None:
        row = reader.one("session", id=session, since=now - SESSION_SECONDS)
        if row is None:
            return None
        role = row["role"]
        if role is None and not row["users"] and _of_configuration(config, row["user"]):
            role = OPERATOR
        return Visitor(row["user"], role, session) if role else None

    return read(config, work)


def visitor_of_proxy(config: Config, name: str) -> Visitor | None:
    """Whom the proxy names: a user, or anybody where WEBSPOOL_USER_HEADER_ROLE gives others a role."""
    row = read(config, lambda reader: reader.one("user", name=name))
    role = row["role"] if row else config.user_header_role
    return Visitor(name, role, proxied=True) if role else None


def visitor_of_token(config: Config, digest: str) -> Visitor | None:
    """Whose token has that digest."""
    row = read(config, lambda reader: reader.one("token", digest=digest))
    return Visitor(f"token:{row['name']}", row["role"]) if row else None


def users(config: Config) -> list[dict[str, Any]]:
    """Every user, without the password."""
    return [_timed(row) for row in read(config, lambda reader: reader.all("users"))]


def tokens(config: Config) -> list[dict[str, Any]]:
    """Every token, without its digest."""
    return [_timed(row) for row in read(config, lambda reader: reader.all("tokens"))]


def _timed(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"created_at": rfc3339(row["created_at"])}


__all__ = [
    "LONGEST_NAME",
    "LONGEST_PASSWORD",
    "NAME",
    "OPERATOR",
    "ROLES",
    "VERBS",
    "User",
    "Visitor",
    "tokens",
    "user",
    "users",
    "visitor_of_proxy",
    "visitor_of_session",
    "visitor_of_token",
]
