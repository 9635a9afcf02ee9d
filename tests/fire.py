"""A keeper as a real process that is stopped, resumed and killed at random while client processes load it."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import apsw

from tests.ledger_laws import Snapshot, breaches
from webspool.errors import LedgerUnavailable
from webspool.keep import Folders, Keeper
from webspool.ledger.apply import apply
from webspool.ledger.client import Client
from webspool.ledger.database import Database
from webspool.ledger.operations import Answer, Operation, ending
from webspool.ledger.sockets import SocketInbox, SocketRoute
from webspool.policy import Policy, Standing, judge
from webspool.processes import Identity
from webspool.records import Ending, Outcome, State, new_id
from webspool.telemetry import silent

INSTANCE = "the-instance"
PATIENCE = 0.3
TASKS = {"free": Policy(), "one": Policy(concurrency=1)}
FORK = multiprocessing.get_context("fork")


class NoEngine:
    """Nobody is to be woken: the clients ask by themselves."""

    def wake(self, present: int) -> None:
        """See above."""


@dataclass(frozen=True)
class House:
    """A directory with a ledger, the keeper's folder, and the diaries of the clients."""

    root: Path

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.db"

    @property
    def outputs(self) -> Path:
        return self.root / "output.db"

    @property
    def keeper(self) -> Path:
        return self.root / "keeper"

    @property
    def folders(self) -> Folders:
        return Folders(self.ledger, self.outputs, self.root / "bodies")

    def client(self) -> Client:
        return Client(self.ledger, self.outputs, SocketRoute(self.keeper))

    def begin(self) -> None:
        """Make the ledger, with an instance in it."""
        database = Database(self.ledger)
        entry = {"host": "here", "boot": "", "pid": os.getpid(), "start": 0, "engine": "spool"}
        with database.transaction(flush=True) as tx:
            apply(tx, Operation(INSTANCE, "start", entry))
        database.close()

    def seen(self) -> Snapshot:
        connection = apsw.Connection(str(self.ledger), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(2000)
        with connection:
            seen = Snapshot.of(connection)
        connection.close()
        return seen


def keep(house: House, change: Callable[[], None] | None = None) -> None:
    """The keeper's process; `change` takes a fence out of it."""
    if change is not None:
        change()
    keeper = Keeper(house.folders, SocketInbox(house.keeper), NoEngine(), silent, INSTANCE)
    keeper.run(lambda: False)


class Diary:
    """What a client did, a line each, written before anything else happens."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, *words: str) -> None:
        os.write(self._file, (" ".join(words) + "\n").encode())


@dataclass(frozen=True)
class Weather:
    """What a run is like: how often clients send and the keeper is killed, how long jobs and stops last at most."""

    sending: float = 0.5
    longest_job_seconds: float = 0.002
    killing: float = 0.4
    longest_stop_seconds: float = 2.5 * PATIENCE


@dataclass
class Clerk:
    """A client: it sends webhooks, and runs jobs as a spooler would."""

    client: Client
    diary: Diary
    process: str
    weather: Weather
    unfinished: dict[str, Any] | None = None

    def join(self) -> None:
        given = {"process": self.process, "instance": INSTANCE, "pid": os.getpid(), "start": 0, "runner_pid": 0}
        tasks = {name: policy.as_dict() for name, policy in TASKS.items()}
        self.insist(Operation(new_id("p"), "join", given | {"runner_start": 0, "generation": 1, "tasks": tasks}))

    def insist(self, operation: Operation) -> Answer:
        """The same operation under the same id, until it is answered."""
        while True:
            try:
                return self.client.call(operation, patience=PATIENCE)
            except LedgerUnavailable:
                self.diary.note("refused", operation.verb)

    def send(self) -> None:
        """A webhook of an event of its own, with some jobs."""
        jobs = [
            {"id": new_id("j"), "task": random.choice(["free", "free", "free", "one"])}
            for _ in range(random.randint(1, 3))
        ]
        given = {"source": "test", "method": "POST", "url": "/", "headers": "[]", "remote": None, "body_file": False}
        given |= {"event_id": new_id("e"), "event_type": "t", "body_size": 1, "body_sha256": "x", "jobs": jobs}
        answer = self.insist(Operation(new_id("d"), "accept", given, b"x"))
        self.diary.note("accepted", answer.values["delivery"], *(job["id"] for job in answer.values["jobs"]))

    def turn(self) -> bool:
        """End the last job and run another; False when there is none. A claim without an answer runs nothing."""
        wanted = {"attempt": new_id("a"), "process": self.process, "instance": INSTANCE, "generation": 1}
        operation = Operation(new_id("t"), "turn", {"end": self.unfinished, "claim": wanted})
        try:
            answer = self.insist(operation) if self.unfinished else self.client.call(operation, patience=PATIENCE)
        except LedgerUnavailable:
            self.diary.note("refused", "claim")
            return True
        if self.unfinished is not None and not answer.values["kept"]:
            self.diary.note("late", self.unfinished["attempt"])
        self.unfinished = None
        if answer.values["order"] is None:
            return False
        self.run(answer.values["order"])
        return True

    def run(self, order: dict[str, Any]) -> None:
        self.diary.note("ran", order["job"], order["attempt"])
        time.sleep(random.choice([0.0, 0.2, 1.0]) * self.weather.longest_job_seconds)
        outcome = Outcome(Ending.SUCCEEDED)
        verdict = judge(outcome, TASKS[order["task"]], Standing(order["attempts"]))
        self.unfinished = ending(order["attempt"], outcome, verdict)


def clerk(house: House, number: int, until: float, seed: int, weather: Weather) -> None:
    """A client's process: load until that time of the monotonic clock, then work until nothing is left."""
    random.seed(seed + number)
    me = Clerk(house.client(), Diary(house.root / f"diary-{number}"), str(Identity.of(os.getpid())), weather)
    me.join()
    while time.monotonic() < until:
        if random.random() < weather.sending:
            me.send()
        me.turn()
    while me.turn():
        pass


class Keepers:
    """The keeper's process, and the one that takes its place."""

    def __init__(self, house: House, change: Callable[[], None] | None = None) -> None:
        self._start = (house, change)
        self.process: BaseProcess = self.start()

    def start(self) -> BaseProcess:
        self.process = FORK.Process(target=keep, args=self._start, daemon=True)
        self.process.start()
        return self.process

    def signal(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def stop_for(self, seconds: float) -> None:
        self.signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


@dataclass(frozen=True)
class Aftermath:
    """What a run under fire left."""

    seen: Snapshot
    events: Counter[str]
    ghosts: list[str]
    twice: list[str]
    absent: list[str]
    unfinished: list[str]
    broken_laws: list[str]

    @property
    def faults(self) -> dict[str, list[str]]:
        names = ("ghosts", "twice", "absent", "unfinished", "broken_laws")
        return {name: found for name in names if (found := getattr(self, name))}


def under_fire(
    house: House,
    seconds: float,
    seed: int,
    *,
    weather: Weather = Weather(),
    change: Callable[[], None] | None = None,
) -> Aftermath:
    """Four clients under load, and a keeper that is stopped, resumed and killed for that many seconds."""
    house.begin()
    chance = random.Random(seed)
    until = time.monotonic() + seconds
    clerks = [FORK.Process(target=clerk, args=(house, each, until, seed, weather), daemon=True) for each in range(4)]
    for process in clerks:
        process.start()
    keepers = Keepers(house, change)
    events = fire(keepers, until, chance, weather)
    for process in clerks:
        process.join(60)
        assert process.exitcode == 0, f"a client ended with {process.exitcode}"
    keepers.kill()
    return aftermath(house, events)


def fire(keepers: Keepers, until: float, chance: random.Random, weather: Weather) -> Counter[str]:
    events: Counter[str] = Counter()
    while time.monotonic() < until:
        time.sleep(chance.uniform(0.02, 0.4))
        if chance.random() < weather.killing:
            events["killed"] += 1
            keepers.kill()
            time.sleep(chance.choice([0.0, 0.0, 0.2]))
            keepers.start()
        else:
            events["stopped"] += 1
            keepers.stop_for(chance.uniform(0.05, weather.longest_stop_seconds))
    return events


def aftermath(house: House, events: Counter[str]) -> Aftermath:
    seen = house.seen()
    ran: Counter[str] = Counter()
    acknowledged: set[str] = set()
    for diary in house.root.glob("diary-*"):
        for line in diary.read_text().splitlines():
            what, *words = line.split()
            events[what] += 1
            if what == "ran":
                ran[words[0]] += 1
            elif what == "accepted":
                acknowledged |= set(words)
    return Aftermath(
        seen=seen,
        events=events,
        ghosts=[row["id"] for row in seen.attempt if row["ended_at"] is None],
        twice=[job for job, times in ran.items() if times > 1],
        absent=sorted(acknowledged - {row["id"] for row in [*seen.job, *seen.delivery]}),
        unfinished=[job["id"] for job in seen.job if job["state"] != State.SUCCEEDED],
        broken_laws=breaches(seen),
    )
