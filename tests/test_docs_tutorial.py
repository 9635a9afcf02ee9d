"""The tutorial, typed from its first to its last line by a reader with two terminals."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import needs_uwsgi
from tests.instances import free_port
from typist import ready
from typist.pc import OnPC
from typist.terminal import Terminal
from typist.tutorial import Reader


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    """Every block of it, in order, on a fresh clone whose libraries are installed already."""
    needs_uwsgi()
    clone, port = ready.clone(tmp_path / "webspool"), free_port()
    environ = ready.environ(
        tmp_path / "home", WEBSPOOL_BIND=f"127.0.0.1:{port}", WEBSPOOL_WORKERS="1", WEBSPOOL_SPOOLERS="2"
    )
    with (
        ready.quick_command(tmp_path, clone / ".venv" / "bin"),
        Terminal(clone, environ) as first,
        Terminal(tmp_path, environ) as second,
    ):
        Reader(first, second, clone, port, hurry=True).go()


def test_the_tutorial_does_what_the_page_on_pcs_says(tmp_path: Path) -> None:
    """The same without uWSGI and what only Unix has, with what that page has typed instead."""
    clone, port = ready.clone(tmp_path / "webspool"), free_port()
    ready.slow_command(clone / ".venv" / "bin")
    environ = ready.environ(tmp_path / "home", WEBSPOOL_BIND=f"127.0.0.1:{port}", WEBSPOOL_SPOOLERS="2")
    with Terminal(clone, environ) as first, Terminal(tmp_path, environ) as second:
        OnPC(first, second, clone, port, hurry=True).go()
