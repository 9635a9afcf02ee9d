"""What a task writes, and what interrupts it while it runs."""

from __future__ import annotations

import ctypes
import os
import select

import pytest

from tests.runner_house import LONG, house, running, until
from webspool.records import Ending, Outcome

__all__ = ["house"]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a runner is a fork")

# ── output ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_output_keeps_its_order_whoever_writes(house):
    """print, stderr, os.write, a subprocess, logging and C's own stdout come in the order of writing."""
    house.serve(
        """
@task
def talks():
    print("1 print")
    os.write(1, b"2 write\\n")
    sys.stderr.write("3 stderr\\n")
    subprocess.run(["sh", "-c", "echo 4 shell; echo 5 shell >&2"])
    ctypes.CDLL(None).printf(b"6 printf\\n")
    logging.info("7")
    logging.getLogger("shop").warning("8")
    print("9 é \\udcff")
    print("10 no newline", end="", flush=True)
    ctypes.CDLL(None).printf(b", nor here")
"""
    )
    house.run("talks")
    assert house.lines == [
        "1 print",
        "2 write",
        "3 stderr",
        "4 shell",
        "5 shell",
        "6 printf",
        "INFO root: 7",
        "WARNING shop: 8",
        "9 é \\udcff",
        "10 no newline, nor here",
    ]


def test_what_c_buffers_comes_in_order_too(house):
    """C's own stdout is fully buffered on a pipe; in a runner it is not."""
    libc = ctypes.CDLL(None)
    stdout = ctypes.c_void_p.in_dll(libc, "stdout")
    fully, unbuffered, room = 0, 2, ctypes.create_string_buffer(4096)
    libc.setvbuf(stdout, room, fully, 4096)
    try:
        house.serve(
            "@task\ndef talks():\n ctypes.CDLL(None).printf(b'1\\n')\n print(2)\n ctypes.CDLL(None).printf(b'3')"
        )
        house.run("talks")
    finally:
        libc.setvbuf(stdout, None, unbuffered, 0)
    assert house.lines == ["1", "2", "3"]


def test_what_was_written_before_the_end_comes_before_the_outcome(house):
    """All that is in the pipe when the outcome arrives belongs to the attempt, however large a task made the pipe."""
    runner = house.serve(
        """
import fcntl
@task
def talks():
    fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 20)
    print(1)
    while not Path('go').exists(): time.sleep(0.005)
    os.write(1, b'x' * 500_000)
"""
    )

    def take(data: bytes) -> None:
        if not house.output:
            (house.directory / "go").touch()
            select.select([runner.control], [], [], LONG)  # until the outcome is there
        house.output += data

    house.take = take
    house.run("talks")
    assert len(house.output) == 500_002


def test_much_output_neither_blocks_nor_is_lost(house):
    """Far more than a pipe holds comes through, and the outcome after it."""
    house.serve("@task\ndef floods():\n for n in range(20000): print('x' * 999)")
    assert house.run("floods").ending is Ending.SUCCEEDED
    assert len(house.output) == 20_000_000


def test_a_users_own_logging_is_left_alone(house):
    """A root logger that has handlers keeps them."""
    house.serve("logging.basicConfig(format='mine %(message)s', level=10)\n@task\ndef logs(): logging.debug('x')")
    house.run("logs")
    assert house.lines == ["mine x"]


@pytest.mark.parametrize(
    "harm",
    [
        "sys.stdout.close(); sys.stderr.close()",
        "sys.stdout = sys.stderr = open('mine', 'w')",
        "sys.stdout.detach(); sys.stderr.detach()",
        "sys.stdout = sys.stderr = None",
        "os.close(1); os.close(2)",
        "os.close(0); os.close(1); os.close(2); global kept; kept = [open('mine', 'w'), open('mine', 'w')]",
        "os.dup2(os.open('/dev/null', os.O_RDWR), 1); os.dup2(1, 2)",
        "os.set_blocking(1, False)",
    ],
)
def test_output_works_again_after_a_task_that_broke_it(house, harm):
    """What a task does to its streams and descriptors 1 and 2 concerns no other task."""
    runner = house.serve(
        f"""
@task
def harms():
    {harm}
@task
def talks():
    print('x' * 300000)
    sys.stderr.write('again')
    logging.info('and again')
"""
    )
    assert house.run("harms").ending is Ending.SUCCEEDED
    house.output = b""
    assert house.run("talks").ending is Ending.SUCCEEDED
    assert house.output == b"x" * 300000 + b"\nagainINFO root: and again\n"
    assert runner.alive


def test_output_between_two_jobs_belongs_to_neither(house, capfd):
    """What a daemon thread writes when no job runs is counted and dropped, and told once."""
    runner = house.serve(
        """
go, done = threading.Event(), Path("done")
def late():
    go.wait()
    while not Path("ended").exists(): time.sleep(0.005)
    os.write(1, b"stray"); done.touch()
@task
def begins(): threading.Thread(target=late, daemon=True).start(); go.set()
@task
def next(): print("mine")
"""
    )
    house.run("begins")
    (house.directory / "ended").touch()
    until((house.directory / "done").exists)
    house.run("next")
    assert house.output == b"mine\n"
    assert runner.stray == 5
    assert "5 bytes" in capfd.readouterr().err


def test_a_process_left_behind_that_writes_for_ever_does_not_hold_the_end(house):
    """Draining is bounded: here every piece that is read makes another one."""
    runner = house.serve("@task\ndef talks(): print('x')")
    writer = os.open(f"/proc/{runner.pid}/fd/1", os.O_WRONLY)
    house.take = lambda data: os.write(writer, data)
    try:
        assert house.run("talks").ending is Ending.SUCCEEDED
    finally:
        os.close(writer)


# ── being interrupted, and ticking ────────────────────────────────────────────────────────────────────────────────────


def test_a_tick_interrupts_the_task(house):
    """Cancel and drain come this way: the group ends, the outcome is the tick's, the output is kept."""
    runner = house.serve(
        "@task\ndef long():\n p = subprocess.Popen(['sleep', '600'])\n print(p.pid)\n print('begun')\n time.sleep(600)"
    )

    def tick() -> Outcome | None:
        return Outcome(Ending.INTERRUPTED, error="cancelled") if b"begun" in house.output else None

    outcome = house.run("long", tick=tick)
    assert outcome.error == "cancelled"
    assert not runner.alive
    assert house.lines[1] == "begun"
    until(lambda: not running(int(house.lines[0])))


def test_a_call_ticks_while_a_task_is_silent(house):
    """The caller can hand on its batches although nothing happens."""
    house.serve("@task\ndef waits():\n while not Path('go').exists(): time.sleep(0.01)")
    ticks = []

    def tick() -> None:
        ticks.append(1)
        if len(ticks) == 3:
            (house.directory / "go").touch()

    assert house.run("waits", tick=tick).ending is Ending.SUCCEEDED
    assert len(ticks) >= 3


def test_what_the_caller_raises_ends_the_runner(house):
    """A half-finished attempt is never taken for the next one."""
    runner = house.serve("@task\ndef talks(): print('x'); time.sleep(600)")

    def fail(_data: bytes) -> None:
        raise RuntimeError("full")

    house.take = fail
    with pytest.raises(RuntimeError, match="full"):
        house.run("talks")
    assert not runner.alive
