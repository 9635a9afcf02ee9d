"""How often sources and addresses may come, counted once for all processes of this machine: a small shared file.

Who comes too often is told by the generic cell rate algorithm (ATM Forum TM 4.0, 4.4.2): one time for each key, no
counters to reset. The file is mapped into each process that counts; flock guards it for a few microseconds.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from webspool.addresses import network_of
from webspool.rates import Rate
from webspool.telemetry import Say

try:
    import fcntl
except ImportError:  # Windows: there one process serves
    fcntl = None  # type: ignore[assignment]

HEAD = 32
MAGIC = b"webspool limits1"
BUCKETS, PLACES = 512, 8
PLACE = struct.Struct("<16sd")
LOCK_SECONDS = 0.5
UNCOUNTED_SECONDS = 5.0


class Meter:
    """A table of keys in a file, each with the time at which it will have come evenly.

    Of 4096 keys at most; where a ninth of one bucket comes, the one that was quiet for the longest is forgotten.
    `clock` is the machine's monotonic one, in seconds, the same in all its processes.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._process = 0
        self._descriptor = -1
        self._table: mmap.mmap | None = None
        self._threads = threading.Lock()

    def wait(self, key: str, rate: Rate) -> float:
        """Count one of `key`: 0.0 when it may come, else after how many seconds it may (and it is not counted).

        Raises OSError when the file cannot be had.
        """
        with self._threads:
            if self._process != os.getpid():
                self._open()
            with self._locked():
                return self._counted(key, rate)

    def _counted(self, key: str, rate: Rate) -> float:
        assert self._table is not None
        now, interval = self._clock(), rate.seconds / rate.count
        digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=16, key=self._table[16:HEAD]).digest()
        at = self._place(digest)
        known, due = PLACE.unpack_from(self._table, at)
        if known != digest or not now < due <= now + rate.seconds + 1e-6:  # fresh, idle, or of another boot
            due = now
        late: float = due - now - (rate.seconds - interval)
        if late > 1e-9:
            return late
        PLACE.pack_into(self._table, at, digest, due + interval)
        return 0.0

    def _place(self, digest: bytes) -> int:
        """Where the key is kept, or may be."""
        assert self._table is not None
        start = HEAD + int.from_bytes(digest[:4], "little") % BUCKETS * PLACES * PLACE.size
        oldest, least = start, float("inf")
        for at in range(start, start + PLACES * PLACE.size, PLACE.size):
            known, due = PLACE.unpack_from(self._table, at)
            if known == digest:
                return at
            if due < least:
                oldest, least = at, due
        return oldest

    def _open(self) -> None:
        """Once in each process: a lock that was taken over by a fork would hold nobody off."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        size = HEAD + BUCKETS * PLACES * PLACE.size
        self._descriptor = descriptor
        with self._locked():
            if os.fstat(descriptor).st_size != size:
                os.ftruncate(descriptor, 0)
                os.write(descriptor, (MAGIC + os.urandom(HEAD - len(MAGIC))).ljust(size, b"\0"))
            self._table = mmap.mmap(descriptor, size)
        self._process = os.getpid()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Held for microseconds; a process that was stopped in there must not stop all others. Raises OSError."""
        if fcntl is None:
            yield
            return
        give_up = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.0002)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)


class Limits:
    """The limits of one instance: by source, after verification, and by the client's address, before it.

    What cannot be counted is let through, for some seconds at a time, and told once.
    """

    def __init__(self, folder: Path, per_address: Rate | None, say: Say) -> None:
        self.per_address = per_address
        self._sources, self._addresses = Meter(folder / "limits-sources"), Meter(folder / "limits-addresses")
        self._say = say
        self._uncounted_until = -1.0
        self._told = False

    def of_source(self, source: str, rate: Rate) -> float:
        """0.0, or the seconds until one more of this source may come."""
        return self._wait(self._sources, source, rate)

    def of_address(self, address: str | None) -> float:
        """0.0, or the seconds until one more from this address may come. One that is not known has no limit."""
        if self.per_address is None or address is None:
            return 0.0
        return self._wait(self._addresses, network_of(address), self.per_address)

    def _wait(self, meter: Meter, key: str, rate: Rate) -> float:
        if time.monotonic() < self._uncounted_until:
            return 0.0
        try:
            return meter.wait(key, rate)
        except (OSError, ValueError) as fault:
            self._uncounted_until = time.monotonic() + UNCOUNTED_SECONDS
            if not self._told:
                self._told = True
                self._say("limits_unavailable", why=str(fault))
            return 0.0
