"""`webspool user` and `webspool token`: who may see and steer the instance, and which programs may."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from webspool.cli import printing
from webspool.cli.actor import operator_of
from webspool.cli.chosen import chosen_config
from webspool.cli.filters import as_json
from webspool.cli.printing import Column, moment
from webspool.config import Config
from webspool.ledger import accounts
from webspool.ledger.accounts import LONGEST_NAME, LONGEST_PASSWORD, NAME, OPERATOR, ROLES
from webspool.ledger.operations import Operation
from webspool.operate import Operator
from webspool.records import new_id

SHORTEST = 8

USER_COLUMNS = (
    Column("NAME", lambda user: user["name"]),
    Column("ROLE", lambda user: user["role"]),
    Column("SINCE", lambda user: moment(user["created_at"])),
)
TOKEN_COLUMNS = (
    Column("NAME", lambda token: token["name"]),
    Column("ROLE", lambda token: token["role"]),
    Column("USER", lambda token: token["user"]),
    Column("SINCE", lambda token: moment(token["created_at"])),
)


class Name(click.ParamType[str]):
    """What a user or a token is called."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if NAME.fullmatch(value):
            return str(value)
        self.fail(f"a name is up to {LONGEST_NAME} letters, digits and . @ + - _", param, ctx)


def role_option(default: str) -> Callable[[Any], Any]:
    return click.option(
        "--role",
        type=click.Choice(ROLES),
        default=default,
        show_default=True,
        help="A viewer looks, an operator also acts.",
    )


# ── users ───────────────────────────────────────────────────────────────────────────────────────────────────────


@click.group()
def user() -> None:
    """Users of the dashboard. Once there is one, WEBSPOOL_PASSWORD opens nothing any more."""


@user.command("add")
@click.argument("name", type=Name())
@role_option(OPERATOR)
def add_user(name: str, role: str) -> None:
    """Add a user. The password is asked for twice, or read from standard input, one line."""
    config, operator = _chosen()
    if _role_of(config, name):
        raise click.ClickException(f"There is a user {name} already; webspool user password {name} sets the password.")
    first = not accounts.users(config)
    if not _put_user(operator, name, role, fresh=True):
        raise click.ClickException(f"There is a user {name} already, added a moment ago.")
    printing.say(f"{name} may log in as {role}.")
    if first:
        printing.say("WEBSPOOL_PASSWORD opens nothing any more: users come in, each with a password of their own.")
    _say_when_nobody_may_act(config)


@user.command("password")
@click.argument("name", type=Name())
def set_password(name: str) -> None:
    """Give a user another password, asked for as by `add`, and end the user's sessions."""
    config, operator = _chosen()
    if not _put_user(operator, name, _known(config, name), fresh=False):
        raise click.ClickException(f"There is no user {name} any more.")
    printing.say(f"{name} has a new password, and has to log in again.")


@user.command("remove")
@click.argument("name", type=Name())
def remove_user(name: str) -> None:
    """Remove a user, and end the user's sessions and tokens."""
    config, operator = _chosen()
    _known(config, name)
    answer = _do(operator, "remove_user", name=name)
    tokens = f", and {answer['tokens']} tokens open nothing any more" if answer["tokens"] else ""
    printing.say(f"{name} is removed and logged out{tokens}.")
    if not accounts.users(config):
        printing.say("There is no user left: WEBSPOOL_PASSWORD opens the dashboard again, for the name operator.")
    _say_when_nobody_may_act(config)


@user.command("list")
@as_json
def list_users(json_wanted: bool) -> None:
    """The users with their roles."""
    _list(accounts.users(chosen_config()), USER_COLUMNS, json_wanted, "There is none: WEBSPOOL_PASSWORD is operator's.")


def _put_user(operator: Operator, name: str, role: str, *, fresh: bool) -> bool:
    from webspool.passwords import hashed

    password = _asked_password()
    return bool(_do(operator, "put_user", name=name, role=role, password=hashed(password), fresh=fresh)["done"])


def _asked_password() -> str:
    """What the person types twice, or the first line of standard input; never a word of the command."""
    if sys.stdin.isatty():
        given = click.prompt("Password", hide_input=True, confirmation_prompt="The same again", err=True)
    else:
        given = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    if not SHORTEST <= len(given) <= LONGEST_PASSWORD:
        raise click.UsageError(f"a password has {SHORTEST} to {LONGEST_PASSWORD} letters; this one has {len(given)}")
    return str(given)


def _known(config: Config, name: str) -> str:
    if role := _role_of(config, name):
        return role
    raise click.ClickException(f"There is no user {name}; webspool user list shows who is there.")


def _role_of(config: Config, name: str) -> str | None:
    return next((str(each["role"]) for each in accounts.users(config) if each["name"] == name), None)


def _say_when_nobody_may_act(config: Config) -> None:
    roles = [each["role"] for each in accounts.users(config)]
    if roles and OPERATOR not in roles:
        printing.say(
            "Nobody may act in the dashboard now: every user is a viewer. webspool user add NAME adds an operator."
        )


# ── tokens ──────────────────────────────────────────────────────────────────────────────────────────────────────


@click.group()
def token() -> None:
    """Tokens: what programs show to the API (Authorization: Bearer ...)."""


@token.command("add")
@click.argument("name", type=Name())
@role_option(ROLES[0])
@click.option("--user", "owner", type=Name(), help="Whose it is: it ends with that user.")
def add_token(name: str, role: str, owner: str | None) -> None:
    """Make a token and print it, this once: the ledger keeps only its SHA-256."""
    from webspool.passwords import digest, new_token

    config, operator = _chosen()
    if owner is not None and _known(config, owner) not in (OPERATOR, role):
        raise click.ClickException(f"{owner} is a viewer, so a token of {owner}'s cannot be an operator's.")
    made = new_token()
    if not _do(operator, "put_token", name=name, digest=digest(made), role=role, user=owner)["done"]:
        raise click.ClickException(f"There is a token {name} already; webspool token remove {name} ends it.")
    click.echo(made)
    printing.say(f"That is the token {name}, of a {role}: keep it now, it is not shown again.")


@token.command("remove")
@click.argument("name", type=Name())
def remove_token(name: str) -> None:
    """Let a token open nothing any more."""
    _, operator = _chosen()
    if not _do(operator, "remove_token", name=name)["done"]:
        raise click.ClickException(f"There is no token {name}; webspool token list shows which there are.")
    printing.say(f"The token {name} opens nothing any more.")


@token.command("list")
@as_json
def list_tokens(json_wanted: bool) -> None:
    """The tokens with their roles, not the tokens themselves."""
    _list(accounts.tokens(chosen_config()), TOKEN_COLUMNS, json_wanted, "There is none.")


# ── both ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _list(rows: list[dict[str, Any]], columns: tuple[Column, ...], json_wanted: bool, none: str) -> None:
    if json_wanted:
        printing.write_json_list(rows)
    elif rows:
        printing.write_table(rows, columns)
    else:
        printing.say(none)


def _chosen() -> tuple[Config, Operator]:
    """The instance, and who acts on it in the name of this machine's user."""
    config = chosen_config()
    return config, operator_of(config)


def _do(operator: Operator, verb: str, **given: Any) -> dict[str, Any]:
    """One change, kept in the audit log. Raises LedgerUnavailable."""
    return operator.client.call(Operation(new_id("x"), verb, given | {"actor": operator.actor})).values
