"""Laws of who writes the ledger in the place of a process in which code of the app's runs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conditions import wait_until
from tests.fire import House
from tests.operations import accept, start
from tests.runner_house import House as Runners
from webspool import frames
from webspool.errors import LedgerUnavailable
from webspool.ledger import client, deputy, deputy_process
from webspool.ledger.client import Client
from webspool.ledger.database import Database
from webspool.ledger.deputy import Deputy, dismiss_all
from webspool.ledger.inbox import KeeperGone
from webspool.ledger.operations import Answer, Operation
from webspool.ledger.sockets import SocketRoute
from webspool.processes import PROC, children_of_ours
from webspool.records import Ending
from webspool.task import registry

LONG = 60.0


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    Client(made.ledger, made.outputs, None).call(start())
    yield made
    dismiss_all()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy may take longer to begin a process than senders wait."""
    monkeypatch.setattr(client, "ANSWERED_WITHIN_SECONDS", LONG)
    monkeypatch.setattr(client, "BUSY_SECONDS", LONG)
    monkeypatch.setattr(client, "RETURN_SECONDS", 0.0)


def app_of(house: House) -> Client:
    """As a worker's or runner's: there is no keeper."""
    return Client(house.ledger, house.outputs, SocketRoute(house.keeper), hand=Deputy(house.ledger))


def deputy_of(client: Client) -> int:
    hand = client._hand
    assert isinstance(hand, Deputy)
    assert hand._process is not None
    return hand._process.pid


def delivered(house: House) -> list[str]:
    return [row["id"] for row in house.seen().delivery]


def test_what_a_deputy_writes_is_as_if_the_process_had(house: House) -> None:
    """Answers, repeated operations, and bodies longer than a socket takes at once."""
    app, first = app_of(house), accept("free", body=os.urandom(60_000))
    answer = app.call(first)
    assert app.call(first) == answer == Client(house.ledger, house.outputs, None).call(first)
    assert delivered(house) == [first.id]
    assert [row["body"] for row in house.seen().delivery] == [first.body]


def opening_and_closing(ledger: Path, over: threading.Event) -> None:
    """What drops the locks of this process, as any backup or other SQLite in code of the app's does."""
    while not over.is_set():
        for name in (ledger.name, f"{ledger.name}-shm"):
            try:
                os.close(os.open(ledger.with_name(name), os.O_RDONLY))
            except FileNotFoundError:
                continue


def test_nothing_is_lost_where_other_threads_open_and_close_the_ledger(house: House) -> None:
    """Two processes write, and each has such threads."""
    over = threading.Event()
    hands = [threading.Thread(target=opening_and_closing, args=(house.ledger, over)) for _ in range(2)]
    written: list[str] = []

    def write(app: Client) -> None:
        for _ in range(150):
            operation = accept("free")
            app.call(operation)
            written.append(operation.id)

    writers = [threading.Thread(target=write, args=(app_of(house),)) for _ in range(2)]
    for thread in (*hands, *writers):
        thread.start()
    for thread in writers:
        thread.join(LONG)
    over.set()
    for thread in hands:
        thread.join(LONG)
    assert len(written) == 300
    assert set(delivered(house)) == set(written)


def test_it_runs_no_code_of_the_app(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what lies where the app does, nor what a site or PYTHONPATH has run at the start."""
    for name in ("sitecustomize", "usercustomize", "app", "json", "msgspec"):
        (house.root / f"{name}.py").write_text("import os; os._exit(3)")
    monkeypatch.chdir(house.root)
    monkeypatch.syspath_prepend(house.root)
    monkeypatch.setenv("PYTHONPATH", str(house.root))
    monkeypatch.setenv("PYTHONSTARTUP", str(house.root / "app.py"))
    app_of(house).call(accept("free"))
    assert len(delivered(house)) == 1


def test_when_it_was_killed_the_next_one_writes_the_same_once(house: House) -> None:
    """Out of memory, for example; it is not asked for anew."""
    app, first = app_of(house), accept("free")
    app.call(first)
    before = deputy_of(app)
    os.kill(before, signal.SIGKILL)
    second = accept("free")
    app.call(first)
    app.call(second)
    assert delivered(house) == [first.id, second.id]
    assert deputy_of(app) != before


def test_what_stops_the_instance_does_not_stop_it_but_the_end_of_its_process_does(house: House) -> None:
    """Ctrl-C comes to every process of a terminal, SIGTERM to every one of a service; a worker goes on meanwhile."""
    app = app_of(house)
    app.call(accept("free"))
    before = deputy_of(app)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(before, number)
    app.call(accept("free"))
    assert deputy_of(app) == before
    hand = app._hand
    assert isinstance(hand, Deputy)
    hand._line.close()
    wait_until(lambda: before not in children_of_ours())


def test_a_fork_has_a_deputy_of_its_own(house: House) -> None:
    """Two processes on one connection would read each other's answers; and it does not end its parent's."""
    app = app_of(house)
    app.call(accept("free"))
    before = deputy_of(app)

    def in_the_fork() -> None:
        app.call(accept("free"))
        os._exit(0 if deputy_of(app) != before else 1)

    child = multiprocessing.get_context("fork").Process(target=in_the_fork)
    child.start()
    child.join(LONG)
    assert child.exitcode == 0
    app.call(accept("free"))
    assert deputy_of(app) == before
    assert len(delivered(house)) == 3


SPOOLING = """
from webspool.ledger.client import Client
from webspool.ledger.deputy import Deputy
from webspool.ledger.operations import Operation
from webspool.ledger.sockets import SocketRoute

@task
def spools(folder, job):
    root = Path(folder)
    hand = Deputy(root / "ledger.db")
    app = Client(root / "ledger.db", root / "output.db", SocketRoute(root / "keeper"), hand=hand)
    app.call(Operation(job, "spool", {"task": "free", "calling": "keywords", "arguments": "{}"}))
    return hand._process.pid
"""


def test_a_task_that_spools_while_there_is_no_keeper_leaves_nothing_in_its_runner(
    house: House,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the runner would be replaced for a process that the task knows nothing of."""
    monkeypatch.setattr(registry, "tasks", {})
    runners = Runners(tmp_path_factory.mktemp("app"))
    runner = runners.serve(SPOOLING)
    for job in ("j_1", "j_2"):
        outcome = runners.run("spools", folder=str(house.root), job=job)
        assert (outcome.ending, outcome.error) == (Ending.SUCCEEDED, None)
        assert not PROC.joinpath(str(outcome.result)).exists()
        assert runner.alive
    assert [row["id"] for row in house.seen().job] == ["j_1", "j_2"]
    runner.kill()


class ComesBack:
    """A keeper that is gone for the first few tries."""

    def __init__(self, tries: int) -> None:
        self.left = tries

    def ask(self, operation: Operation) -> Answer:
        self.left -= 1
        if self.left >= 0:
            raise KeeperGone
        return Answer({"by": "the keeper"})

    def tell(self, operation: Operation) -> bool:
        return False

    def connected(self) -> bool:
        return False

    def pushed(self) -> list[dict[str, Any]]:
        return []


def test_a_keeper_that_comes_back_at_once_is_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is back sooner than a process has begun; nobody is told twice that it was gone."""
    monkeypatch.setattr(client, "RETURN_SECONDS", LONG)
    reach: list[bool] = []
    app = Client(house.ledger, house.outputs, ComesBack(5), None, reach.append, Deputy(house.ledger))
    assert app.call(accept("free"), patience=LONG).values == {"by": "the keeper"}
    assert (app.direct_calls, reach) == (0, [False, True])


def test_a_broken_connection_is_no_absence(house: House) -> None:
    """The next keeper may be there already: it is asked before anybody writes in its place, and nobody is told."""
    reach: list[bool] = []
    app = Client(house.ledger, house.outputs, ComesBack(1), None, reach.append)
    assert app.call(accept("free"), patience=LONG).values == {"by": "the keeper"}
    assert (app.direct_calls, reach) == (0, [])


def test_a_deputy_that_has_begun_is_asked_without_waiting(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the keeper stays away."""
    keeper = ComesBack(10**6)
    app = Client(house.ledger, house.outputs, keeper, hand=Deputy(house.ledger))
    app.call(accept("free"))
    monkeypatch.setattr(client, "RETURN_SECONDS", LONG)
    before = keeper.left
    app.call(accept("free"), patience=LONG)
    assert (before - keeper.left, app.direct_calls) == (2, 2)


def test_where_no_process_can_begin_nothing_is_stored_and_it_says_so(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine at its limit of processes."""

    def full(*_: Any, **__: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", full)
    with pytest.raises(LedgerUnavailable, match="Resource temporarily unavailable"):
        app_of(house).call(accept("free"))
    assert delivered(house) == []


def test_a_ledger_that_another_process_holds_is_told_as_such(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the deputy, which lives on."""
    app = app_of(house)
    app.call(accept("free"))
    before = deputy_of(app)
    monkeypatch.setattr(client, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(client, "ANSWERED_WITHIN_SECONDS", 0.05)
    monkeypatch.setattr(deputy, "GRACE_SECONDS", LONG)
    holder = Database(house.ledger)
    with holder.transaction(flush=False), pytest.raises(LedgerUnavailable, match="holds its write lock"):
        app.call(accept("free"))
    holder.close()
    assert deputy_of(app) == before


def test_one_that_is_slow_to_begin_is_there_for_who_comes_later(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not begun anew each time: on a busy machine it would never come to write."""
    app = app_of(house)
    with monkeypatch.context() as patch:
        patch.setattr(client, "BUSY_SECONDS", 0.0)
        patch.setattr(client, "ANSWERED_WITHIN_SECONDS", 0.0)
        with pytest.raises(LedgerUnavailable, match="has not begun yet"):
            app.call(accept("free"))
    before = deputy_of(app)
    app._shut_until, app._fault = 0.0, None
    app.call(accept("free"))
    assert deputy_of(app) == before
    assert len(delivered(house)) == 1


def test_a_deputy_that_hangs_is_given_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender hears that nothing was stored, and nothing is, later; the next one writes."""
    app = app_of(house)
    app.call(accept("free"))
    before = deputy_of(app)
    os.kill(before, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(client, "BUSY_SECONDS", 0.05)
        patch.setattr(client, "ANSWERED_WITHIN_SECONDS", 0.05)
        with pytest.raises(LedgerUnavailable, match="in the absence of the keeper"):
            app.call(accept("free"))
    wait_until(lambda: before not in children_of_ours())
    assert len(delivered(house)) == 1
    app._shut_until, app._fault = 0.0, None
    app.call(accept("free"))
    assert len(delivered(house)) == 2


def test_one_that_nobody_asks_ends_by_itself(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one whose caller is gone before it could be told."""
    monkeypatch.setattr(deputy_process, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(deputy_process, "IDLE_SECONDS", 0.03)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        deputy_process.serve(theirs, house.ledger)
    ours, theirs = socket.socketpair()
    with theirs:
        first = accept("free")
        ours.sendall(first.until(float("inf")).frame())
        ours.close()
        deputy_process.serve(theirs, house.ledger)
    assert delivered(house) == [first.id]


def test_a_fault_of_ours_is_an_answer(house: House) -> None:
    """Not the end of the process: the next who asks for the same would find that again."""
    ours, theirs = socket.socketpair()
    serving = threading.Thread(target=deputy_process.serve, args=(theirs, house.ledger))
    serving.start()
    with ours:
        ours.sendall(Operation("x_1", "no such verb", {}).frame())
        ((told, _body),) = frames.Decoder().feed(ours.recv(1 << 16))
    serving.join(LONG)
    theirs.close()
    assert told["id"] == "x_1"
    assert "no such verb" in told["why"]
