"""A ledger with a long past and much to do later, written straight through SQL and kept for the next measurement."""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import apsw

from bench.load import payload
from webspool.ledger.database import Database, migrations

DAY = 86400.0
PAST_DAYS = 28.0
KEYS_DAYS = 30.0
RARE = 100
"""How many of the finished jobs, the oldest, are of a source, a type and a task that have sent nothing since."""


@dataclass(frozen=True)
class Size:
    """How many of each."""

    finished: int = 1_000_000
    later: int = 100_000
    dead: int = 20_000


class Filling:
    """One ledger in the making; what is random in it is the same each time."""

    def __init__(self, path: Path, size: Size) -> None:
        Database(path).close()
        self.size = size
        self.connection = apsw.Connection(str(path))
        self.connection.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -500000")
        self.chance = random.Random(7)
        self.now = time.time()

    def fill(self) -> None:
        """Tables first, their indexes afterwards."""
        indexes = self._indexes()
        self.connection.execute("BEGIN")
        for name, _ in indexes:
            self.connection.execute(f"DROP INDEX {name}")
        finished = self.size.finished + self.size.dead
        self._insert("delivery", finished, self._delivery)
        self._insert("job", finished + self.size.later, self._job)
        self._insert("attempt", finished, self._attempt)
        self._insert("event_key", finished, self._event_key)
        for _, sql in indexes:
            self.connection.execute(sql)
        counters = {
            "jobs.succeeded": self.size.finished,
            "jobs.dead": self.size.dead,
            "jobs.scheduled": self.size.later,
            "deliveries.accepted": finished,
        }
        self.connection.executemany("INSERT INTO counter VALUES (?, ?)", counters.items())
        self.connection.execute("COMMIT; ANALYZE" if _is_analysed(self.connection) else "COMMIT")
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.close()

    def _indexes(self) -> list[tuple[str, str]]:
        return self.connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL "
            "AND tbl_name IN ('delivery', 'job', 'attempt', 'event_key')"
        ).fetchall()

    def _insert(self, table: str, count: int, row: Callable[[int], dict[str, Any]]) -> None:
        names = list(row(0))
        sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        self.connection.executemany(sql, (tuple(row(number).values()) for number in range(count)))

    # ── rows by their number, oldest first ──────────────────────────────────────────────────────────────────────

    def _at(self, number: int) -> float:
        whole = self.size.finished + self.size.dead
        return self.now - PAST_DAYS * DAY * (1 - min(number, whole) / whole)

    def _id(self, prefix: str, number: int) -> str:
        """In the order of time, as webspool makes them; the same each time, so that rows find each other."""
        return f"{prefix}_{int(self._at(number) * 1000) << 80 | 0x7 << 76 | 0b10 << 62 | number:032x}"

    def _source(self, number: int) -> str:
        return "rare" if number < RARE else ("bench", "github", "stripe")[number % 3]

    def _delivery(self, number: int) -> dict[str, Any]:
        body = payload(f"{self._at(number):017.6f}")
        return {
            "id": self._id("d", number),
            "source": self._source(number),
            "method": "POST",
            "url": "/hooks/bench",
            "headers": HEADERS,
            "remote": "127.0.0.1",
            "event_id": _event_id(number),
            "event_type": "rare" if number < RARE else "push",
            "received_at": self._at(number),
            "status": "accepted",
            "body": body,
            "body_size": len(body),
            "body_sha256": hashlib.sha256(body).hexdigest(),
        }

    def _state(self, number: int) -> str:
        """The dead lie between the others, the scheduled are the last."""
        whole = self.size.finished + self.size.dead
        if number >= whole:
            return "scheduled"
        every = whole // max(1, self.size.dead)
        return (
            "dead"
            if self.size.dead and number % every == every - 1 and number // every < self.size.dead
            else "succeeded"
        )

    def _job(self, number: int) -> dict[str, Any]:
        state, at = self._state(number), self._at(number)
        spooled, dead = state == "scheduled", state == "dead"
        later = self.now + DAY + self.chance.random() * 30 * DAY
        return {
            "id": self._id("j", number),
            "task": "rare" if number < RARE else "work" if spooled else ("hook", "audit")[number % 2],
            "calling": "keywords" if spooled else "delivery",
            "arguments": json.dumps({"facts": {"sent": "0" * 17}}) if spooled else None,
            "delivery": None if spooled else self._id("d", number),
            "source": None if spooled else self._source(number),
            "state": state,
            "due_at": later if spooled else at,
            "attempts": int(not spooled),
            "number": int(not spooled),
            "created_at": at,
            "started_at": None if spooled else at + 0.002,
            "finished_at": None if spooled else at + 0.003,
            "error": f"1 of 1 attempts spent: ConnectionError: host {number % 40} is away" if dead else None,
        }

    def _attempt(self, number: int) -> dict[str, Any]:
        dead = self._state(number) == "dead"
        return {
            "id": self._id("a", number),
            "job": self._id("j", number),
            "number": 1,
            "process": "b:1:1",
            "started_at": self._at(number) + 0.002,
            "ended_at": self._at(number) + 0.003,
            "outcome": "failed" if dead else "succeeded",
            "error": f"ConnectionError: host {number % 40} is away" if dead else None,
        }

    def _event_key(self, number: int) -> dict[str, Any]:
        return {
            "source": self._source(number),
            "event_id": _event_id(number),
            "delivery": self._id("d", number),
            "first_at": self._at(number),
            "until": self._at(number) + KEYS_DAYS * DAY,
        }


HEADERS = json.dumps(
    [
        ["Host", "localhost"],
        ["Content-Type", "application/json"],
        ["Content-Length", "1024"],
        ["X-Hub-Signature-256", "***"],
        ["X-Github-Event", "push"],
        ["X-Github-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"],
    ]
)


def _event_id(number: int) -> str:
    """Without order, as a UUID."""
    return hashlib.md5(b"%d" % number, usedforsecurity=False).hexdigest()


def _is_analysed(connection: apsw.Connection) -> bool:
    """Whether the schema asks SQLite to know how many rows there are."""
    return bool(connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'").fetchone())


def filled(size: Size = Size()) -> Path:
    """Such a ledger, from the last time when neither its schema nor this file has changed."""
    of = "".join(sql for _, sql in migrations()) + Path(__file__).read_text() + repr(astuple(size))
    day = time.strftime("%Y%m%d")
    path = Path(gettempdir()) / f"webspool-bench-ledger-{day}-{hashlib.sha256(of.encode()).hexdigest()[:12]}.db"
    if not path.exists():
        making = path.with_suffix(f".{os.getpid()}")
        try:
            Filling(making, size).fill()
            making.rename(path)
        finally:
            for left in path.parent.glob(f"{making.name}*"):
                left.unlink()
    return path
