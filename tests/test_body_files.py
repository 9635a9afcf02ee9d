"""Large bodies on their way to the disk: in pieces, whole, or not at all."""

from __future__ import annotations

import errno
import os
import sys
import threading
from pathlib import Path

import pytest

from webspool import body_files
from webspool.body_files import PIECE_BYTES, hand_to_the_disk, remove_body, write_body
from webspool.errors import LedgerUnavailable
from webspool.keep import removing
from webspool.keep.removing import Remover

BODY = os.urandom(3 * PIECE_BYTES + 17)


def test_a_body_goes_to_the_disk_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger's flush stands behind a piece of it then, not behind 25 MiB; the file's own flush takes the last."""
    handed: list[tuple[int, int]] = []
    monkeypatch.setattr(body_files, "hand_to_the_disk", lambda _file, at, size: handed.append((at, size)))
    path = write_body(tmp_path / "bodies", "d_1", BODY)
    assert handed == [(number * PIECE_BYTES, PIECE_BYTES) for number in range(3)]
    assert path.read_bytes() == BODY
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("fault", [errno.EIO, errno.ENOSPC])
def test_a_piece_that_the_disk_does_not_take_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    """The kernel tells of a failed write once: the flush at the end would not tell again."""

    def fail(_file: int, at: int, _size: int) -> None:
        if at:
            raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(body_files, "hand_to_the_disk", fail)
    with pytest.raises(LedgerUnavailable, match=os.strerror(fault)):
        write_body(tmp_path / "bodies", "d_1", BODY)
    assert list((tmp_path / "bodies").iterdir()) == []


def test_a_body_is_given_back_to_the_disk_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name goes first: nobody finds half of it."""
    path = write_body(tmp_path / "bodies", "d_1", BODY)
    shortened: list[tuple[int, bool]] = []
    kept = os.ftruncate

    def note(descriptor: int, size: int) -> None:
        kept(descriptor, size)
        shortened.append((os.fstat(descriptor).st_size, path.exists()))

    monkeypatch.setattr(os, "ftruncate", note)
    remove_body(path)
    assert shortened == [(number * PIECE_BYTES + 17, False) for number in (2, 1, 0)]
    assert not path.exists()


def test_what_a_backup_keeps_by_another_name_stays_whole(tmp_path: Path) -> None:
    """And so does whatever stands there that is no file; what is gone already is no fault."""
    path, copy = write_body(tmp_path / "bodies", "d_1", BODY), tmp_path / "copy"
    os.link(path, copy)
    remove_body(path)
    assert copy.read_bytes() == BODY
    path.symlink_to(copy)
    remove_body(path)
    remove_body(path)
    assert (copy.read_bytes(), path.is_symlink()) == (BODY, False)


def test_nobody_waits_for_bodies_that_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper names them, and goes on; one that cannot be removed does not keep the next."""
    paths = [write_body(tmp_path / "bodies", f"d_{number}", BODY) for number in range(3)]
    may_go, kept = threading.Event(), removing.remove_bodies

    def slowly(folder: Path, deliveries: list[str]) -> None:
        assert may_go.wait(10)
        kept(folder, deliveries)

    monkeypatch.setattr(removing, "remove_bodies", slowly)
    remover = Remover(tmp_path / "bodies")
    remover.remove([])
    assert remover._thread is None
    remover.remove(["d_0", "d_gone", "d_1"])
    assert all(path.exists() for path in paths)
    may_go.set()
    remover.close()
    assert [path.exists() for path in paths] == [False, False, True]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has sync_file_range")
def test_what_cannot_be_asked_for_is_left_to_the_flush_and_a_failed_write_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pipe has no place on a disk; a kernel without the call says so in the same way."""
    reading, writing = os.pipe()
    hand_to_the_disk(writing, 0, 10)
    monkeypatch.setattr(body_files.ctypes, "get_errno", lambda: errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        hand_to_the_disk(writing, 0, 10)
    os.close(reading)
    os.close(writing)
