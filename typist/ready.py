"""Environments that are there already, so that a test types what a reader types and installs nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conditions import wait_until
from typist import quick
from typist.pages import ROOT

PROGRAMS = Path(sys.executable).parent
BARE = Path(__file__).parent / "bare"
COMMAND = """#!{python}
from webspool.cli import main

main()
"""


def clone(folder: Path) -> Path:
    """The repository's files as they are now, without its tests; its environment is this one's libraries."""
    folder.mkdir(parents=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.split("\0"):
        if name and not name.startswith(("tests/", "bench/", "chaos/", "docs/")) and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    _environment(folder / ".venv")
    stamp = (folder / "requirements.txt").read_bytes() + (folder / "pyproject.toml").read_bytes()
    wanted = subprocess.run(["cksum"], input=stamp, capture_output=True, check=True).stdout
    (folder / ".venv" / "installed-requirements.txt").write_bytes(wanted)
    return folder


def _environment(folder: Path) -> None:
    """A virtual environment that shares everything but its programs with the one that runs this."""
    (folder / "bin").mkdir(parents=True)
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", folder)
    (folder / "lib").symlink_to(Path(sys.prefix) / "lib")
    for name in ("python", "python3", "uwsgi"):
        (folder / "bin" / name).symlink_to((PROGRAMS / name).resolve())
    activate = (PROGRAMS / "activate").read_text().replace(sys.prefix, str(folder))
    (folder / "bin" / "activate").write_text(activate)


def slow_command(programs: Path) -> None:
    """`webspool` in `programs` as pip writes it, and no uwsgi beside it."""
    command = programs / "webspool"
    command.write_text(COMMAND.format(python=programs / "python"))
    command.chmod(0o755)
    (programs / "uwsgi").unlink()


@contextmanager
def quick_command(folder: Path, programs: Path) -> Iterator[None]:
    """`webspool` in `programs`, without its start-up, as long as this lasts."""
    door = folder / "quick.sock"
    quick.install(programs, door)
    server = subprocess.Popen([sys.executable, "-m", "typist.quick", str(door)], cwd=ROOT)
    try:
        wait_until(door.exists)
        yield
    finally:
        server.terminate()
        server.wait(20)


def environ(home: Path, **more: str) -> dict[str, str]:
    """A reader's environment: nothing of ours in it."""
    ours = ("WEBSPOOL_", "VIRTUAL_ENV", "PYTEST", "COV_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    home.mkdir(exist_ok=True)
    path = os.pathsep.join(each for each in os.environ["PATH"].split(os.pathsep) if Path(each) != PROGRAMS)
    return kept | {"HOME": str(home), "PATH": path} | more


def pip(*, uncached: bool) -> dict[str, str]:
    """How pip is set up for the one who runs this, in an environment with another home."""
    told = subprocess.run([sys.executable, "-m", "pip", "cache", "dir"], capture_output=True, text=True, check=True)
    own = Path.home() / ".config" / "pip" / "pip.conf"
    settings = {"PIP_CACHE_DIR": told.stdout.strip()} | ({"PIP_CONFIG_FILE": str(own)} if own.exists() else {})
    return settings | ({"PIP_NO_CACHE_DIR": "1"} if uncached else {})
