"""A newer webspool in place and the way back, as the page on deploying tells them; a log turned over under load."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import webspool
from tests.conftest import needs_uwsgi
from tests.instances import CODE, INI, Instance
from tests.test_migrations import NEWEST, OLDER, tables, version, written
from tests.under_load import command, load
from typist.pages import ROOT, blocks

TASKS = """

@task
def deploy(branch=None):
    note("deployed", branch=branch)


@task
def audit(delivery):
    note("audited", delivery=delivery.id)


@task
def gone():
    note("back")
"""
SERVER = ROOT / "docs" / "how-to" / "server.md"


@pytest.fixture
def older(tmp_path: Path) -> dict[str, str]:
    """The environment of the webspool before this one: it does not know the newest schema."""
    package = tmp_path / "older" / "webspool"
    shutil.copytree(Path(webspool.__path__[0]), package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "ledger" / "migrations" / f"{NEWEST:04d}.sql").unlink()
    return {"PYTHONPATH": str(package.parent)}


def test_an_upgrade_runs_what_waited_and_the_backup_from_before_is_the_way_back(
    tmp_path: Path, older: dict[str, str]
) -> None:
    """Stop, back up, upgrade, start; then stop, the older one again, restore, start."""
    needs_uwsgi()
    house = Instance(tmp_path / "house", {"tasks.py": (CODE / "tasks.py").read_text() + TASKS})
    ledger, backup = written(OLDER[-1], house.config.ledger_path), str(tmp_path / "before-upgrade")
    (dead,) = [str(row["id"]) for row in tables(ledger)["job"] if row["state"] == "dead"]
    assert command(house, "retry", dead, **older).returncode == 0
    assert command(house, "backup", backup, **older).returncode == 0
    before = tables(ledger)
    try:
        house.start()
        assert house.ended(dead)["state"] == "succeeded"
        assert house.noted("back")
        assert house.webhook().status == 202
        assert house.stop() == 0
        assert version(ledger) == NEWEST
        assert house.launch(**older).wait(30) != 0
        said = " ".join(house.log.read_text().split())
        assert f"its schema is number {NEWEST}, this webspool knows {NEWEST - 1}; install the newer webspool" in said
        assert "or go back with this one to a backup of its own: webspool restore FOLDER" in said
        told = command(house, "restore", backup, **older)
        assert told.returncode == 0, told.stderr
        assert tables(ledger) == before
        told = command(house, "check", **older)
        assert told.returncode == 0, told.stdout + told.stderr
        house.start()
        assert house.ended(dead)["state"] == "succeeded"
        assert [note["job"] for note in house.notes("deployed")].count(dead) == 2
    finally:
        house.end()


def ini_of_the_page() -> str:
    """uwsgi.ini with the page's lines at its end; the log lies beside it."""
    (block,) = [each for each in blocks(SERVER) if "touch-logreopen" in each.text]
    return f"{INI}\n{block.text.replace('/var/log/webspool/uwsgi.log', '%duwsgi-own.log')}"


def logrotate(folder: Path, house: Instance) -> Callable[[], None]:
    """A command that turns the log over now, by the stanza of the page."""
    program = shutil.which("logrotate", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None:
        assert not os.environ.get("CI"), "logrotate is missing; .ci/run installs it"
        pytest.skip("logrotate is not installed")
    (typed,) = [each for block in blocks(SERVER) for each in block.commands if "/etc/logrotate.d/" in each]
    stanza = typed.partition("\n")[2].rpartition("\nEOF")[0] + "\n"
    stanza = stanza.replace("/var/log/webspool/*.log", str(house.directory / "uwsgi-own.log"))
    stanza = stanza.replace("/srv/hooks", str(house.directory))
    (folder / "stanza").write_text(stanza)
    (folder / "stanza").chmod(0o644)
    order = [program, "--force", "--state", str(folder / "state"), str(folder / "stanza")]

    def turn() -> None:
        told = subprocess.run(order, capture_output=True, text=True, timeout=60)
        assert (told.returncode, told.stderr) == (0, "")

    return turn


def test_no_line_is_lost_while_the_log_is_rotated(tmp_path: Path) -> None:
    """Each accepted webhook is told once, in one of the files; the old one is let go of."""
    needs_uwsgi()
    house = Instance(tmp_path / "house", {"uwsgi.ini": ini_of_the_page()})
    house.log = house.directory / "uwsgi-own.log"
    turn = logrotate(tmp_path, house)

    touched = house.directory / "var" / "reopen-logs"
    try:
        house.start()
        with load(house.webhook, per_second=100) as sent:
            for turned in (1, 2):
                house.until(lambda least=40 * turned: len(sent.replies) >= least and is_past(touched))
                turn()
                house.until(lambda: house.log.exists() and house.said("delivery_accepted"))
        assert set(sent.statuses()) == {202}
        assert not sent.faults
        sent_ids = sorted(reply.json["delivery"] for reply in sent.replies)
        house.until(lambda: len(accepted_in(house)) >= len(sent_ids))
        assert house.stop() == 0
        assert sorted(accepted_in(house)) == sent_ids
        assert len(list(house.directory.glob("uwsgi-own.log*"))) == 3
    finally:
        house.end()


def is_past(touched: Path) -> bool:
    """uWSGI sees that a file was touched by the seconds of its time: once in each."""
    return not touched.exists() or int(time.time()) > int(touched.stat().st_mtime)


def accepted_in(house: Instance) -> list[str]:
    """The deliveries that the log and those before it tell."""
    found: list[str] = []
    for path in house.directory.glob("uwsgi-own.log*"):
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            told = [json.loads(line) for line in lines if b'"event": "delivery_accepted"' in line]
            found += [line["delivery"] for line in told]
    return found
