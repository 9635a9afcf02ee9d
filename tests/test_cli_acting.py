"""Commands that act: each job is answered for itself, nothing happens unasked, and through whom it is written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import apsw
import pytest

from tests.furnished import APP, Furnished
from webspool.ledger import reading
from webspool.ledger.reading import Filters
from webspool.records import State, WebhookRequest
from webspool.signatures import sign

NOBODY = 65534
TOKEN = """
hooks.add(Source("token", verify="bearer", secrets=["literal:t0ken"], on={"*": audit}))
"""


@pytest.fixture
def house(tmp_path: Path) -> Furnished:
    return Furnished(tmp_path)


def state(house: Furnished, job: str) -> str:
    found: str = reading.job(house.config, job)["state"]
    return found


def actions(house: Furnished) -> list[tuple[str, str]]:
    connection = apsw.Connection(str(house.config.ledger_path))
    found = connection.execute("SELECT verb, actor FROM action ORDER BY id").fetchall()
    connection.close()
    return [(str(verb), str(actor)) for verb, actor in found]


# ── by ids ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_retry_gives_a_dead_job_a_new_round(house: Furnished) -> None:
    """The job may run again at once; who asked for it is kept."""
    job = house.dead()
    result = house.webspool("retry", job)
    assert (result.exit_code, result.stdout) == (0, f"{job}  done\n")
    assert state(house, job) == "queued"
    ((verb, actor),) = actions(house)
    assert verb == "retry"
    assert actor not in ("", "unknown")


def test_cancel_ends_what_waits_and_interrupts_what_runs(house: Furnished) -> None:
    """A waiting job is cancelled at once, a running one is asked to stop."""
    running = house.spool()
    house.begin()
    waiting = house.spool()
    answers = {each["id"]: each["answer"] for each in house.json("cancel", running, waiting)}
    assert answers == {running: "interrupting", waiting: "done"}
    assert state(house, waiting) == "cancelled"
    assert reading.job(house.config, running)["cancelling"] is True


def test_discard_declares_a_waiting_job_dead_with_its_reason(house: Furnished) -> None:
    """The reason becomes the job's error."""
    job = house.spool()
    assert house.webspool("discard", job, "--reason", "no longer wanted").exit_code == 0
    found = reading.job(house.config, job)
    assert (found["state"], found["error"]) == ("dead", "no longer wanted")


def test_what_cannot_be_done_is_told_apart_and_fails(house: Furnished) -> None:
    """The others are done all the same; exit code 1; each reason stands on standard error."""
    dead, queued = house.dead(), house.spool()
    result = house.webspool("retry", dead, queued, "j_0")
    assert result.exit_code == 1
    assert f"{dead}  done" in result.stdout
    assert f"{queued}: it is queued" in result.stderr
    assert "There is no job j_0" in result.stderr


def test_ids_are_checked_before_anything_is_done(house: Furnished) -> None:
    """One id of the wrong kind, and no job is touched."""
    dead = house.dead()
    assert house.webspool("retry", dead, house.deliver()).exit_code == 1
    assert state(house, dead) == "dead"


@pytest.mark.parametrize("words", [[], ["j_0", "--task", "deploy"], ["--spread", "-1", "j_0"], ["--state", "lost"]])
def test_a_retry_of_nothing_or_of_two_minds_is_a_usage_error(house: Furnished, words: list[str]) -> None:
    """Neither ids nor filters, or both, or a value that cannot be: exit code 2."""
    assert house.webspool("retry", *words).exit_code == 2


# ── by filters ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_filters_count_and_ask(house: Furnished) -> None:
    """Nothing is done unless the person agrees; without a person nothing is done."""
    jobs = [house.dead(), house.dead()]
    for answer in ("n\n", ""):
        result = house.webspool("retry", "--task", "deploy", input=answer)
        assert result.exit_code == 1
        assert "retry 2 jobs?" in result.stderr
        assert {state(house, job) for job in jobs} == {"dead"}
    assert house.webspool("retry", "--task", "deploy", input="y\n").exit_code == 0
    assert {state(house, job) for job in jobs} == {"queued"}


def test_a_dry_run_names_them_and_changes_nothing(house: Furnished) -> None:
    """What would be done is on standard output; the ledger stays as it is."""
    job, before = house.dead(), house.config.ledger_path.read_bytes()
    assert house.json("retry", "--error", "branch", "--dry-run") == [{"id": job, "answer": "would retry"}]
    assert house.config.ledger_path.read_bytes() == before


def test_filters_that_find_nothing_are_told(house: Furnished) -> None:
    """Nothing to do is no fault."""
    result = house.webspool("cancel", "--task", "deploy")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Nothing fits" in result.stderr


def test_retry_by_filters_takes_the_dead_unless_told_otherwise(house: Furnished) -> None:
    """A job that waits for its time is not hurried by accident."""
    dead, scheduled = house.dead(), house.spool(due_at=time.time() + 999)
    house.json("retry", "--task", "deploy", "--yes")
    assert (state(house, dead), state(house, scheduled)) == ("queued", "scheduled")
    house.json("retry", "--state", "scheduled", "--task", "deploy", "--yes")
    assert state(house, scheduled) == "queued"


def test_more_jobs_than_one_operation_takes_are_all_done(house: Furnished) -> None:
    """Ids travel in portions; the oldest go first."""
    for _ in range(1100):
        house.spool()
    assert len(house.json("discard", "--task", "deploy", "--yes")) == 1100
    assert reading.status(house.config)["jobs"]["dead"] == 1100
    assert [verb for verb, _ in actions(house)] == ["discard"] * 3


def test_spread_lets_them_begin_evenly_over_that_time(house: Furnished) -> None:
    """A thousand retries do not hit a service that has just come back all at once."""
    jobs = [house.dead() for _ in range(4)]
    house.json("retry", "--task", "deploy", "--yes", "--spread", "40")
    found = [reading.job(house.config, job) for job in jobs]
    assert [job["state"] for job in found] == ["queued", "scheduled", "scheduled", "scheduled"]
    due = [datetime.fromisoformat(job["due_at"]).timestamp() for job in found]
    assert [round(each - due[0]) for each in due] == [0, 10, 20, 30]


# ── replay ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_replay_starts_new_jobs_by_todays_routing(house: Furnished) -> None:
    """The delivery of then, the routing of now; the new job of a task is linked to the old one."""
    delivery = house.deliver("deploy")
    old = house.run()
    (answer,) = house.json("replay", delivery)
    assert answer["status"] == "replayed"
    assert {job["task"] for job in answer["jobs"]} == {"deploy", "audit"}
    parents = {job["task"]: reading.job(house.config, job["id"])["parent"] for job in answer["jobs"]}
    assert parents == {"deploy": old, "audit": None}
    assert reading.job(house.config, answer["jobs"][0]["id"])["delivery"] == delivery


def test_a_replay_asks_todays_conditions(house: Furnished) -> None:
    """Of the payload that is kept, of a refusal's too."""
    app = house.directory / "app.py"
    app.write_text(
        APP.replace("import Source,", "import when, Source,").replace('"*": audit', '"*": when("n == `1`", audit)')
    )
    first, other = house.deliver("deploy", body=b'{"n": 1}'), house.deliver("deploy", body=b'{"n": 2}')
    refusal = house.refuse(body=b'{"n": 1}')
    answers = house.json("replay", first, other, refusal)
    assert [len(answer["jobs"]) for answer in answers] == [2, 1, 2]


def test_a_delivery_that_starts_nothing_today_is_told(house: Furnished) -> None:
    """A source that is gone, as far as the app on disk knows."""
    result = house.webspool("replay", house.deliver("deploy", source="gone"))
    assert result.exit_code == 1
    assert "no source gone" in result.stderr


def test_a_replayed_refusal_becomes_a_delivery_linked_to_it(house: Furnished) -> None:
    """Body, headers, event id and type come from what was refused; its proof fits the secret that was mended."""
    refusal = house.refuse(body=b'{"after": "abc"}')
    (answer,) = house.json("replay", refusal)
    assert answer["status"] == "accepted"
    found = reading.delivery(house.config, answer["delivery"])
    assert (found["parent"], found["event_id"], found["type"]) == (refusal, "e-1", "push")
    assert found["body"] == b'{"after": "abc"}'
    assert {job["task"] for job in found["jobs"]} == {"deploy", "audit"}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (
            {"headers": [["X-Hub-Signature-256", "sha256=00"]]},
            "does not fit today's secrets either (signature_invalid)",
        ),
        ({"headers": []}, "does not fit today's secrets either (signature_missing"),
        ({"source": "token", "headers": [["Authorization", "***"]]}, "cannot be checked again"),
    ],
)
def test_a_refusal_that_does_not_fit_today_is_taken_only_when_somebody_vouches_for_it(
    house: Furnished, given: dict[str, object], why: str
) -> None:
    """A forgery must not get in by a replay of all that was refused."""
    app = house.directory / "app.py"
    app.write_text(APP.replace("Webspool(app).add", "hooks = Webspool(app)\nhooks.add") + TOKEN)
    refusal = house.refuse(**given)  # type: ignore[arg-type]
    result = house.webspool("replay", refusal)
    assert result.exit_code == 1
    assert why in result.stderr
    assert "--vouch" in result.stderr
    assert house.json("replay", refusal, "--vouch")[0]["status"] == "accepted"


def test_a_refusal_is_looked_at_as_if_it_arrived_when_it_did(house: Furnished) -> None:
    """A webhook that was timely then is so when it is replayed a day later."""
    app = house.directory / "app.py"
    app.write_text(APP.replace('verify="github"', 'verify="slack"'))
    yesterday = time.time() - 86_400
    signed = sign("slack", "s", WebhookRequest("POST", "/hooks/github", {}, b"{}"), now=yesterday)
    refusal = house.refuse(headers=[list(pair) for pair in signed.headers.pairs])  # type: ignore[attr-defined]
    old = sign("slack", "s", WebhookRequest("POST", "/hooks/github", {}, b"{}"), now=yesterday - 4000)
    late = house.refuse(headers=[list(pair) for pair in old.headers.pairs])  # type: ignore[attr-defined]
    house.age(1)
    assert house.json("replay", refusal)[0]["status"] == "accepted"
    assert "timestamp_outside_window" in house.webspool("replay", late).stderr


def test_a_refusal_that_was_accepted_later_is_not_accepted_twice(house: Furnished) -> None:
    """The sender's own id counts here too."""
    refusal = house.refuse()
    first = house.deliver("deploy", event_id="e-1")
    (answer,) = house.json("replay", refusal)
    assert (answer["status"], answer["delivery"]) == ("duplicate", first)


@pytest.mark.parametrize(
    "given",
    [
        {"cause": "payload_too_large", "body": b""},
        {"cause": "unknown_source", "body": b"", "source": ""},
        {"body": b"x" * 10, "body_size": 100_000},
        {"source": "gone"},
    ],
)
def test_a_refusal_of_which_too_little_was_kept_cannot_be_replayed(house: Furnished, given: dict[str, object]) -> None:
    """No delivery is made up from half a body."""
    refusal = house.refuse(**given)  # type: ignore[arg-type]
    result = house.webspool("replay", refusal)
    assert result.exit_code == 1
    assert refusal in result.stderr
    assert reading.deliveries(house.config, Filters()) == []


def test_replays_by_filters_take_deliveries_or_refusals(house: Furnished) -> None:
    """--refused looks at what was refused, else at what was accepted; --spread delays the jobs."""
    first, second = house.deliver("deploy"), house.deliver("deploy")
    house.refuse()
    answers = house.json("replay", "--type", "push", "--yes", "--spread", "60")
    assert [answer["id"] for answer in answers] == [first, second]
    assert {reading.job(house.config, job["id"])["state"] for job in answers[1]["jobs"]} == {State.SCHEDULED}
    (answer,) = house.json("replay", "--refused", "--source", "github", "--yes")
    assert answer["id"].startswith("r_")


# ── pause and resume ────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_paused_waits_until_it_is_resumed(house: Furnished) -> None:
    """A pause of a task, a source or everything is shown by status and let go by resume."""
    job = house.spool()
    house.json("pause", "--task", "deploy", "--source", "github")
    assert [each["name"] for each in house.json("status")["paused"]] == ["source:github", "task:deploy"]
    assert reading.job(house.config, job)["blocked_on"] == "pause:task:deploy"
    house.json("resume", "--task", "deploy")
    assert state(house, job) == "queued"
    assert house.json("pause", "--all") == [{"name": "all", "answer": "done"}]
    assert house.json("pause", "--all") == [{"name": "all", "answer": "paused already"}]
    assert house.webspool("pause").exit_code == 2


def test_a_source_that_is_refused_takes_no_webhook_until_it_is_resumed(house: Furnished) -> None:
    """--refuse pauses it too; nothing is kept of the webhook, so that the same event is accepted later."""
    house.json("pause", "--source", "github", "--refuse")
    assert [each["name"] for each in house.json("status")["paused"]] == ["refuse:github", "source:github"]
    house.deliver("deploy", event_id="e-9")
    assert reading.deliveries(house.config, Filters()) == []
    held = house.deliver("deploy", source="other")
    assert reading.delivery(house.config, held)["status"] == "accepted"
    house.json("resume", "--source", "github")
    assert house.json("status")["paused"] == []
    again = house.deliver("deploy", event_id="e-9")
    assert reading.delivery(house.config, again)["status"] == "accepted"
    result = house.webspool("pause", "--task", "deploy", "--refuse")
    assert (result.exit_code, "--source NAME" in result.stderr) == (2, True)


def test_an_operator_replays_what_a_refusing_source_was_sent(house: Furnished) -> None:
    """Whoever replays vouches for it."""
    house.json("pause", "--source", "github", "--refuse")
    (answer,) = house.json("replay", house.refuse("source_paused"))
    assert answer["status"] == "held"


# ── through whom ────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_ledger_nothing_is_done_and_none_is_made(tmp_path: Path) -> None:
    """An action on an instance that never ran says so."""
    bare = Furnished(tmp_path, tasks=())
    before = bare.files()
    result = bare.webspool("pause", "--all")
    assert result.exit_code == 1
    assert "no ledger yet" in result.stderr
    assert bare.files() == before


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that other users can enter, unlike tmp_path."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another")
def test_as_root_the_command_becomes_the_ledgers_owner(open_directory: Path) -> None:
    """Files that root would make beside the ledger would shut the instance's own user out."""
    house = Furnished(open_directory)
    job = house.dead()
    held = apsw.Connection(str(house.config.ledger_path))
    held.execute("SELECT count(*) FROM job").fetchall()
    for path in (open_directory, *open_directory.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    (open_directory / "var" / "output.db").unlink(missing_ok=True)
    open_directory.joinpath("who.py").write_text(
        "import os, sys\nfrom webspool.cli import main\nmain(sys.argv[1:], standalone_mode=False)\nprint(os.geteuid())"
    )
    command = [sys.executable, str(open_directory / "who.py"), "--instance", str(open_directory)]
    done = subprocess.run([*command, "retry", job], capture_output=True, text=True, timeout=30, check=False)
    held.close()
    assert done.stdout.splitlines() == [f"{job}  done", str(NOBODY)], done.stderr
    assert {path.stat().st_uid for path in (open_directory / "var").iterdir()} == {NOBODY}


def test_json_of_an_action_is_a_list_whatever_becomes_of_it(house: Furnished) -> None:
    """Scripts read the same shape on success, on failure and on nothing."""
    assert json.loads(house.webspool("retry", "j_0", "--json").stdout) == [{"id": "j_0", "answer": "not_found"}]
    assert json.loads(house.webspool("retry", "--task", "x", "--json").stdout) == []
