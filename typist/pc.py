"""The tutorial where uWSGI is not, nor what only Unix has: typed as the page on PCs translates it.

What Windows calls otherwise, and what PowerShell writes otherwise, is put back into this machine's words at the last
moment; all else is what a reader there types.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from typist.pages import ROOT, Block, Script
from typist.ready import BARE
from typist.tutorial import INSTALL_SECONDS, PROCESS, Reader

PAGE = ROOT / "docs" / "how-to" / "run-on-a-pc.md"
ROW = re.compile(r"^\| `(?P<there>[^`]+)` \| (?P<here>`[^`]+`|Ctrl-C, then `[^`]+`) \|$", re.MULTILINE)
CTRL_C = "Ctrl-C, then "
KEY = "$KEY = (Select-String '^WEBSPOOL_WEBHOOK_KEY=(.*)' .env).Matches[0].Groups[1].Value"
IN_THIS_MACHINES_WORDS = (
    (KEY, "KEY=$(sed -n 's/^WEBSPOOL_WEBHOOK_KEY=//p' .env)"),
    (".venv\\Scripts\\activate", ". .venv/bin/activate"),
    (".venv\\Scripts\\", ".venv/bin/"),
    ("py -m", "python3 -m"),
    ("curl.exe ", "curl "),
    ("taskkill /F /PID ", "kill -9 "),
)


class OnPC(Reader):
    """`hurry`: the environment is there already, with all that pip would install."""

    def go(self) -> None:
        text = PAGE.read_text(encoding="utf-8")
        self.rows = {row["there"]: row["here"] for row in ROW.finditer(text)}
        assert self.rows, "the page has no table of what is typed otherwise"
        self.translated: set[str] = set()
        super().go()
        assert self.translated == set(self.rows), f"never typed: {set(self.rows) - self.translated}"

    # ── what is typed ───────────────────────────────────────────────────────────────────────────────────────────

    def _mine(self, command: str) -> str:
        for there, here in self.rows.items():
            if there in command and not here.startswith(CTRL_C):
                self.translated.add(there)
                command = command.replace(there, here.strip("`"))
        for windows, ours in IN_THIS_MACHINES_WORDS:
            command = command.replace(windows, ours)
        return super()._mine(command)

    def typed(self, block: Block) -> Iterator[str]:
        yield from map(self._answer, block.commands)

    def _answer(self, command: str) -> str:
        """What it answers; a new start in the other terminal answers nothing, but stands in its place."""
        here = self.rows.get(command, "")
        if not here.startswith(CTRL_C):
            return self.second.good(self._mine(command))
        self.translated.add(command)
        self.first.interrupt()
        self.start(here.removeprefix(CTRL_C).strip("`"))
        return ""

    def start(self, command: str) -> None:
        before = len(self.first.text)
        self.first.begin(self._mine(command))
        self.first.shows("Running on http", after=before)
        self.is_there()

    # ── the parts that go otherwise ─────────────────────────────────────────────────────────────────────────────

    def _start(self, page: Script) -> None:
        *installing, start = Script(PAGE).next("powershell", "py -m venv").commands
        assert self._mine(page.next("sh", "./run").text.strip()) == self._mine(start)
        for command in () if self.hurry else installing:
            self.first.good(self._mine(command), INSTALL_SECONDS)
        for terminal in (self.first, self.second):
            terminal.good(f"export PYTHONPATH={BARE} USERNAME=reader; unset USER LOGNAME")
        self.start(start)
        self.reach("the instance answers")
        list(self.typed(page.next("sh", "activate")))
        self.second.good("! python -c 'import fcntl' 2>/dev/null")

    def _kill(self, page: Script) -> None:
        """The process that is killed is the whole instance; the job begins again with the next one."""
        begin, show, kill = page.next("sh", f"kill -9 {PROCESS}").commands
        job = self._begun(begin)
        (process,) = re.findall(r"^process +(\d+)$", self.second.good(self._mine(show)), re.MULTILINE)
        self.second.good(self._mine(kill).replace(PROCESS, process))
        self.first.type(":")
        after = len(self.first.text)
        self.start(self.rows["webspool reload"].removeprefix(CTRL_C).strip("`"))
        self.first.shows(rf"^\[demo_work {job}\] Working\.\.\. (\d+)/\1$", after=after)
        self.until_it_is("succeeded")
        told = self.second.good(self._mine("webspool job j_..."))
        assert "interrupted" in told, told
        answer = self.second.good(self._mine('curl -s "localhost:8000/uwsgi_thread/20?key=$KEY"'))
        assert "needs_uwsgi" in answer
        refused = self.second.type("webspool reload")
        assert "start this one anew" in refused.output, refused.output
        self.reach("a killed job has ended")
