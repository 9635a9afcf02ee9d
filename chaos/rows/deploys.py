"""Row 9: new code, again and again, under load: good, broken, without a task, and a reload that is killed itself."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from chaos.load import Webhook
from chaos.orders import Order
from chaos.row import row
from chaos.run import Run
from tests.instances import BIN

VERSIONED = """

VERSION = 0


@task(first_wait=0.2, longest_wait=1.0)
def version(delivery):
    begin(delivery)
    note("version", version=VERSION)
    note("done")


@task(first_wait=0.2, longest_wait=1.0, max_attempts=30)
def long(delivery):
    begin(delivery)
    time.sleep(4)
    note("done")
"""
BROKEN = {
    "a syntax error": lambda text: text + "\ndef broken(:\n",
    "half a file": lambda text: text[: len(text) // 3],
    "an exit": lambda text: text + "\nraise SystemExit(0)\n",
    "a task that is gone": lambda text: text.replace("def version(", "def renamed("),
}
DRAIN_SECONDS = 2.0
NEW_SECONDS = 10.0


@row(
    9,
    "deploys",
    broken="`webspool reload` of good and of broken code, with jobs longer than the drain limit, and killed midway",
    promise="no request refused or answered 5xx, no job shorter than the limit cut, the new code runs within seconds",
)
def deploys(run: Run) -> None:
    """One deploy after the other; what is broken is refused and changes nothing."""
    run.more_tasks = VERSIONED
    run.orders |= {"quick": Order(300), "slow": Order(2), "version": Order(5), "long": Order(1)}
    settings = {"WEBSPOOL_DRAIN_SECONDS": str(int(DRAIN_SECONDS)), "WEBSPOOL_SPOOLERS": "4"}
    with run.serving(**settings) as house, run.load(per_second=100):
        deploy = Deploys(run, house.instance.directory / "tasks.py")
        while run.time_left():
            deploy.good()
            deploy.killed()
            for what in BROKEN:
                deploy.refused(what)
        run.figures["deploys"] = deploy.number
    _look_at_answers(run)
    _look_at_cuts(run)


class Deploys:
    """Versions of tasks.py, each put in place and reloaded."""

    def __init__(self, run: Run, tasks: Path) -> None:
        self.run, self.tasks, self.number = run, tasks, 0
        self.text = tasks.read_text()

    def good(self) -> None:
        """The next version runs when the command returns."""
        self._put_next()
        self.run.harmed("reload", "code")
        told = self._reload().communicate(timeout=120)[1]
        if "Reloaded." not in told:
            self.run.breach(f"version {self.number} was not reloaded: {told[-500:]}")
        self._look_for_the_new_one()

    def killed(self) -> None:
        """The command is killed at some moment; the next one brings everything to one version."""
        self._put_next()
        going = self._reload()
        time.sleep(self.run.chance.uniform(0.1, 2.0))
        going.kill()
        going.communicate()
        self.good()

    def refused(self, what: str) -> None:
        """A broken version, said so; a worker and a runner killed meanwhile come back with what was there."""
        self.tasks.write_text(BROKEN[what](self._now()))
        if what == "a task that is gone":
            self.run.sender().send(Webhook.of("version", self.run.orders["version"], self.run.chance))
            self._hold_one_back()
        told = self._reload()
        _, said = told.communicate(timeout=120)
        self.tasks.write_text(self._now())
        self._release()
        if told.returncode != 1 or "The old code serves on." not in said:
            self.run.breach(f"{what} was not refused: {said[-500:]}")
        self._look_for_the_new_one()

    def _now(self) -> str:
        return self.text.replace("VERSION = 0", f"VERSION = {self.number}")

    def _put_next(self) -> None:
        self.number += 1
        self.tasks.write_text(self._now())

    def _reload(self) -> subprocess.Popen[str]:
        command = [str(BIN / "webspool"), "reload"]
        return subprocess.Popen(command, cwd=self.tasks.parent, stderr=subprocess.PIPE, text=True)

    def _hold_one_back(self) -> None:
        self._webspool("pause", "--task", "version")
        self.run.sender().send(Webhook.of("version", self.run.orders["version"], self.run.chance))

    def _release(self) -> None:
        self._webspool("resume", "--task", "version")

    def _webspool(self, *words: str) -> None:
        command = [str(BIN / "webspool"), *words]
        subprocess.run(command, cwd=self.tasks.parent, capture_output=True, timeout=60, check=False)

    def _look_for_the_new_one(self) -> None:
        """A webhook sent now is worked at by this version."""
        webhook = Webhook.of("version", self.run.orders["version"], self.run.chance)
        self.run.sender().send(webhook)
        give_up = time.monotonic() + NEW_SECONDS
        while not (found := _versions(self.run, webhook.event)) and time.monotonic() < give_up:
            time.sleep(0.05)
        if found != [self.number]:
            self.run.breach(f"a job after the reload of version {self.number} ran with {found}")


def _effects(run: Run) -> list[dict[str, object]]:
    path = run.evidence / "effects.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _versions(run: Run, event: str) -> list[object]:
    effects = _effects(run)
    jobs = {line["job"] for line in effects if line.get("event") == event}
    return [line["version"] for line in effects if line["what"] == "version" and line["job"] in jobs]


def _look_at_answers(run: Run) -> None:
    for text in (run.evidence / "sent.jsonl").read_text().splitlines():
        line = json.loads(text)
        if line["status"] is None or line["status"] >= 500:
            run.breach(f"event {line['event']} was answered {line['status']} {line['fault'] or ''}")


def _look_at_cuts(run: Run) -> None:
    """Only `long` jobs may be cut, uncharged and told so."""
    rows = run.house.instance.query(
        "SELECT job.task, attempt.charged, attempt.error, attempt.ended_at - attempt.started_at "
        "FROM attempt JOIN job ON job.id = attempt.job WHERE attempt.outcome = 'interrupted'"
    )
    run.figures["cut"] = len(rows)
    for task, charged, error, seconds in rows:
        if task == "suicidal":
            continue
        if task != "long" or charged or "drain limit" not in str(error) or seconds < DRAIN_SECONDS:
            run.breach(f"an attempt of {task} was interrupted after {seconds:.1f} s, charged {charged}: {error}")
