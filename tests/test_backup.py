"""A backup is one moment of a working instance; restored it is that moment again, and nothing is deleted for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.conditions import wait_until
from tests.furnished import Furnished
from tests.instances import Instance
from tests.under_load import command, load
from webspool.backup import back_up
from webspool.cli.storing import prune_once
from webspool.errors import LedgerRefused
from webspool.ledger.backing import examine
from webspool.ledger.database import Database
from webspool.processes import host_name

LARGE = os.urandom(1 << 18)
BINARY = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def furnished(tmp_path: Path) -> Furnished:
    """An instance of one spooler, which is this process."""
    (tmp_path / "house").mkdir()
    return Furnished(tmp_path / "house")


def ended(house: Furnished) -> Furnished:
    """No instance serves it any more."""
    house.call("start", {"host": host_name(), "boot": "b", "pid": 1, "start": 1, "engine": "spool"}, id="b:1:1")
    return house


def test_a_backup_under_load_is_one_moment_and_can_be_restored(own_instance: Instance, tmp_path: Path) -> None:
    """Every webhook answered before it is in it, large bodies whole; restored, what waited then runs."""
    backup = tmp_path / "kept"
    own_instance.start()
    command(own_instance, "pause", "--task", "push")
    sizes = iter(range(10**9))

    def send() -> object:
        body = LARGE if next(sizes) % 3 else b"{}"
        return own_instance.webhook(body, event="push", **BINARY)

    with load(send, per_second=100) as sent:  # type: ignore[arg-type]
        wait_until(lambda: len(sent.replies) >= 40)
        before = [reply.json["delivery"] for reply in sent.replies]
        told = command(own_instance, "backup", str(backup), "--output", "--json")
        assert told.returncode == 0, told.stderr
        wait_until(lambda: len(sent.replies) >= len(before) + 40)
    assert set(sent.statuses()) == {202}
    copied = examine(backup / "ledger.db")
    assert json.loads(told.stdout)["deliveries"] == copied.deliveries >= len(before)
    assert {(backup / "bodies" / name).read_bytes() for name in copied.bodies} == {LARGE}
    refused = command(own_instance, "restore", str(backup))
    assert refused.returncode == 1
    assert "is served by another instance" in refused.stderr
    assert own_instance.stop() == 0
    restored = command(own_instance, "restore", str(backup))
    assert restored.returncode == 0, restored.stderr
    own_instance.start()
    kept = {delivery for (delivery,) in own_instance.query("SELECT id FROM delivery")}
    assert len(kept) == copied.deliveries
    assert set(before) <= kept
    command(own_instance, "resume", "--task", "push")
    own_instance.until(lambda: not own_instance.query("SELECT 1 FROM job WHERE state <> 'succeeded' LIMIT 1"))
    aside = list(own_instance.config.var.glob("before-restore-*"))
    assert [examine(each / "ledger.db").deliveries for each in aside] == [len(sent.replies)]


def test_a_backup_overwrites_nothing(furnished: Furnished, tmp_path: Path) -> None:
    """A folder that holds anything is refused, with what is in it left."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mine").write_text("mine")
    told = furnished.webspool("backup", str(tmp_path / "kept"))
    assert told.exit_code == 1
    assert "is not empty" in told.stderr
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["mine"]


def test_what_is_no_whole_backup_is_not_restored(furnished: Furnished, tmp_path: Path) -> None:
    """A part that is missing, damaged, or of another backup: refused, and nothing is changed."""
    furnished.deliver("deploy", body=LARGE, body_file=True)
    furnished.run(output=b"said\n")
    assert furnished.webspool("backup", str(tmp_path / "kept"), "--output").exit_code == 0
    ended(furnished)
    before = furnished.config.ledger_path.read_bytes()
    (body,) = (tmp_path / "kept" / "bodies").iterdir()
    body.unlink()
    assert "the body of" in furnished.webspool("restore", str(tmp_path / "kept")).stderr
    body.write_bytes(LARGE[:-1] + bytes([LARGE[-1] ^ 1]))
    assert "the body of" in furnished.webspool("restore", str(tmp_path / "kept")).stderr
    body.write_bytes(LARGE)
    output = tmp_path / "kept" / "output.db"
    printed = output.read_bytes()
    output.write_bytes(printed[:100] + b"\xff" * 4000)
    assert furnished.webspool("restore", str(tmp_path / "kept")).exit_code == 1
    output.write_bytes(printed)
    manifest = tmp_path / "kept" / "backup.json"
    told = manifest.read_text()
    manifest.write_text(json.dumps(json.loads(told) | {"jobs": 99}))
    assert "tells of another ledger" in furnished.webspool("restore", str(tmp_path / "kept")).stderr
    manifest.write_text(told)
    ledger = tmp_path / "kept" / "ledger.db"
    whole = ledger.read_bytes()
    for damaged in (whole[:8192] + b"\xff" * 4096 + whole[12288:], whole.replace(b"deploy", b"deplay", 1)):
        assert damaged != whole
        ledger.write_bytes(damaged)
        assert "damaged" in furnished.webspool("restore", str(tmp_path / "kept")).stderr
    ledger.write_bytes(whole)
    (tmp_path / "kept" / "backup.json").unlink()
    assert "was not finished" in furnished.webspool("restore", str(tmp_path / "kept")).stderr
    assert furnished.config.ledger_path.read_bytes() == before
    assert not list(furnished.config.var.glob("before-restore-*"))


def test_a_backup_is_restored_over_a_damaged_ledger(furnished: Furnished, tmp_path: Path) -> None:
    """That is what it is for."""
    delivery = furnished.deliver("deploy", body=LARGE, body_file=True)
    furnished.dead()
    ended(furnished)
    assert furnished.webspool("backup", str(tmp_path / "kept")).exit_code == 0
    furnished.config.ledger_path.write_bytes(b"this is no database" * 1000)
    assert furnished.webspool("restore", str(tmp_path / "kept")).exit_code == 0
    assert furnished.json("delivery", delivery)["body_size"] == len(LARGE)
    assert furnished.json("status")["jobs"]["dead"] == 1


def test_prune_deletes_now_what_is_old(furnished: Furnished) -> None:
    """Jobs, deliveries, their output and bodies; what has not ended stays however old it is."""
    old = furnished.deliver("deploy", body=LARGE, body_file=True)
    furnished.run(output=b"said\n")
    waiting = furnished.deliver("deploy", "audit")
    furnished.run()
    furnished.age(days=31)
    fresh = furnished.deliver("audit")
    assert furnished.json("prune") == {"jobs": 2, "deliveries": 1, "attempts": 2, "bodies": 1}
    assert {found["id"] for found in furnished.json("deliveries")} == {waiting, fresh}
    assert not (furnished.config.var / "bodies" / old).exists()
    assert furnished.json("prune") == {"jobs": 0, "deliveries": 0, "attempts": 0, "bodies": 0}


CUT_OFF = """
import os, shutil, sys
from pathlib import Path
from webspool.backup import restore
from webspool.config import load

shutil.rmtree = os.rename = Path.replace = lambda *_: os._exit(9)
restore(load(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_restore_that_was_cut_off_lets_nobody_begin_an_empty_ledger(furnished: Furnished, tmp_path: Path) -> None:
    """Killed between the ledger that was and the one that comes: told by every command, mended by the next restore."""
    delivery = furnished.deliver("deploy", body=LARGE, body_file=True)
    furnished.run()
    ended(furnished)
    kept = str(tmp_path / "kept")
    assert furnished.webspool("backup", kept).exit_code == 0
    cut_off = [sys.executable, "-c", CUT_OFF, str(furnished.config.directory), kept]
    assert subprocess.run(cut_off, capture_output=True).returncode == 9
    with pytest.raises(LedgerRefused, match=f"type it again: webspool restore {kept}"):
        Database(furnished.config.ledger_path)
    check = [Path(sys.executable).parent / "webspool", "--instance", furnished.config.directory, "check"]
    assert f"type it again: webspool restore {kept}" in subprocess.run(check, capture_output=True, text=True).stderr
    restored = furnished.webspool("restore", kept)
    assert restored.exit_code == 0, restored.stderr
    assert furnished.json("delivery", delivery)["body_size"] == len(LARGE)
    assert not list(furnished.config.var.glob("restoring*"))


def test_a_backup_while_old_deliveries_are_pruned_is_whole(furnished: Furnished, tmp_path: Path) -> None:
    """Bodies go while they are being copied; what the copied ledger has is there, and can be restored."""
    for _ in range(40):
        furnished.deliver("deploy", body=os.urandom(1 << 17), body_file=True)
        furnished.run()
    furnished.age(days=31)
    ended(furnished)
    pruning = threading.Thread(target=prune_once, args=(furnished.config,))
    pruning.start()
    told = [back_up(furnished.config, tmp_path / f"kept{number}", output=False) for number in range(3)]
    pruning.join()
    told.append(back_up(furnished.config, tmp_path / "kept3", output=False))
    assert [each["bodies"] for each in told] == sorted((each["bodies"] for each in told), reverse=True)
    assert told[-1]["bodies"] < 40
    for number in range(4):
        assert furnished.webspool("restore", str(tmp_path / f"kept{number}")).exit_code == 0
        assert len(furnished.json("deliveries", "--limit", "100")) == told[number]["bodies"]
