"""The reference of the command line is whole."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from webspool.cli import COMMANDS, main

REFERENCE = (Path(__file__).parents[1] / "docs" / "reference" / "cli.md").read_text()


def command(name: str) -> click.Command:
    found = main.get_command(click.Context(main), name)
    assert found is not None
    return found


def members(name: str) -> dict[str, click.Command]:
    """The commands of a group, as `webspool user add`."""
    group = command(name)
    found = group.commands if isinstance(group, click.Group) else {}
    return {word: each for word, each in found.items() if not each.hidden}


SHOWN = [name for name in COMMANDS if not command(name).hidden]


@pytest.mark.parametrize("name", SHOWN)
def test_every_command_is_documented(name: str) -> None:
    """A command that nobody can read about does not exist for its users."""
    assert re.search(rf"^\| `{name}[ `]", REFERENCE, re.MULTILINE)


def test_every_command_of_a_group_is_documented() -> None:
    """And no row names one that is not there."""
    there = {f"{name} {word}" for name in SHOWN for word in members(name)}
    groups = "|".join(name for name in SHOWN if members(name))
    assert set(re.findall(rf"^\| `((?:{groups}) [a-z]+)[ `]", REFERENCE, re.MULTILINE)) == there


@pytest.mark.parametrize("name", SHOWN)
def test_every_option_is_documented(name: str) -> None:
    """Each of its options stands in the reference, in every spelling."""
    asked = [command(name), *members(name).values()]
    options = [option for each in asked for option in each.params if isinstance(option, click.Option)]
    missing = [word for option in options for word in option.opts if not re.search(rf"`{word}[` =]", REFERENCE)]
    assert missing == []


def test_nothing_is_documented_that_does_not_exist() -> None:
    """A command that was renamed or taken away leaves the reference too."""
    documented = re.findall(r"^\| `([a-z][a-z-]*)[ `]", REFERENCE, re.MULTILINE)
    assert set(documented) == set(SHOWN)
