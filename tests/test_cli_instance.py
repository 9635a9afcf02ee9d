"""init, check, ini and send: an instance made, checked, served by the real uWSGI, and sent to."""

import configparser
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from webspool.cli import COMMANDS, main
from webspool.config import load

BIN = Path(sys.executable).parent
START_SECONDS = 20.0


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what belongs to webspool or uWSGI, with the commands on PATH."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WEBSPOOL_", "UWSGI_", "FLASK_"))}
    return kept | {"PATH": f"{BIN}:{os.environ['PATH']}"} | more


def webspool(*arguments: str | Path, cwd: Path, body: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "webspool"), *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, input=body, env=environment(**more), capture_output=True, text=True, timeout=60
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def set_up(directory: Path, **settings: str) -> Path:
    made = webspool("init", directory, cwd=directory.parent)
    assert made.returncode == 0, made.stderr
    with open(directory / ".env", "a") as file:
        file.writelines(f"{key}={value}\n" for key, value in settings.items())
    return directory


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    """A fresh instance at a free port, its path with a space and letters beyond ASCII."""
    return set_up(
        tmp_path / "my 방",
        WEBSPOOL_BIND=f"127.0.0.1:{free_port()}",
        WEBSPOOL_WORKERS="1",
        WEBSPOOL_SPOOLERS="1",
    )


def bound(directory: Path) -> str:
    lines = (directory / ".env").read_text().splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith("WEBSPOOL_BIND="))


@dataclass
class Served:
    """A uWSGI that runs."""

    process: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        return self.log.read_text(errors="replace")


@contextmanager
def served(directory: Path, *, cwd: Path | None = None, until: Callable[[str], bool], **more: str) -> Iterator[Served]:
    """The real uWSGI on `directory`, once its log is as wanted; stopped at the end, by its process id."""
    log = directory / "uwsgi.log"
    with open(log, "wb") as file:
        command = [str(BIN / "uwsgi"), "--ini", str(directory / "uwsgi.ini")]
        process = subprocess.Popen(
            command, cwd=cwd or directory, env=environment(**more), stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    running = Served(process, log)
    try:
        wait_until(lambda: until(running.text()) or process.poll() is not None, running)
        yield running
    finally:
        stop(process)


def wait_until(fact: Callable[[], bool], running: Served) -> None:
    give_up = time.monotonic() + START_SECONDS
    while not fact():
        assert time.monotonic() < give_up, running.text()
        time.sleep(0.05)


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


def ready(workers: int = 1) -> Callable[[str], bool]:
    return lambda text: text.count("WSGI app 0 (mountpoint='') ready") >= workers and "keeper_started" in text


def start_and_fail(directory: Path, **more: str) -> tuple[int, str]:
    """The exit code and output of a uWSGI that must not start."""
    ended = subprocess.run(
        [str(BIN / "uwsgi"), "--ini", str(directory / "uwsgi.ini")],
        cwd=directory,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
    )
    return ended.returncode, ended.stdout.decode(errors="replace")


def get(directory: Path, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://{bound(directory)}{path}", timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


# ── which instance ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_instance_is_named_on_stderr_and_found_in_order(instance, tmp_path):
    """--instance, else WEBSPOOL_INSTANCE, else the current directory if it holds uwsgi.ini."""
    other = set_up(tmp_path / "other")
    assert f"instance: {instance}\n" in webspool("check", cwd=instance).stderr
    assert f"instance: {other}\n" in webspool("check", cwd=instance, WEBSPOOL_INSTANCE=str(other)).stderr
    told = webspool("--instance", instance, "check", cwd=tmp_path, WEBSPOOL_INSTANCE=str(other))
    assert f"instance: {instance}\n" in told.stderr


@pytest.mark.skipif(Path("/etc/webspool/instance").exists(), reason="this machine has an instance of its own")
def test_without_an_instance_a_command_says_what_to_type(tmp_path):
    """A wrong use ends with 2 and without a traceback."""
    told = webspool("check", cwd=tmp_path)
    assert told.returncode == 2
    assert "webspool init DIR" in told.stderr
    assert webspool("nonsense", cwd=tmp_path).returncode == 2
    assert webspool("check", cwd=tmp_path, WEBSPOOL_INSTANCE="/nothere").returncode == 2


def test_every_command_of_the_table_can_be_called(tmp_path):
    """The table of commands names what is there."""
    assert webspool("--help", cwd=tmp_path).returncode == 0
    for name in COMMANDS:
        assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0, name


# ── init ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_init_writes_an_instance_without_faults(tmp_path):
    """What init writes passes its own check, and says what to type next."""
    told = webspool("init", "new", cwd=tmp_path)
    assert told.returncode == 0
    assert "uwsgi --ini uwsgi.ini" in told.stdout
    directory = tmp_path / "new"
    assert (directory / ".env").stat().st_mode & 0o777 == 0o600
    assert (directory / "my_spools").stat().st_mode & 0o777 == 0o700
    assert {path.name for path in directory.iterdir()} >= {"app.py", "tasks.py", "uwsgi.ini", ".gitignore"}
    checked = webspool("check", cwd=directory)
    assert (checked.returncode, checked.stdout) == (0, "webspool: configuration ok (2 sources, 3 tasks)\n")


def test_init_says_the_path_where_the_environment_is_not_activated(tmp_path):
    """Typed by its whole path, it names the one line without which `uwsgi` is not found, nor `webspool` by it."""
    told = webspool("init", "new", cwd=tmp_path, PATH="/usr/bin:/bin")
    assert f'cd {tmp_path / "new"}\n  export PATH="{BIN}:$PATH"\n  uwsgi --ini uwsgi.ini\n' in told.stdout
    assert "export" not in webspool("init", "other", cwd=tmp_path).stdout


def test_init_overwrites_nothing_and_names_what_is_in_the_way(tmp_path):
    """Either a whole instance is written, or nothing."""
    (tmp_path / "tasks.py").write_text("mine")
    told = webspool("init", tmp_path, cwd=tmp_path)
    assert told.returncode == 1
    assert "tasks.py" in told.stderr
    assert "app.py" not in told.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["tasks.py"]
    assert (tmp_path / "tasks.py").read_text() == "mine"


def test_first_steps_shows_the_key_once(tmp_path):
    """The first ./run prints the key; later ones a curl that reads it from .env."""
    directory = set_up(tmp_path / "i")
    (directory / ".env").unlink()
    first = webspool("first-steps", cwd=directory).stdout
    password = load(directory, {}).password
    assert f"/dashboard/   password: {password}" in first
    key = next(line for line in (directory / ".env").read_text().splitlines() if "WEBHOOK_KEY" in line).partition("=")[
        2
    ]
    assert f"/webhook/{key}" in first
    again = webspool("first-steps", cwd=directory).stdout
    assert "/dashboard/" in again
    assert str(password) not in again
    assert key not in again
    assert "/webhook/$(sed" in again


# ── check ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_check_tells_every_fault_of_the_code(instance):
    """Sources, secrets and uwsgi.ini are all looked at before the exit."""
    env = [line for line in (instance / ".env").read_text().splitlines() if "GITHUB_SECRET" not in line]
    (instance / ".env").write_text("\n".join(env) + "\n")
    with open(instance / "app.py", "a") as file:
        file.write('\nhooks.add(Source("bare", verify="github", secrets=["hunter2"], on={"*": print}))\n')
    with open(instance / "uwsgi.ini", "a") as file:
        file.write("env = WEBSPOOL_WORKERS=9\n")
    told = webspool("check", cwd=instance)
    assert told.returncode == 1
    for expected in ("GITHUB_SECRET", "source bare", "not a task", "WEBSPOOL_WORKERS with env ="):
        assert expected in told.stderr
    assert "hunter2" not in told.stderr
    assert told.stdout == ""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import nothere\n", "ModuleNotFoundError: No module named 'nothere' (app.py, line 1)"),
        ("def broken(:\n", "SyntaxError"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("from flask import Flask\napp = Flask(__name__)\n", "add Webspool(app)"),
        ("app = 1\n", "no Flask application"),
        ("other = 1\n", "AttributeError"),
    ],
)
def test_an_app_that_cannot_be_imported_is_a_fault(instance, code, expected):
    """The fault names exception, file and line; our own frames are left out of the traceback."""
    (instance / "app.py").write_text(code)
    told = webspool("check", cwd=instance)
    assert told.returncode == 1
    assert expected in told.stderr
    assert "loading.py" not in told.stderr


def test_a_thread_of_the_app_does_not_hold_the_check(instance):
    """uWSGI waits for the check; an app that starts a thread at import must not stop it for ever."""
    with open(instance / "app.py", "a") as file:
        file.write("\nimport threading, time\nthreading.Thread(target=time.sleep, args=(300,)).start()\n")
    assert webspool("check", cwd=instance).returncode == 0


def test_an_app_that_imports_uwsgi_passes_the_check(instance):
    """The check runs outside uWSGI, where there is no module of that name."""
    with open(instance / "app.py", "a") as file:
        file.write("\nimport uwsgi\nuwsgi.register_signal(1, '', print)\n")
    assert webspool("check", cwd=instance).returncode == 0


def test_check_reads_conditions_and_tells_what_goes_by_addresses(instance):
    """A condition that cannot be read is a fault; a list of addresses without a word on proxies only a note."""
    add = "\nfrom webspool import when\n"
    add += 'hooks.add(Source("fenced", verify="none", allow=["192.0.2.0/24"], on={"*": %s}))\n'
    app = (instance / "app.py").read_text()
    (instance / "app.py").write_text(app + add % "when('n == `1`', tasks.deploy)")
    told = webspool("check", "--verbose", cwd=instance)
    assert (told.returncode, "tasks deploy" in told.stdout) == (0, True)
    assert "note: allow= of the source fenced: goes by the connection's address" in told.stdout
    assert "note:" not in webspool("check", cwd=instance, WEBSPOOL_TRUSTED_PROXIES="1").stdout
    (instance / "app.py").write_text(app + add % "when('n == ', tasks.deploy)")
    told = webspool("check", cwd=instance)
    assert (told.returncode, "character 6 on: it ends too soon" in told.stderr) == (1, True)


def test_a_verbose_check_describes_the_sources_without_secrets(instance):
    """The key in a path is never printed."""
    told = webspool("check", "--verbose", cwd=instance).stdout
    assert "source webhook: /webhook/<key>, verify key, 1 secret found, tasks auto" in told
    assert "source github: /hooks/github, verify github, 1 secret found, tasks deploy" in told


def test_an_application_factory_is_checked_and_served(instance):
    """WEBSPOOL_APP may name a factory, with () behind it."""
    (instance / "site.py").unlink(missing_ok=True)
    (instance / "factory.py").write_text(
        "from flask import Flask\nfrom webspool import Webspool\n\nhooks = Webspool()\n\n\n"
        "def create_app():\n    app = Flask(__name__)\n    hooks.init_app(app)\n"
        "    app.add_url_rule('/made', view_func=lambda: 'made')\n    return app\n"
    )
    with open(instance / ".env", "a") as file:
        file.write("WEBSPOOL_APP=factory:create_app()\n")
    assert webspool("check", cwd=instance).returncode == 0
    with served(instance, until=ready()):
        assert get(instance, "/made") == (200, b"made")


# ── ini ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_ini_prints_what_uwsgi_reads(instance):
    """Numbers and paths come from the configuration; nothing in it is a secret."""
    told = webspool("ini", cwd=instance)
    parsed = configparser.ConfigParser(interpolation=None, strict=False)
    parsed.read_string(told.stdout)
    options = dict(parsed["uwsgi"])
    assert options["http-socket"] == bound(instance)
    assert (options["processes"], options["spooler-processes"]) == ("1", "1")
    assert options["spooler"] == str(instance / "my_spools")
    assert options["hook-master-start"] == "unix_signal:15 gracefully_kill_them_all"
    assert not {"need-app", "die-on-term", "harakiri"} & options.keys()
    for line in (instance / ".env").read_text().splitlines():
        if "SECRET" in line or "KEY" in line.partition("=")[0]:
            assert line.partition("=")[2] not in told.stdout


def test_ini_imports_neither_flask_nor_the_app(instance):
    """uWSGI waits for it at every start."""
    (instance / "app.py").write_text("raise SystemExit('imported')\n")
    told = subprocess.run(
        [sys.executable, "-X", "importtime", str(BIN / "webspool"), "ini"],
        cwd=instance,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
    )
    imported = {line.rpartition("|")[2].strip() for line in told.stderr.splitlines()}
    assert told.returncode == 0
    assert "webspool.config" in imported
    assert not imported & {"flask", "werkzeug", "cryptography", "app"}


def test_ini_of_a_broken_configuration_fails_in_a_terminal(instance):
    """By hand: the faults and exit code 1."""
    told = webspool("ini", cwd=instance, WEBSPOOL_WORKERS="x")
    assert (told.returncode, told.stdout) == (1, "")
    assert "WEBSPOOL_WORKERS" in told.stderr


# ── the real uWSGI ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_uwsgi_serves_a_fresh_instance_from_any_directory(instance, tmp_path):
    """The instance is the folder of uwsgi.ini, whatever the working directory and WEBSPOOL_INSTANCE say."""
    other = set_up(tmp_path / "other")
    with served(instance, cwd=Path("/"), until=ready(), WEBSPOOL_INSTANCE=str(other)):
        assert get(instance, "/healthz")[0] == 200
        sent = webspool(
            "send", "github", "--event", "push", "--file", "-", cwd=instance, body='{"after": "나의 비밀 방"}'
        )
        assert sent.returncode == 0, sent.stderr
        assert json.loads(sent.stdout)["status"] == "accepted"
        assert len(json.loads(sent.stdout)["jobs"]) == 1
        first = webspool("send", "github", "--event-id", "one", "--event", "push", cwd=instance)
        again = webspool("send", "github", "--event-id", "one", "--event", "push", cwd=instance)
        assert json.loads(first.stdout)["delivery"] == json.loads(again.stdout)["delivery"]
        assert json.loads(webspool("send", "webhook", cwd=instance).stdout)["status"] == "accepted"
        unknown = webspool("send", "nope", cwd=instance)
        assert unknown.returncode == 1
        assert "github, webhook" in unknown.stderr
    assert (instance / "var/ledger.db").exists()
    assert not (other / "var").exists()


def test_send_without_an_instance_says_so(instance):
    """Nothing listens: exit code 1, no traceback."""
    told = webspool("send", "github", "--event", "push", cwd=instance)
    assert told.returncode == 1
    assert "Nothing answers" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_broken_configuration_stops_uwsgi_with_each_fault_told_once(instance):
    """uWSGI reads exec:// before exec-asap and ignores its exit code; the faults come from the check alone."""
    code, text = start_and_fail(instance, WEBSPOOL_SPOOLERS="x", WEBSPOOL_WORKER="2")
    assert code != 0
    assert text.count("WEBSPOOL_SPOOLERS is 'x'") == 1
    assert text.count("did you mean WEBSPOOL_WORKERS?") == 1
    assert "spawned" not in text


def test_a_broken_configuration_stops_uwsgi_even_without_the_check_line(instance):
    """A line lost from uwsgi.ini must not start half an instance."""
    (instance / "uwsgi.ini").write_text('[uwsgi]\nini = exec://webspool --instance "%d" ini\n')
    code, text = start_and_fail(instance, WEBSPOOL_SPOOLERS="x")
    assert code != 0
    assert text.count("WEBSPOOL_SPOOLERS is 'x'") == 1


def test_a_bind_that_is_not_set_listens_at_the_default_and_never_at_a_literal_name(instance):
    """uWSGI binds a unix socket named "$(WEBSPOOL_BIND)" when the variable of such a line is unset."""
    env = [line for line in (instance / ".env").read_text().splitlines() if "WEBSPOOL_BIND" not in line]
    (instance / ".env").write_text("\n".join(env) + "\n")
    assert "http-socket = 127.0.0.1:8000\n" in webspool("ini", cwd=instance).stdout
    code, text = start_and_fail(instance, WEBSPOOL_BIND="$(WEBSPOOL_BIND)")
    assert code != 0
    assert "WEBSPOOL_BIND" in text
    assert not [path for path in instance.rglob("*") if path.is_socket()]


def test_debug_stops_uwsgi(instance):
    """The debugger would run anybody's code."""
    code, text = start_and_fail(instance, FLASK_DEBUG="1")
    assert code != 0
    assert text.count("has debug on") == 1


def test_a_port_in_use_is_told_with_what_to_type(instance):
    """The message names the port and another to try."""
    host, _, port = bound(instance).rpartition(":")
    with socket.create_server((host, int(port))):
        code, text = start_and_fail(instance)
    assert code != 0
    assert f"port {port} is in use" in text
    assert f"WEBSPOOL_BIND=127.0.0.1:{int(port) + 1}" in text


def test_a_second_start_names_the_first(instance):
    """Two instances on one ledger would run jobs twice."""
    with served(instance, until=ready()) as first:
        code, text = start_and_fail(instance, WEBSPOOL_BIND=f"127.0.0.1:{free_port()}")
        assert code != 0
        assert f"process {first.process.pid}" in text
        assert get(instance, "/healthz")[0] == 200


def test_lines_below_win(instance):
    """uwsgi.ini has the last word over what `webspool ini` prints."""
    with open(instance / "uwsgi.ini", "a") as file:
        file.write("processes = 2\n")
    with served(instance, until=ready(workers=2)) as running:
        assert "spawned uWSGI worker 2" in running.text()
        assert "spawned uWSGI worker 3" not in running.text()


def test_a_wiped_spool_directory_is_made_again_at_the_start(instance):
    """Without it uWSGI ends before any check runs."""
    (instance / "my_spools/.gitkeep").unlink()
    (instance / "my_spools").rmdir()
    with served(instance, until=ready()):
        assert (instance / "my_spools").stat().st_mode & 0o777 == 0o700


def test_a_full_reload_keeps_the_environment_it_was_started_in(instance):
    """The wheel's uWSGI would reload with the bare interpreter, which does not know its own module."""
    with served(instance, until=ready()) as running:
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: ready(workers=2)(running.text()), running)
        assert running.process.poll() is None
        assert get(instance, "/healthz")[0] == 200


def test_sigterm_ends_the_instance_with_exit_code_0(instance):
    """Bare uWSGI takes SIGTERM as a brutal reload."""
    with served(instance, until=ready()) as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(15) == 0
        assert "goodbye to uWSGI" in running.text()


@pytest.mark.parametrize("code", ["def broken(:\n", "raise SystemExit(1)\n"])
def test_a_worker_that_cannot_import_the_app_answers_503_and_says_so(instance, code):
    """A half-written app.py takes no instance down, and a sender tries again."""
    (instance / "uwsgi.ini").write_text('[uwsgi]\nini = exec://webspool --instance "%d" ini\n')
    (instance / "app.py").write_text(code)
    with served(instance, until=ready()) as running:
        status, body = get(instance, "/")
        assert status == 503
        assert json.loads(body)["cause"] == "app_unavailable"
        assert running.text().count("app_unavailable") == 1


def test_a_unix_socket_is_served_and_sent_to(instance):
    """Behind a proxy on this machine no port is needed."""
    env = (instance / ".env").read_text().replace(f"WEBSPOOL_BIND={bound(instance)}", "WEBSPOOL_BIND=./web.sock")
    (instance / ".env").write_text(env)
    with served(instance, until=ready()):
        sent = webspool("send", "github", "--event", "push", "--data", '{"after": "x"}', cwd=instance)
        assert sent.returncode == 0, sent.stderr
        assert start_and_fail(instance)[0] != 0
    assert not (instance / "web.sock").exists()
