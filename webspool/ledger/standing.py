"""How an instance stands, as its ledger, its processes, its spool and its disk tell."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webspool.config import Config
from webspool.disk import Free, Room, folders_of, free
from webspool.doubt import RESTS
from webspool.errors import LedgerRefused
from webspool.ledger.distrust import reason as distrusted
from webspool.ledger.reader import Reader, exists, read, rfc3339
from webspool.processes import Identity, entered
from webspool.records import State
from webspool.spool_files import foreign

DELIVERIES = ("accepted", "refused", "duplicates", "ignored")
CLOCK_TOLD_SECONDS = 3600.0
SPOOL_FILE = "uwsgi_spoolfile_on_"


@dataclass(frozen=True, slots=True)
class Serving:
    """The instance that runs, with its processes; `instance` None: nothing serves the ledger."""

    instance: dict[str, Any] | None
    members: list[dict[str, Any]]
    keeper: bool

    @property
    def spoolers(self) -> int:
        return len(self.members)

    @property
    def busy(self) -> int:
        """How many of them have something to do; each may have claimed several jobs."""
        return sum(member["busy"] > 0 for member in self.members)


def status(config: Config) -> dict[str, Any]:
    """The instance at a glance: jobs by state, deliveries, spool, processes, pauses, what is degraded."""

    def work(reader: Reader) -> dict[str, Any]:
        counted = {row["name"]: row["value"] for row in reader.all("counters")}
        serving = _serving(config, reader)
        return {
            "jobs": {state.value: counted.get(f"jobs.{state}", 0) for state in State},
            "deliveries": {kind: counted.get(f"deliveries.{kind}", 0) for kind in DELIVERIES},
            "spool": _spool(config.spool_path),
            "processes": _processes(config, serving),
            "paused": [_pause(row) for row in reader.all("pauses")],
            "degraded": [*_degraded(config, serving), *_unknown_tasks(reader), *_set_clock(reader)],
            "troubles": [_happening(row) for row in reader.all("happenings")],
            "since": rfc3339(serving.instance["started_at"]) if serving.instance else None,
        }

    return read(config, work)


def happenings(config: Config) -> list[dict[str, Any]]:
    """The troubles that were ever told, the last first: `name`, how many `times`, when, and the last one's `facts`."""
    return [_happening(row) for row in read(config, lambda reader: reader.all("happenings"))]


def unready(config: Config) -> list[str]:
    """Why this instance should be sent nothing now, a sentence each; empty when it is ready."""
    reasons = list(_unwritable(config))
    reasons += _full_disk(config)
    try:
        served = serving(config)
    except LedgerRefused as fault:
        return [*reasons, str(fault)]
    if served.instance and served.instance["stopping"]:
        reasons.append("the instance is draining: it begins no further job")
    return reasons


def serving(config: Config) -> Serving:
    """The instance that serves this ledger now, with its processes."""
    return read(config, lambda reader: _serving(config, reader))


def running_jobs(config: Config, instance: str) -> list[dict[str, Any]]:
    """What that instance runs now, the longest first: attempt, job's id, task, since when, its spooler's pid."""
    found = read(config, lambda reader: reader.all("running_jobs", instance=instance))
    return [row | {"started_at": rfc3339(row["started_at"])} for row in found]


def running_by_spooler(config: Config, instance: str) -> dict[int, list[dict[str, Any]]]:
    """What each spooler of that instance has claimed, by its pid: the first is what it runs."""
    found: dict[int, list[dict[str, Any]]] = {}
    for each in running_jobs(config, instance):
        found.setdefault(each["pid"], []).append(each)
    return found


def waiting_tasks(config: Config) -> dict[str, int]:
    """How many jobs that have not ended there are of each task."""
    return {row["task"]: row["jobs"] for row in read(config, lambda reader: reader.all("waiting_tasks"))}


def keeper(config: Config) -> dict[str, Any] | None:
    """The keeper as it entered itself: pid, since when, and whether that very process runs; None: there was none."""
    if (entry := entered(config.keeper_dir / "keeper.json")) is None:
        return None
    return {"pid": entry.identity.pid, "since": rfc3339(entry.since), "running": entry.identity.alive}


# ── processes ───────────────────────────────────────────────────────────────────────────────────────────────────


def _serving(config: Config, reader: Reader) -> Serving:
    instance = next(filter(_lives, reader.all("live_instances")), None)
    if instance is None:
        return Serving(None, [], False)
    boot = instance["boot"]
    members = [
        each
        for each in reader.all("processes_of", instance=instance["id"])
        if Identity(boot, each["pid"], each["start"]).alive
    ]
    entered = keeper(config)
    kept = entered is not None and entered["running"]
    kept = kept or instance["engine"] != "spool"  # other engines keep the ledger in a thread of the instance
    return Serving(instance, members, kept)


def _lives(row: dict[str, Any]) -> bool:
    return Identity(row["boot"], row["pid"], row["start"]).alive


def _processes(config: Config, serving: Serving) -> dict[str, int]:
    under_uwsgi = serving.instance is not None and serving.instance["engine"] == "spool"
    return {
        "workers": config.workers if under_uwsgi else int(serving.instance is not None),
        "spoolers": serving.spoolers,
        "busy": serving.busy,
        "keeper": int(serving.keeper),
        "live": int(under_uwsgi and (live := entered(config.live_file)) is not None and live.identity.alive),
    }


def _spool(folder: Path) -> dict[str, Any]:
    """The tickets that lie there; uWSGI's lock files and folders beside them are none."""
    now, ages = time.time(), []
    for entry in _entries(folder):
        try:
            if entry.name.startswith(SPOOL_FILE) and entry.is_file(follow_symlinks=False):
                ages.append(now - entry.stat().st_mtime)
        except OSError:  # taken meanwhile
            continue
    return {"files": len(ages), "oldest_seconds": round(max(ages, default=0.0), 3)}


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


# ── what is wrong ───────────────────────────────────────────────────────────────────────────────────────────────


def _degraded(config: Config, serving: Serving) -> Iterator[str]:
    if not exists(config):
        yield f"there is no ledger yet at {config.ledger_path}; the first start of the instance makes it"
    if serving.instance is None:
        yield "nothing serves this ledger: jobs wait until an instance is started"
    elif not serving.keeper:
        yield "the keeper is down: every process writes the ledger directly"
    if serving.instance and serving.instance["stopping"]:
        yield "the instance is draining: webspool drain was called, it begins no further job (webspool drain --undo)"
    if serving.instance and not serving.spoolers:
        yield "no spooler has come into its claim loop: jobs wait"
    yield from map(_broken, (member for member in serving.members if member["broken"]))
    if left := foreign(config.spool_path):
        named = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
        yield f"{len(left)} files in {config.spool_path.name} are not webspool's and are left alone: {named}"
    yield from _low_disk(config)
    if serving.instance:
        yield from _unwritable(config)
        if serving.instance["engine"] == "spool":
            yield from _unusable_spool(config.spool_path)


def _broken(member: dict[str, Any]) -> str:
    if member["broken"].startswith(RESTS):
        return f"spooler {member['pid']} rests: {member['broken'].removeprefix(RESTS)}"
    last = member["broken"].strip().splitlines()[-1]
    goes_on = "goes on with the code that it had" if member["runner_pid"] else "runs nothing"
    return f"the runner of spooler {member['pid']} cannot import the app ({last}); the spooler {goes_on}"


def _unknown_tasks(reader: Reader) -> Iterator[str]:
    for row in reader.all("unknown_tasks"):
        wait = "1 job waits" if row["jobs"] == 1 else f"{row['jobs']} jobs wait"
        yield f"{wait} for the task {row['task']}, which the running code does not know"


def _set_clock(reader: Reader) -> Iterator[str]:
    """Told for an hour: what is told by the hour or signed by the minute may be wrong still."""
    row = reader.one("happening", name="clock_jumped")
    if row and abs(time.time() - row["last_at"]) < CLOCK_TOLD_SECONDS:
        by = json.loads(row["facts"])["by_seconds"]
        way = "ahead" if by > 0 else "back"
        yield f"the clock jumped {abs(by):g} s {way} at {rfc3339(row['last_at'])}: waits go on by the time that passes"


def _low_disk(config: Config) -> Iterator[str]:
    found, floor = free(folders_of(config)), config.min_free_bytes
    if found.room(floor) is Room.LOW:
        yield f"the disk is low: {found} (WEBSPOOL_MIN_FREE_BYTES={floor}); output is cut short, old bodies go"
    yield from _nearly_full(found, floor)


def _full_disk(config: Config) -> Iterator[str]:
    yield from _nearly_full(free(folders_of(config)), config.min_free_bytes)


def _nearly_full(found: Free, floor: int) -> Iterator[str]:
    if found.room(floor) is Room.FULL:
        yield f"the disk is nearly full: {found} (WEBSPOOL_MIN_FREE_BYTES={floor}); webhooks are answered 503"


def _unusable_spool(folder: Path) -> Iterator[str]:
    """Without it no spooler that is begun anew comes into its claim loop; those that are in it work on."""
    if not folder.is_dir():
        yield f"the spool {folder} is not there; the keeper makes it anew, where it can"
    elif not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield f"the spool {folder} cannot be read and written: a spooler that ends may not be replaced"


def _unwritable(config: Config) -> Iterator[str]:
    path = config.ledger_path
    if (why := distrusted(path)) is not None:
        yield f"the disk of the ledger failed to write ({why}): nothing is accepted until the keeper has recovered it"
    if not exists(config):
        yield f"there is no ledger at {path}"
    elif not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        yield f"the ledger {path} cannot be written by user {os.geteuid() if hasattr(os, 'geteuid') else ''}".rstrip()


def _happening(row: dict[str, Any]) -> dict[str, Any]:
    times = {name: rfc3339(row[name]) for name in ("first_at", "last_at")}
    return row | times | {"facts": json.loads(row["facts"])}


def _pause(row: dict[str, Any]) -> dict[str, Any]:
    return {"name": row["name"], "since": rfc3339(row["since_at"]), "actor": row["actor"]}
