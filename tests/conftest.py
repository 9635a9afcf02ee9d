"""Fixtures of tests that need a real instance under uWSGI."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.instances import Instance

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what it puts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else all that tests start would ignore Ctrl-C too


LONG = ("tutorial", "systemd", "browser", "under_fire", "docs_blocks", "uwsgi_", "chaos", "nginx", "live")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that wait longest come first, so that none of them is what all wait for in the end."""
    items.sort(key=lambda item: next((at for at, name in enumerate(LONG) if name in item.path.name), len(LONG)))


@pytest.fixture(autouse=True)
def _nothing_stays_of_a_loaded_app() -> Iterator[None]:
    """A test that loads an instance's app into this process leaves no module, path, directory or name of it behind."""
    here, path, named = Path.cwd(), list(sys.path), os.environ.get("WEBSPOOL_INSTANCE")
    yield
    os.chdir(here)
    os.environ.pop("WEBSPOOL_INSTANCE", None)
    if named is not None:
        os.environ["WEBSPOOL_INSTANCE"] = named
    sys.path[:] = path
    for module in ("app", "tasks", "uwsgi"):
        sys.modules.pop(module, None)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One instance for all tests of a module."""
    needs_uwsgi()
    with Instance(tmp_path_factory.mktemp("instance")) as running:
        yield running


@pytest.fixture
def own_instance(tmp_path: Path) -> Iterator[Instance]:
    """An instance for one test alone, written but not started; it is ended whatever the test did to it."""
    needs_uwsgi()
    made = Instance(tmp_path)
    yield made
    made.end()


def needs_uwsgi() -> None:
    if importlib.util.find_spec("pyuwsgi") is None:
        pytest.skip("pyuwsgi is not installed")
