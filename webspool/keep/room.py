"""When the disk is low the bodies of what has succeeded go, the oldest first, a few milliseconds at a time."""

from __future__ import annotations

import time
from collections.abc import Callable

from webspool.disk import Disk, Room
from webspool.errors import LedgerUnavailable
from webspool.keep.prune import BITE_SECONDS, REST_SECONDS
from webspool.keep.rescue import Transact
from webspool.ledger.database import Transaction
from webspool.telemetry import Say

ROWS_AT_ONCE = 100


class RoomMaker:
    """Looks at the disk each second. A delivery with a job that has not succeeded keeps its body.

    `remove` takes the files of deliveries away.
    """

    def __init__(self, disk: Disk, remove: Callable[[list[str]], None], transact: Transact, say: Say) -> None:
        self.disk, self.remove, self.transact, self.say = disk, remove, transact, say
        self._told = Room.AMPLE
        self._after = 0
        self._rest_until = 0.0

    def look(self) -> None:
        """Tell when the room has changed; make some when there is little."""
        room = self.disk.room
        if room is not self._told:
            self._tell(room)
        if room is not Room.AMPLE and time.monotonic() >= self._rest_until:
            self._make_room()

    def _tell(self, room: Room) -> None:
        self._told, self._rest_until = room, 0.0
        free = self.disk.free
        facts = {"free_bytes": free.bytes, "free_files": free.files, "min_free_bytes": self.disk.min_free_bytes}
        match room:
            case Room.FULL:
                self.say("disk_full", **facts)
            case Room.LOW:
                self.say("disk_low", **facts)
            case Room.AMPLE:
                self.say("disk_ample", **facts)

    def _make_room(self) -> None:
        dropped: list[tuple[str, bool, int]] = []

        def work(tx: Transaction) -> None:
            dropped.extend(self._drop(tx))

        after = self._after
        try:
            self.transact(work, flush=True)  # the row first: a power cut must not bring it back without its file
        except LedgerUnavailable:
            self._after = after
            return
        self.remove([delivery for delivery, is_file, _ in dropped if is_file])
        if dropped:
            self.say("bodies_dropped", deliveries=len(dropped), bytes=sum(size for *_, size in dropped))

    def _drop(self, tx: Transaction) -> list[tuple[str, bool, int]]:
        """For a few milliseconds; when all have been looked at, the next round begins after a while."""
        give_up, dropped = time.monotonic() + BITE_SECONDS, []
        while rows := tx.all("deliveries_with_spare_bodies", after=self._after, most=ROWS_AT_ONCE):
            for seq, delivery, body_file, body_size, spare in rows:
                self._after = seq
                if spare:
                    tx.run("drop_body", id=delivery)
                    dropped.append((delivery, bool(body_file), body_size))
            if time.monotonic() >= give_up:
                return dropped
        self._after, self._rest_until = 0, time.monotonic() + REST_SECONDS
        return dropped
