"""Row 2: a process dies at every step that has a name, between any two things that have to go together."""

from __future__ import annotations

import os
import struct
import time
from contextlib import AbstractContextManager
from pathlib import Path

from chaos.house import House
from chaos.row import row
from chaos.run import Run
from chaos.steps import STEPS, Step

INJECTED = Path(__file__).parents[1] / "injected"
REACHED_SECONDS, LULL_SECONDS, ADOPTED_SECONDS = 20.0, 0.3, 10.0
PROVOKED_AGAIN_SECONDS = {"master": 8.0, "keepers": 0.05}

ADOPTED = """

@task(first_wait=0.2, longest_wait=1.0)
def adopted(message):
    note("began", event=message["event"], sha256=None)
    note("done", event=message["event"])
"""


@row(
    2,
    "killed at every step",
    broken="SIGKILL at each of the steps of chaos/steps.py",
    promise="whatever lay half done is done once, or not at all and nobody was told otherwise",
)
def killed_at_every_step(run: Run) -> None:
    """All of them in an order left to chance, and again as long as there is time."""
    rounds = 0
    with serving_steps(run), run.load(per_second=30):
        while rounds == 0 or run.time_left():
            for step in run.chance.sample(STEPS, len(STEPS)):
                die_at(run, step)
            rounds += 1
        let_files_be_adopted(run)
    run.figures["steps"] = f"{len(STEPS)} steps, {rounds} times"
    adopted_once(run)


def serving_steps(run: Run) -> AbstractContextManager[House]:
    """The instance with the steps in every process, none armed."""
    armed(run).mkdir()
    run.more_tasks = ADOPTED
    return run.serving(environ={"CHAOS_STEPS": str(armed(run)), "PYTHONPATH": str(INJECTED)})


def armed(run: Run) -> Path:
    return run.evidence / "armed"


def die_at(run: Run, step: Step) -> None:
    """Arm a step and see it taken; what brings it about is done again and again until then."""
    fuse = armed(run) / step.name
    fuse.touch()
    give_up, provoke_at = time.monotonic() + REACHED_SECONDS, time.monotonic()
    while fuse.exists():
        if time.monotonic() > give_up:
            raise AssertionError(f"the step was never reached: {step.name}")
        if step.provoked is not None and time.monotonic() >= provoke_at:
            provoke(run, step.provoked)
            provoke_at = time.monotonic() + PROVOKED_AGAIN_SECONDS.get(step.provoked, 1.0)
        time.sleep(0.01)
    time.sleep(LULL_SECONDS)


def provoke(run: Run, what: str) -> None:
    if what == "file":
        leave_a_file(run)
    else:
        run.kill(what.removesuffix("s"))


def leave_a_file(run: Run) -> None:
    """As uWSGI's own `spool` writes one: a task's name and its arguments."""
    event = f"file-{os.urandom(8).hex()}"
    words = [b"ud_spool_func", b"adopted", b"event", event.encode()]
    packet = b"".join(struct.pack("<H", len(word)) + word for word in words)
    spool = run.house.instance.directory / "my_spools"
    fresh = spool / f"new-{event}"
    fresh.write_bytes(struct.pack("<BHB", 17, len(packet), 0) + packet)
    fresh.rename(spool / f"uwsgi_spoolfile_on_{event}")
    run.sent_diary.note(
        sent=time.monotonic(),
        event=event,
        order="file",
        sha256=None,
        status=None,
        said=None,
        jobs=[],
        delivery=None,
        cause=None,
    )


def let_files_be_adopted(run: Run) -> None:
    """The keeper that died last is replaced within a second, and looks at the spool once a second."""
    give_up = time.monotonic() + ADOPTED_SECONDS
    while files_left(run) and time.monotonic() < give_up:
        time.sleep(0.05)


def files_left(run: Run) -> list[Path]:
    return list((run.house.instance.directory / "my_spools").glob("uwsgi_spoolfile_on_file-*"))


def adopted_once(run: Run) -> None:
    """Each file became one job, and is gone."""
    jobs = run.effects_by_event("file-")
    for event, found in jobs.items():
        if len(found) != 1:
            run.breach(f"the file {event} became {len(found)} jobs")
    if left := files_left(run):
        run.breach(f"files were not adopted: {left}")
