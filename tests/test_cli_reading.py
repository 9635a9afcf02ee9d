"""Commands that read: what they print, what they import, what they leave alone."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.conditions import wait_until
from tests.furnished import Furnished, failed
from webspool.cli import printing
from webspool.errors import LedgerUnavailable
from webspool.ledger.inbox import Request
from webspool.ledger.operations import Answer
from webspool.ledger.output import Piece, write_directly
from webspool.ledger.sockets import SocketInbox
from webspool.policy import Policy
from webspool.records import State

WEBSPOOL = str(Path(sys.executable).parent / "webspool")
READS = (
    ["status"],
    ["jobs"],
    ["jobs", "--json"],
    ["deliveries"],
    ["deliveries", "--refused"],
    ["failures"],
    ["keeper"],
    ["user", "list"],
    ["token", "list"],
)


@pytest.fixture
def house(tmp_path: Path) -> Furnished:
    return Furnished(tmp_path)


@pytest.fixture
def bare(tmp_path: Path) -> Furnished:
    return Furnished(tmp_path, tasks=())


# ── laws of reading commands ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("words", READS, ids=" ".join)
def test_a_reading_command_creates_nothing(bare: Furnished, words: list[str]) -> None:
    """In an instance that never ran, every read answers and leaves the directory as it was."""
    before = bare.files()
    result = bare.webspool(*words)
    assert result.exit_code == 0, result.stderr
    assert bare.files() == before


def test_showing_output_and_bodies_leaves_nothing_behind(house: Furnished) -> None:
    """Both databases are at rest after a stop, and stay as they are."""
    delivery = house.deliver("deploy")
    job = house.run(output=b"a line\n")
    before = house.files()
    assert house.webspool("job", job, "--output").stdout == "     1  a line\n"
    assert house.webspool("delivery", delivery, "--raw").stdout == "{}"
    assert house.files() == before


@pytest.mark.parametrize("words", READS, ids=" ".join)
def test_a_reading_command_imports_neither_the_app_nor_flask(house: Furnished, words: list[str]) -> None:
    """What only reads runs no code of the user's, and works while app.py is broken."""
    (house.directory / "app.py").write_text("raise SystemExit('app.py was imported')")
    script = "import sys; from webspool.cli import main; main(standalone_mode=False); print(sorted(sys.modules))"
    command = [sys.executable, "-c", script, "--instance", str(house.directory), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    modules = set(json.loads(done.stdout.splitlines()[-1].replace("'", '"')))
    assert not modules & {"app", "flask", "werkzeug", "jinja2", "structlog", "sqlite3"}


def test_an_empty_list_is_an_empty_json_list_and_a_sentence(house: Furnished) -> None:
    """Scripts get [], people a sentence on standard error."""
    assert house.json("jobs") == []
    result = house.webspool("jobs")
    assert result.stdout == ""
    assert "none" in result.stderr


def test_a_missing_ledger_is_said_on_standard_error(bare: Furnished) -> None:
    """An instance that never ran is told apart from one without jobs."""
    result = bare.webspool("jobs", "--json")
    assert json.loads(result.stdout) == []
    assert "no ledger yet" in result.stderr


def test_the_instance_is_named_on_standard_error_only(house: Furnished) -> None:
    """Which instance was meant never mixes with the answer."""
    result = house.webspool("status", "--json")
    assert str(house.directory) in result.stderr
    assert json.loads(result.stdout)["jobs"]["queued"] == 0


@pytest.mark.parametrize(
    ("words", "id_of", "taker"),
    [
        (["job"], "deliver", "webspool delivery"),
        (["job"], "refuse", "webspool delivery"),
        (["delivery"], "spool", "webspool job"),
        (["retry"], "deliver", "webspool replay"),
        (["replay"], "spool", "retry"),
        (["jobs", "--after"], "deliver", "webspool delivery"),
    ],
)
def test_an_id_of_the_wrong_kind_is_told_who_takes_it(
    house: Furnished, words: list[str], id_of: str, taker: str
) -> None:
    """A pasted id never leads nowhere."""
    result = house.webspool(*words, getattr(house, id_of)())
    assert result.exit_code == 1
    assert taker in result.stderr


@pytest.mark.parametrize("words", [["job", "j_0"], ["delivery", "d_0"], ["delivery", "r_0"], ["job", "nonsense"]])
def test_an_unknown_id_is_told_and_fails(house: Furnished, words: list[str]) -> None:
    """Exit code 1, the id in the message, nothing on standard output."""
    result = house.webspool(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert words[-1] in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["jobs", "--since", "yesterday"],
        ["jobs", "--state", "lost"],
        ["jobs", "--limit", "0"],
        ["deliveries", "--refused", "--task", "deploy"],
        ["job", "j_0", "--follow"],
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(house: Furnished, words: list[str]) -> None:
    """Exit code 2 for words that make no sense, before anything is read."""
    assert house.webspool(*words).exit_code == 2


# ── status, lists ───────────────────────────────────────────────────────────────────────────────────────────────


def test_status_as_json_has_the_shape_of_the_contract(house: Furnished) -> None:
    """All keys are there, all seven states with them."""
    found = house.json("status")
    assert found.keys() >= {"jobs", "deliveries", "spool", "processes", "degraded", "since"}
    assert set(found["jobs"]) == set(State)
    assert found["deliveries"].keys() == {"accepted", "refused", "duplicates", "ignored"}
    assert found["spool"].keys() == {"files", "oldest_seconds"}
    assert found["processes"].keys() == {"workers", "spoolers", "busy", "keeper", "live"}


def test_jobs_as_json_are_a_list_of_objects(house: Furnished) -> None:
    """Each has at least the contract's fields; without --limit all jobs come, however many pages."""
    for _ in range(3):
        house.spool()
    found = house.json("jobs")
    assert len(found) == 3
    wanted = {"id", "task", "state", "attempts", "delivery", "created_at", "due_at", "finished_at", "error"}
    assert found[0].keys() >= wanted
    assert len(house.json("jobs", "--limit", "2")) == 2
    assert house.json("jobs", "--limit", "2", "--after", found[1]["id"]) == found[2:]


def test_times_are_given_as_rfc_3339_or_as_how_long_ago(house: Furnished) -> None:
    """--since and --until read both."""
    house.spool()
    assert len(house.json("jobs", "--since", "2h")) == 1
    assert house.json("jobs", "--until", "30m") == []
    assert len(house.json("jobs", "--since", "2020-01-31T12:00:00Z", "--until", "2999-01-01T00:00:00+09:00")) == 1


def test_a_table_holds_whole_ids_and_says_how_to_go_on(house: Furnished) -> None:
    """What is shown can be pasted; what is not shown is told."""
    first, second = house.spool(), house.spool()
    result = house.webspool("jobs", "--limit", "1")
    assert second in result.stdout
    assert first not in result.stdout
    assert f"--after {second}" in result.stderr


def test_refused_webhooks_are_listed_with_their_cause(house: Furnished) -> None:
    """The operator sees what was refused and why."""
    refusal = house.refuse("timestamp_outside_window")
    (found,) = house.json("deliveries", "--refused")
    assert (found["id"], found["cause"], found["status"]) == (refusal, "timestamp_outside_window", 401)
    assert "timestamp_outside_window" in house.webspool("deliveries", "--refused").stdout


def test_failures_are_listed(house: Furnished) -> None:
    """The most frequent first, with a job to look at."""
    job = house.dead()
    (found,) = house.json("failures")
    assert (found["task"], found["jobs"], found["dead"], found["example"]) == ("deploy", 1, 1, job)
    assert job in house.webspool("failures").stdout


# ── printing ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_error_cannot_command_the_terminal(house: Furnished) -> None:
    """Escapes in what a task or a stranger wrote are written out, in tables, on single pages and in JSON."""
    job = house.dead("\x1b]0;owned\x07\x9b31m\u202eValueError")
    for words in (["jobs"], ["job", job], ["failures"], ["jobs", "--json"], ["job", job, "--json"]):
        printed = house.webspool(*words).stdout
        assert not set(printed) & set("\x1b\x07\x9b\u202e")
        assert "owned" in printed
    assert house.json("job", job)["error"].endswith("\x1b]0;owned\x07\x9b31m\u202eValueError")


def test_columns_stay_aligned_beside_korean(house: Furnished) -> None:
    """A Korean letter takes two columns of a terminal."""
    assert printing.width("나의 비밀 방") == 12
    assert printing.width("e\u0301") == 1
    assert printing.cut("나의 비밀 방", 6) == "나의 …"
    house.spool("비밀")
    house.spool("room")
    heading, *lines = house.webspool("jobs").stdout.splitlines()
    assert {printing.width(line[: line.index("blocked")]) for line in lines if "blocked" in line} == {
        printing.width(heading[: heading.index("STATE")])
    }


def test_colours_are_for_terminals_only(house: Furnished) -> None:
    """A pipe gets plain text; a terminal gets colours and lines that fit."""
    house.dead("ValueError: " + "long " * 100)
    assert "\x1b" not in house.webspool("jobs").stdout
    printed = on_a_terminal(house, "jobs")
    assert "\x1b[31m" in printed
    assert "…" in printed


def test_a_narrow_terminal_shows_an_error_below_its_row(house: Furnished) -> None:
    """A column of a few letters would tell nothing."""
    house.dead("ValueError: no such branch")
    lines = on_a_terminal(house, "jobs", columns=80).splitlines()
    (place,) = [number for number, line in enumerate(lines) if "ValueError: no such branch" in line]
    assert lines[place].startswith("    ")
    assert "dead" in lines[place - 1]


def on_a_terminal(house: Furnished, *words: str, columns: int = 120) -> str:
    """What a command writes when its standard output is a terminal."""
    ours, theirs = pty.openpty()
    command = [WEBSPOOL, "--instance", str(house.directory), *words]
    environ = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"COLUMNS": str(columns)}
    process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env=environ)
    os.close(theirs)
    read = b""
    try:
        while piece := os.read(ours, 65536):
            read += piece
    except OSError:  # the other side of the terminal is closed
        pass
    finally:
        os.close(ours)
    assert process.wait() == 0
    return read.decode()


# ── one delivery, one job ───────────────────────────────────────────────────────────────────────────────────────


def test_raw_writes_the_exact_bytes(house: Furnished) -> None:
    """Nothing is added, decoded or lost, also for a body that is a file."""
    body = bytes(range(256)) + "나의 비밀 방\r\n".encode()
    for delivery in (house.deliver(body=body), house.deliver(body=body * 300, body_file=True), house.refuse(body=body)):
        assert house.webspool("delivery", delivery, "--raw").stdout_bytes in (body, body * 300)


def test_a_delivery_shows_headers_body_and_jobs(house: Furnished) -> None:
    """As JSON the body is text where it is text, and said not to be where it is not."""
    delivery = house.deliver("deploy", body='{"방": 1}'.encode())
    found = house.json("delivery", delivery)
    assert (found["body"], found["body_is_text"], found["jobs"][0]["task"]) == ('{"방": 1}', True, "deploy")
    assert '{"방": 1}' in house.webspool("delivery", delivery).stdout
    assert house.json("delivery", house.deliver(body=b"\xff"))["body_is_text"] is False


def test_a_job_shows_its_attempts_and_traceback(house: Furnished) -> None:
    """One page tells what became of a job and why."""
    job = house.dead()
    printed = house.webspool("job", job).stdout
    for wanted in (job, "deploy", "dead", "failed", "Traceback", "no such branch"):
        assert wanted in printed
    assert house.json("job", job)["history"][0]["outcome"] == "failed"


def test_output_is_numbered_line_by_line_over_attempts(house: Furnished) -> None:
    """Every attempt begins at 1; lost pieces leave a gap in the numbers, not in the counting."""
    house.spool()
    order = house.begin()
    write_directly(house.config.output_path, [Piece(order["attempt"], 1, 1, 0.0, "첫\nzwe".encode())])
    write_directly(house.config.output_path, [Piece(order["attempt"], 2, 2, 0.0, b"i\x1b[1m\n")])
    write_directly(house.config.output_path, [Piece(order["attempt"], 4, 9, 0.0, b"nine")])
    job = house.finish(order, failed(), Policy(first_wait=0, jitter=0))
    house.call("act", {"verb": "retry", "jobs": [job], "actor": "test"})
    house.run(output=b"again\n")
    lines = house.webspool("job", job, "--output").stdout.splitlines()
    assert lines == ["     1  첫", "     2  zwei\\x1b[1m", "     9  nine", "     1  again"]
    told = [json.loads(line) for line in house.webspool("job", job, "--output", "--json").stdout.splitlines()]
    assert [(line["attempt"], line["line"]) for line in told] == [(1, 1), (1, 2), (1, 9), (2, 1)]


def test_follow_goes_on_until_the_job_is_finished(house: Furnished) -> None:
    """What a running attempt prints is shown as it comes; the command ends with the job."""
    house.spool()
    order = house.begin()
    write_directly(house.config.output_path, [Piece(order["attempt"], 1, 1, 0.0, b"begun\n")])
    command = [WEBSPOOL, "--instance", str(house.directory)]
    command += ["job", order["job"], "--output", "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "     1  begun\n"
        assert follower.poll() is None
        write_directly(house.config.output_path, [Piece(order["attempt"], 2, 2, 0.0, b"ended\n")])
        house.finish(order, failed(), Policy(max_attempts=1))
        assert follower.stdout.read() == "     2  ended\n"
    assert follower.returncode == 0


# ── tail, keeper ────────────────────────────────────────────────────────────────────────────────────────────────


def test_tail_tells_what_comes_and_stops_cleanly(house: Furnished) -> None:
    """A line of JSON for each happening; Ctrl-C ends it with exit code 0 and no traceback."""
    command = [WEBSPOOL, "--instance", str(house.directory), "tail", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        while "Following" not in tail.stderr.readline():
            pass
        delivery = house.deliver("deploy")
        house.run()
        house.refuse()
        told = [json.loads(tail.stdout.readline()) for _ in range(3)]
        tail.send_signal(signal.SIGINT)
        assert tail.wait(10) == 0
        assert "Traceback" not in tail.stderr.read()
    assert {happening["event"] for happening in told} == {"delivery", "attempt", "refusal"}
    assert told[0]["id"] == delivery


def test_a_keeper_that_is_not_there_is_told(house: Furnished) -> None:
    """No file and no socket: not running, not answering."""
    assert house.json("keeper") == {"pid": None, "since": None, "running": False, "answering": False}


@pytest.mark.parametrize("broken", [False, True])
def test_a_keeper_answers_when_it_takes_an_operation(house: Furnished, broken: bool) -> None:
    """Asked over its own socket; one that cannot write does not count as answering."""
    inbox = SocketInbox(house.config.keeper_dir)
    stop = threading.Event()

    def reply(request: Request) -> None:
        if broken:
            request.fail(str(LedgerUnavailable(ledger="x", why="the disk is full")))
        else:
            request.answer(Answer({}))

    def serve() -> None:
        while not stop.is_set():
            for request in inbox.collect(0.05):
                reply(request)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        wait_until(lambda: house.json("keeper")["answering"] is not broken)
    finally:
        stop.set()
        thread.join()
        inbox.close()
