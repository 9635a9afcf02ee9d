"""The keeper's door: a unix socket, whoever knocks at it."""

from __future__ import annotations

import errno
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conditions import wait_until
from tests.fire import House, NoEngine
from tests.operations import accept, act, body_in, end_of, join, start, turn
from webspool import frames
from webspool.config import load
from webspool.errors import LedgerUnavailable
from webspool.keep import Keeper
from webspool.ledger import watchdog
from webspool.ledger.client import ANSWERED_WITHIN_SECONDS, BUSY_SECONDS, Client
from webspool.ledger.database import SHORT_BUSY_SECONDS, Database
from webspool.ledger.inbox import KeeperGone
from webspool.ledger.operations import Answer, Operation
from webspool.ledger.sockets import SocketInbox, SocketRoute
from webspool.policy import Policy
from webspool.processes import Identity
from webspool.records import Ending, Outcome, State, new_id
from webspool.telemetry import silent

TASKS = {"free": Policy()}
HERE = str(Identity.of(os.getpid()))
SUCCEEDED = Outcome(Ending.SUCCEEDED)


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    Client(made.ledger, made.outputs, None).call(start())
    Client(made.ledger, made.outputs, None).call(join(HERE, TASKS))
    return made


class Served:
    """A keeper in a thread, with a socket as its door."""

    def __init__(self, house: House, inbox: SocketInbox) -> None:
        self.house, self.inbox = house, inbox
        self._end = threading.Event()
        self.keeper = Keeper(house.folders, inbox, NoEngine(), silent, "the-instance")
        self._thread = threading.Thread(target=self.keeper.run, args=(self._end.is_set,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        SocketRoute(self.house.keeper).tell(Operation("x", "look", {}))
        self._thread.join(10)
        assert not self._thread.is_alive(), "the keeper hangs"
        self.inbox.close()


@pytest.fixture
def served(house: House) -> Iterator[Served]:
    made = Served(house, SocketInbox(house.keeper))
    yield made
    made.close()


def through_the_keeper(house: House) -> Client:
    """A client that fails rather than going directly."""
    client = house.client()
    client.call(accept("free"), patience=10)
    assert client.direct_calls == 0
    return client


def test_a_claim_and_its_end_go_through_the_socket(served: Served) -> None:
    """Body, answer and all, without one direct call."""
    client = served.house.client()
    body = os.urandom(200_000)
    client.call(accept("free", body=body), patience=10)
    answer = client.call(turn(HERE), patience=10)
    assert body_in(answer) == body
    client.call(turn(HERE, end=end_of(answer.values["order"], SUCCEEDED), claim=False), patience=10)
    assert [job["state"] for job in served.house.seen().job] == [State.SUCCEEDED]
    assert client.direct_calls == 0


def test_a_spooler_hears_over_its_connection_that_its_job_is_cancelled(served: Served) -> None:
    """Unasked, and between two of its own questions."""
    client = served.house.client()
    client.call(join(HERE, TASKS), patience=10)
    client.call(accept("free"), patience=10)
    order = client.call(turn(HERE), patience=10).values["order"]
    served.house.client().call(act("cancel", order["job"]), patience=10)
    assert wait_until(client.pushed)[0] == {"interrupt": order["attempt"]}


def test_a_caller_that_has_asked_a_keeper_which_ends_goes_on_directly(house: House) -> None:
    """The end of the connection tells it, at once."""
    served = Served(house, SocketInbox(house.keeper))
    client = through_the_keeper(house)
    served.close()
    client.call(accept("free"), patience=600)
    assert client.direct_calls == 1


def test_the_next_keeper_waits_until_the_first_has_gone(served: Served) -> None:
    """One keeper at a time, by a lock that dies with its process."""
    with pytest.raises(LedgerUnavailable, match="another keeper"):
        SocketInbox(served.house.keeper, lock_seconds=0)


def test_the_door_is_the_owners_alone(served: Served) -> None:
    """A folder of mode 0700."""
    assert served.house.keeper.stat().st_mode & 0o777 == 0o700


GARBAGE = [
    b"\xff" * 64,
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    frames.encode({}),
    frames.encode({"id": "x", "do": "accept"}),
    frames.encode({"id": 5, "do": "accept", "with": {}, "by": None}),
    frames.encode({"id": "x", "do": "turn", "with": [], "by": None}),
    frames.encode({"id": "x", "do": "turn", "with": {"claim": 7}, "by": None}),
    frames.encode({"id": "x", "do": "accept", "with": {}, "by": "tomorrow"}),
    b"\x00\x00\x00\x02\x00\x00\x00\x00[]",
    b"\x00\x00\x00\x05\x00\x00\x00\x00{nope",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_who_sends_garbage_loses_its_connection_and_nobody_else_does(served: Served, garbage: bytes) -> None:
    """Another caller's connection, and the keeper, live on."""
    client = through_the_keeper(served.house)
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(10)
        stranger.connect(str(served.house.keeper / "keeper.sock"))
        stranger.sendall(garbage)
        assert stranger.recv(1) == b""
    client.call(accept("free"), patience=10)
    assert client.direct_calls == 0


ODD = [
    {"do": "turn", "with": {"end": {"attempt": "a"}, "claim": None}},
    {"do": "join", "with": {"process": "nobody"}},
    {"do": "join", "with": join("nobody").arguments},
    {"do": "join", "with": join("b:x:y").arguments},
    {"do": "accept", "with": {"jobs": 3}},
    {"do": 7, "with": {}},
    {"do": None, "with": {"claim": {}}},
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_an_operation_that_makes_no_sense_is_answered_and_the_keeper_lives_on(served: Served, odd: Any) -> None:
    """Whatever it says."""
    client = through_the_keeper(served.house)
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(10)
        stranger.connect(str(served.house.keeper / "keeper.sock"))
        stranger.sendall(frames.encode(odd | {"id": "x", "by": None}))
        ((answer, _),) = frames.Decoder().feed(stranger.recv(1 << 16))
    assert answer["id"] == "x"
    client.call(accept("free"), patience=10)
    assert client.direct_calls == 0


def test_a_client_that_reads_nothing_does_not_hold_up_the_keeper(served: Served) -> None:
    """Its answers wait for it, more than any socket holds; others are served meanwhile."""
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.connect(str(served.house.keeper / "keeper.sock"))
        asked = [accept("free", event_id="e") for _ in range(3000)]
        deaf.sendall(b"".join(operation.frame() for operation in asked))
        client = through_the_keeper(served.house)
        decoder, heard = frames.Decoder(), 0
        while heard < len(asked):
            heard += len(decoder.feed(deaf.recv(1 << 16)))
    client.call(accept("free"), patience=10)
    assert client.direct_calls == 0


def test_a_folder_with_a_long_name_has_a_door_too(tmp_path: Path) -> None:
    """A socket's address has 108 bytes; whoever knocks in vain leaves no descriptor open."""
    house = House(tmp_path / ("x" * 120))
    house.root.mkdir()
    Client(house.ledger, house.outputs, None).call(start())
    house.keeper.mkdir()
    for _ in range(3):
        open_before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(KeeperGone):
            SocketRoute(house.keeper).ask(accept("free")._replace(deadline=time.monotonic() + 5))
        assert len(os.listdir("/proc/self/fd")) == open_before
    served = Served(house, SocketInbox(house.keeper))
    through_the_keeper(house)
    served.close()


def test_an_answer_that_comes_late_is_known_by_its_id_and_dropped(tmp_path: Path) -> None:
    """The caller gets its own answer, the first of that id, though others came before and after it."""
    operation = accept("free")._replace(deadline=time.monotonic() + 10)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "keeper.sock"))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            connection.recv(1 << 16)
            said = [(new_id("t"), "other"), (operation.id, "mine"), (operation.id, "again"), (new_id("t"), "other")]
            connection.sendall(b"".join(frames.encode({"id": id, "is": {"whose": whose}}) for id, whose in said))

        thread = threading.Thread(target=answer)
        thread.start()
        assert SocketRoute(tmp_path).ask(operation).values == {"whose": "mine"}
        thread.join()


# ── out of order ────────────────────────────────────────────────────────────────────────────────────────────────


class Deaf:
    """A keeper that takes what it is sent and does not answer, until told otherwise; it counts what it was asked."""

    def __init__(self) -> None:
        self.asked, self.answers, self.why = 0, False, ""

    def ask(self, operation: Operation) -> Answer:
        self.asked += 1
        if self.why:
            raise LedgerUnavailable(ledger="x", why=self.why)
        if not self.answers:
            time.sleep(max(0.0, operation.deadline - time.monotonic()))
            raise KeeperGone
        return Answer({})

    def tell(self, operation: Operation) -> bool:
        return True

    def connected(self) -> bool:
        return True

    def pushed(self) -> list[dict[str, Any]]:
        return []


def test_a_keeper_that_does_not_answer_is_waited_for_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then operations go directly without asking it, but for a look now and then; an answer ends that."""
    monkeypatch.setattr("webspool.ledger.client.ASKED_AGAIN_SECONDS", 600.0)
    keeper, hung, reach = Deaf(), list[float](), list[bool]()
    client = Client(house.ledger, house.outputs, keeper, hung.append, reach.append)
    for _ in range(20):
        client.call(accept("free"), patience=0.01)
    assert (keeper.asked, client.direct_calls, reach) == (1, 20, [False])
    keeper.answers, client._ask_again_at = True, 0.0
    for _ in range(3):
        client.call(accept("free"))
    assert (keeper.asked, client.direct_calls, reach) == (4, 20, [False, True])


def test_a_keeper_that_answers_that_it_cannot_write_does_not_hang(house: House) -> None:
    """It is let live, however long the ledger is held by another process."""
    keeper, hung = Deaf(), list[float]()
    client = Client(house.ledger, house.outputs, keeper, hung.append)
    client.call(accept("free"), patience=0.01)
    assert client._unanswered_since is not None
    keeper.why, client._ask_again_at = "another process holds its write lock", 0.0
    with pytest.raises(LedgerUnavailable):
        client.call(accept("free"))
    assert client._unanswered_since is None
    assert hung == []


def test_a_ledger_that_another_holds_is_waited_for_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes in the next half second is told at once; then it is tried again, shortly."""
    keeper, tries = Deaf(), list[float]()
    client = Client(house.ledger, house.outputs, keeper)
    client._ask_again_at = float("inf")

    def opened(path: Path, busy_seconds: float) -> Database:
        tries.append(busy_seconds)
        return Database(path, busy_seconds=0.01)

    monkeypatch.setattr("webspool.ledger.direct.Database", opened)
    holder = Database(house.ledger)
    with holder.transaction(flush=False):
        for _ in range(10):
            with pytest.raises(LedgerUnavailable, match="write lock"):
                client.call(accept("free"))
        client._shut_until = 0.0
        with pytest.raises(LedgerUnavailable, match="write lock"):
            client.call(accept("free"))
    holder.close()
    assert tries == [pytest.approx(BUSY_SECONDS, rel=0.5), SHORT_BUSY_SECONDS]
    client._shut_until = 0.0
    client.call(accept("free"))
    assert len(house.seen().delivery) == 1


def test_what_a_keeper_that_is_gone_leaves_of_the_time_is_there_for_waiting(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many write directly then: who waits in vain answers 503 to a sender who would have been served a little later."""
    tries: list[float] = []

    def opened(path: Path, busy_seconds: float) -> Database:
        tries.append(busy_seconds)
        return Database(path, busy_seconds=busy_seconds)

    monkeypatch.setattr("webspool.ledger.direct.Database", opened)
    Client(house.ledger, house.outputs, SocketRoute(house.keeper)).call(accept("free"))
    assert BUSY_SECONDS < tries[0] <= ANSWERED_WITHIN_SECONDS


def test_the_threads_of_a_process_write_one_after_the_other(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's lock has no queue; of sixteen who try at once some would starve."""
    client, opened, most = Client(house.ledger, house.outputs, SocketRoute(house.keeper)), list[Database](), list[int]()

    class Counted(Database):
        def __init__(self, path: Path, *, busy_seconds: float) -> None:
            opened.append(self)
            most.append(len(opened))
            super().__init__(path, busy_seconds=busy_seconds)

        def close(self, *, keep_log: bool = False) -> None:
            super().close(keep_log=keep_log)
            opened.remove(self)

    monkeypatch.setattr("webspool.ledger.direct.Database", Counted)
    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(client.call, accept("free")) for _ in range(64)]:
            done.result()
    assert len(house.seen().delivery) == 64
    assert set(most) == {1}


def test_the_master_is_told_nothing_where_it_could_not_make_its_fifo_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that has turned read-only: it would exit, and all of the instance with it."""
    fifo = tmp_path / "master.fifo"
    os.mkfifo(fifo)
    heard = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)

    def read_only(path: Path, _mode: int = 0) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkfifo", read_only)
        watchdog.nudge_master(fifo)
        with pytest.raises(OSError, match="Read-only"):
            watchdog.tell_master(fifo, b"c")
    assert os.read(heard, 10) == b""
    watchdog.tell_master(fifo, b"c")
    assert os.read(heard, 10) == b"c"
    assert list(tmp_path.iterdir()) == [fifo]
    os.close(heard)


def test_the_master_hears_at_once_that_a_keeper_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks for children that have ended once a second, unless something comes to its fifo."""
    monkeypatch.setattr(watchdog, "listen", lambda _note: None)
    config = load(tmp_path, environ={})
    config.ledger_path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(config.master_fifo)
    master = os.open(config.master_fifo, os.O_RDONLY | os.O_NONBLOCK)
    client = watchdog.watching_client(config, silent)
    assert os.read(master, 10) == b""
    client.call(start())
    assert os.read(master, 10) == b"\n"
    os.close(master)


def test_a_keeper_whose_ledger_is_held_waits_shortly_from_then_on(house: House) -> None:
    """Else those who ask it would take it for hung; once it has the lock again it is patient again."""
    holder, waiting = Database(house.ledger), Database(house.ledger, busy_seconds=0.2)
    with holder.transaction(flush=False):
        for _ in range(2):
            with pytest.raises(LedgerUnavailable), waiting.transaction(flush=False):
                pass
            assert waiting._waits_shortly
    with waiting.transaction(flush=False):
        pass
    assert not waiting._waits_shortly
    holder.close()
    waiting.close()


def test_a_keeper_without_a_descriptor_left_turns_callers_away(house: House) -> None:
    """They hear it at once and go directly; else they would wait, and the keeper would turn round for ever."""
    inbox, caller = SocketInbox(house.keeper), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, usual[1]))
    try:
        caller.connect(str(house.keeper / "keeper.sock"))
        caller.settimeout(5)
        inbox.collect(1.0)
        assert caller.recv(1) == b""
        assert inbox.collect(0.0) == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
    caller.close()
    later = house.client()
    assert later.tell(Operation("h_1", "happened", {}))
    assert [request.operation.id for request in wait_until(lambda: inbox.collect(0.1))] == ["h_1"]
    inbox.close()


def test_a_keeper_that_has_not_begun_is_no_news_and_one_that_stays_away_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start is quiet; what is missing after it is told once."""
    monkeypatch.setattr(watchdog, "listen", lambda _listener: None)
    config, told = load(tmp_path, {}), []
    config.var.mkdir()
    client = watchdog.watching_client(config, lambda event, **_: told.append(event))
    ask = lambda: client.call(Operation(new_id("x"), "ping", {}), patience=0.01)  # noqa: E731
    ask()
    assert told == []
    monkeypatch.setattr(watchdog, "STARTING_SECONDS", 0.0)
    ask()
    ask()
    assert told == ["keeper_out_of_reach"]
