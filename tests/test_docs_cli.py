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


SHOWN = [name for name in COMMANDS if not command(name).hidden]


@pytest.mark.parametrize("name", SHOWN)
def test_every_command_is_documented(name: str) -> None:
    """A command that nobody can read about does not exist for its users."""
    assert re.search(rf"^\| `{name}[ `]", REFERENCE, re.MULTILINE)


@pytest.mark.parametrize("name", SHOWN)
def test_every_option_is_documented(name: str) -> None:
    """Each of its options stands in the reference, in every spelling."""
    options = [option for option in command(name).params if isinstance(option, click.Option)]
    missing = [word for option in options for word in option.opts if not re.search(rf"`{word}[` =]", REFERENCE)]
    assert missing == []


def test_nothing_is_documented_that_does_not_exist() -> None:
    """A command that was renamed or taken away leaves the reference too."""
    documented = re.findall(r"^\| `([a-z][a-z-]*)[ `]", REFERENCE, re.MULTILINE)
    assert set(documented) == set(SHOWN)
