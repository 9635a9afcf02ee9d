"""What a real instance stands on is broken: its spool, its ledger's lock, its disk, its clock. It mends by itself."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator

import apsw
import pytest

from tests.conftest import needs_uwsgi
from tests.instances import Instance, kill
from tests.shim import Shim
from webspool.ledger.distrust import mark

HOUR = 3600
BEFORE_2038 = 2**31 - 10


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Shim:
    return Shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory, shim: Shim) -> Iterator[Instance]:
    """One instance for all of this module, whose clock and flushes are the tests' to set."""
    needs_uwsgi()
    made = Instance(tmp_path_factory.mktemp("standing"), WEBSPOOL_MIN_FREE_BYTES="0")
    try:
        made.launch(**shim.environ)
        made.until_it_serves()
        yield made
    finally:
        made.end()


def works(instance: Instance) -> None:
    """A webhook is accepted, and it and a spooled job run."""
    accepted = instance.webhook(event="push")
    assert accepted.status == 202
    jobs = [*accepted.json["jobs"], instance.spool("add", a=1, b=2)]
    assert {instance.ended(job)["state"] for job in jobs} == {"succeeded"}


def degraded(instance: Instance) -> str:
    return "\n".join(instance.status()["degraded"])


# ── the spool ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_spool_that_is_emptied_or_removed_is_made_anew(standing: Instance) -> None:
    """Those in their claim loop do not notice; one that ends is replaced all the same."""
    spool = standing.config.spool_path
    for path in spool.iterdir():
        path.unlink()
    works(standing)
    shutil.rmtree(spool)
    works(standing)
    for spooler in standing.processes().spoolers:
        kill(spooler)
    standing.until_it_serves()
    works(standing)
    assert spool.is_dir()


def test_a_spool_that_is_no_folder_is_told_until_it_is_one(standing: Instance) -> None:
    """Spoolers that are there go on; one that ends comes back when the way is free; the file is not touched."""
    spool = standing.config.spool_path
    shutil.rmtree(spool)
    spool.write_text("in the way")
    first, other = standing.processes().spoolers
    kill(first)
    standing.until(lambda: standing.said("spool_unusable"))
    assert "the spool" in degraded(standing)
    standing.until(lambda: standing.processes().spoolers == [other])
    works(standing)
    assert spool.read_text() == "in the way"
    spool.unlink()
    standing.until_it_serves()
    standing.until(lambda: standing.said("spool_usable"))
    assert degraded(standing) == ""
    works(standing)


# ── the ledger ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_ledger_that_another_process_holds_is_answered_503_and_then_all_is_well(standing: Instance) -> None:
    """Running jobs end, and are recorded when it is free again; /readyz says why; the keeper is not taken for hung."""
    keeper = standing.processes().keeper
    held = standing.spool("hold", gate="locked")
    standing.noted("held", job=held)
    holder = apsw.Connection(str(standing.config.ledger_path))
    holder.set_busy_timeout(5000)
    holder.execute("BEGIN IMMEDIATE").fetchall()
    try:
        assert standing.webhook().status == 503
        assert "another process holds its write lock" in str(standing.get("/readyz").json["reasons"])
        standing.let_go("locked")
        standing.until(lambda: standing.said("end_not_recorded"))
        assert {standing.webhook().status for _ in range(20)} == {503}
    finally:
        holder.execute("ROLLBACK").fetchall()
        holder.close()
    standing.until(lambda: standing.get("/readyz").status == 200)
    assert standing.ended(held)["attempts"] == 1
    works(standing)
    assert standing.processes().keeper == keeper


def test_a_failed_flush_is_not_trusted_away(standing: Instance, shim: Shim) -> None:
    """503, nothing is claimed, the keeper is replaced and begins a new log; until then nobody writes directly."""
    before = [standing.webhook().json["delivery"] for _ in range(5)]
    keeper = standing.processes().keeper
    with shim.failing_flushes():
        assert standing.webhook().status == 503
        assert standing.said("ledger_broken")
        standing.until(lambda: standing.said("keeper_failed"))
        assert mark(standing.config.ledger_path).exists()
        assert {standing.webhook().status for _ in range(5)} == {503}
        assert "failed to write" in degraded(standing)
        assert "failed to write" in str(standing.get("/readyz").json["reasons"])
    standing.until(lambda: standing.said("ledger_recovered"))
    standing.until_it_serves()
    works(standing)
    assert standing.processes().keeper != keeper
    assert not mark(standing.config.ledger_path).exists()
    stored = {delivery for (delivery,) in standing.query("SELECT id FROM delivery")}
    assert stored >= set(before)
    assert standing.query("PRAGMA integrity_check") == [("ok",)]


# ── the clock ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_clock_that_is_set_by_an_hour_ends_no_running_job_and_runs_no_other_early(
    standing: Instance, shim: Shim
) -> None:
    """Ahead, and back behind where it was: it is told, jobs run, a killed spooler comes back."""
    held = standing.spool("hold", gate="clock")
    standing.noted("held", job=held)
    told = len(standing.said("clock_jumped"))
    for ahead in (HOUR, -HOUR):
        shim.set_clock(ahead)
        told += 1
        standing.until(lambda told=told: len(standing.said("clock_jumped")) == told)
        assert standing.is_running(held)
        works(standing)
        (free,) = set(standing.processes().spoolers) - {standing.spooler_of(held)}
        kill(free)
        standing.until_it_serves()
    standing.let_go("clock")
    assert [each["outcome"] for each in standing.ended(held)["history"]] == ["succeeded"]
    shim.set_clock(0)
    assert {each["name"] for each in standing.status()["troubles"]} >= {"clock_jumped"}


def test_tickets_of_before_the_clock_was_set_back_bring_spoolers(standing: Instance) -> None:
    """uWSGI leaves a file of the future where it is, until then."""
    ahead = time.time() + HOUR
    for ticket in standing.config.spool_path.glob("uwsgi_spoolfile*"):
        os.utime(ticket, (ahead, ahead))
    for spooler in standing.processes().spoolers:
        kill(spooler)
    standing.until_it_serves()
    works(standing)


def test_the_year_2038_is_like_any_other(standing: Instance, shim: Shim) -> None:
    """A due time behind the last second of 32 bits comes when it comes."""
    shim.set_clock(BEFORE_2038 - int(time.time()))
    standing.until(lambda: standing.webhook().status == 202)
    due = standing.spool("note_time", _at=float(BEFORE_2038 + 11))
    assert standing.job(due)["due_at"].startswith("2038-01-19T03:14:09")
    shim.set_clock(BEFORE_2038 - int(time.time()) + 15)
    assert standing.ended(due)["state"] == "succeeded"
    assert standing.notes("time", job=due)[0]["at"] >= 2**31
    works(standing)
    shim.set_clock(0)
    standing.until(lambda: "clock jumped" in degraded(standing))
    works(standing)


# ── descriptors ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_worker_whose_sockets_the_app_has_closed_is_replaced(standing: Instance) -> None:
    """uWSGI would turn round in it for ever, and who connects would wait; nothing that was accepted is missing."""
    before, accepted = standing.processes().workers, standing.webhook().json["delivery"]
    with pytest.raises(ConnectionError):
        standing.get("/close_everything")
    (told,) = standing.until(lambda: standing.said("worker_deaf"))
    standing.until(lambda: set(before) - set(standing.processes().workers) == {told["pid"]})
    standing.until(standing.answers)
    works(standing)
    assert standing.query("SELECT 1 FROM delivery WHERE id = ?", accepted)


# ── a spooler ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_spooler_in_which_every_task_fails_claims_no_more_and_says_so(standing: Instance) -> None:
    """Its jobs succeed elsewhere; few of them have met it. (It rests for ten seconds: the last test of this module.)"""
    bad, good = standing.processes().spoolers
    (standing.directory / "spoilt-spooler").write_text(str(bad))
    jobs = []
    while not standing.said("spooler_rests"):
        jobs += [standing.spool("fragile") for _ in range(10)]
        assert len(jobs) < 1000
    (told,) = standing.said("spooler_rests")
    assert (told["error"], len(standing.said("runner_doubted"))) == ("OSError: [Errno 24] Too many open files", 1)
    why = f"spooler {bad} rests: the last {told['failures']} attempts failed in it at once"
    standing.until(lambda: why in degraded(standing), why=lambda: degraded(standing))  # the line of the log comes first
    jobs += [standing.spool("fragile") for _ in range(20)]
    ended = [standing.ended(job) for job in jobs]
    assert {job["state"] for job in ended} == {"succeeded"}
    assert sum(job["attempts"] - 1 for job in ended) == told["failures"] <= 18
    assert standing.processes().spoolers == [bad, good]
