"""One row being played: the instance, the load, the killer's log, and the checker's verdict at the end."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import apsw

from chaos.diary import Diary
from chaos.house import House
from chaos.load import Load, Sender, Target
from chaos.orders import ORDERS, PROBE, Order
from chaos.row import NotHere, Row
from tests.instances import BIN, SECRET
from webspool.errors import WebspoolError

ROOT = Path(__file__).parents[1]
SETTLING_SECONDS = 30.0
CHECKING_SECONDS = 300.0


@dataclass
class Run:
    """`folder` holds the instance and the evidence; `seconds` is how long the harm lasts, `chance` is seeded.

    `orders` is what the load sends, by event type: a row adds its own to it, with `more_tasks`, before it serves.
    """

    row: Row
    folder: Path
    seconds: float
    chance: random.Random
    orders: dict[str, Order] = field(default_factory=lambda: dict(ORDERS))
    more_tasks: str = ""
    breaches: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    house: House = field(init=False)

    def __post_init__(self) -> None:
        self.evidence = self.folder / "evidence"
        self.harm_diary = Diary(self.evidence / "harm.jsonl")
        self.sent_diary = Diary(self.evidence / "sent.jsonl")
        self._until = time.monotonic() + self.seconds

    # ── the instance and its load ───────────────────────────────────────────────────────────────────────────────

    def prepare(self, **settings: str) -> Path:
        """Write the instance, which is not started yet; returns its directory."""
        self.house = House(self.folder, self.more_tasks, **settings)
        return self.house.instance.directory

    @contextmanager
    def serving(self, *prefix: str, environ: dict[str, str] | None = None, **settings: str) -> Iterator[House]:
        """The instance, restarted when its master ends; at the end of the block all that was accepted may end."""
        if not hasattr(self, "house"):
            self.prepare(**settings)
        try:
            self.target = Target(self.house.instance.port, SECRET)
            self.house.start(*prefix, **environ or {})
            self._until = time.monotonic() + self.seconds
            try:
                yield self.house
            finally:
                self.settle()
        finally:
            self.house.end()

    @contextmanager
    def load(self, per_second: float = 60.0) -> Iterator[Load]:
        """Webhooks at about that rate, until the end of the block."""
        load = Load(self.sender(), self.orders, per_second, self.chance)
        try:
            yield load
        finally:
            load.end()

    def sender(self) -> Sender:
        """One that sends what you want, and notes it as the load does."""
        return Sender(self.target, self.sent_diary)

    def time_left(self) -> bool:
        return time.monotonic() < self._until

    def settle(self, seconds: float = SETTLING_SECONDS) -> None:
        """Wait until every job has ended, or none ended for so long; what is left is for the checker to tell."""
        left, give_up = -1, time.monotonic() + seconds
        while left and time.monotonic() < give_up:
            found = self._unfinished()
            if found is not None and found != left:
                left, give_up = found, time.monotonic() + seconds
            time.sleep(0.1)

    def _unfinished(self) -> int | None:
        """How many jobs have not ended; None while that cannot be read."""
        try:
            return int(self.house.instance.query("SELECT count(*) FROM job WHERE finished_at IS NULL")[0][0])
        except (apsw.Error, WebspoolError):
            return None

    # ── harm ────────────────────────────────────────────────────────────────────────────────────────────────────

    def kill(self, kind: str) -> bool:
        """SIGKILL a random process of that kind, if there is one, and note it."""
        found = self.house.pids(kind)
        if not found:
            return False
        pid = self.chance.choice(found)
        self.harmed("SIGKILL", kind, pid=pid)  # first: what it brings about comes after it
        return self.house.kill(pid)

    def harmed(self, what: str, who: str, *, pid: int | None = None, **facts: Any) -> None:
        """Note what was done to whom; recovery is counted from here."""
        self.harm_diary.note(time=time.time(), what=what, who=who, pid=pid, **facts)

    @contextmanager
    def harming(self, what: str, who: str, **facts: Any) -> Iterator[None]:
        """Harm that lasts for the block: noted when it begins, recovery is counted from its end."""
        self.harmed(what, who, lasts=True, **facts)
        try:
            yield
        finally:
            self.harmed(f"end of {what}", who, **facts)

    def breach(self, what: str) -> None:
        """A promise of the row's own that did not hold."""
        self.breaches.append(what)

    def sent(self) -> list[dict[str, Any]]:
        """What was sent and answered until now."""
        return _lines(self.evidence / "sent.jsonl")

    def acked_until(self, at: float) -> list[dict[str, Any]]:
        """The answers of 2xx that senders had by then."""
        return [line for line in self.sent() if line["at"] <= at and line["status"] and line["status"] < 300]

    def effects_by_event(self, prefix: str) -> dict[str, set[str]]:
        """The jobs that began for each event whose id begins like that."""
        found: dict[str, set[str]] = {}
        for told in _lines(self.evidence / "effects.jsonl"):
            if told["what"] == "began" and told["event"].startswith(prefix):
                found.setdefault(told["event"], set()).add(told["job"])
        return found

    # ── the verdict ─────────────────────────────────────────────────────────────────────────────────────────────

    def judge(self) -> dict[str, Any]:
        """What the checker found, with the row's own breaches."""
        orders = {name: asdict(order) for name, order in self.orders.items()} | {PROBE: asdict(Order(0))}
        (self.evidence / "orders.json").write_text(json.dumps(orders))
        found = subprocess.run(
            [sys.executable, "-m", "chaos.checker", str(self.folder), str(BIN / "webspool")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=CHECKING_SECONDS,
        )
        if found.returncode != 0:
            return {"breaches": [*self.breaches, f"the checker failed: {found.stderr.strip()[-2000:]}"]}
        told: dict[str, Any] = json.loads(found.stdout)
        told["breaches"] += self.breaches
        return told | self.figures


def outcome(run: Run) -> dict[str, Any]:
    """Play the row and have it judged. What the row itself trips over is a breach, and never hides the others."""
    try:
        judged = run.row.play(run)
    except NotHere as why:
        return {"skipped": str(why), "breaches": []}
    except Exception:
        run.breach(traceback.format_exc())
        judged = None
    return judged or run.judge()


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
