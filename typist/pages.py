"""The blocks of a page, and what is to be typed of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\s*\Z")
FILE = re.compile(r"# (\w+\.\w+)\b")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None
    """Why it cannot be run where the tests run; it stands above the block: <!-- not run: needs a tunnel -->"""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that it is, where its first line names one."""
        named = FILE.match(self.text)
        return named[1] if named else None

    @property
    def commands(self) -> list[str]:
        """What is typed, one command each: continued lines and here-documents are one."""
        if self.language == "console":
            return [command for command, _ in self.dialogue]
        return _commands(self.text)

    @property
    def dialogue(self) -> list[tuple[str, str]]:
        """Of a console: each command behind a prompt, and what the page shows after it."""
        asked = re.split(r"^[$#] ", self.text, flags=re.MULTILINE)[1:]
        return [_asked(each) for each in asked]


def blocks(page: Path) -> list[Block]:
    """All blocks of the page, in their order."""
    text = page.read_text(encoding="utf-8")
    return [_block(page, text, found) for found in FENCE.finditer(text)]


def _block(page: Path, text: str, found: re.Match[str]) -> Block:
    reason = NOT_RUN.search(text[: found.start()])
    inside = re.sub(f"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
    return Block(page, text.count("\n", 0, found.start()) + 1, found["language"], inside, reason[1] if reason else None)


def _asked(text: str) -> tuple[str, str]:
    """The command, with its here-document, and what is shown after it."""
    lines = iter(text.splitlines())
    first = next(lines)
    command = "\n".join([first, *_rest(first, lines)])
    return command.strip(), "\n".join(lines)


def _commands(text: str) -> list[str]:
    typed: list[str] = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.strip() and not line.startswith("#"):
            typed.append("\n".join([line, *_rest(line, lines)]))
    return typed


def _rest(line: str, lines: Iterator[str]) -> Iterator[str]:
    """The lines that belong to this one."""
    here = re.search(r"<<\s*'?(\w+)'?", line)
    while line.endswith("\\") or (here and line != here[1]):
        line = next(lines)
        yield line


class Script:
    """A page that is gone through block by block; at its end none may be left."""

    def __init__(self, page: Path) -> None:
        self._left = blocks(page)

    def next(self, language: str, holding: str = "") -> Block:
        """The next block. Raises AssertionError when the page has another one there."""
        assert self._left, f"the page has no further block; wanted {language} {holding}"
        block = self._left.pop(0)
        assert block.language == language, f"{block} is {block.language!r}, not {language!r}"
        assert holding in block.text, f"{block} does not hold {holding!r}"
        return block

    def end(self) -> None:
        """Every block was gone through, or says why not."""
        left = [str(block) for block in self._left if block.not_run is None]
        assert not left, f"nobody went through {left}"
