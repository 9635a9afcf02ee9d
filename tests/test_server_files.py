"""`webspool init --systemd --nginx`: what it writes, what it refuses, and that deploy/ holds the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from webspool.cli import main
from webspool.cli.server_files import SITE, TEMPLATE, UNIT, commands, filled, server_values
from webspool.config import load

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def usual() -> dict[str, str]:
    """The values of an instance in /srv/hooks with its environment in it."""
    config = replace(load(ROOT, {}), directory=Path("/srv/hooks"), bind="127.0.0.1:8000")
    return server_values(config, Path("/srv/hooks/.venv/bin")) | {"protect_home": "yes"}


@pytest.mark.parametrize("name", UNIT + SITE)
def test_deploy_holds_what_init_would_write_for_the_usual_place(name: str) -> None:
    """One template, two readers; to renew deploy/: python -m tests.test_server_files."""
    assert (ROOT / "deploy" / name).read_text() == filled((TEMPLATE / name).read_text(), usual())


def typed(*words: str | Path) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that a service would see, as far as the check can tell."""
    monkeypatch.setattr("webspool.cli.server_files.HIDDEN_FROM_A_SERVICE", ("/tmp/nowhere",))
    return tmp_path / "hooks"


def test_init_writes_units_and_site_with_real_paths(place: Path) -> None:
    """Nothing is left to fill in but the site's name and certificate; the commands to type name the same files."""
    told = typed("init", place, "--systemd", "--nginx")
    unit = (place / "deploy" / "webspool.service").read_text()
    assert f"WorkingDirectory={place}\n" in unit
    assert f"ExecStart={BIN}/uwsgi --ini uwsgi.ini" in unit
    assert f"ReadWritePaths={place}/var {place}/my_spools" in unit
    assert "ListenStream=127.0.0.1:8000" in (place / "deploy" / "webspool.socket").read_text()
    assert "client_max_body_size 26214400;" in (place / "deploy" / "nginx.conf").read_text()
    assert "WEBSPOOL_TRUSTED_PROXIES=1\n" in (place / ".env").read_text()
    assert (place / "var").stat().st_mode & 0o777 == 0o700
    for name in UNIT + SITE:
        assert str(place / "deploy" / name) in told
        assert not re.search(r"@\w+@", (place / "deploy" / name).read_text())


def test_an_instance_that_is_there_gets_its_server_files_and_nothing_else(place: Path) -> None:
    """Its own files stay; the port and the body limit are those of its .env."""
    typed("init", place)
    (place / "app.py").write_text("# mine\n")
    with open(place / ".env", "a") as file:
        file.write("WEBSPOOL_BIND=127.0.0.1:8123\nWEBSPOOL_MAX_BODY=1000\n")
    typed("init", place, "--systemd", "--nginx")
    assert (place / "app.py").read_text() == "# mine\n"
    assert "ListenStream=127.0.0.1:8123" in (place / "deploy" / "webspool.socket").read_text()
    site = (place / "deploy" / "nginx.conf").read_text()
    assert "server 127.0.0.1:8123;" in site
    assert "client_max_body_size 1000;" in site


@pytest.mark.parametrize(("name", "why"), [("my hooks", "ASCII letters"), ("방", "ASCII letters")])
def test_a_path_that_a_unit_cannot_hold_is_refused(place: Path, name: str, why: str) -> None:
    """With what to do; the instance itself works from any path."""
    done = CliRunner().invoke(main, ["init", str(place / name), "--systemd"])
    assert done.exit_code == 1
    assert why in done.output
    assert not (place / name).exists()


def test_a_path_that_the_service_does_not_see_is_refused(tmp_path: Path) -> None:
    """PrivateTmp= gives the service a /tmp of its own."""
    inside = Path("/tmp") / f"webspool-{os.getpid()}"
    try:
        done = CliRunner().invoke(main, ["init", str(inside), "--systemd"])
    finally:
        shutil.rmtree(inside, ignore_errors=True)
    assert done.exit_code == 1
    assert "PrivateTmp" in done.output


def test_the_commands_are_for_what_was_asked(place: Path) -> None:
    """Only the site: no user is made."""
    typed("init", place)
    told = commands(load(place, {}), SITE)
    assert "nginx -t" in told
    assert "useradd" not in told


def test_the_page_on_servers_has_the_commands_that_init_prints() -> None:
    """The page is what one reads, the output is what one copies: they are the same."""
    page = (ROOT / "docs" / "how-to" / "server.md").read_text()
    config = replace(load(ROOT, {}), directory=Path("/srv/hooks"))
    for line in commands(config, UNIT + SITE).splitlines():
        assert f"# {line.partition('   #')[0].strip()}\n" in page


def test_the_units_are_valid(tmp_path: Path) -> None:
    """systemd's own check of the unit and its socket, with programs that are on this machine."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        assert os.environ.get("CI") != "true", "systemd-analyze is missing"
        pytest.skip("systemd-analyze is missing")
    for name in UNIT:
        (tmp_path / name).write_text(filled((TEMPLATE / name).read_text(), usual() | {"programs": str(BIN)}))
    told = subprocess.run([analyze, "verify", *(tmp_path / name for name in UNIT)], capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (0, "")


if __name__ == "__main__":
    for each in UNIT + SITE:
        (ROOT / "deploy" / each).write_text(filled((TEMPLATE / each).read_text(), usual()))
