"""Row 5: disks that fill up, fail, turn read-only; and a process that may open few files."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from chaos.row import NotHere, row
from chaos.rows.stores import answers_in_time
from chaos.run import Run
from tests.mounts import filled, may_mount, tmpfs, unmount
from tests.shim import Shim

MIB = 1 << 20
DISK, LOW = 96 * MIB, 40 * MIB
FULL = LOW // 10
TRIES = 40


@row(
    "5a",
    "a disk that fills up",
    broken="a small disk filled below WEBSPOOL_MIN_FREE_BYTES, below a tenth of it, to the last byte, the last inode",
    promise="answers are 2xx or 503 within 2 s, nothing acknowledged is lost; it goes on when there is room",
)
def a_disk_that_fills_up(run: Run) -> None:
    """Each in turn, as long as there is time; what is told of it is looked at each time."""
    if not may_mount():
        raise NotHere("only root may mount a disk")
    with (
        _small_disk(run.folder / "instance") as disk,
        run.serving(WEBSPOOL_MIN_FREE_BYTES=str(LOW)) as house,
        run.load(per_second=40),
    ):
        began, turn = time.monotonic(), 0
        while run.time_left() or turn < len(STEPS):
            what, leave, happening, sentence = STEPS[turn % len(STEPS)]
            told = len(house.instance.said(happening)) if happening else 0
            with run.harming(what, "disk"), _used_up(disk, leave):
                if happening:
                    _told(run, lambda told=told, name=happening: len(house.instance.said(name)) > told, what)
                _told(run, lambda sentence=sentence: sentence in "\n".join(house.instance.status()["degraded"]), what)
                time.sleep(run.chance.uniform(0.5, 2.0))
            _told(run, lambda: "disk" not in "\n".join(house.instance.status()["degraded"]), f"the end of {what}")
            time.sleep(1.5)
            turn += 1
    answers_in_time(run, began)


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """Mounted for the block; what is on it then is there afterwards too, for the checker."""
    with _for_the_checker(folder), tmpfs(folder, f"size={DISK}", "nr_inodes=4000") as disk:
        try:
            yield disk
        finally:
            _keep(folder)


def _keep(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("kept"), symlinks=True, ignore=_no_files)


@contextmanager
def _for_the_checker(folder: Path) -> Iterator[None]:
    """What was kept takes the place of the folder that is no longer mounted."""
    yield
    folder.rmdir()
    folder.with_name("kept").rename(folder)


def _no_files(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(folder, name).is_socket() or Path(folder, name).is_fifo()]


STEPS: tuple[tuple[str, int | None, str | None, str], ...] = (
    ("low", LOW - MIB, "disk_low", "the disk is low"),
    ("nearly full", FULL - MIB, "disk_full", "the disk is nearly full"),
    ("full to the last byte", 0, None, "the disk is nearly full"),  # its log is on that disk too
    ("full to the last inode", None, "disk_full", "files are free"),
)


def _used_up(disk: Path, leave: int | None) -> AbstractContextManager[None]:
    return _crowded(disk) if leave is None else filled(disk, leave)


@contextmanager
def _crowded(disk: Path) -> Iterator[None]:
    """No file can be made on that disk."""
    folder, made = disk / "crowd", list[Path]()
    folder.mkdir(exist_ok=True)
    with suppress(OSError):
        for number in range(100_000):
            made.append(folder / str(number))
            made[-1].touch()
    try:
        yield
    finally:
        for path in made:
            path.unlink(missing_ok=True)


def _holds(condition: Callable[[], bool]) -> bool:
    """Whether it does now; what cannot be asked does not."""
    try:
        return condition()
    except OSError:
        return False


def _told(run: Run, condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    give_up = time.monotonic() + seconds
    while not _holds(condition):
        if time.monotonic() > give_up:
            run.breach(f"{what}: webspool did not tell it in log and status")
            return
        time.sleep(0.1)


@row(
    "5b",
    "a disk whose fsync fails",
    broken="EIO from every fsync of the ledger, for moments and for seconds, under load",
    promise="503 until the ledger was read anew from the disk; nothing acknowledged is lost; service is back by itself",
)
def a_disk_whose_fsync_fails(run: Run) -> None:
    """The keeper is replaced each time, and nobody writes directly meanwhile."""
    shim = Shim(run.folder)
    with run.serving(environ=shim.environ) as house, run.load(per_second=40):
        began = time.monotonic()
        while run.time_left():
            told = len(house.instance.said("ledger_broken"))
            with run.harming("failing fsync", "disk"), shim.failing_flushes():
                _told(run, lambda told=told: len(house.instance.said("ledger_broken")) > told, "a failed fsync")
                time.sleep(run.chance.choice((0.0, 0.3, 2.0)))
            _told(run, lambda: house.instance.get("/readyz").status == 200, "the end of failing fsyncs")
            time.sleep(run.chance.uniform(1.0, 3.0))
    answers_in_time(run, began)


@row(
    "5c",
    "a disk that turns read-only",
    broken="ext4 that finds an error and turns read-only under load; then all is killed, the disk checked and mounted",
    promise="503 at once and no hang while it lasts; what was acknowledged is there afterwards",
)
def a_disk_that_turns_read_only(run: Run) -> None:
    """As `errors=remount-ro` does it, on a loop device of our own."""
    disk = run.folder / "instance"
    image = run.folder / "image"
    if not _made(image, disk):
        raise NotHere("no ext4 can be mounted from a file")
    with _for_the_checker(disk):
        try:
            _turn_read_only(run, image, disk)
            _keep(disk)
        finally:
            unmount(disk)


def _turn_read_only(run: Run, image: Path, disk: Path) -> None:
    with run.serving(WEBSPOOL_MIN_FREE_BYTES="0") as house, run.load(per_second=40):
        os.sync()  # the instance's own files: nobody has flushed those
        time.sleep(max(1.0, run.seconds / 3))
        began = time.monotonic()
        with run.harming("read-only", "disk"):
            _trigger(disk)
            _told(run, lambda: house.instance.get("/readyz").status == 503, "a read-only disk (/readyz)")
            time.sleep(max(2.0, run.seconds / 3))
            answers_in_time(run, began)
            house.restart_seconds = 5.0
            run.kill("master")
            _mended(image, disk)
            house.restart_seconds = 0.5
            _told(run, house.instance.answers, "a disk that works again", 20.0)


def _made(image: Path, disk: Path) -> bool:
    disk.mkdir(parents=True, exist_ok=True)
    commands = (
        ["truncate", "-s", "200M", image],
        ["mkfs.ext4", "-q", "-F", image],
        ["mount", "-o", "loop,errors=remount-ro", image, disk],
    )
    return may_mount() and all(subprocess.run(words, capture_output=True).returncode == 0 for words in commands)


def _trigger(disk: Path) -> None:
    """Have the file system find an error."""
    found = subprocess.run(["findmnt", "-no", "SOURCE", disk], capture_output=True, text=True, check=True)
    device = Path(found.stdout.strip()).name
    Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("1")


def _mended(image: Path, disk: Path) -> None:
    for _ in range(TRIES):
        if subprocess.run(["umount", disk], capture_output=True).returncode == 0:
            break
        time.sleep(0.25)
    else:
        raise RuntimeError("the disk is held by somebody")
    subprocess.run(["e2fsck", "-fy", image], capture_output=True)
    subprocess.run(["mount", "-o", "loop,errors=remount-ro", image, disk], check=True)


@row(
    "5d",
    "few descriptors",
    broken="ulimit -n 64 for the whole instance, with many connections and killed keepers",
    promise="nothing is lost and nobody hangs",
)
def few_descriptors(run: Run) -> None:
    """As a login shell of another age would start it."""
    with run.serving("prlimit", "--nofile=64:64"), run.load(per_second=50):
        began = time.monotonic()
        while run.time_left():
            time.sleep(run.chance.uniform(1.0, 3.0))
            run.kill(run.chance.choice(("keeper", "spooler", "worker")))
    answers_in_time(run, began)
