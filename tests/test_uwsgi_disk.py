"""A real instance on a small disk that fills up: what it tells, what it refuses, and that it mends by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import needs_uwsgi
from tests.instances import Instance, Reply
from tests.mounts import filled, tmpfs
from webspool.disk import SHORT_OUTPUT_CAP

MIB = 1 << 20
DISK, LOW, FULL = 64 * MIB, 30 * MIB, 3 * MIB


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance on a disk of its own, of 64 MiB and a few thousand files."""
    needs_uwsgi()
    with (
        tmpfs(tmp_path_factory.mktemp("disk"), f"size={DISK}", "nr_inodes=3000") as folder,
        Instance(folder, WEBSPOOL_MIN_FREE_BYTES=str(LOW)) as running,
    ):
        yield running


def degraded(instance: Instance) -> str:
    return "\n".join(instance.status()["degraded"])


def touched(path: Path) -> bool:
    """Whether there was room for one more file."""
    try:
        path.touch()
    except OSError:
        return False
    return True


def flooded(instance: Instance) -> dict[str, Any] | None:
    """The attempt of a task that prints too much, once its output is cut."""
    attempt: dict[str, Any] = instance.ended(instance.spool("flood", size=4 * SHORT_OUTPUT_CAP))["history"][0]
    return attempt if attempt["output_cut"] else None


def answer(instance: Instance, status: int) -> Reply:
    """The first webhook that is answered so: each worker looks at the disk for itself, once a second."""
    found: Reply = instance.until(lambda: (reply := instance.webhook()).status == status and reply)
    return found


def test_low_cuts_output_and_drops_bodies_and_full_refuses_webhooks(small: Instance) -> None:
    """Each is told while it lasts; when there is room again all is as before."""
    large = small.webhook(b'"%s"' % (b"x" * 100_000), event="ping").json
    job = large["jobs"][0]
    body = small.config.var / "bodies" / large["delivery"]
    small.ended(job)
    assert degraded(small) == ""
    with filled(small.directory, LOW - MIB):
        small.until(lambda: small.said("disk_low"))
        small.until(lambda: not body.exists())
        assert "the disk is low" in degraded(small)
        assert small.get("/readyz").status == 200
        printed = small.until(lambda: flooded(small))  # each process looks at the disk for itself, once a second
        assert printed["output_bytes"] == 4 * SHORT_OUTPUT_CAP
        assert answer(small, 202)
        assert "no longer kept" in small.command("replay", "--yes", large["delivery"]).stdout
    with filled(small.directory, FULL - MIB):
        small.until(lambda: small.said("disk_full"))
        refused = answer(small, 503)
        assert (refused.cause, refused.headers["retry-after"]) == ("ledger_unavailable", "5")
        assert "the disk is nearly full" in degraded(small)
        assert any("disk" in reason for reason in small.get("/readyz").json["reasons"])
    answer(small, 202)
    small.until(lambda: small.said("disk_ample"))
    assert degraded(small) == ""


def test_a_disk_without_a_byte_left_loses_nothing(small: Instance) -> None:
    """Jobs that were accepted end all the same, or when there is room again; nobody hangs."""
    waiting = small.spool("hold", gate="no-room")
    small.noted("held", job=waiting)
    with filled(small.directory, 0):
        small.let_go("no-room")
        answer(small, 503)
        assert small.get("/healthz").status == 200
    assert small.ended(waiting)["state"] == "succeeded"
    assert small.ended(answer(small, 202).json["jobs"][0])["state"] == "succeeded"
    assert small.query("PRAGMA integrity_check") == [("ok",)]


def test_a_disk_without_a_file_left_is_full(small: Instance) -> None:
    """Inodes run out while bytes are free: the same thresholds, the same answers."""
    crowd = small.directory / "crowd"
    crowd.mkdir()
    made = [crowd / str(number) for number in range(3000)]
    try:
        assert not all(map(touched, made))
        answer(small, 503)
        assert "0 files are free" in degraded(small)
        assert any("files" in reason for reason in small.get("/readyz").json["reasons"])
    finally:
        for path in made:
            path.unlink(missing_ok=True)
    answer(small, 202)


def test_the_disk_is_told_to_the_operator_by_name(small: Instance) -> None:
    """The happenings carry what is free and what is wanted."""
    (told, *_) = small.said("disk_low")
    assert 0 < told["free_bytes"] < told["min_free_bytes"] == LOW
    assert small.said("bodies_dropped")[0]["deliveries"] >= 1
