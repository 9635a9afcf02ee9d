"""Tasks that note what they saw."""

import json
import logging
import os
import sys
import time
from pathlib import Path

from flask import current_app, g

from webspool import SPOOL_OK, SPOOL_RETRY, Discard, Retry, task
from webspool.task import current

HERE = Path(__file__).parent


def note(name, **facts):
    order = current.get()
    about = {"note": name, "job": order.job, "task": order.task, "number": order.number}
    with open(HERE / "notes.jsonl", "a") as notes:
        notes.write(json.dumps(about | facts) + "\n")


def wait_at(gate):
    while not (HERE / f"gate-{gate}").exists():
        time.sleep(0.005)


@task
def see(delivery):
    note("seen", body=delivery.text, event=delivery.event_type)


@task
def audit(delivery):
    note("audited", body=delivery.text)


@task
def add(a, b):
    return {"sum": a + b}


@task
def fine():
    return SPOOL_OK


@task(max_attempts=3, first_wait=0.05, jitter=0)
def fail():
    raise ValueError("나의 비밀 방")


@task(max_attempts=5, first_wait=0.05, jitter=0)
def fail_once():
    if current.get().number == 1:
        raise OSError("not yet")
    return "done"


@task(max_attempts=2, first_wait=0.05, jitter=0)
def ask_again():
    return SPOOL_RETRY


@task(max_attempts=2)
def again(rounds, charge):
    if current.get().number <= rounds:
        raise Retry("not there yet", after=0.05, charge=charge)
    return current.get().number


@task
def give_up():
    raise Discard("no use")


@task(max_attempts=1, discard_on=(KeyError,))
def key_error():
    raise KeyError("x")


@task(concurrency=1)
def alone(who, gate=None):
    note("begun", who=who)
    if gate:
        wait_at(gate)
    time.sleep(0.002)
    note("ended", who=who)


@task
def keyed(who):
    note("begun", who=who)
    time.sleep(0.002)
    note("ended", who=who)


@task
def speak():
    print("first")
    print("second", file=sys.stderr)
    logging.getLogger("speak").warning("third")
    sys.stdout.buffer.write("fourth: 나의 비밀 방\n".encode())
    sys.stdout.flush()
    print("fifth without an end", end="")


@task
def where():
    fresh = not hasattr(g, "mark")
    g.mark = True
    return {"directory": os.getcwd(), "app": current_app.name, "fresh": fresh}


@task(max_attempts=1)
def wander():
    os.chdir("/")


@task(grace=0.3)
def wait(gate):
    note("waiting")
    wait_at(gate)
    return "let go"
