"""The tasks of the instances under test: each notes what it saw, and waits at gates that a test opens."""

import ctypes
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from webspool import SPOOL_RETRY, Discard, Retry, TimeLimitExceeded, task
from webspool.task import current

HERE = Path(__file__).parent
NOTES = HERE / "notes.jsonl"


def note(name, **facts):
    """One line, one write: notes of several processes keep their order."""
    order = current.get()
    about = {"note": name, "job": order.job, "task": order.task, "number": order.number, "pid": os.getpid()}
    line = json.dumps(about | facts) + "\n"
    descriptor = os.open(NOTES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def wait_at(gate):
    while not (HERE / f"gate-{gate}").exists():
        time.sleep(0.005)


# ── started by deliveries ───────────────────────────────────────────────────────────────────────────────────────────


@task
def see(delivery):
    note(
        "seen",
        delivery=delivery.id,
        sha256=hashlib.sha256(delivery.body).hexdigest(),
        size=len(delivery.body),
        event_type=delivery.event_type,
        event_id=delivery.event_id,
    )


@task
def push(delivery):
    note("pushed", delivery=delivery.id)


@task
def read_json(delivery):
    note("read", data=delivery.json)


@task
def take(delivery):
    """Any of the three kinds, as one dict."""
    print("took", delivery.data["name"])
    note("took", data=delivery.data, query=delivery.query)


# ── spooled by routes ───────────────────────────────────────────────────────────────────────────────────────────────


@task
def add(a, b):
    return a + b


@task
def say(text):
    note("said", text=text)
    print(text)
    return text


@task
def take_bytes(args):
    return args


@task
def note_time():
    note("time", at=time.time())


@task
def count(lines, seconds=0.0, gate=None):
    """Numbered lines, each with the time at which it was printed, some seconds apart."""
    for number in range(1, lines + 1):
        print(number, time.time(), flush=True)
        time.sleep(seconds)
    if gate:
        wait_at(gate)


@task
def flood(size):
    sys.stdout.write("x" * (size - 1) + "\n")


@task(first_wait=0.05, jitter=0)
def hold(gate):
    note("held")
    wait_at(gate)
    note("let_go")


@task(first_wait=0.05, jitter=0)
def hold_then_fail(gate):
    note("held")
    wait_at(gate)
    raise RuntimeError("the gate was opened")


@task(concurrency=1)
def one_by_one(n, gate=None):
    note("began", n=n)
    if gate:
        wait_at(gate)
    note("ended", n=n)


@task(max_attempts=5, first_wait=0.1, jitter=0)
def fail(times):
    """Fails as many times, then succeeds."""
    note("tried", at=time.time())
    if current.get().number <= times:
        raise ValueError(f"failed {current.get().number}")
    return "at last"


@task(max_attempts=3, first_wait=0.02, jitter=0)
def return_retry():
    note("tried")
    return SPOOL_RETRY


@task(max_attempts=1, first_wait=0.02)
def ask_again(after, charge):
    """Raises Retry twice, then succeeds."""
    note("tried", at=time.time())
    if current.get().number <= 2:
        raise Retry("not ready", after=after, charge=charge)


@task
def discard():
    note("tried")
    raise Discard("nobody wants it")


@task(timeout=0.3, grace=20, max_attempts=2, first_wait=0.02, jitter=0)
def sleep_too_long():
    try:
        time.sleep(60)
    except TimeLimitExceeded:
        note("told_of_the_time")
        raise


@task(timeout=0.2, grace=0.3, max_attempts=2, first_wait=0.02, jitter=0)
def ignore_the_time():
    note("began")
    while True:
        try:
            time.sleep(60)
        except TimeLimitExceeded:
            continue


@task(max_attempts=2, first_wait=0.02, jitter=0)
def die(how):
    note("tried")
    match how:
        case "exit":
            os._exit(7)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)


@task(first_wait=0.05, jitter=0)
def with_a_child(gate):
    """A process of its own beside it, which would live for long."""
    child = subprocess.Popen(["sleep", "600"])
    note("held", child=child.pid)
    wait_at(gate)
    child.kill()
    child.wait()
    note("let_go")


@task(first_wait=0.05, jitter=0)
def fragile():
    """Fails at once in the spooler that a test has spoilt."""
    spoilt = HERE / "spoilt-spooler"
    if spoilt.exists() and spoilt.read_text() == str(os.getppid()):
        raise OSError(24, "Too many open files")


@task
def print_in_many_ways():
    print("one from print")
    print("two from stderr", file=sys.stderr)
    logging.getLogger("house").warning("three from logging")
    subprocess.run(["sh", "-c", "echo four from a subprocess; echo five from its stderr >&2"], check=True)
    raise Discard("the end")


@task
def write_here(name):
    with open(name, "w") as file:
        file.write("written")
    note("written", directory=os.getcwd())


@task
def read_the_spool():
    """Open and close every spool file: in a process that holds locks on them this would drop the locks."""
    found = [path.read_bytes() for path in (HERE / "my_spools").glob("uwsgi_spoolfile*")]
    note("read", files=len(found))


@task
def close_everything():
    os.closerange(0, 256)


@task
def poll(gate):
    """How many waits in C were broken off by signals of others (EINTR)."""
    libc = ctypes.CDLL(None, use_errno=True)
    note("held")
    broken = 0
    while not (HERE / f"gate-{gate}").exists():
        broken += libc.poll(None, 0, 5) == -1
    note("let_go", broken=broken)


@task
def count_bytes(data):
    return len(data)


@task
def describe():
    """What a task can see of its process."""
    note(
        "described",
        directory=os.getcwd(),
        stdin=os.readlink("/proc/self/fd/0"),
        alarm_is_default=signal.getsignal(signal.SIGALRM) == signal.SIG_DFL,
    )
