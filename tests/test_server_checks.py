"""`webspool check --server`: each fault of a box is told with what to type, and a good one is not told anything."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from webspool.cli import server_checks
from webspool.cli.server_checks import Places, server_faults
from webspool.cli.server_files import TEMPLATE, filled, server_values
from webspool.config import Config, load
from webspool.ledger.database import Database

BIN = Path("/bin")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """An instance with a ledger, as a server would have it."""
    directory = tmp_path / "hooks"
    for folder in (directory / "var", directory / "my_spools"):
        folder.mkdir(mode=0o700, parents=True)
    (directory / ".env").write_text("WEBSPOOL_MIN_FREE_BYTES=0\n")
    (directory / ".env").chmod(0o600)
    Database(directory / "var" / "ledger.db").close()
    return load(directory, {})


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A box of its own in which all is well."""
    monkeypatch.setattr(server_checks, "_clock", lambda: iter(()))
    found = Places(tmp_path / "units", tmp_path / "nginx", tmp_path / "proc")
    (found.proc / "sys/net/core").mkdir(parents=True)
    (found.proc / "sys/net/core/somaxconn").write_text("4096\n")
    (found.proc / "self").mkdir()
    (found.proc / "self/limits").write_text(
        "Max open files            65536                65536                files\n"
    )
    (found.nginx / "sites-enabled").mkdir(parents=True)
    found.units.mkdir()
    return found


def faults(config: Config, places: Places) -> str:
    return "\n".join(server_faults(config, places))


def site(config: Config, places: Places, **changed: str) -> None:
    """The site that init writes, with parts of it changed."""
    text = filled((TEMPLATE / "nginx.conf").read_text(), server_values(config, BIN))
    for before, after in changed.items():
        assert before in text
        text = text.replace(before, after)
    (places.nginx / "sites-enabled" / "webspool").write_text(text)


def unit(config: Config, places: Places, programs: Path) -> None:
    text = filled((TEMPLATE / "webspool.service").read_text(), server_values(config, programs))
    (places.units / "webspool.service").write_text(text)


def test_a_good_box_is_told_nothing(config: Config, places: Places, tmp_path: Path) -> None:
    """Unit, site and limits as init writes them."""
    for name in ("uwsgi", "webspool"):
        (tmp_path / name).touch()
    config = replace(config, trusted_proxies=1)
    site(config, places)
    unit(config, places, tmp_path)
    assert faults(config, places) == ""


def test_a_body_limit_below_ours_is_told_with_the_line_to_write(config: Config, places: Places) -> None:
    """nginx's default of 1 MiB is one."""
    site(config, places, client_max_body_size="#client_max_body_size")
    assert f"client_max_body_size {config.max_body};" in faults(config, places)
    site(config, places, **{f"client_max_body_size {config.max_body}": "client_max_body_size 8m"})
    assert f"lets bodies of {8 << 20} bytes through" in faults(config, places)


def test_a_body_limit_above_all_sites_is_seen(config: Config, places: Places) -> None:
    """nginx.conf's own holds where a site has none: too low is told once, in one line, and enough is no fault."""
    site(config, places, client_max_body_size="#client_max_body_size")
    (places.nginx / "nginx.conf").write_text("http {\n  client_max_body_size 2m;\n}\n")
    (told,) = server_faults(config, places)
    assert f"lets bodies of {2 << 20} bytes through, " in told
    assert told.endswith(f"write into its server: client_max_body_size {config.max_body};")
    (places.nginx / "nginx.conf").write_text("http {\n  client_max_body_size 1g;\n}\n")
    assert faults(config, places) == ""


def test_a_proxy_that_names_no_sender_is_told(config: Config, places: Places) -> None:
    """The setting and the header belong together, both ways."""
    config = replace(config, trusted_proxies=1)
    site(config, places, **{"X-Forwarded-For": "X-Other"})
    assert "sets no X-Forwarded-For" in faults(config, places)


def test_a_public_address_without_a_trusted_proxy_is_told(config: Config, places: Places, nobody: str) -> None:
    """Every sender would seem to be the proxy."""
    assert "WEBSPOOL_TRUSTED_PROXIES=1" in faults(replace(config, public_url=nobody), places)


def test_facing_the_network_is_told(config: Config, places: Places) -> None:
    """With and without forwarding headers that anybody could write."""
    told = faults(replace(config, bind="0.0.0.0:8000", trusted_proxies=1), places)
    assert "put nginx in front" in told
    assert "forge X-Forwarded-For" in told


def test_programs_that_a_unit_cannot_find_are_told(config: Config, places: Places) -> None:
    """A moved environment is the usual cause."""
    unit(config, places, Path("/nowhere/bin"))
    (told,) = server_faults(replace(config, trusted_proxies=1), places)
    for program in (
        "ExecStart=/nowhere/bin/uwsgi",
        "ExecReload=/nowhere/bin/webspool",
        "ExecStop=/nowhere/bin/webspool",
    ):
        assert program in told
    assert told.endswith("; write it anew: webspool init . --systemd")


@pytest.mark.parametrize("key", ["WorkingDirectory", "Environment=WEBSPOOL_INSTANCE", "ReadWritePaths"])
def test_a_wrong_path_in_the_unit_is_one_line(config: Config, places: Places, tmp_path: Path, key: str) -> None:
    """Each by itself; and all together, as after a folder was moved, though no line names the instance then."""
    for name in ("uwsgi", "webspool"):
        (tmp_path / name).touch()
    unit(config, places, tmp_path)
    path = places.units / "webspool.service"
    text = path.read_text()
    path.write_text(text.replace(f"\n{key}={config.directory}", f"\n{key}=/nowhere/hooks"))
    (told,) = server_faults(config, places)
    assert f"{key.removeprefix('Environment=')}=/nowhere/hooks" in told
    path.write_text(text.replace(str(config.directory), "/nowhere/hooks"))
    (told,) = server_faults(config, places)
    assert "WEBSPOOL_INSTANCE=/nowhere/hooks" in told
    assert "webspool init . --systemd" in told


def test_units_of_others_are_left_alone(config: Config, places: Places) -> None:
    """A program of another's that is not there is none of our business."""
    (places.units / "other.service").write_text("[Service]\nExecStart=/nowhere/other\nWorkingDirectory=/nowhere\n")
    assert faults(config, places) == ""


def test_a_stop_shorter_than_the_drain_is_told(config: Config, places: Places) -> None:
    """systemd would kill what drains."""
    unit(config, places, BIN)
    assert "write TimeoutStopSec=150" in faults(replace(config, drain_seconds=120.0), places)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root, to give files away")
def test_files_of_another_user_are_told(config: Config, places: Places) -> None:
    """What root wrote in between, the service cannot open."""
    os.chown(config.ledger_path, 64321, 64321)
    assert f"chown -R 64321: {config.var} {config.spool_path}" in faults(config, places)


def test_what_others_can_read_is_told(config: Config, places: Places) -> None:
    """Secrets and payloads are the service's alone."""
    (config.directory / ".env").chmod(0o644)
    config.var.chmod(0o755)
    told = faults(config, places)
    assert f"chmod go= {config.directory / '.env'}" in told
    assert f"chmod go= {config.var}" in told


def test_small_limits_of_the_kernel_are_told(config: Config, places: Places) -> None:
    """Backlog and descriptors."""
    (places.proc / "sys/net/core/somaxconn").write_text("128\n")
    (places.proc / "self/limits").write_text(
        "Max open files            1024                 1024                 files\n"
    )
    told = faults(config, places)
    assert "net.core.somaxconn=4096" in told
    assert "LimitNOFILE=65536" in told


def test_a_full_disk_is_told(config: Config, places: Places) -> None:
    """As degraded does, before it happens under load."""
    assert "WEBSPOOL_MIN_FREE_BYTES" in faults(replace(config, min_free_bytes=1 << 60), places)


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """A server that gives each connection the next of these answers once it has asked something."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(10)


@pytest.fixture
def nobody() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


OK, TOO_LARGE = b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 413 Too Large\r\n\r\n"


def test_the_public_address_is_tried(config: Config, places: Places, nobody: str) -> None:
    """Nobody there, somebody else there, and the one that refuses what we would take."""
    config = replace(config, trusted_proxies=1)
    assert "cannot be reached" in faults(replace(config, public_url=nobody), places)
    with answering(b"SSH-2.0-x\r\n") as other:
        assert "does not speak HTTP" in faults(replace(config, public_url=other), places)
    with answering(b"HTTP/1.1 404 Not Found\r\n\r\n") as other:
        assert "answers 404" in faults(replace(config, public_url=other), places)
    with answering(OK, TOO_LARGE) as narrow:
        assert f"refuses a body of {config.max_body} bytes" in faults(replace(config, public_url=narrow), places)
    with answering(OK, b"HTTP/1.1 404 Not Found\r\n\r\n") as good:
        assert faults(replace(config, public_url=good), places) == ""
