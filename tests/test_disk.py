"""Laws of a disk that fills up: what goes first, what is refused, and what is never given up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conditions import wait_until
from tests.fire import House, NoEngine
from tests.operations import accept, end_of, join, start, turn
from tests.test_receive import GITHUB, Desk
from webspool.capture import Capture
from webspool.disk import MIN_FREE_FILES, OUTPUT_CAP, SHORT_OUTPUT_CAP, Disk, Free, Room, free
from webspool.keep import Keeper
from webspool.keep.room import RoomMaker
from webspool.ledger.client import Client
from webspool.ledger.inbox import QueueInbox
from webspool.ledger.operations import Operation
from webspool.ledger.output import Piece
from webspool.policy import Policy
from webspool.records import Ending, Outcome

GIB = 1 << 30
BIG = b"x" * 100_000


class SetDisk(Disk):
    """A disk on which as much is free as a test says."""

    def __init__(self, bytes: int = 2 * GIB, files: int | None = None) -> None:
        self.now = 0.0
        super().__init__((), GIB, lambda: self.now)
        self.set(bytes, files)

    def set(self, bytes: int, files: int | None = None) -> None:
        self.now += 10
        self.found = Free(bytes, files)

    @property
    def free(self) -> Free:
        return self.found


@pytest.mark.parametrize(
    ("bytes", "files", "room"),
    [
        (GIB, None, Room.AMPLE),
        (GIB - 1, None, Room.LOW),
        (GIB // 10 + 1, None, Room.LOW),
        (GIB // 10, None, Room.FULL),
        (GIB, MIN_FREE_FILES, Room.AMPLE),
        (GIB, MIN_FREE_FILES - 1, Room.LOW),
        (GIB, MIN_FREE_FILES // 10 - 1, Room.FULL),
        (0, MIN_FREE_FILES, Room.FULL),
    ],
)
def test_the_room_is_told_by_two_thresholds_and_by_files_as_by_bytes(bytes: int, files: int | None, room: Room) -> None:
    """Low below the setting, full below a tenth of it."""
    assert Free(bytes, files).room(GIB) is room


def test_a_disk_is_looked_at_once_a_second_at_most(tmp_path: Path) -> None:
    """However often it is asked; a folder that is not there yet is looked at by the one above."""
    disk = SetDisk()
    assert disk.room is Room.AMPLE
    disk.found = Free(0)
    assert disk.room is Room.AMPLE
    disk.now += 1
    assert disk.room is Room.FULL
    assert free([tmp_path / "not" / "there"]).bytes > 0


def test_a_webhook_is_refused_when_the_disk_is_nearly_full_and_taken_when_it_is_low(tmp_path: Path) -> None:
    """503, to be sent again; nothing is written for it, not even its body's file."""
    desk, disk = Desk(tmp_path), SetDisk(GIB // 20)
    desk.receiver.disk = disk
    reply = desk.post(GITHUB, BIG, event_type="push")
    assert (reply.status, reply.payload["cause"], "Retry-After" in reply.headers) == (503, "ledger_unavailable", True)
    assert desk.ledger.called == []
    assert not desk.bodies.exists()
    disk.set(GIB // 2)
    assert desk.post(GITHUB, BIG, event_type="push").status == 202


def test_output_is_cut_short_while_the_disk_is_low() -> None:
    """An attempt that prints already keeps what it has, and no more."""
    disk, pieces = SetDisk(), list[Piece]()
    output = Capture("a_1", "", disk.output_cap(), pieces.append, lambda text: None)
    output.take(b"x" * (2 * SHORT_OUTPUT_CAP))
    disk.set(GIB // 2)
    output.keep_at_most(disk.output_cap())
    output.take(b"y" * 10)
    assert output.cut
    last = output.close()
    assert last is not None
    assert b"".join(piece.bytes for piece in [*pieces, last]) == b"x" * (2 * SHORT_OUTPUT_CAP)
    assert (disk.output_cap(), OUTPUT_CAP > SHORT_OUTPUT_CAP) == (SHORT_OUTPUT_CAP, True)


class Kept:
    """A keeper whose disk a test fills, with three deliveries of large and small bodies."""

    def __init__(self, root: Path) -> None:
        self.house, self.said = House(root), list[tuple[str, dict[str, Any]]]()
        self.client = Client(self.house.ledger, self.house.outputs, None)
        self.client.call(start())
        self.client.call(join("p", {"free": Policy()}))
        self.keeper = Keeper(self.house.folders, QueueInbox(), NoEngine(), self.say, "the-instance")
        self.disk = SetDisk()
        self.maker = RoomMaker(self.disk, self.keeper.remover.remove, self.keeper.transact, self.say)

    def say(self, happening: str, /, **facts: Any) -> None:
        self.said.append((happening, facts))

    def accepted(self, outcome: Outcome | None, *, large: bool = False) -> str:
        """A delivery; its job ends so, or waits."""
        operation = accept("free", body=b"" if large else b"small", body_file=large, body_size=5)
        if large:
            self.house.folders.bodies.mkdir(exist_ok=True)
            (self.house.folders.bodies / operation.id).write_bytes(b"large")
        self.client.call(operation)
        order = self.client.call(turn("p")).values["order"]
        ended = end_of(order, outcome) if outcome else None
        self.client.call(turn("p", end=ended, claim=False))
        return operation.id

    def bodies(self) -> dict[str, bool]:
        """Whether each delivery has its body."""
        files = {path.name for path in self.house.folders.bodies.iterdir()}
        seen = self.house.seen().delivery
        return {row["id"]: row["id"] in files if row["body_file"] else row["body"] is not None for row in seen}


SUCCEEDED = Outcome(Ending.SUCCEEDED)


def test_bodies_of_what_has_succeeded_go_when_the_disk_is_low_and_no_others(tmp_path: Path) -> None:
    """A delivery with a job that may run again keeps its body, however little room there is; what changed is told."""
    kept = Kept(tmp_path)
    done = [kept.accepted(SUCCEEDED, large=True), kept.accepted(SUCCEEDED)]
    dead = kept.accepted(Outcome(Ending.DISCARDED, error="no"), large=True)
    again = kept.accepted(Outcome(Ending.FAILED, error="later"))
    kept.maker.look()
    assert all(kept.bodies().values())
    kept.disk.set(GIB // 2)
    kept.maker.look()
    wait_until(lambda: kept.bodies() == {done[0]: False, done[1]: False, dead: True, again: True})
    kept.disk.set(GIB // 20)
    kept.maker.look()
    kept.disk.set(2 * GIB)
    kept.maker.look()
    kept.maker.look()
    assert [name for name, _ in kept.said] == ["disk_low", "bodies_dropped", "disk_full", "disk_ample"]
    assert kept.said[1][1] == {"deliveries": 2, "bytes": 10}
    kept.keeper.run(lambda: True)


def test_a_delivery_without_its_body_is_not_replayed(tmp_path: Path) -> None:
    """Its task would get an empty body; one that was empty when it came is replayed as ever."""
    kept = Kept(tmp_path)
    gone = kept.accepted(SUCCEEDED)
    empty = accept("free", body=b"")
    kept.client.call(empty)
    kept.disk.set(GIB // 2)
    kept.maker.look()
    kept.keeper.run(lambda: True)

    def replayed(delivery: str) -> Any:
        given = {"delivery": delivery, "jobs": [{"id": f"j_{delivery}", "task": "free"}], "actor": "test"}
        return kept.client.call(Operation(f"x_{delivery}", "replay", given)).values

    assert replayed(gone)["status"].startswith("not_allowed: its body is no longer kept")
    assert replayed(empty.id)["status"] == "replayed"
    assert len(kept.house.seen().job) == 3
