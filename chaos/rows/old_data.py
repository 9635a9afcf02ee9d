"""Row 10: backups taken under load and while old data are pruned, put back, damaged; a ledger of an older schema."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import apsw

from chaos.row import row
from chaos.run import Run
from tests.instances import BIN, Instance
from tests.test_migrations import OLDER, written

OLD_ROWS = 100_000
RENEWED_SECONDS = 15.0


@row(
    10,
    "old data",
    broken="backups under load while old data are pruned, damaged backups, an older ledger of 100,000 jobs",
    promise="a backup is one moment and can be restored; a damaged one is refused whole; the older ledger is renewed",
)
def old_data(run: Run) -> None:
    """Each backup is put into a second instance, which is not started; then a byte of it is changed."""
    with run.serving(WEBSPOOL_RETENTION_DAYS="1") as house, run.load(per_second=50):
        number = 0
        while run.time_left():
            number += 1
            backup = run.folder / f"backup-{number}"
            run.harmed("backup", "ledger")
            pruning = _webspool(house.instance.directory, "prune")
            _look_at(run, house.instance.directory, backup)
            pruning.communicate(timeout=120)
            time.sleep(0.3)
        run.figures["backups"] = number
    _renew_an_older_one(run)


def _webspool(instance: Path, *words: str) -> subprocess.Popen[str]:
    command = [str(BIN / "webspool"), "--instance", str(instance), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _look_at(run: Run, instance: Path, backup: Path) -> None:
    acked = _acked(run)
    making = _webspool(instance, "backup", str(backup), "--output", "--json")
    told, said = making.communicate(timeout=120)
    if making.returncode != 0:
        run.breach(f"no backup: {said[-500:]}")
        return
    beside = run.folder / "restored"
    shutil.rmtree(beside, ignore_errors=True)
    Instance(beside)
    putting = _webspool(beside, "restore", str(backup))
    said = putting.communicate(timeout=120)[1]
    if putting.returncode != 0:
        run.breach(f"a backup was not restored: {said[-500:]}")
    elif missing := acked - _deliveries(beside):
        run.breach(f"{len(missing)} deliveries acknowledged before the backup are not in it")
    elif len(_deliveries(beside)) != json.loads(told)["deliveries"]:
        run.breach("a backup holds another number of deliveries than it tells")
    _damage(run, backup)
    refusing = _webspool(beside, "restore", str(backup))
    refusing.communicate(timeout=120)
    if refusing.returncode == 0:
        run.breach(f"a damaged backup was restored: {backup}")
    shutil.rmtree(backup)


def _acked(run: Run) -> set[str]:
    lines = [json.loads(line) for line in (run.evidence / "sent.jsonl").read_text().splitlines()]
    return {line["delivery"] for line in lines if line["status"] in (200, 202)}


def _deliveries(instance: Path) -> set[str]:
    connection = apsw.Connection(str(instance / "var" / "ledger.db"), flags=apsw.SQLITE_OPEN_READONLY)
    found = {str(name) for (name,) in connection.execute("SELECT id FROM delivery")}
    connection.close()
    return found


def _damage(run: Run, backup: Path) -> None:
    """One bit, anywhere but in the manifest."""
    files = [backup / "ledger.db", backup / "output.db", *sorted((backup / "bodies").iterdir())]
    chosen = run.chance.choice(files)
    data = bytearray(chosen.read_bytes())
    data[run.chance.randrange(len(data))] ^= 1 << run.chance.randrange(8)
    chosen.unlink()  # on the same disk the instance's body has the same inode
    chosen.write_bytes(data)


def _renew_an_older_one(run: Run) -> None:
    old = Instance(run.folder / "older")
    ledger = written(OLDER[0], old.config.ledger_path)
    _multiply(ledger)
    began = time.monotonic()
    try:
        old.start()
        while old.webhook().status != 202:
            time.sleep(0.02)
        run.figures["renewed in seconds"] = round(time.monotonic() - began, 1)
        if time.monotonic() - began > RENEWED_SECONDS:
            run.breach(f"an older ledger of {OLD_ROWS} jobs took {time.monotonic() - began:.0f} s to be renewed")
        if old.query("SELECT count(*) FROM job WHERE finished_at IS NOT NULL")[0][0] < OLD_ROWS:
            run.breach("jobs of the older ledger are gone")
    finally:
        old.end()


def _multiply(ledger: Path) -> None:
    """Copies of what has ended in it, each with a name of its own."""
    connection = apsw.Connection(str(ledger))
    connection.execute("BEGIN")
    for table in ("delivery", "job", "attempt"):
        columns = [str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "seq"]
        named = {"id": f"'{table[0]}_x' || printf('%030d', n)", "job": "'j_x' || printf('%030d', n)"}
        values = ", ".join(named.get(name, name) for name in columns)
        like = {"delivery": "1", "job": "state = 'dead'", "attempt": "ended_at IS NOT NULL"}[table]
        connection.execute(
            f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {OLD_ROWS}) "
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} "
            f"FROM numbers, (SELECT * FROM {table} WHERE {like} LIMIT 1) AS {table}"
        )
    connection.execute("COMMIT")
    connection.close()
