"""The tutorial from its first to its last line, as a reader with two terminals."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.conditions import wait_until
from typist.pages import ROOT, Block, Script
from typist.terminal import PATIENCE_SECONDS, Stumbled, Terminal

PAGE = ROOT / "docs" / "tutorial.md"
INSTALL_SECONDS = 600.0
PROCESS = "21571"
README = ROOT / "README.md"
LOOKS_EVERY_SECONDS = 0.1


class Reader:
    """`parent`: the folder that holds the clone, named webspool. `port`: where it listens instead of 8000.

    `hurry` shortens the waits that the page has its reader watch; everything else is typed as it stands.
    """

    def __init__(self, first: Terminal, second: Terminal, clone: Path, port: int, *, hurry: bool = False) -> None:
        self.first, self.second, self.clone, self.port, self.hurry = first, second, clone, port, hurry
        self.job = ""
        self.begun = time.monotonic()
        self.told: list[tuple[str, float]] = []

    def go(self) -> None:
        """Each part in turn. Raises AssertionError where the page and what happens part."""
        page = Script(PAGE)
        for part in (self._start, self._send, self._write, self._kill, self._spool, self._github, self._own):
            part(page)
        page.end()

    def reach(self, what: str) -> None:
        """Note the time since the start."""
        self.told.append((what, time.monotonic() - self.begun))

    @property
    def _asked(self) -> str:
        return f"curl -fso /dev/null localhost:{self.port}/healthz"

    # ── what is typed ───────────────────────────────────────────────────────────────────────────────────────────

    def typed(self, block: Block) -> Iterator[str]:
        """Type each command of the block into the second terminal; gives what each answered."""
        for command in block.commands:
            yield self.second.good(self._mine(command))

    def _mine(self, command: str) -> str:
        """With the id that the reader has before him, and this instance's port."""
        command = command.replace("j_...", self.job).replace(":8000", f":{self.port}")
        return re.sub(r"_spool/\d+\?", "_spool/2?", command) if self.hurry else command

    def accepted(self, answer: str) -> str:
        """The job that the answer names."""
        found = re.search(r"j_[0-9a-f]{32}", answer)
        if found is None:
            raise Stumbled(f"no job in {answer}")
        self.job = found[0]
        return self.job

    def is_there(self) -> None:
        """The instance answers; what came before it was installing and starting."""
        _poll(lambda: self.second.type(self._asked).status == 0, INSTALL_SECONDS)

    def edit(self, change: Callable[[str], str], name: str = "tasks.py") -> None:
        """What the page says about a file, done to it."""
        path = self.clone / name
        before = path.read_text()
        after = change(before)
        assert after != before, f"{name} is as it was"
        path.write_text(after)

    def state(self, job: str) -> str:
        return self.second.good(f"curl -s localhost:{self.port}/jobs/{job}")

    def until_it_is(self, state: str, seconds: float = PATIENCE_SECONDS) -> None:
        _poll(lambda: f'"state":"{state}"' in self.state(self.job), seconds)

    def until_it_tells(self, command: str, text: str) -> None:
        """Type the command until its answer holds the text: output is kept a moment after it is shown."""
        _poll(lambda: text in self.second.good(self._mine(command)), PATIENCE_SECONDS)

    # ── the parts ───────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, command: str) -> None:
        """Type what starts it into the first terminal."""
        self.first.begin(command)
        self.first.shows("try, in another terminal:", INSTALL_SECONDS)

    def _start(self, page: Script) -> None:
        self.start(page.next("sh", "./run").text)
        self.is_there()
        self.reach("the instance answers")
        list(self.typed(page.next("sh", "activate")))

    def _send(self, page: Script) -> None:
        (answer,) = self.typed(page.next("sh", "curl"))
        shown = page.next("").text.strip()
        line = re.escape(shown).replace(re.escape("j_01a1fc0a..."), self.accepted(answer))
        self.first.shows(f"^{line}$")
        self.reach("the first webhook has run")
        for answer in self.typed(page.next("sh", "application/json")):
            self.first.shows(rf"^\[auto {self.accepted(answer)}\] auto: {{'room': '?7'?}}$")
        self.until_it_is("succeeded")
        for command, telling in zip(
            page.next("sh", "webspool jobs").commands, (self.job, "auto: {'room': '7'}", "succeeded"), strict=True
        ):
            self.until_it_tells(command, telling)

    def _write(self, page: Script) -> None:
        failing = page.next("python", "on fire").text
        good = (self.clone / "tasks.py").read_text(encoding="utf-8")
        if self.hurry:
            failing = failing.replace("first_wait=2", "first_wait=0.1")
        self.edit(lambda text: re.sub(r"@task\(concurrency=1\).*?\n\n\n", f"{failing}\n\n", text, flags=re.DOTALL))
        _, answer = self.typed(page.next("sh", "webspool reload"))
        self.accepted(answer)
        self.until_it_is("dead")
        for command in page.next("sh", "webspool failures").commands:
            self.until_it_tells(command, "RuntimeError: the printer is on fire")
        self.edit(lambda _: good)
        list(self.typed(page.next("sh", "webspool retry")))
        self.until_it_is("succeeded")
        self.reach("a task is written, has failed, and is mended")

    def _kill(self, page: Script) -> None:
        begin, show, kill = page.next("sh", f"kill -9 {PROCESS}").commands
        readme = Script(README)
        begin_too, kill_too = readme.next("console", f"kill -9 {PROCESS}").commands
        jobs = [self._begun(begin), self._begun(begin_too)]
        rescued = [self._killed(job, show, each) for job, each in zip(jobs, (kill, kill_too), strict=True)]
        for job, after in zip(jobs, rescued, strict=True):
            again = self.first.shows(rf"^\[demo_work {job}\] Working\.\.\. 1/\d+$", after=after).end()
            self.first.shows(rf"^\[demo_work {job}\] Working\.\.\. (\d+)/\1$", after=again)
            self.job = job
            self.until_it_is("succeeded")
        assert "job_rescued" in readme.next("").text
        self.reach("two killed jobs have ended")

    def _begun(self, command: str) -> str:
        job = self.accepted(self.second.good(self._mine(command)))
        self.first.shows(rf"^\[demo_work {job}\] Working\.\.\. 1/\d+$")
        return job

    def _killed(self, job: str, show: str, kill: str) -> int:
        """Kill the process that the command shows; returns the place in the terminal where the rescue is told."""
        self.job = job
        (process,) = re.findall(r"^process +(\d+)$", self.second.good(self._mine(show)), re.MULTILINE)
        self.second.good(kill.replace(PROCESS, process))
        return self.first.shows(rf"job_rescued.*{job}").end()

    def _spool(self, page: Script) -> None:
        route = page.next("python", "/reports/").text
        if self.hurry:
            route = route.replace("delay=3", "delay=0.1")
        self.edit(lambda text: text.replace("\n\nif __name__", f"\n\n{route}\n\nif __name__"), "app.py")
        _, answer = self.typed(page.next("sh", "webspool reload"))
        self.accepted(answer)
        self.first.shows(rf"^\[report {self.job}\] the report of month 11$")
        self.until_it_is("succeeded")

    def _github(self, page: Script) -> None:
        source = page.next("python", "github").text
        assert source in (self.clone / "app.py").read_text()
        (answer,) = self.typed(page.next("sh", "webspool send"))
        assert len(set(re.findall(r"j_[0-9a-f]{32}", answer))) == 2
        self.first.shows(r"^\[deploy j_\w+\] deploying abc123$")
        self.first.interrupt()

    def _own(self, page: Script) -> None:
        (command,) = page.next("sh", "~/hooks").commands
        self.second.begin(self._mine(command))
        _poll(lambda: self.first.type(self._asked).status == 0, PATIENCE_SECONDS)
        self.second.interrupt()
        self.reach("an instance of one's own")


def _poll(condition: Callable[[], bool], seconds: float) -> None:
    """Ask ten times a second: each question is a process."""
    wait_until(lambda: condition() or time.sleep(LOOKS_EVERY_SECONDS), seconds)
