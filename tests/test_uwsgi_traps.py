"""The traps of uWSGI's spooler, listed in docs/reference/uwsgi-traps.md, and that none of them can bite here."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conditions import wait_until
from tests.instances import CODE, INI, Instance, kill

TRAPS = Path(__file__).parents[1] / "docs" / "reference" / "uwsgi-traps.md"


def held(instance: Instance, gate: str) -> str:
    job = instance.spool("hold", gate=gate)
    instance.noted("held", job=job)
    return job


def tickets(instance: Instance) -> list[Path]:
    return sorted(instance.config.spool_path.glob("uwsgi_spoolfile*"))


def spool_file(**pairs: bytes) -> bytes:
    """A file as uwsgi.spool() writes it: modifier 17, the length, and pairs of lengths and bytes."""
    parts = [len(part).to_bytes(2, "little") + part for pair in pairs.items() for part in (pair[0].encode(), pair[1])]
    body = b"".join(parts)
    return bytes([17]) + len(body).to_bytes(2, "little") + b"\0" + body


# ── wake-ups ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_that_comes_while_all_are_busy_begins_when_the_first_is_idle(instance: Instance) -> None:
    """uWSGI wakes only spoolers that are idle: the job would wait for the next look, a second later.

    Shown by order: it runs between the end of one held job and that of the other, which goes on being held.
    """
    first, second = held(instance, "first"), held(instance, "second")
    job = instance.spool("say", text="next")
    assert instance.state(job) == "queued"
    instance.let_go("first")
    assert instance.ended(job)["state"] == "succeeded"
    assert instance.is_running(second)
    order = [note["job"] for note in instance.notes() if note["note"] in ("let_go", "said")]
    assert order[-2:] == [first, job]
    instance.let_go("second")
    instance.ended(second)


def test_neither_a_ticket_nor_a_signal_is_needed_once_spoolers_have_come(instance: Instance) -> None:
    """Signals may be lost between a spooler's look and its wait, and Python's handlers do not run in one that is idle.

    Here idle spoolers wait at the keeper: without any file in the spool jobs begin all the same.
    """
    for ticket in tickets(instance):
        ticket.unlink()
    jobs = [instance.spool("add", a=1, b=n) for n in range(10)]
    assert {instance.ended(job)["state"] for job in jobs} == {"succeeded"}


def test_a_signal_to_a_spooler_does_not_reach_its_task(instance: Instance) -> None:
    """SIGUSR1, uWSGI's wake-up, breaks off the C calls of a task that runs in the spooler itself."""
    job = instance.spool("poll", gate="polled")
    instance.noted("held", job=job)
    spooler = instance.spooler_of(job)
    for _ in range(100):
        os.kill(spooler, signal.SIGUSR1)
    assert instance.ended(instance.spool("add", a=1, b=1))["state"] == "succeeded"
    instance.let_go("polled")
    assert instance.ended(job)["state"] == "succeeded"
    assert instance.notes("let_go", job=job)[0]["broken"] == 0


def test_a_stopped_process_does_not_hold_up_those_who_spool(instance: Instance) -> None:
    """uwsgi.spool() takes one lock for all processes: one that is stopped inside it would stop everybody.

    Workers do not call it: with one of them stopped the other accepts and spools.
    """
    worker = instance.processes().workers[0]
    kill(worker, signal.SIGSTOP)
    try:
        jobs = [instance.spool("add", a=1, b=n) for n in range(10)]
        assert {instance.ended(job)["state"] for job in jobs} == {"succeeded"}
    finally:
        kill(worker, signal.SIGCONT)


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_may_read_the_spool(instance: Instance) -> None:
    """A file's lock is dropped when its process opens and closes the file: the spooler would then lose its ticket.

    The task runs in a process of its own, so each of these jobs runs once, and the spoolers stay.
    """
    before = instance.processes().spoolers
    jobs = [instance.spool("read_the_spool") for _ in range(40)]
    assert {instance.ended(job)["attempts"] for job in jobs} == {1}
    assert len(instance.notes("read")) == len(jobs)
    assert instance.processes().spoolers == before


def test_a_ticket_removed_under_a_running_job_harms_neither(instance: Instance) -> None:
    """uWSGI's spooler exits when its file is gone; here it goes on to the next job, and the job ran once."""
    before = instance.processes().spoolers
    job = held(instance, "ticketless")
    for ticket in tickets(instance):
        ticket.unlink()
    instance.let_go("ticketless")
    assert instance.ended(job)["attempts"] == 1
    assert instance.ended(instance.spool("add", a=1, b=1))["state"] == "succeeded"
    assert instance.processes().spoolers == before


def test_large_arguments_are_taken(instance: Instance) -> None:
    """uWSGI refuses more than 64 KiB of them; they are the ledger's here."""
    assert instance.ended(instance.spool("count_bytes", data="x" * 300_000))["result"] == 300_000
    job = instance.post("/spool_bytes/take_bytes", b"name=" + b"x" * 60_000).json["job"]
    assert len(instance.ended(job)["result"]["name"]) == 60_000


def test_tickets_hold_nothing_and_nobody_else_may_write_them(instance: Instance) -> None:
    """uWSGI's pass_arguments unpickles what lies in the spool: who can write there runs code."""
    assert instance.config.spool_path.stat().st_mode & 0o077 == 0
    kill(instance.processes().spoolers[0])  # so that a ticket is written
    instance.until_it_serves()
    assert tickets(instance)
    for ticket in tickets(instance):
        assert ticket.read_bytes() == spool_file(webspool=b"come")


def test_a_file_of_another_hand_is_left_alone_and_holds_up_nothing(own_instance: Instance) -> None:
    """uWSGI deletes what it cannot parse, and would try a file with a function it does not know for ever."""
    spool = own_instance.config.spool_path
    foreign = spool / "uwsgi_spoolfile_on_elsewhere_1_1_1_1"
    foreign.write_bytes(spool_file(ud_spool_func=b"resize", name=b"cat.png"))
    (spool / "uwsgi_spoolfile_on_elsewhere_2_1_1_1").write_bytes(b"\x11\xff\xff")
    before = foreign.read_bytes()
    own_instance.start()
    assert own_instance.ended(own_instance.spool("add", a=1, b=1))["state"] == "succeeded"
    assert foreign.read_bytes() == before
    own_instance.until(lambda: len(own_instance.said("spool_file_left_alone")) == 2)


# ── the process of a task ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_works_in_the_instances_directory(instance: Instance) -> None:
    """A spooler's working directory is the spool: what a task writes would land there, as a spool file."""
    job = instance.spool("write_here", name="report.txt")
    instance.ended(job)
    assert instance.notes("written", job=job)[0]["directory"] == str(instance.directory)
    assert (instance.directory / "report.txt").read_text() == "written"
    assert not (instance.config.spool_path / "report.txt").exists()


def test_the_first_descriptors_are_nobodys_files(instance: Instance) -> None:
    """uWSGI closes descriptor 0 in spoolers while it imports; the first file opened would get it, and lose it later."""
    for pid in [*instance.processes().spoolers, instance.processes().keeper]:
        opened = {number: os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1, 2)}
        assert opened[0] == "/dev/null"
        assert not [name for name in opened.values() if name.startswith("socket:") or name.endswith(".db")]
    job = instance.spool("describe")
    instance.ended(job)
    told = instance.notes("described", job=job)[0]
    assert told["stdin"] == "/dev/null"
    assert told["alarm_is_default"]  # a spooler ignores SIGALRM, which its children would inherit


def test_what_is_opened_first_never_gets_a_standard_descriptor() -> None:
    """As in a spooler that imports: descriptor 0 is closed, and the next file opened must not be given that number."""
    code = (
        "import os; from webspool.engines.spool import fill_standard_descriptors as fill\n"
        "os.close(0); fill(); os.write(1, b'%d' % os.open(os.devnull, os.O_RDONLY))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=True)
    assert int(told.stdout) > 2


def test_no_clock_of_the_wall_ends_a_task(instance: Instance) -> None:
    """uWSGI's harakiri is by the wall clock and by slot: a clock put forward kills every task that runs."""
    told = instance.command("ini").stdout
    assert "harakiri" not in told
    assert "touch-" not in told


# ── start ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def refused(instance: Instance) -> str:
    """What an instance said that ended at its start, with an exit code that says so."""
    assert instance.launch().wait(30) != 0
    return instance.log.read_text()


def test_no_address_is_no_socket_of_a_strange_name(own_instance: Instance) -> None:
    """`http-socket = $(NAME)` without such a variable binds a unix socket of that literal name; ours has a default."""
    env = own_instance.directory / ".env"
    env.write_text("".join(line for line in env.read_text().splitlines(True) if "WEBSPOOL_BIND" not in line))
    assert "\nhttp-socket = 127.0.0.1:8000\n" in own_instance.command("ini").stdout


def test_a_setting_in_the_ini_that_would_not_reach_us_is_refused(own_instance: Instance) -> None:
    """`env =` comes too late for what reads the environment: the start says so instead of ignoring it."""
    (own_instance.directory / "uwsgi.ini").write_text(INI + "env = WEBSPOOL_WORKERS=7\n")
    assert "WEBSPOOL_WORKERS" in refused(own_instance)


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("def half(:\n", "SyntaxError"),
        ("from app_of_nobody import app\n", "ModuleNotFoundError"),
        ("\nfrom app2 import app\napp.debug = True\n", "debug"),
    ],
    ids=["SystemExit", "half-written", "a missing module", "debug"],
)
def test_what_cannot_serve_stops_the_start(own_instance: Instance, code: str, fault: str) -> None:
    """SystemExit in app.py would respawn workers for ever, a fault in spoolers leave an instance that runs nothing."""
    (own_instance.directory / "app2.py").write_text((CODE / "app.py").read_text())
    (own_instance.directory / "app.py").write_text(code)
    told = refused(own_instance)
    assert fault in told
    assert "spawned uWSGI worker" not in told


def test_every_fault_is_named_at_once(own_instance: Instance) -> None:
    """A wrong number and a misspelt key: both are told, then nothing is started."""
    with (own_instance.directory / ".env").open("a") as env:
        env.write("WEBSPOOL_MAX_BODY=plenty\nWEBSPOOL_WORKRES=3\n")
    told = refused(own_instance)
    assert "WEBSPOOL_MAX_BODY" in told
    assert "did you mean WEBSPOOL_WORKERS" in told


def test_half_a_file_on_disk_takes_nothing_down(own_instance: Instance) -> None:
    """With lazy-apps and need-app a half-written tasks.py and one killed worker take the whole instance down.

    Here a worker or runner that is killed comes back with the copy of the code that was checked.
    """
    own_instance.start()
    before = own_instance.processes()
    with (own_instance.directory / "tasks.py").open("a") as tasks:
        tasks.write("\ndef half(:\n")
    for process in (*before.workers, *(own_instance.runner_of(spooler) for spooler in before.spoolers)):
        kill(process)
    own_instance.until(lambda: not set(before.workers) & set(own_instance.processes().workers))
    replies = [own_instance.webhook() for _ in range(10)]
    assert {reply.status for reply in replies} == {202}
    assert {own_instance.ended(job)["state"] for reply in replies for job in reply.json["jobs"]} == {"succeeded"}


BREAKS = """
import pathlib
if pathlib.Path("broken").exists():
    raise RuntimeError("what the import needs is gone")
"""


def breakable(instance: Instance) -> Path:
    """An instance whose code can be imported only while there is no file of that path."""
    with (instance.directory / "tasks.py").open("a") as tasks:
        tasks.write(BREAKS)
    instance.start()
    return instance.directory / "broken"


def test_a_worker_that_cannot_import_says_so_and_takes_nothing_down(own_instance: Instance) -> None:
    """It answers 503, the others serve, runners keep the code they have; what was missing is back, all is well."""
    broken = breakable(own_instance)
    broken.touch()
    first, second = own_instance.processes().workers
    kill(first)
    own_instance.until(lambda: own_instance.said("app_unavailable"))
    kill(second, signal.SIGSTOP)  # so that the broken one answers
    try:
        reply = own_instance.webhook()
    finally:
        kill(second, signal.SIGCONT)
    assert (reply.status, reply.cause) == (503, "app_unavailable")
    kill(own_instance.processes().workers[-1], signal.SIGSTOP)
    job = wait_until(lambda: own_instance.webhook().json.get("jobs"), 10)[0]
    assert own_instance.ended(job)["state"] == "succeeded"
    broken.unlink()
    for worker in own_instance.processes().workers:
        if worker != second:
            kill(worker)
    own_instance.until(lambda: all(own_instance.webhook().status == 202 for _ in range(10)))


def test_spoolers_whose_code_is_broken_claim_nothing(own_instance: Instance) -> None:
    """A spooler that cannot import its code would run nothing, or fail everything; ours waits and says so."""
    broken = breakable(own_instance)
    broken.touch()
    for spooler in own_instance.processes().spoolers:
        kill(own_instance.runner_of(spooler))
    own_instance.until(lambda: len(own_instance.said("runner_broken")) >= 2)
    job = own_instance.webhook().json["jobs"][0]
    assert own_instance.state(job) == "queued"
    broken.unlink()
    ended = own_instance.ended(job)
    assert (ended["state"], ended["attempts"]) == ("succeeded", 1)


# ── the list itself ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_trap_of_the_list_names_tests_that_exist() -> None:
    """docs/reference/uwsgi-traps.md says for each trap which tests show that it cannot bite."""
    text = TRAPS.read_text()
    named = set(re.findall(r"`(test_\w+)`", text))
    written = {
        name
        for path in Path(__file__).parent.glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    rows = [line for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    assert named <= written
    assert [row for row in rows if "`test_" not in row] == []
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, len(rows) + 1))
