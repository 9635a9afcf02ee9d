"""Every way in which a task can end, with real processes."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from tests.runner_house import house, running, until
from webspool.records import Ending, Outcome

__all__ = ["house"]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a runner is a fork")

# ── ending ────────────────────────────────────────────────────────────────────────────────────────────────────────────

ENDINGS = """
@task
def value(): return {"a": 1}
@task
def nothing(): pass
@task
def minus_one(): return -1
@task
def unjson(): return object()
@task
def nan(): return float("nan")
@task
def large(): return "x" * 70000
@task
def ok(): return SPOOL_OK
@task
def again(): return SPOOL_RETRY
@task
def ignored(): return SPOOL_IGNORE
@task
def retry(): raise Retry("not yet", after=7, charge=False)
@task
def retry_never(): raise Retry(after=float("nan"))
@task
def discard(): raise Discard("gone")
@task(discard_on=(LookupError,))
def discard_type(): return {}["k"]
@task(retry_on=(OSError,))
def other_type(): raise ValueError("no")
@task(retry_on=(OSError,))
def subtype(): raise ConnectionError("down")
@task
def leave(): sys.exit("stop")
@task
def ctrl_c(): raise KeyboardInterrupt
@task
def base(): raise GeneratorExit("odd")
@task(bare_returns=True)
def bare_ok(): return -2
@task(bare_returns=True)
def bare_retry(): return -1
@task(bare_returns=True)
def bare_ignore(): return 0
@task(bare_returns=True)
def bare_none(): pass
"""


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("value", Outcome(Ending.SUCCEEDED, result='{"a": 1}')),
        ("nothing", Outcome(Ending.SUCCEEDED)),
        ("minus_one", Outcome(Ending.SUCCEEDED, result="-1")),
        ("unjson", Outcome(Ending.SUCCEEDED)),
        ("nan", Outcome(Ending.SUCCEEDED)),
        ("large", Outcome(Ending.SUCCEEDED)),
        ("ok", Outcome(Ending.SUCCEEDED)),
        ("again", Outcome(Ending.FAILED, error="the task returned SPOOL_RETRY")),
        ("ignored", Outcome(Ending.FAILED, error="the task returned SPOOL_IGNORE")),
        ("retry", Outcome(Ending.SNOOZED, error="not yet", after_seconds=7.0, charge=False)),
        ("discard", Outcome(Ending.DISCARDED, error="gone")),
        ("bare_ok", Outcome(Ending.SUCCEEDED)),
        ("bare_retry", Outcome(Ending.FAILED, error="the task returned SPOOL_RETRY")),
        ("bare_ignore", Outcome(Ending.FAILED, error="the task returned SPOOL_IGNORE")),
        ("bare_none", Outcome(Ending.SUCCEEDED)),
    ],
)
def test_each_return_is_its_own_ending(house, task, expected):
    """What a task returns, or raises on purpose, is told exactly."""
    house.serve(ENDINGS)
    assert house.run(task) == expected


@pytest.mark.parametrize(
    ("task", "ending", "error"),
    [
        ("retry_never", Ending.FAILED, "Retry: asked to run again after nan s"),
        ("discard_type", Ending.DISCARDED, "KeyError: 'k'"),
        ("other_type", Ending.DISCARDED, "ValueError: no (not in retry_on, so not tried again)"),
        ("subtype", Ending.FAILED, "ConnectionError: down"),
        ("leave", Ending.FAILED, "SystemExit: stop"),
        ("ctrl_c", Ending.FAILED, "KeyboardInterrupt"),
        ("base", Ending.FAILED, "GeneratorExit: odd"),
    ],
)
def test_each_exception_is_its_own_ending(house, task, ending, error):
    """An exception ends the attempt, never the runner."""
    runner = house.serve(ENDINGS)
    outcome = house.run(task)
    assert (outcome.ending, outcome.error, outcome.charge) == (ending, error, True)
    assert runner.alive
    assert house.run("nothing").ending is Ending.SUCCEEDED


def test_a_traceback_begins_in_the_users_code_and_stands_in_the_output(house):
    """Our frames are cut off, the cause of the cause is kept."""
    house.serve(
        r"""
def inner(): raise ValueError('x\ny')
@task
def outer():
    try: inner()
    except ValueError as fault: raise OSError('z') from fault
"""
    )
    outcome = house.run("outer")
    assert outcome.error == "OSError: z"
    assert "calling.py" not in outcome.traceback
    assert "in inner" in outcome.traceback
    assert outcome.traceback.startswith("Traceback")
    assert house.output.decode() == outcome.traceback


def test_an_error_is_one_line_and_its_traceback_is_bounded(house):
    """However large the message is, the evidence stays small and storable."""
    house.serve("@task\ndef huge(): raise ValueError('first\\0\\udcff\\n' + 'x' * 500000)")
    outcome = house.run("huge")
    assert outcome.error == "ValueError: first\\x00\\udcff"
    assert 60_000 < len(outcome.traceback) < 70_000


def test_an_exception_that_cannot_be_read_is_still_an_ending(house):
    """A broken __str__ breaks nothing of ours."""
    house.serve("class Bad(Exception):\n def __str__(self): raise RuntimeError\n@task\ndef bad(): raise Bad")
    assert house.run("bad").error == "Bad: (its message could not be read)"


def test_a_task_this_code_does_not_know_fails_its_attempt(house):
    """An unknown name is told, not raised."""
    house.serve("")
    assert house.run("nobody").error == "the task nobody is not known to this code"


def test_the_uwsgi_module_holds_our_constants(house, tmp_path):
    """`return uwsgi.SPOOL_RETRY` means what it says, whenever uwsgi was imported; the number does not."""
    (tmp_path / "uwsgi.py").write_text("SPOOL_OK, SPOOL_RETRY, SPOOL_IGNORE = -2, -1, 0\n")
    house.serve(
        """
import uwsgi
from uwsgi import SPOOL_RETRY as R
@task
def again(): return uwsgi.SPOOL_RETRY
@task
def number(): return -1
@task
def named(): return R
"""
    )
    assert [house.run(name).ending for name in ("again", "number", "named")] == ["failed", "succeeded", "failed"]


# ── death ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

DEATHS = """
@task
def exits(): os._exit(3)
@task
def killed(): os.kill(os.getpid(), signal.SIGKILL)
@task
def segfault(): ctypes.string_at(0)
@task
def closes_all(): os.closerange(0, 256); time.sleep(600)
@task
def closes_and_returns(): os.closerange(0, 256)
@task
def becomes_another(): os.execvp("sleep", ["sleep", "600"])
@task
def forks_and_dies():
    if os.fork() == 0: time.sleep(600)
    os._exit(4)
@task
def garbles(): os.write(3, b"\\xff" * 64); time.sleep(600)
@task
def nothing(): pass
"""


@pytest.mark.parametrize(
    ("task", "error", "exit_code", "number"),
    [
        ("exits", "its process ended with exit code 3", 3, None),
        ("killed", "its process was killed by SIGKILL", None, 9),
        ("segfault", "its process was killed by SIGSEGV", None, 11),
        ("closes_all", "closed the descriptors", None, 9),
        ("closes_and_returns", "closed the descriptors", 97, None),
        ("becomes_another", "become another program", None, 9),
        ("forks_and_dies", "its process ended with exit code 4", 4, None),
        ("garbles", "closed the descriptors", None, 9),
    ],
)
def test_the_death_of_its_process_interrupts_a_task_and_is_charged(house, task, error, exit_code, number):
    """However a task destroys its process, the parent tells how, and nothing of it lives on."""
    runner = house.serve(DEATHS)
    outcome = house.run(task)
    assert outcome.ending is Ending.INTERRUPTED
    assert error in outcome.error
    assert (outcome.exit_code, outcome.signal, outcome.charge, outcome.cut) == (exit_code, number, True, False)
    assert not runner.alive
    assert not running(runner.pid)


def test_a_segfault_leaves_the_python_stack_in_the_output(house):
    """The place of a crash in C is told."""
    house.serve(DEATHS)
    house.run("segfault")
    assert b"in segfault" in house.output


def test_a_runner_that_died_between_two_jobs_charges_nothing(house):
    """No code of the user's ran for the attempt: it is a cut, not an attempt."""
    runner = house.serve(DEATHS)
    os.kill(runner.pid, signal.SIGKILL)
    until(lambda: not runner.alive)
    outcome = house.run("nothing")
    assert (outcome.ending, outcome.cut, outcome.charge) == (Ending.INTERRUPTED, True, False)
    assert "SIGKILL" in outcome.error


def test_a_runner_that_was_killed_runs_nothing_more(house):
    """Calling it is told as an attempt that never began."""
    house.serve(DEATHS).kill()
    outcome = house.run("nothing")
    assert (outcome.ending, outcome.cut, outcome.charge) == (Ending.INTERRUPTED, True, False)


def test_a_forked_copy_cannot_speak_for_the_runner(house):
    """The control socket is closed in what a task forks."""
    house.serve("""
@task
def forks():
    if (pid := os.fork()) == 0:
        try: os.fstat(3)
        except OSError: os._exit(0)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
""")
    assert house.run("forks").result == "0"


def test_a_forked_copy_ends_where_the_task_ends(house):
    """A task's own fork returns into the user's code, never into our loop: one outcome, no second runner."""
    runner = house.serve(
        """
@task
def forks():
    pid = os.fork()
    if pid == 0:
        print("copy")
        return
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
@task
def forks_and_raises():
    pid = os.fork()
    if pid == 0: raise ValueError("in the copy")
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
@task
def forks_and_exits():
    pid = os.fork()
    if pid == 0: sys.exit(5)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
    )
    assert [house.run(f"forks{how}").result for how in ("", "_and_raises", "_and_exits")] == ["0", "1", "5"]
    assert house.lines[0] == "copy"
    assert "ValueError: in the copy" in house.lines
    assert runner.alive


# ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

TIMES = """
@task(timeout=0.05, grace=60)
def sleeps(): time.sleep(600)
@task(timeout=0.05, grace=0.05)
def stubborn():
    while True:
        try: time.sleep(600)
        except BaseException: pass
@task(timeout=0.05, grace=0.05)
def in_c(): signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2]); time.sleep(600)
@task(timeout=0.05, grace=60)
def heeds():
    try: time.sleep(600)
    except TimeLimitExceeded: return "saved"
@task(timeout=0.05, grace=60)
def default_signal(): signal.signal(signal.SIGUSR2, signal.SIG_DFL); time.sleep(600)
@task(timeout=1e-9, grace=60)
def at_once(): time.sleep(600)
@task(timeout=None)
def unlimited(): time.sleep(0.1); return "done"
@task(timeout=60)
def quick(): return "quick"
"""


def test_a_timeout_is_raised_inside_the_task(house):
    """The soft limit is an exception where the task stands; the runner lives on."""
    runner = house.serve(TIMES)
    outcome = house.run("sleeps")
    assert outcome.ending is Ending.TIMED_OUT
    assert outcome.error == "TimeLimitExceeded: the task ran past its timeout"
    assert "time.sleep(600)" in outcome.traceback
    assert "ring" not in outcome.traceback
    assert runner.alive
    assert house.run("quick").result == '"quick"'


@pytest.mark.parametrize("task", ["stubborn", "in_c"])
def test_a_task_that_does_not_heed_its_timeout_is_killed(house, task):
    """After the grace the whole group ends."""
    runner = house.serve(TIMES)
    outcome = house.run(task)
    assert (outcome.ending, outcome.signal) == (Ending.TIMED_OUT, signal.SIGKILL)
    assert outcome.error == "killed 0.05 s after its timeout of 0.05 s"
    assert not runner.alive


def test_a_task_that_heeds_its_timeout_counts_as_it_returned(house):
    """TimeLimitExceeded is the user's to catch."""
    house.serve(TIMES)
    assert house.run("heeds") == Outcome(Ending.SUCCEEDED, result='"saved"')


def test_the_signal_of_the_timeout_is_a_timeout_whatever_the_task_made_of_it(house):
    """A task that resets our signal dies of it: timed out, and the next runner is not concerned."""
    house.serve(TIMES)
    outcome = house.run("default_signal")
    assert (outcome.ending, outcome.signal) == (Ending.TIMED_OUT, signal.SIGUSR2)


def test_a_timeout_that_passes_before_the_task_began_is_not_lost(house):
    """The signal may come before the child has read its order."""
    house.serve(TIMES)
    for _ in range(20):
        assert house.run("at_once").ending is Ending.TIMED_OUT


def test_no_timeout_is_no_timeout(house):
    """timeout=None waits."""
    house.serve(TIMES)
    assert house.run("unlimited").result == '"done"'


def test_a_late_signal_harms_neither_the_loop_nor_the_next_task(house):
    """Signals rain on the runner between and during tasks that are not due: every one ends as it returned."""
    runner = house.serve(TIMES)
    stop = threading.Event()

    def rain() -> None:
        while not stop.wait(0.0002):
            os.kill(runner.pid, signal.SIGUSR2)

    thread = threading.Thread(target=rain)
    thread.start()
    try:
        results = {house.run("quick").result for _ in range(500)}
    finally:
        stop.set()
        thread.join()
    assert results == {'"quick"'}


def test_tasks_that_end_about_when_their_time_does_never_harm_the_next(house):
    """Whichever wins at the border, the attempt is one of the two, and its successor is untouched."""
    runner = house.serve("@task(timeout=0.01, grace=60)\ndef border(s): time.sleep(s)\n@task\ndef quick(): return 1")
    for step in range(40):
        assert house.run("border", s=0.0090 + step * 0.00005).ending in (Ending.SUCCEEDED, Ending.TIMED_OUT)
        assert house.run("quick").result == "1"
    assert runner.alive


def test_an_alarm_that_a_task_left_does_not_end_the_next(house):
    """A pending SIGALRM dies with the task that set it."""
    house.serve(
        "@task\ndef sets(): signal.setitimer(signal.ITIMER_REAL, 0.02)\n@task\ndef later(): time.sleep(0.1); return 1"
    )
    house.run("sets")
    assert house.run("later").result == "1"
