"""Every block of code on every page is run, or says above it why it cannot be run here: <!-- not run: why -->."""

from __future__ import annotations

import configparser
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import needs_uwsgi
from tests.instances import BIN, Instance
from tests.sender_keys import keys_of
from typist import ready
from typist.pages import PAGES, ROOT, Block, blocks
from typist.terminal import Terminal
from webspool import dotenv
from webspool.config import SETTINGS, load
from webspool.loading import load_app, stand_in_for_uwsgi
from webspool.source import Source
from webspool.task import registry

TYPED_WHOLE = {
    "README.md": "test_docs_tutorial.py",
    "docs/tutorial.md": "test_docs_tutorial.py",
    "docs/how-to/server.md": "./run type server, in a fresh Debian",
    "docs/how-to/test-your-tasks.md": "test_docs_examples.py",
}
"""Pages whose blocks follow from each other, and the tests that type them from top to bottom."""

ENGLISH = [page for page in PAGES if not page.name.endswith(".ko.md")]
READ = [page for page in ENGLISH if str(page.relative_to(ROOT)) not in TYPED_WHOLE and blocks(page)]
SENDERS = [page for page in READ if page.parent.name == "senders"]

TASKS = """
from webspool import task


@task
def report(month):
    print("the report of month", month)


def __getattr__(name):
    if name.startswith("_"):
        raise AttributeError(name)

    def done(delivery):
        print(name)

    made = globals()[name] = task(name=name)(done)
    return made
"""
APP = """
from flask import Flask
from webspool import Source, Webspool

import tasks

app = Flask(__name__)
hooks = Webspool(app)
getattr(tasks, "deploy", None)


def add(source):  # two pages may speak of the same sender
    if source.name not in hooks.sources:
        hooks.add(source)
"""


REASONS = {
    "it installs what the tests have",
    "it is what runs this",
    "needs Windows; ./run type pc types it in the words of Unix",
    "needs a tunnel",
    "waitress is none of the tests' packages",
    "takes minutes; tests/test_chaos.py plays rows for seconds",
    "needs an account at Discord",
    "needs systemd; ./run type server types it",
    "needs the sender's own program or account",
    "needs root on a server; the page on servers is typed whole",
}


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_what_is_not_run_says_why_and_is_little() -> None:
    """A page that is typed whole has no other reasons than those; a new one has to be put here."""
    told = {str(block.not_run) for page in ENGLISH for block in blocks(page) if block.not_run}
    assert told == REASONS


def test_a_korean_page_says_the_same_of_its_blocks() -> None:
    """It holds the same commands, so the same cannot be run."""
    for page in PAGES:
        if page.name.endswith(".ko.md"):
            english = blocks(page.with_name(page.name.replace(".ko.md", ".md")))
            assert [block.not_run for block in blocks(page)] == [block.not_run for block in english]


# ── an instance in which commands are typed: its sources are those of all senders' pages ─────────────────────────────


class Box:
    """The instance, and a terminal in its folder with the secrets of `.env` in the environment."""

    def __init__(self, instance: Instance, terminal: Terminal) -> None:
        self.instance, self.terminal = instance, terminal

    def type(self, block: Block) -> None:
        for command in block.commands:
            typed = command.replace(":8000", f":{self.instance.port}").replace(
                "/srv/", f"{self.instance.directory}/srv/"
            )
            if re.match(r"webspool user (add|password) ", typed):
                typed = typed.partition("  #")[0] + " <<< 'long enough a password'"  # it would ask twice
            assert '"cause"' not in self.terminal.good(typed), typed


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    needs_uwsgi()
    folder = tmp_path_factory.mktemp("box")
    app = APP + "".join(source_of(page) for page in SENDERS)
    settings = {"WEBSPOOL_WORKERS": "1", "WEBSPOOL_SPOOLERS": "1"} | secrets()
    with ready.quick_command(folder, folder / "bin"):
        instance = Instance(folder / "hooks", {"app.py": app, "tasks.py": TASKS}, **settings)
        environ = ready.environ(folder / "home", PATH=f"{folder / 'bin'}:{BIN}:{os.environ['PATH']}")
        with Terminal(instance.directory, environ) as terminal:
            box = Box(instance, terminal)
            for page in SENDERS:
                for block in shell_blocks(page):
                    if is_before_the_start(page, block):
                        box.type(block)
            with instance:
                yield box


def source_of(page: Path) -> str:
    """What a sender's page says to write into app.py, without the lines that are there once."""
    text = next(block.text for block in blocks(page) if block.language == "python" and "Source(" in block.text)
    text = text.replace("app = Flask(__name__)\n", "").replace("hooks = Webspool(app)\n", "")
    return text.replace("hooks.add(", "add(")


def secrets() -> dict[str, str]:
    """A value for each secret that a page puts into `.env`, of the kind that its sender has."""
    found: dict[str, str] = {}
    for page in SENDERS:
        for source in re.findall(r"Source\((?:[^()]|\([^()]*\))*\)", source_of(page)):
            (preset,) = re.findall(r'verify="?([^",]+)"?', source)
            for name in re.findall(r'"env:(\w+)"', source):
                if f"{name}=$(" in page.read_text():  # a command of the page writes it
                    continue
                found[name] = one_line(keys_of(preset).checking)
    return found


def one_line(secret: str) -> str:
    """A key as `.env` holds it: a PEM without its frame is base64, as senders show it."""
    return "".join(line for line in secret.splitlines() if not line.startswith("-----"))


def shell_blocks(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language in ("sh", "console") and block.not_run is None]


def is_before_the_start(page: Path, block: Block) -> bool:
    """On a sender's page: what stands above "Try it" prepares `.env`."""
    tried = page.read_text().find("\n## Try it")
    return page.parent.name == "senders" and page.read_text().count("\n", 0, tried) > block.line


@pytest.mark.parametrize("page", [page for page in READ if shell_blocks(page)], ids=named)
def test_the_commands_of_a_page_succeed(page: Path, box: Box) -> None:
    """Each is typed as it stands, in an instance that runs."""
    for block in shell_blocks(page):
        if not is_before_the_start(page, block):
            box.type(block)


# ── programs ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "page", [page for page in READ if any(b.language == "python" for b in blocks(page))], ids=named
)
def test_the_programs_of_a_page_are_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that name their file are an instance, loaded as one; others run in one that has what the page speaks of."""
    before, kept = set(sys.modules), dict(registry.tasks)
    registry.tasks.clear()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        files = [block for block in blocks(page) if block.language == "python" and block.file]
        for block in files:
            (tmp_path / str(block.file)).write_text(block.text)
        for name, text in (("tasks.py", TASKS), ("app.py", APP)):
            if not (tmp_path / name).exists():
                (tmp_path / name).write_text(text)
        (tmp_path / ".env").write_text("".join(f"{line}\n" for line in settings_of(page)))
        (tmp_path / "my_spools").mkdir()
        stand_in_for_uwsgi(tmp_path)
        app = load_app(load(tmp_path, {}))
        assert app.extensions["webspool"].faults() == []
        for block in files:
            importlib.import_module(str(block.file).removesuffix(".py"))
        with app.app_context():
            for block in blocks(page):
                if block.language == "python" and not block.file and block.not_run is None:
                    registry.tasks.clear()
                    exec(compile(block.text, str(block), "exec"), {"__name__": "page"} | surroundings(app))
    finally:
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(tmp_path)):
                del sys.modules[name]
        registry.tasks.clear()
        registry.tasks.update(kept)


def settings_of(page: Path) -> list[str]:
    """The page's own settings, and a value for each secret that it names."""
    own = [line for block in blocks(page) if is_env(block) for line in block.text.splitlines() if "..." not in line]
    own = [line for line in own if not line.startswith("OTEL_")]  # would look for a collector
    given = {line.partition("=")[0] for line in own}
    names = set(re.findall(r'"env:(\w+)"', page.read_text())) - given
    return [*own, *(f"{name}={'k' * 32}" for name in names)]


def surroundings(app: Any) -> dict[str, Any]:
    tasks = sys.modules.get("tasks")
    return {"app": app, "hooks": app.extensions["webspool"], "tasks": tasks, "Source": Source}


# ── settings and other files ────────────────────────────────────────────────────────────────────────────────────────


def is_env(block: Block) -> bool:
    return block.language == "ini" and not block.text.startswith("[")


@pytest.mark.parametrize("page", [page for page in READ if any(b.language == "ini" for b in blocks(page))], ids=named)
def test_the_settings_of_a_page_are_settings(page: Path, tmp_path: Path) -> None:
    """`.env` is read as it stands; a name in it is a setting, or a secret that the page's source names."""
    for block in blocks(page):
        if is_env(block):
            (tmp_path / ".env").write_text(block.text.replace("=...", f"={'k' * 32}"))
            load(tmp_path, {})
            values, faults = dotenv.parse(block.text)
            assert faults == []
            spoken = {setting.key for setting in SETTINGS} | set(re.findall(r"env:(\w+)", page.read_text()))
            assert {name for name in values if not name.startswith("OTEL_")} <= spoken, block
        elif block.language == "ini":
            assert block.text.startswith("[uwsgi]"), block
            parsed = configparser.ConfigParser(interpolation=None, strict=False, comment_prefixes=(";", "#"))
            parsed.read_string(block.text)
            assert set(parsed["uwsgi"]) <= options_of_uwsgi(), block


def options_of_uwsgi() -> set[str]:
    needs_uwsgi()
    told = subprocess.run([BIN / "uwsgi", "--help"], capture_output=True, text=True, check=True)
    return set(re.findall(r"--([a-z0-9-]+)", told.stdout))


@pytest.mark.parametrize("page", [page for page in READ if any(b.language == "yaml" for b in blocks(page))], ids=named)
def test_yaml_is_yaml(page: Path) -> None:
    """Other programs' files; the parser is apprise's."""
    yaml = pytest.importorskip("yaml")
    for block in blocks(page):
        if block.language == "yaml":
            assert yaml.safe_load(block.text)


def test_no_block_is_left_over() -> None:
    """Each language has a reader here, and code that is merely indented would have none."""
    known = {"python", "sh", "console", "ini", "yaml", "text"}  # text is a form, and no code
    strange = [block for page in READ for block in blocks(page) if block.language not in known and not block.not_run]
    assert strange == []
    indented = [
        (named(page), line) for page in ENGLISH for line in re.findall(r"(?<=\n\n)    (\S.*)", without_blocks(page))
    ]
    assert indented == []


def without_blocks(page: Path) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
