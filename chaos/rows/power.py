"""Row 3: the power goes. What had not been flushed is gone, or there in part; the instance starts from what is left.

One run under load is recorded; the disk is then made as a cut at many moments of it would have left it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import apsw

from chaos.power.disk import Disk, Left, all_left, nothing_left, some_left
from chaos.power.recorder import journal, recording
from chaos.row import row
from chaos.run import Run

CUTS, STARTS = 60, 4
RECORDED_SECONDS = 60.0
Found = dict[str, Any]


@row(
    3,
    "power loss",
    broken="power, at many moments: unflushed data gone whole or in part, names too where their folder was not flushed",
    promise="what was acknowledged is there, with its body, and runs to its end",
)
def power_loss(run: Run) -> Found:
    """The disk after each cut is looked at; from some the instance is started again."""
    return cut(run, CUTS, STARTS)


def cut(run: Run, cuts: int, starts: int) -> Found:
    """Record a run, and cut the power at so many moments of it."""
    disk = recorded(run)
    moments = chosen(run, cuts)
    starting = set(run.chance.sample(moments, min(starts, len(moments))))
    outcomes: list[Found] = []
    looked_at = 0
    for number, line in enumerate(journal(run.folder / "journal")):
        disk.do(line)
        if number not in moments:
            continue
        for left in (nothing_left(), some_left(run.chance), some_left(run.chance), all_left()):
            run.breaches += wrong_with(run, disk, left, line.at)
            looked_at += 1
        if number in starting:
            left = nothing_left() if len(outcomes) % 2 == 0 else some_left(run.chance)
            outcomes.append(started_again(run, disk, left, line.at))
    return summed(run, outcomes) | {"disks looked at": looked_at}


def recorded(run: Run) -> Disk:
    """A run under load, from an instance's first start on; returns its files as they were before."""
    instance = run.prepare()
    before, until = Disk(instance), min(run.seconds, RECORDED_SECONDS)
    with run.serving(environ=recording(run.folder, instance)), run.load(per_second=40):
        time.sleep(until)
    return before


def chosen(run: Run, count: int) -> list[int]:
    """The numbers of lines after which the power is cut: half of them flushes, half of them any."""
    first_ack = min(line["at"] for line in run.sent() if line["status"] == 202)
    lines = [(number, line.what, line.at) for number, line in enumerate(journal(run.folder / "journal"))]
    later = [(number, what) for number, what, at in lines if at > first_ack - 1.0]
    flushes = [number for number, what in later if what in "fd"]
    found = run.chance.sample(flushes, min(count // 2, len(flushes)))
    return sorted({*found, *(run.chance.choice(later)[0] for _ in range(count - len(found)))})


def wrong_with(run: Run, disk: Disk, left: Left, at: float) -> list[str]:
    """What is missing or damaged on a disk: of all that was acknowledged until then nothing may be."""
    folder = run.folder / "look"
    disk.write_out(folder, left)
    try:
        return [f"cut at {at:.3f}, {left.name}: {fault}" for fault in faults_of(folder, run.acked_until(at))]
    finally:
        shutil.rmtree(folder)


def faults_of(instance: Path, acked: list[Found]) -> list[str]:
    ledger = instance / "var" / "ledger.db"
    if not ledger.exists():
        return [f"there is no ledger, and {len(acked)} were acknowledged"] if acked else []
    connection = apsw.Connection(str(ledger), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        found = [] if connection.pragma("integrity_check") == "ok" else ["the ledger is damaged"]
        stored = dict(connection.execute("SELECT id, body_sha256 FROM delivery"))
        jobs = {job for (job,) in connection.execute("SELECT id FROM job")}
        in_files = [delivery for (delivery,) in connection.execute("SELECT id FROM delivery WHERE body_file")]
    except apsw.SQLError as fault:  # no schema yet
        return [f"the ledger is empty ({fault}), and {len(acked)} were acknowledged"] if acked else []
    finally:
        connection.close()
    lost = [line for line in acked if line["delivery"] not in stored or not set(line["jobs"]) <= jobs]
    found += [f"{len(lost)} of {len(acked)} acknowledged are missing"] if lost else []
    for delivery in in_files:
        body = instance / "var" / "bodies" / delivery
        if not body.exists() or hashlib.sha256(body.read_bytes()).hexdigest() != stored[delivery]:
            found.append(f"the body of {delivery} is missing or damaged")
    return found


def started_again(run: Run, disk: Disk, left: Left, at: float) -> Found:
    """The instance started from what is left, with the evidence of all that had happened until the cut."""
    folder = run.folder / f"cut-{at:.3f}"
    again = Run(run.row, folder, 2.0, run.chance)
    disk.write_out(folder / "instance", left)
    keep_until(run.evidence, again.evidence, at)
    again.harmed("power cut", "power", left=left.name)
    with again.serving(), again.load(per_second=20):
        while again.time_left():
            time.sleep(0.1)
    found = again.judge()
    shutil.rmtree(folder)
    return found


def keep_until(evidence: Path, into: Path, at: float) -> None:
    """What had been noted by then. What was under way had been sent, and not been answered."""
    for name in ("sent.jsonl", "effects.jsonl"):
        lines = [json.loads(text) for text in (evidence / name).read_text().splitlines()]
        under_way = {"at": at, "status": None, "delivery": None, "jobs": [], "said": None, "cause": None}
        kept = [line if line["at"] <= at else line | under_way for line in lines if line.get("sent", line["at"]) <= at]
        (into / name).write_text("".join(json.dumps(line) + "\n" for line in kept))


def summed(run: Run, outcomes: list[Found]) -> Found:
    """The figures of all starts together."""
    counted = ("requests", "events", "acked", "duplicates", "jobs", "attempts", "lost", "run_without_ack")
    total: Found = {name: sum(found.get(name, 0) for found in outcomes) for name in counted}
    for name in ("ended", "harm"):
        total[name] = sum((Counter(found.get(name, {})) for found in outcomes), Counter())
    total["longest_recovery"] = max((found.get("longest_recovery") or 0.0 for found in outcomes), default=None)
    return total | {"breaches": run.breaches + [breach for found in outcomes for breach in found["breaches"]]}
