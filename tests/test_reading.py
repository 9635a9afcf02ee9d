"""Reading the ledger: what is there is found, what is asked narrows, and nothing is created."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from tests.furnished import Furnished, failed
from webspool.errors import LedgerRefused, NotFound
from webspool.ledger import failing, reading
from webspool.ledger.database import Database
from webspool.ledger.following import Follower
from webspool.ledger.reading import Filters
from webspool.policy import Policy
from webspool.records import Ending, Outcome, State, new_id


@pytest.fixture
def house(tmp_path: Path) -> Furnished:
    return Furnished(tmp_path)


@pytest.fixture
def bare(tmp_path: Path) -> Furnished:
    return Furnished(tmp_path, tasks=())


def ids(found: list[dict[str, object]]) -> list[object]:
    return [each["id"] for each in found]


# ── creating nothing ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_ledger_that_does_not_exist_reads_as_empty_and_stays_absent(bare: Furnished) -> None:
    """Every read of a fresh instance finds nothing, says so, and creates neither file nor folder."""
    before = bare.files()
    assert reading.status(bare.config)["jobs"] == {state.value: 0 for state in State}
    assert any("no ledger yet" in reason for reason in reading.status(bare.config)["degraded"])
    for page in (reading.jobs, reading.deliveries, reading.refusals, failing.failures):
        assert page(bare.config, Filters()) == []
    with pytest.raises(NotFound):
        reading.job(bare.config, "j_1")
    assert bare.files() == before


def test_reading_a_ledger_at_rest_leaves_no_file_beside_it(house: Furnished) -> None:
    """SQLite's read-only connection would leave -wal and -shm behind when nobody else has the ledger open."""
    house.spool()
    before = house.files()
    assert len(reading.jobs(house.config, Filters())) == 1
    assert house.files() == before


def test_reading_beside_a_writer_sees_what_is_committed_and_disturbs_nothing(house: Furnished) -> None:
    """While a keeper holds the ledger open in WAL mode, readers see its commits, not what it has begun."""
    database = Database(house.config.ledger_path)
    house.spool()
    with database.transaction(flush=False) as tx:
        tx.connection.execute("DELETE FROM job")
        assert len(reading.jobs(house.config, Filters())) == 1
    assert reading.jobs(house.config, Filters()) == []
    database.close()
    assert not Path(f"{house.config.ledger_path}-wal").exists()


def test_readers_beside_direct_writers_never_fail_and_never_go_back(house: Furnished) -> None:
    """Writers that open and close the ledger again and again change it under the reader, which notices."""
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            house.spool()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        counts = [len(reading.jobs(house.config, Filters(limit=10_000))) for _ in range(60)]
    finally:
        stop.set()
        writer.join()
    assert counts == sorted(counts)
    assert counts[-1] > 0


def test_a_ledger_of_a_newer_webspool_is_refused(house: Furnished) -> None:
    """A schema that this code does not know is not guessed at."""
    connection = apsw.Connection(str(house.config.ledger_path))
    connection.execute("PRAGMA user_version = 9999")
    connection.close()
    with pytest.raises(LedgerRefused, match="9999"):
        reading.status(house.config)


def test_a_file_that_is_no_ledger_is_refused_with_its_name(bare: Furnished) -> None:
    """Whatever lies at the ledger's place is told apart from an empty ledger."""
    bare.config.var.mkdir()
    bare.config.ledger_path.write_bytes(b"this is no database, whatever its name says" * 50)
    with pytest.raises(LedgerRefused, match=r"ledger\.db"):
        reading.jobs(bare.config, Filters())


# ── status ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_status_counts_every_state_and_kind(house: Furnished) -> None:
    """The counters of the ledger come out under the contract's names, with zeros."""
    house.deliver("deploy", event_id="e-1")
    house.deliver("deploy", event_id="e-1")
    house.deliver()
    house.run()
    house.dead()
    house.spool(due_at=time.time() + 99)
    house.refuse()
    found = reading.status(house.config)
    wanted = {"succeeded": 1, "dead": 1, "scheduled": 1}
    assert found["jobs"] == {state.value: 0 for state in State} | wanted
    assert found["deliveries"] == {"accepted": 2, "refused": 1, "duplicates": 1, "ignored": 1}
    assert found["since"].endswith("Z")


def test_status_tells_who_lives(house: Furnished) -> None:
    """Processes are counted by pid and start time: this test is the master and the spooler, the keeper is gone."""
    house.spool()
    house.begin()
    assert reading.status(house.config)["processes"] == {
        "workers": house.config.workers,
        "spoolers": 1,
        "busy": 1,
        "keeper": 0,
        "live": 0,
    }
    assert any("keeper is down" in reason for reason in reading.status(house.config)["degraded"])


@pytest.mark.parametrize(("due_at", "told"), [(1e15, "9999-12-31"), (-1e15, "0001-01-01"), (1.8e9, "2027-01-15")])
def test_a_time_that_no_calendar_has_breaks_no_list(house: Furnished, due_at: float, told: str) -> None:
    """A task may be spooled for any moment."""
    house.spool(due_at=due_at)
    (job,) = reading.jobs(house.config, Filters())
    assert job["due_at"].startswith(told)


def test_a_spooler_that_has_claimed_several_jobs_is_one_that_is_busy(house: Furnished) -> None:
    """The first of them is what it runs."""
    jobs = [house.spool() for _ in range(4)]
    claim = {"attempt": new_id("a"), "process": str(house.me), "instance": str(house.me), "generation": 1}
    house.call("turn", {"end": None, "claim": claim | {"further": [new_id("a") for _ in range(3)], "among": 1}})
    assert reading.status(house.config)["processes"]["busy"] == 1
    claimed = reading.running_by_spooler(house.config, str(house.me))[house.me.pid]
    assert [each["id"] for each in claimed] == jobs


def test_an_instance_whose_master_is_gone_does_not_serve(house: Furnished) -> None:
    """A pid that was reused is told apart by the start time."""
    connection = apsw.Connection(str(house.config.ledger_path))
    connection.execute("UPDATE instance SET start = start + 1")
    connection.close()
    found = reading.status(house.config)
    assert found["processes"]["workers"] == found["processes"]["spoolers"] == 0
    assert found["since"] is None
    assert any("nothing serves" in reason for reason in found["degraded"])


def test_the_keeper_is_alive_when_the_process_it_named_is(house: Furnished) -> None:
    """What the keeper wrote is believed only while that very process runs."""
    house.config.keeper_dir.mkdir()
    known = {"boot": house.me.boot, "pid": house.me.pid, "start": house.me.start, "since": 1.5}
    (house.config.keeper_dir / "keeper.json").write_text(json.dumps(known))
    found = reading.keeper(house.config)
    assert found == {"pid": os.getpid(), "since": "1970-01-01T00:00:01.500Z", "running": True}
    assert reading.status(house.config)["processes"]["keeper"] == 1
    (house.config.keeper_dir / "keeper.json").write_text(json.dumps(known | {"start": 1}))
    assert reading.status(house.config)["processes"]["keeper"] == 0


def test_the_spool_is_counted_without_lock_files_and_folders(house: Furnished) -> None:
    """uWSGI makes other things beside its spool files; they are no tickets."""
    spool = house.config.spool_path
    (spool / "uwsgi_spoolfile_on_host_1_1_1_1_1").write_bytes(b"x")
    os.utime(spool / "uwsgi_spoolfile_on_host_1_1_1_1_1", (time.time() - 30, time.time() - 30))
    (spool / "uwsgi_spoolfile_on_folder").mkdir()
    (spool / ".lock").touch()
    found = reading.status(house.config)["spool"]
    assert found["files"] == 1
    assert 29 < found["oldest_seconds"] < 40


def test_a_full_disk_and_unknown_tasks_are_told_as_degraded(house: Furnished) -> None:
    """What keeps jobs from running is told in a sentence."""
    house.spool("nobody_knows")
    poor = replace(house.config, min_free_bytes=2**60)
    reasons = " ".join(reading.status(poor)["degraded"])
    assert "WEBSPOOL_MIN_FREE_BYTES" in reasons
    assert "nobody_knows" in reasons
    assert any("disk" in reason for reason in reading.unready(poor))


def test_an_instance_that_is_stopping_is_not_ready(house: Furnished) -> None:
    """A ready instance gives no reasons; one that stops says so."""
    ready = replace(house.config, min_free_bytes=0)
    assert reading.unready(ready) == []
    house.call("stop", {"instance": str(house.me), "stopping": True})
    assert reading.unready(ready) == ["the instance is draining: it begins no further job"]


# ── jobs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_tells_its_contract_fields(house: Furnished) -> None:
    """Times are RFC 3339 in UTC with milliseconds, the result is JSON, absent things are None."""
    delivery = house.deliver("deploy")
    house.run()
    (found,) = reading.jobs(house.config, Filters())
    wanted = {"task": "deploy", "state": "succeeded", "attempts": 1, "delivery": delivery, "error": None}
    assert found.items() >= wanted.items()
    assert found["result"] == {"done": 3}
    assert found["source"] == "github"
    for name in ("created_at", "due_at", "started_at", "finished_at"):
        assert len(found[name]) == len("2026-01-31T12:00:00.000Z")


def test_a_text_result_stays_text(house: Furnished) -> None:
    """A task that returned a string has that string as its result."""
    house.spool()
    job = house.run(Outcome(Ending.SUCCEEDED, result='"나의 비밀 방"'))
    assert reading.job(house.config, job)["result"] == "나의 비밀 방"


def test_a_job_tells_its_attempts_in_order(house: Furnished) -> None:
    """The history holds every attempt, the failed one with its traceback."""
    house.spool(month=3)
    job = house.run(failed(), Policy(first_wait=0, jitter=0))
    house.call("act", {"verb": "retry", "jobs": [job], "actor": "test"})
    house.run()
    found = reading.job(house.config, job)
    assert [attempt["outcome"] for attempt in found["history"]] == ["failed", "succeeded"]
    assert [attempt["number"] for attempt in found["history"]] == [1, 2]
    assert "Traceback" in found["history"][0]["traceback"]
    assert found["history"][0]["duration_seconds"] >= 0
    assert found["arguments"] == {"month": 3}


def test_lists_are_newest_first_and_pages_meet_without_gap(house: Furnished) -> None:
    """A page goes on after the last `seq` of the one before, whatever came meanwhile."""
    made = [house.spool() for _ in range(5)][::-1]
    first = reading.jobs(house.config, Filters(limit=2))
    house.spool()
    rest = reading.jobs(house.config, Filters(limit=9, after=first[-1]["seq"]))
    assert ids(first) + ids(rest) == made
    assert len(list(reading.every(reading.job_ids, house.config, Filters()))) == 6


@pytest.mark.parametrize(
    ("filters", "hits"),
    [
        (Filters(states=[State.DEAD]), "dead"),
        (Filters(states=[State.SUCCEEDED, State.QUEUED]), "spooled pushed"),
        (Filters(task="audit"), "pushed"),
        (Filters(source="github"), "pushed"),
        (Filters(source="stripe"), ""),
        (Filters(type="pu*"), "pushed"),
        (Filters(type="pull*"), ""),
        (Filters(error="NO SUCH"), "dead"),
        (Filters(error="%"), ""),
        (Filters(text="나의 비밀 방"), "spooled pushed"),
        (Filters(text="비밀", task="audit"), "pushed"),
        (Filters(since=time.time() + 3600), ""),
        (Filters(until=time.time() + 3600), "dead spooled pushed"),
        (Filters(until=1.0), ""),
    ],
)
def test_each_filter_narrows(house: Furnished, filters: Filters, hits: str) -> None:
    """Jobs are found by state, task, source, type, time, error, and text in arguments or payload, however escaped."""
    named = {house.dead(): "dead"}
    named[house.spool(room="나의 비밀 방")] = "spooled"
    house.deliver("audit", body='{"room": "나의 비밀 방"}'.encode())
    found = [named.get(str(each), "pushed") for each in ids(reading.jobs(house.config, filters))]
    assert sorted(found) == sorted(hits.split())


def test_text_is_found_in_bodies_that_are_files(house: Furnished) -> None:
    """A large body lies outside the ledger and is searched all the same."""
    delivery = house.deliver("deploy", body=b"x" * 70_000 + b"needle", body_file=True)
    house.deliver("deploy", body=b"hay")
    assert ids(reading.deliveries(house.config, Filters(text="needle"))) == [delivery]
    assert len(reading.jobs(house.config, Filters(text="needle"))) == 1
    assert reading.delivery(house.config, delivery)["body"].endswith(b"needle")


# ── deliveries, refusals, failures ──────────────────────────────────────────────────────────────────────────────


def test_deliveries_are_found_by_what_became_of_their_jobs(house: Furnished) -> None:
    """One job has to fit all that is asked of it, not one job this and another that."""
    both = house.deliver("deploy", "audit")
    house.run(failed(), Policy(max_attempts=1))
    house.run()
    assert ids(reading.deliveries(house.config, Filters(states=[State.DEAD], task="deploy"))) == [both]
    assert reading.deliveries(house.config, Filters(states=[State.DEAD], task="audit")) == []
    (found,) = reading.deliveries(house.config, Filters(error="branch"))
    assert [(job["task"], job["state"]) for job in found["jobs"]] == [("deploy", "dead"), ("audit", "succeeded")]


def test_a_refusal_keeps_its_cause_headers_and_body(house: Furnished) -> None:
    """What was refused can be looked at."""
    refusal = house.refuse("signature_invalid", b"\xff\x00")
    assert ids(reading.refusals(house.config, Filters(error="INVALID", source="github"))) == [refusal]
    assert reading.refusals(house.config, Filters(source="stripe")) == []
    found = reading.refusal(house.config, refusal)
    assert found["body"] == b"\xff\x00"
    assert ["X-GitHub-Event", "push"] in found["headers"]


def test_failures_are_grouped_by_task_and_first_line(house: Furnished) -> None:
    """Jobs that fail alike are one line: how many, how many of them dead, since when, and one to look at."""
    house.dead("ValueError: no\nsecond line")
    last = house.dead("ValueError: no\nanother second line")
    house.dead("KeyError: 'x'", task="audit")
    house.spool()
    retrying = house.run(failed("ValueError: no"))
    first, second = failing.failures(house.config, Filters())
    assert (first["task"], first["error"]) == ("deploy", "ValueError: no")
    assert (first["jobs"], first["dead"], first["retrying"]) == (3, 2, 1)
    assert first["example"] in (last, retrying)
    assert first["first_at"] <= first["last_at"]
    assert (second["task"], second["jobs"]) == ("audit", 1)
    assert failing.failures(house.config, Filters(task="audit")) == [second]


# ── following ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_follower_tells_each_happening_once(house: Furnished) -> None:
    """Only what comes after it began: deliveries, ends of attempts (also of those begun before), refusals."""
    house.dead()
    house.spool()
    order = house.begin()
    follower = Follower(house.config)
    assert follower.look() == []
    delivery = house.deliver("audit")
    house.finish(order, failed())
    house.refuse()
    told = follower.look()
    assert sorted(happening["event"] for happening in told) == ["attempt", "delivery", "refusal"]
    (attempt,) = [happening for happening in told if happening["event"] == "attempt"]
    assert (attempt["job"], attempt["outcome"], attempt["state"]) == (order["job"], "failed", "scheduled")
    assert follower.look() == []
    job = house.run()
    (attempt,) = follower.look()
    assert (attempt["job"], attempt["delivery"]) == (job, delivery)
    assert follower.look() == []
