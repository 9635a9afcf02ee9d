"""Happenings are told once, by name: in the log, to whoever listens, and in the ledger when they are troubles."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.furnished import Furnished
from tests.test_docs import rows
from webspool.ledger import reading
from webspool.ledger.database import Database
from webspool.ledger.happenings import Happenings, Reporter
from webspool.ledger.operations import Operation
from webspool.receive import STATUSES
from webspool.telemetry import TROUBLES, listen, teller

ROOT = Path(__file__).parents[1]
CODE = ROOT / "webspool"


def told_in_the_code() -> Iterator[str]:
    """The first argument of every call of `say`, whatever it is called on."""
    for path in CODE.rglob("*.py"):
        if "cli" in path.parts:  # there `printing.say` speaks to who typed the command
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and _tells(node.func, pages="dashboard" in path.parts):
                yield from _words(node.args[0])


def _tells(called: ast.expr, *, pages: bool) -> bool:
    """Whether a call tells a happening; a page's own `say`, and that of its words, is its language."""
    if isinstance(called, ast.Name):
        return called.id == "say" and not pages
    if isinstance(called, ast.Call):
        return isinstance(called.func, ast.Name) and called.func.id == "teller"
    return isinstance(called, ast.Attribute) and called.attr in ("say", "_say") and ast.unparse(called.value) != "words"


def _words(argument: ast.expr) -> Iterator[str]:
    match argument:
        case ast.Constant(value=str(name)):
            yield name
        case ast.IfExp(body=first, orelse=second):
            yield from _words(first)
            yield from _words(second)
        case ast.JoinedStr():
            assert ast.unparse(argument) == """f"delivery_{answer['status']}\"""", ast.unparse(argument)
            yield from (f"delivery_{status}" for status in STATUSES)
        case _:
            raise AssertionError(f"a happening without a name of its own: {ast.unparse(argument)}")


def test_every_happening_has_a_row_and_every_row_is_told() -> None:
    """A name is told in the code, in docs/reference/happenings.md, and marked there when it is counted."""
    found = {row[0].strip("`"): row for row in rows("happenings.md") if row[0].startswith("`")}
    assert set(told_in_the_code()) == found.keys()
    assert {name for name, row in found.items() if row[1] == "counted"} == TROUBLES
    assert all(re.search(r"\w{3}", row[2]) for row in found.values())


def test_whoever_listens_hears_every_happening_until_it_ends(capfd: pytest.CaptureFixture[str]) -> None:
    """After the log's line, with the facts."""
    heard: list[tuple[str, Any]] = []
    end = listen(lambda happening, facts: heard.append((happening, dict(facts))))
    say = teller("test")
    say("disk_low", free_bytes=1)
    end()
    say("disk_ample")
    assert heard == [("disk_low", {"free_bytes": 1})]
    assert [line.count('"event": "disk_') for line in capfd.readouterr().err.splitlines()] == [1, 1]


class Door:
    """The way to a keeper, open or shut."""

    def __init__(self) -> None:
        self.shut, self.came = False, list[Operation]()

    def tell(self, operation: Operation, /) -> bool:
        if not self.shut:
            self.came.append(operation)
        return not self.shut


def kept(house: Furnished, happenings: Happenings) -> list[dict[str, Any]]:
    database = Database(house.config.ledger_path)
    with database.transaction(flush=False) as tx:
        happenings.flush(tx)
    database.close()
    return reading.happenings(house.config)


def test_troubles_are_counted_in_the_ledger_with_the_last_facts(tmp_path: Path) -> None:
    """Whichever process told them; what is no trouble is not."""
    house, door, keeper = Furnished(tmp_path), Door(), Happenings()
    reporter = Reporter(door)
    reporter.note("delivery_accepted", {})
    reporter.note("runner_broken", {"why": "first"})
    door.shut, reporter._not_before = True, 0.0
    reporter.note("runner_broken", {"why": "second"})
    door.shut, reporter._not_before = False, 0.0
    reporter.note("attempt_started", {})
    keeper.note("runner_broken", {"why": "of the keeper"})
    keeper.hear(
        [*door.came, Operation("h", "happened", {"troubles": [{"name": "what"}]}), Operation("r", "refuse", {})]
    )
    (told,) = kept(house, keeper)
    assert (told["name"], told["times"], told["facts"]) == ("runner_broken", 3, {"why": "second"})
    keeper.note("runner_broken", {"why": "x" * 10_000})
    (again,) = kept(house, keeper)
    assert (again["times"], again["first_at"]) == (4, told["first_at"])
    assert len(again["facts"]["facts"]) < 5000
    assert not kept(house, Happenings())[1:]


def test_a_clock_that_jumped_is_told_for_an_hour(tmp_path: Path) -> None:
    """In a sentence: by how much, and which way."""
    house, keeper = Furnished(tmp_path), Happenings()
    keeper.note("clock_jumped", {"by_seconds": -3600.0})
    kept(house, keeper)
    assert any("the clock jumped 3600 s back at " in sentence for sentence in reading.status(house.config)["degraded"])
    database = Database(house.config.ledger_path)
    database.connection.execute("UPDATE happening SET last_at = last_at - 3601").fetchall()
    database.close()
    assert not any("clock" in sentence for sentence in reading.status(house.config)["degraded"])
    assert house.json("status")["troubles"][0]["facts"] == {"by_seconds": -3600.0}
    assert "clock_jumped, told 1 times" in house.webspool("status").stdout


def test_every_sentence_of_degraded_is_explained() -> None:
    """Each has a row on the page that says what to do, which begins with its first words."""
    page = (ROOT / "docs" / "how-to" / "when-it-is-degraded.md").read_text()
    told = [row.split("|")[1].split("(")[0].strip().split(" ... ") for row in page.splitlines() if row.startswith("| ")]
    code = (CODE / "ledger" / "standing.py").read_text()
    said = [re.sub(r"\{.*?\}", "...", sentence) for sentence in re.findall(r'(?:yield|return) f?"([^"]+)"', code)]
    assert len(said) >= 15
    for sentence in said:
        assert any(all(words in sentence for words in row) for row in told), sentence
    for row in told[1:]:
        assert any(all(words in sentence for words in row) for sentence in said), row
