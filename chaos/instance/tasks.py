"""Tasks that tell what they did: a line when an attempt begins, another when it has taken effect."""

import hashlib
import json
import os
import signal
import time
from pathlib import Path

from webspool import task
from webspool.task import current

EFFECTS = Path.cwd().parent / "evidence" / "effects.jsonl"


def note(what, **facts):
    """One line, one write."""
    order = current.get()
    about = {"at": time.monotonic(), "what": what, "job": order.job, "number": order.number, "pid": os.getpid()}
    descriptor = os.open(EFFECTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, (json.dumps(about | facts) + "\n").encode())
    os.close(descriptor)


def begin(delivery):
    note("began", event=delivery.event_id, sha256=hashlib.sha256(delivery.body).hexdigest())


def quickly(delivery):
    begin(delivery)
    note("done")


probe = task(name="probe", first_wait=0.2, longest_wait=1.0)(quickly)
quick = task(name="quick", first_wait=0.2, longest_wait=1.0)(quickly)
large = task(name="large", first_wait=0.2, longest_wait=1.0)(quickly)
limited = task(name="limited", first_wait=0.2, longest_wait=1.0, concurrency=1)(quickly)


@task(first_wait=0.2, longest_wait=1.0)
def slow(delivery):
    begin(delivery)
    time.sleep(0.5)
    note("done")


@task(first_wait=0.2, longest_wait=1.0)
def flaky(delivery):
    begin(delivery)
    if current.get().number == 1:
        note("failed")
        raise ConnectionError("the first time it fails")
    note("done")


@task(max_attempts=3, first_wait=0.1)
def failing(delivery):
    begin(delivery)
    raise ValueError("ordered to fail")


@task(max_attempts=2, first_wait=0.1)
def suicidal(delivery):
    begin(delivery)
    os.kill(os.getpid(), signal.SIGKILL)
