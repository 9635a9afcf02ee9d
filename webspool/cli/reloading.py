"""`webspool reload`: new code in runners and workers, checked first, without losing a request or cutting a job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from webspool import release
from webspool.cli import printing
from webspool.cli.actor import become_owner, operator_of
from webspool.cli.chosen import chosen_config
from webspool.cli.deploying import LONGEST_SECONDS, LOOK_SECONDS
from webspool.config import Config
from webspool.ledger import reading
from webspool.ledger.standing import Serving
from webspool.ledger.watchdog import nudge_master, tell_master
from webspool.processes import Identity, entered
from webspool.release import Release

IMPORT_SECONDS = 75.0
CUT_EVERY_SECONDS = 1.0
WORKER_SECONDS = 30.0
AGAIN_SECONDS = 3.0
FIFO_SECONDS = 1.0
KEEPER_SECONDS = 15.0
QUICK_SECONDS = 2.0

COMMAND = "import sys; from webspool.cli import main; sys.argv[0] = 'webspool'; main()"


class NotReloaded(click.ClickException):
    """The old code serves on: exit code 1."""

    def show(self, file: Any = None) -> None:
        click.echo(f"Not reloaded: {self.message} The old code serves on.", err=True)


@click.command()
@click.option("--force", is_flag=True, help="Even when jobs wait for a task that the new code lacks.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, LONGEST_SECONDS),
    metavar="SECONDS",
    help="How long running jobs may take to end with the old code. Default: WEBSPOOL_DRAIN_SECONDS.",
)
def reload(force: bool, seconds: float | None) -> None:
    """Check the code and run it from now on: runners between two jobs, workers one by one, then the keeper.

    Nothing changes when the check finds a fault. No request is lost; a job that runs longer than the time given is
    cut, which is told and not charged, and runs again.
    """
    config = chosen_config()
    serving = reading.serving(config)
    if serving.instance is None:
        raise NotReloaded("no instance runs.")
    if serving.instance["engine"] != "spool":
        raise NotReloaded("only an instance under uWSGI can be reloaded; start this one anew.")
    become_owner(config)
    with _alone(config):
        fresh = _checked_copy(config, serving.instance["generation"], force=force)
        before = release.current(config.directory, _master(serving))
        release.make_current(config.directory, fresh)
        Reload(config, serving, before, fresh, config.drain_seconds if seconds is None else seconds).go()


@contextmanager
def _alone(config: Config) -> Iterator[None]:
    import fcntl  # noqa: PLC0415  (Windows has none; an instance there was refused before this)

    code = config.var / "code"
    code.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(code / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotReloaded("another reload is under way.") from None
        yield


def _checked_copy(config: Config, generation: int, *, force: bool) -> Release:
    """The code as it is now, copied, and found good by a fresh process that imported the copy."""
    fresh = release.take(config.directory, at_least=generation + 1)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("UWSGI_")}
    words = ["--instance", str(config.directory), "check", "--release", str(fresh.number)]
    checked = subprocess.run(  # noqa: S603
        [sys.executable, "-c", COMMAND, *words, *(["--force"] if force else [])],
        stdout=sys.stderr,
        env=environ,
        check=False,
    )
    if checked.returncode:
        release.drop(fresh)
        raise NotReloaded("the check found what is told above.")
    return fresh


def _master(serving: Serving) -> Identity:
    assert serving.instance is not None
    return Identity(serving.instance["boot"], serving.instance["pid"], serving.instance["start"])


@dataclass
class Reload:
    """One reload of a running instance, from the code that `before` was to `fresh`."""

    config: Config
    serving: Serving
    before: Release
    fresh: Release
    seconds: float

    def __post_init__(self) -> None:
        self.master = _master(self.serving)
        assert self.serving.instance is not None
        self.instance = str(self.serving.instance["id"])
        self.operator = operator_of(self.config)

    def go(self) -> None:
        """Runners first: when not one of them can import the code, the workers are left alone, or get the old again."""
        self.begun_before = self._running()
        self.operator.renew(self.instance, self.fresh.number)
        self.renewed_at = time.monotonic()
        give_up = self.renewed_at + self.seconds
        if not self._until(self._the_workers_may_follow, IMPORT_SECONDS):
            self._take_back("not one of them has imported it in time")
        self._renew_workers()
        self._renew_runners(give_up)
        self._renew_keeper()
        self._renew_live()
        printing.say("Reloaded.")

    def _until(self, condition: Any, seconds: float) -> bool:
        give_up = time.monotonic() + seconds
        while not condition():
            if not self.master.alive:
                raise click.ClickException("The instance ended during the reload; what it starts with is the new code.")
            if time.monotonic() >= give_up:
                return False
            time.sleep(LOOK_SECONDS)
        return True

    # ── runners ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _the_workers_may_follow(self) -> bool:
        """A runner has imported the new code; or none can say, since all run what they ran before it came."""
        members = self._members()
        if any(self._is_new(member) for member in members):
            return True
        if failed := self._failed(members):
            self._take_back(failed)
        if time.monotonic() < self.renewed_at + QUICK_SECONDS:  # one that is between quick jobs tries it soon
            return False
        return bool(members) and {member["pid"] for member in members} <= self._still_at_it()

    def _all_runners_are_new(self) -> bool:
        members = self._members()
        if failed := self._failed(members):
            self._renew_workers_after(failed)
        return all(self._is_new(member) for member in members)

    def _members(self) -> list[dict[str, Any]]:
        return reading.serving(self.config).members

    def _running(self) -> set[tuple[int, str]]:
        """The attempts that run now, or are claimed, each with its spooler."""
        return {(job["pid"], job["attempt"]) for job in reading.running_jobs(self.config, self.instance)}

    def _is_new(self, member: dict[str, Any]) -> bool:
        return bool(member["generation"] >= self.fresh.number and not member["broken"])

    def _still_at_it(self) -> set[int]:
        """The spoolers at a job that began before the new code came; they have not tried that yet."""
        return {pid for pid, _ in self.begun_before & self._running()}

    def _failed(self, members: list[dict[str, Any]]) -> str | None:
        """Why not one runner can import the new code, when all that could try have failed."""
        tried = [member for member in members if member["tried"] >= self.fresh.number and member["broken"]]
        if not tried or any(self._is_new(member) for member in members):
            return None
        rest = {member["pid"] for member in members if member not in tried}
        return str(tried[0]["broken"]) if rest <= self._still_at_it() else None

    def _take_back(self, why: str) -> None:
        release.make_current(self.config.directory, self.before)
        printing.say(why.rstrip())
        raise NotReloaded("the runners cannot import what the check could.")

    def _renew_workers_after(self, failed: str) -> None:
        """The workers have the new code, the runners cannot have it: all go back."""
        release.make_current(self.config.directory, self.before)
        self._renew_workers()
        self._take_back(failed)

    def _renew_runners(self, give_up: float) -> None:
        """Wait for those that run a job with the old code; what takes too long is cut."""
        if self._until(self._all_runners_are_new, give_up - time.monotonic()):
            return
        for job in reading.running_jobs(self.config, self.instance):
            printing.say(f"{job['id']} {job['task']} ran too long: cut, not charged, it runs again.")
        give_up = time.monotonic() + IMPORT_SECONDS
        self._cut()
        while not self._until(self._all_runners_are_new, CUT_EVERY_SECONDS):
            self._cut()
            if time.monotonic() >= give_up:
                raise click.ClickException("Some runners are old still; see webspool status.")

    def _cut(self) -> int:
        return self.operator.cut(self.instance, self.fresh.number)

    # ── workers and keeper ──────────────────────────────────────────────────────────────────────────────────────

    def _renew_workers(self) -> None:
        """The master's chain reload: one worker after the other, the next when the one before it serves.

        Asked for again and again: the master does not take it while it is at another, of a reload that was broken off.
        """
        old, again_at = self._workers(), 0.0

        def renewed() -> bool:
            nonlocal again_at
            if not any(worker.alive for worker in old):
                return True
            if time.monotonic() >= again_at:
                self._ask_for_workers()
                again_at = time.monotonic() + AGAIN_SECONDS
            return False

        if not self._until(renewed, WORKER_SECONDS * max(1, len(old))):
            raise click.ClickException("Some workers are old still.")

    def _ask_for_workers(self) -> None:
        """The master's fifo is gone for a moment whenever somebody else has written to it."""
        give_up = time.monotonic() + FIFO_SECONDS
        while True:
            try:
                return tell_master(self.config.master_fifo, b"c")
            except OSError as fault:
                if time.monotonic() >= give_up:
                    why = f"The workers go on with the old code: {self.config.master_fifo}: {fault.strerror}."
                    raise click.ClickException(f"{why} Start the instance anew.") from None
            time.sleep(LOOK_SECONDS)

    def _workers(self) -> list[Identity]:
        """The master's children that are neither spoolers, nor the keeper, nor the live process."""
        others = {member["pid"] for member in self._members()} | {(reading.keeper(self.config) or {}).get("pid")}
        others.add(self._live())
        path = Path(f"/proc/{self.master.pid}/task/{self.master.pid}/children")
        return [Identity.of(int(pid)) for pid in path.read_text().split() if int(pid) not in others]

    def _live(self) -> int:
        """The pid of the process that serves those who watch, or 0."""
        entry = entered(self.config.live_file)
        return entry.identity.pid if entry is not None and entry.identity.alive else 0

    def _renew_live(self) -> None:
        """Those who watch come back by themselves, and miss nothing."""
        if live := self._live():
            with suppress(ProcessLookupError):
                os.kill(live, signal.SIGTERM)

    def _renew_keeper(self) -> None:
        """It ends after the batch at hand, and uWSGI starts another; meanwhile everybody writes directly."""
        old = (reading.keeper(self.config) or {"pid": 0, "running": False})["pid"]
        if not old:
            return
        with suppress(ProcessLookupError):
            os.kill(old, signal.SIGTERM)

        def another() -> bool:
            nudge_master(self.config.master_fifo)
            now = reading.keeper(self.config)
            return now is not None and now["pid"] != old and now["running"]

        if not self._until(another, KEEPER_SECONDS):
            raise click.ClickException("No other keeper has come; see webspool status.")
