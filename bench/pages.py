"""How long the dashboard's pages take with a long past: `python -m bench.pages`; milliseconds of server time each.

Session and all, but without the network: each page is asked of the application itself.
"""

from __future__ import annotations

import json
import os
import random
import re
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import apsw
from flask import Flask
from flask.testing import FlaskClient

from bench.filled import DAY, filled
from webspool import Source, Webspool, task
from webspool.ledger.tallies import ALL, KEPT_SECONDS, bucket

PASSWORD = "of-the-bench"
TIMES = 7
HOME = "http://localhost"
PATHS = (
    *("/", "/?range=24h", "/?range=7d", "/deliveries", "/deliveries?source=rare", "/refusals", "/jobs"),
    *("/jobs?state=dead", "/jobs?task=hook", "/jobs?error=away", "/jobs?state=succeeded&source=github"),
    *("/failures", "/failures?task=hook", "/run", "/run?task=hook", "/scheduled", "/scheduled?task=rare"),
    *("/sources", "/sources/send?source=github", "/tasks", "/processes", "/audit", "/audit?actor=nobody"),
)


@task
def hook(delivery: object) -> None: ...


@task
def work(facts: dict[str, object]) -> None: ...


def main() -> None:
    ledger = filled()
    _add_what_pages_survey(ledger)
    try:
        found = _measured(ledger)
    finally:
        _take_it_away(ledger)
    for path, milliseconds in sorted(found.items(), key=lambda each: -each[1]):
        print(f"{milliseconds:8.1f} ms  {re.sub('_[0-9a-f]{32}', '_...', path)}")


def _measured(ledger: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as directory:
        client = _visitor(ledger, Path(directory))
        job = re.search(r'data-open href="/dashboard(/jobs/j_\w+)"', _page(client, "/jobs")[1])
        delivery = re.search(r'data-open href="/dashboard(/deliveries/d_\w+)"', _page(client, "/deliveries")[1])
        assert job
        assert delivery
        return {path: _milliseconds(client, path) for path in (*PATHS, job[1], f"{job[1]}/anew", delivery[1])}


def _visitor(ledger: Path, directory: Path) -> FlaskClient:
    settings = {"DATABASE_URL": f"sqlite:///{ledger}", "SECRET_KEY": "s" * 48, "PASSWORD": PASSWORD}
    os.environ |= {f"WEBSPOOL_{name}": value for name, value in settings.items()} | {
        "WEBSPOOL_INSTANCE": str(directory)
    }
    app = Flask("bench", root_path=str(directory))
    Webspool(app).add(Source("github", verify="github", secrets=["literal:s"], on={"push": hook}))
    client = app.test_client()
    client.post("/dashboard/login", data={"name": "operator", "password": PASSWORD}, base_url=HOME)
    return client


def _page(client: FlaskClient, path: str) -> tuple[float, str]:
    began = time.perf_counter()
    answer = client.get(f"/dashboard{path}", base_url=HOME)
    assert answer.status_code == 200, (path, answer.status_code, answer.text)
    return time.perf_counter() - began, answer.text


def _milliseconds(client: FlaskClient, path: str) -> float:
    return statistics.median(_page(client, path)[0] for _ in range(TIMES)) * 1000


def _add_what_pages_survey(ledger: Path) -> None:
    """A week of tallies of 20 tasks and 10 sources, 5,000 actions, and 20 tasks."""
    connection, chance, now = apsw.Connection(str(ledger)), random.Random(7), time.time()
    names = [f"task:{name}" for name in ("hook", "audit", "work", "rare", *(f"t{each}" for each in range(16)))]
    names += [f"source:{name}" for name in ("github", "stripe", "bench", "rare", *(f"s{each}" for each in range(6)))]
    with connection:
        for span, kept in KEPT_SECONDS.items():
            for at in range(int((now - kept) // span) * span, int(now) + span, span):
                rows = [(span, at, name, json.dumps(_counts(name, chance))) for name in [*names, ALL]]
                connection.executemany("INSERT OR REPLACE INTO tally VALUES (?, ?, ?, ?)", rows)
        policy = json.dumps({"max_attempts": 20, "timeout": 600, "concurrency": None, "max_age": None})
        tasks = [(name.partition(":")[2], 1, None, policy) for name in names if name.startswith("task:")]
        connection.executemany("INSERT OR REPLACE INTO task VALUES (?, ?, ?, ?)", tasks)
        connection.executemany("INSERT OR REPLACE INTO action VALUES (?, ?, ?, ?, ?, ?)", map(_action, range(5000)))
    connection.close()


def _take_it_away(ledger: Path) -> None:
    """Other measurements find the ledger as it was made."""
    connection = apsw.Connection(str(ledger))
    for table in ("tally", "task", "action", "session", "login_try"):
        connection.execute(f"DELETE FROM {table}")
    connection.close()


def _counts(name: str, chance: random.Random) -> Mapping[str, object]:
    if name.startswith("source:"):
        return {"accepted": chance.randrange(100), "duplicate": 3, "refused": 1}
    runs = {bucket(0.001 * 1.5**each): chance.randrange(20) for each in range(12)}
    return {"succeeded": 90, "failed": 9, "dead": 1, "wait": 99, "run_seconds": runs, "wait_seconds": runs}


def _action(number: int) -> tuple[str, str, str, str, str, float]:
    at = time.time() - DAY + number
    jobs = [f"j_{each:032x}" for each in range(500 if number % 50 == 0 else 1)]
    told = {"verb": "retry", "actor": "dashboard:operator", "jobs": jobs}
    done = {"done": dict.fromkeys(jobs, "done")}
    id = f"x_{int(at * 1000) << 80 | number:032x}"
    return id, "retry", json.dumps(told), json.dumps(done), "dashboard:operator", at


if __name__ == "__main__":
    main()
