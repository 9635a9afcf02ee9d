"""Old data: every schema that was ever written is opened and renewed, a newer one is refused, and nothing is lost.

A fixture is a whole ledger as that webspool wrote it. After a new file in `webspool/ledger/migrations/` add one of the
schema before it: `.dump` of apsw's shell. What a fixture says is never changed again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.conftest import needs_uwsgi
from tests.furnished import Furnished
from tests.instances import CODE, Instance
from webspool.config import load
from webspool.errors import LedgerRefused
from webspool.ledger import reading
from webspool.ledger.database import Database, migrations

SCHEMAS = Path(__file__).parent / "data" / "schemas"
NEWEST = migrations()[-1][0]
OLDER = sorted(SCHEMAS.glob("*.sql"))


def written(schema: Path, ledger: Path) -> Path:
    """The ledger of a fixture, in the mode in which it was left."""
    ledger.parent.mkdir(parents=True, exist_ok=True)
    connection = apsw.Connection(str(ledger))
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute(schema.read_text()).fetchall()
    connection.close()
    return ledger


def tables(ledger: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    connection = apsw.Connection(str(ledger), flags=apsw.SQLITE_OPEN_READONLY)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()]
    found = {str(name): _rows(connection, str(name)) for name in names}
    connection.close()
    return found


def _rows(connection: apsw.Connection, table: str) -> list[dict[str, Any]]:
    cursor = connection.execute(f'SELECT * FROM "{table}" ORDER BY 1')
    return [dict(zip([column[0] for column in cursor.get_description()], row, strict=True)) for row in cursor]


def shape(ledger: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Tables and indexes with their columns: what statements rely on, however it came about."""
    connection = apsw.Connection(str(ledger), flags=apsw.SQLITE_OPEN_READONLY)
    names = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'index')").fetchall()
    found = {
        str(name): sorted(
            row[1:6] for row in connection.execute("SELECT * FROM pragma_table_info(?)", (name,)).fetchall()
        )
        or connection.execute("SELECT name FROM pragma_index_info(?)", (name,)).fetchall()
        for (name,) in names
    }
    connection.close()
    return found


def test_every_schema_before_the_newest_is_kept() -> None:
    """A change of the schema without the ledger that it changes is not tested."""
    older = [f"{number:04d}" for number, _ in migrations()[:-1]]
    assert [path.stem for path in OLDER][: len(older)] == older


@pytest.mark.parametrize("schema", OLDER, ids=lambda path: path.stem)
def test_an_older_ledger_becomes_what_a_fresh_one_is_and_keeps_every_row(tmp_path: Path, schema: Path) -> None:
    """Renewed at the first opening; each old column of each row says what it said."""
    ledger, fresh = written(schema, tmp_path / "old.db"), tmp_path / "fresh.db"
    before = tables(ledger)
    Database(ledger).close()
    Database(fresh).close()
    assert shape(ledger) == shape(fresh)
    after = tables(ledger)
    for table, rows in before.items():
        assert [{name: row[name] for name in old} for old, row in zip(rows, after[table], strict=True)] == rows


@pytest.mark.parametrize("schema", OLDER, ids=lambda path: path.stem)
def test_an_instance_goes_on_with_an_older_ledger(tmp_path: Path, schema: Path) -> None:
    """What it read before it reads again, and a job that waited is claimed."""
    house = Furnished(tmp_path, tasks=())
    written(schema, house.config.ledger_path)
    jobs = len(tables(house.config.ledger_path)["job"])
    told = house.webspool("status")
    assert told.exit_code == 1
    assert "the next start of the instance renews it" in told.stderr
    house.serve(["deploy", "audit", "gone"])
    assert len(house.json("jobs")) == jobs
    waiting = {job["id"] for job in house.json("jobs") if job["state"] == "queued"}
    assert house.begin()["job"] in waiting
    assert reading.status(load(tmp_path, {}))["jobs"]["running"] == 2


def test_many_processes_may_open_an_older_ledger_at_once(tmp_path: Path) -> None:
    """One renews it, the others wait for the lock and find it done."""
    ledger = written(OLDER[0], tmp_path / "old.db")
    code = "import sys; from pathlib import Path; from webspool.ledger.database import Database; "
    code += "sys.stdin.read(1); Database(Path(sys.argv[1]), busy_seconds=20).close()"
    openers = [
        subprocess.Popen([sys.executable, "-c", code, str(ledger)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(6)
    ]
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write(b".")
        opener.stdin.flush()
    told = [opener.communicate(timeout=60)[1].decode() for opener in openers]
    assert [opener.returncode for opener in openers] == [0] * 6, told
    Database(tmp_path / "fresh.db").close()
    assert shape(ledger) == shape(tmp_path / "fresh.db")


def test_a_newer_ledger_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    """An older webspool writes nothing into what it does not understand, and says what to do."""
    ledger = tmp_path / "newer.db"
    Database(ledger).close()
    connection = apsw.Connection(str(ledger))
    connection.execute(f"PRAGMA user_version = {NEWEST + 1}").fetchall()
    connection.close()
    before = ledger.read_bytes()
    with pytest.raises(LedgerRefused, match=f"its schema is number {NEWEST + 1}.*install the newer webspool again"):
        Database(ledger)
    assert ledger.read_bytes() == before


def version(ledger: Path) -> int:
    connection = apsw.Connection(str(ledger), flags=apsw.SQLITE_OPEN_READONLY)
    found = int(connection.execute("PRAGMA user_version").fetchall()[0][0])
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    return found


def renewed_until(ledger: Path, steps: int) -> int:
    """Open it in a process that SIGKILLs itself after so many steps of SQLite's machine; returns its exit code."""
    pid = os.fork()
    if pid == 0:

        def watched(connection: apsw.Connection) -> None:
            connection.set_progress_handler(lambda: bool(os.kill(os.getpid(), signal.SIGKILL)), steps)

        apsw.connection_hooks.append(watched)
        try:
            Database(ledger).close()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process to kill")
def test_a_renewal_that_is_killed_anywhere_leaves_the_old_ledger_whole(tmp_path: Path) -> None:
    """All of it or nothing: the next opening begins anew, until one comes to the end."""
    ledger, steps, killed = written(OLDER[0], tmp_path / "old.db"), 4, 0
    before = tables(ledger)
    while renewed_until(ledger, steps) != 0:
        assert version(ledger) == int(OLDER[0].stem)
        assert tables(ledger) == before
        killed, steps = killed + 1, steps * 3 // 2
    assert killed > 5
    assert version(ledger) == NEWEST
    Database(tmp_path / "fresh.db").close()
    assert shape(ledger) == shape(tmp_path / "fresh.db")


def test_a_start_renews_an_older_ledger_before_anything_serves_it(tmp_path: Path) -> None:
    """Under uWSGI too; not when something else is wrong, so that the older webspool can have it back."""
    needs_uwsgi()
    old = Instance(tmp_path, {"app.py": "import nothing_of_that_name"})
    ledger = written(OLDER[0], old.config.ledger_path)
    try:
        assert old.launch().wait(30) != 0
        assert version(ledger) == int(OLDER[0].stem)
        (tmp_path / "app.py").write_text((CODE / "app.py").read_text())
        old.start()
        assert f"schema was number {int(OLDER[0].stem)}, it is {NEWEST} now" in old.log.read_text()
        assert old.webhook().status == 202
        assert old.ended(old.spool("add", a=1, b=2))["result"] == 3
    finally:
        old.end()
