"""What a bare uWSGI spooler left in our spool: each file of a known task runs once, nothing else is ever deleted."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.instances import CODE, Instance
from webspool.keep.adopt import job_id

DROPIN = """

from webspool.uwsgidecorators import spool as bare_spool


@bare_spool
def resize(args):
    note("resized", args=args)


@bare_spool(pass_arguments=True)
def crop(width):
    note("cropped", width=width)
"""
CODE_WITH_DROPIN = {"tasks.py": (CODE / "tasks.py").read_text() + DROPIN}


def packet(values: dict[bytes, bytes]) -> bytes:
    """Keys and values as uWSGI writes them, behind its header."""
    words = b"".join(struct.pack("<H", len(word)) + word for pair in values.items() for word in pair)
    return struct.pack("<BHB", 17, len(words), 0) + words


def spooled(instance: Instance, name: str, data: bytes, *, at: float | None = None) -> Path:
    """A file as a bare spooler would have left it."""
    path = instance.directory / "my_spools" / f"uwsgi_spoolfile_on_{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    if at is not None:
        os.utime(path, (at, at))
    return path


def resizing(name: str, **more: bytes) -> bytes:
    return packet({b"ud_spool_func": b"resize", b"name": name.encode()} | {key.encode(): more[key] for key in more})


@pytest.fixture
def bare(own_instance: Instance) -> Instance:
    """Not started; its tasks hold two of the drop-in's."""
    (own_instance.directory / "tasks.py").write_text(CODE_WITH_DROPIN["tasks.py"])
    return own_instance


def resized(instance: Instance) -> list[str]:
    return sorted(note["args"]["name"] for note in instance.notes("resized"))


def test_files_of_a_known_task_are_adopted_once_and_then_gone(bare: Instance) -> None:
    """Each becomes one job with its keys and its body; what is not due yet waits in the ledger."""
    files = [spooled(bare, f"old_{n}", resizing(f"picture {n}") + b"the body") for n in range(50)]
    later = spooled(bare, "later", resizing("tomorrow"), at=time.time() + 86400)
    bare.start()
    bare.until(lambda: len(bare.notes("resized")) >= 50)
    assert resized(bare) == sorted(f"picture {n}" for n in range(50))
    assert {note["args"]["body"] for note in bare.notes("resized")} == {"the body"}
    bare.until(lambda: not any(path.exists() for path in [*files, later]))
    assert len(bare.said("spool_file_adopted")) == 51
    states = "SELECT state, count(*) FROM job WHERE task = 'resize' GROUP BY 1"
    bare.until(lambda: bare.query(states) == [("scheduled", 1), ("succeeded", 50)])


def test_a_file_that_was_adopted_before_is_not_run_again(bare: Instance) -> None:
    """The keeper may end between the commit and the file's end: the same file is the same job."""
    data = resizing("once")
    first = spooled(bare, "once", data)
    bare.start()
    bare.ended(job_id(first.name, data))
    bare.until(lambda: not first.exists())
    spooled(bare, "once", data)
    bare.until(lambda: not first.exists())
    assert len(bare.said("spool_file_adopted")) == 2
    assert resized(bare) == ["once"]


DAMAGED = {
    "empty": b"",
    "short": b"\x11\x00",
    "cut": resizing("cut short")[:-3],
    "garbage": b"\x00\xff" * 3000,
    "odd": struct.pack("<BHB", 17, 5, 0) + struct.pack("<H", 3) + b"odd",
    "lies": struct.pack("<BHB", 17, 9, 0) + struct.pack("<H", 60000) + b"lies...",
}


def test_nothing_that_is_not_ours_is_deleted_and_each_is_told_once(bare: Instance) -> None:
    """Cut files, garbage, unknown functions, pickles, other names: before the start and while it runs."""
    pickled = packet({b"ud_spool_func": b"crop", b"args": b"\x80\x04)."})
    unknown = packet({b"ud_spool_func": b"nobody_knows", b"x": b"1"})
    kept = {spooled(bare, name, data): data for name, data in DAMAGED.items()}
    kept |= {spooled(bare, "pickled", pickled): pickled, spooled(bare, "unknown", unknown): unknown}
    other = bare.directory / "my_spools" / "notes.txt"
    other.write_bytes(b"mine")
    bare.start()
    kept |= {spooled(bare, f"new_{name}", data): data for name, data in DAMAGED.items()}
    bare.until(lambda: len({told["file"] for told in bare.said("spool_file_left_alone")}) >= 2 * len(DAMAGED) + 2)
    assert any("left alone" in sentence for sentence in bare.status()["degraded"])
    assert bare.stop() == 0
    bare.start()
    assert bare.ended(bare.spool("add", a=1, b=2))["result"] == 3
    assert {path: path.read_bytes() for path in kept} == kept
    assert other.read_bytes() == b"mine"
    told = [each["file"] for each in bare.said("spool_file_left_alone") if "unknown" in each["file"]]
    assert len(told) <= 2  # once for each keeper


def test_a_file_that_another_process_has_taken_is_left_to_it(bare: Instance) -> None:
    """A bare spooler may be at work on it still: it is adopted when the lock is gone."""
    path = spooled(bare, "taken", resizing("taken"))
    with another_process_holds(path):
        bare.start()
        spooled(bare, "free", resizing("free"))
        bare.until(lambda: resized(bare) == ["free"])
        assert path.exists()
    bare.until(lambda: resized(bare) == ["free", "taken"])


@contextmanager
def another_process_holds(path: Path) -> Iterator[None]:
    """As a spooler at work does. (In this process our own reading of the status would drop the lock.)"""
    code = "import fcntl, sys; f = open(sys.argv[1], 'rb+'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        yield
    finally:
        holder.communicate(b"\n")


def test_a_priority_of_uwsgi_goes_along(bare: Instance) -> None:
    """`spooler-ordered` keeps priorities as folders with a number for a name."""
    folder = bare.directory / "my_spools" / "3"
    folder.mkdir()
    path = folder / "uwsgi_spoolfile_on_urgent"
    path.write_bytes(resizing("urgent"))
    bare.start()
    bare.until(lambda: resized(bare) == ["urgent"])
    assert bare.query("SELECT priority FROM job WHERE task = 'resize'") == [(997,)]
