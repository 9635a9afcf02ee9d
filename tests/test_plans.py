"""No statement reads a long past to find a little: SQLite's plan of each is looked at, not its time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.furnished import Furnished, failed
from webspool.ledger import failing, paging, reading, searching, surveys
from webspool.ledger.database import STATEMENTS, Database
from webspool.ledger.reader import Reader
from webspool.ledger.reading import Filters, Page
from webspool.policy import Policy
from webspool.records import State

SORTED = {"processes_with_open_attempts", "shift_waiting", "delete_spare_sessions"}
"""What they sort is what runs, what waits, and who is logged in."""
LARGE = ("job", "delivery", "attempt", "event_key")
BOUNDED = re.compile(
    r"INDEX (job_(scheduled|queued|blocked|running|dead|cancelled|with_error|sampled)|attempt_open|delivery_sampled)\b"
)
"""Indexes that hold what waits, runs, failed or stands for others: never all that ever was."""

JOB_FILTERS = [
    *(Filters(states=(state,)) for state in State if state != State.SUCCEEDED),
    Filters(states=(State.QUEUED, State.SCHEDULED, State.DEAD)),
    Filters(task="deploy"),
    Filters(source="github"),
    Filters(type="push"),
    Filters(type="nothing*"),
    Filters(since=1.0),
    Filters(until=1.0),
    Filters(since=1.0, until=2.0),
    Filters(error="refused"),
]
NARROWED = [
    *JOB_FILTERS,
    *(
        replace(given, source="github", task="deploy")
        for given in JOB_FILTERS
        if not (given.since or given.until or given.source)
    ),
]


RECENT = Filters(since=time.time() - 86400)


def told(given: Filters) -> str:
    """Filters as the name of a test: the same in every process."""
    return "recent" if given is RECENT else repr(given)


def wide(plan: list[str]) -> list[str]:
    """The lines of a plan that go through all that ever was."""
    return [line for line in plan if re.match(rf"SCAN ({'|'.join(LARGE)})\b", line) and not BOUNDED.search(line)]


def plan_of(connection: apsw.Connection, sql: str, values: Any) -> list[str]:
    return [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    """An empty ledger of today's schema: SQLite's plans do not depend on what is in it."""
    path = tmp_path_factory.mktemp("plans") / "ledger.db"
    Database(path).close()
    connection = apsw.Connection(str(path))
    connection.create_scalar_function("likeness", str, 1, deterministic=True)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Furnished:
    """A little of everything, some of it older than the rest."""
    house = Furnished(tmp_path_factory.mktemp("house"))
    house.deliver("deploy", "audit")
    house.dead("ConnectionError: refused")
    house.run(failed("ConnectionError: refused"), Policy(max_attempts=1))
    house.age(days=20)
    house.deliver("deploy", source="shop", event_type="push")
    house.deliver("audit", event_type=None)
    house.run()
    house.run(failed("ConnectionError: refused"), Policy(jitter=0))
    house.spool()
    return house


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_of_the_writer_reads_all_that_ever_was(ledger: apsw.Connection, name: str) -> None:
    """Not to accept, claim, end, release, rescue, pause, nor to prune a bite."""
    sql = STATEMENTS[name]
    plan = plan_of(ledger, sql, dict.fromkeys(re.findall(r":(\w+)", sql)))
    assert wide(plan) == []
    assert not any("job_by_task" in line for line in plan), "a task may have had any number of jobs"
    assert name in SORTED or not any("TEMP B-TREE" in line for line in plan), "it sorts what it finds"


@pytest.mark.parametrize("name", ["event_key_far_behind", "delete_old_event_keys"])
def test_a_bite_of_event_keys_begins_where_the_last_one_ended(ledger: apsw.Connection, name: str) -> None:
    """Found by both columns: by the source alone, each bite would read all that those before it have read."""
    sql = STATEMENTS[name]
    plan = plan_of(ledger, sql, dict.fromkeys(re.findall(r":(\w+)", sql)))
    assert all("(source,event_id)>(?,?)" in line for line in plan), plan


@pytest.fixture
def asked(house: Furnished, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], list[tuple[str, Any]]]:
    """Which statements a reader runs, when nothing that is asked for is among the newest."""
    heard: list[tuple[str, Any]] = []
    begin = Reader.__init__

    def listening(reader: Reader, connection: apsw.Connection, bodies: Path) -> None:
        begin(reader, connection, bodies)
        connection.exec_trace = lambda _cursor, sql, values: heard.append((sql, values)) is None

    def ask(question: Callable[[], Any]) -> list[tuple[str, Any]]:
        heard.clear()
        question()
        return list(heard)

    monkeypatch.setattr(Reader, "__init__", listening)
    monkeypatch.setattr(paging, "NEAR", 0)
    return ask


@pytest.mark.parametrize("given", NARROWED, ids=repr)
def test_no_page_of_a_narrowed_list_is_found_by_reading_all(
    house: Furnished, ledger: apsw.Connection, asked: Any, given: Filters
) -> None:
    """However few fit, and however old they are."""
    for page in (reading.jobs, reading.job_ids, reading.deliveries):
        heard = asked(partial(page, house.config, given))
        assert heard
        for sql, values in heard:
            assert wide(plan_of(ledger, sql, values)) == [], sql


def test_what_stands_is_told_without_reading_all(house: Furnished, ledger: apsw.Connection, asked: Any) -> None:
    """Status, failures, what waits, one job, one delivery, what the pages survey."""
    job = reading.jobs(house.config, Filters(states=(State.DEAD,)))[0]
    group = failing.groups(house.config, Filters())[0]
    questions = [
        lambda: reading.status(house.config),
        lambda: failing.failures(house.config, Filters()),
        lambda: reading.waiting_tasks(house.config),
        lambda: reading.running_jobs(house.config, "m"),
        lambda: reading.job(house.config, job["id"]),
        lambda: reading.delivery(house.config, job["delivery"]),
        lambda: surveys.scheduled(house.config, 50, task="deploy", source="github"),
        lambda: surveys.sources(house.config, ["github", "shop", "nobody"]),
        lambda: surveys.tasks(house.config),
        lambda: surveys.actions(house.config, 50, actor="anna", verb="run", text="x", since=1.0, until=time.time()),
        lambda: failing.groups(house.config, Filters(source="github")),
        lambda: failing.jobs_of(house.config, group, (State.DEAD,), Filters(since=1.0)),
        lambda: searching.count_jobs(house.config, Filters(states=(State.DEAD,), task="deploy")),
    ]
    for question in questions:
        heard = asked(question)
        assert heard
        for sql, values in heard:
            assert wide(plan_of(ledger, sql, values)) == [], sql


def test_a_plan_without_an_index_is_noticed(ledger: apsw.Connection) -> None:
    """The laws above can fail."""
    sql = "SELECT seq FROM job WHERE source = 'github' ORDER BY seq DESC LIMIT 50"
    assert wide(plan_of(ledger, sql, ())) == ["SCAN job"]


@pytest.mark.parametrize("given", [*NARROWED, Filters(text="{}"), RECENT], ids=told)
@pytest.mark.parametrize("page", [reading.jobs, reading.deliveries], ids=["jobs", "deliveries"])
def test_both_ways_to_a_page_find_the_same(
    house: Furnished, monkeypatch: pytest.MonkeyPatch, page: Page, given: Filters
) -> None:
    """Among the newest, and by what tells the few apart."""
    found = []
    for near in (10**6, 0):
        monkeypatch.setattr(paging, "NEAR", near)
        found.append([each["id"] for each in page(house.config, replace(given, limit=3))])
    assert found[0] == found[1]


def test_the_laws_above_are_asked_of_lists_that_find_something(house: Furnished) -> None:
    """Two empty lists would be the same in every case."""
    found = [reading.jobs(house.config, given) or reading.deliveries(house.config, given) for given in NARROWED]
    assert sum(map(bool, found)) > len(found) / 2
