"""The units that `webspool init --systemd` writes, under a real systemd."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conditions import wait_until
from tests.instances import free_port
from tests.systemd_house import Systemd, needs_systemd
from webspool.cli.server_files import HIDDEN_FROM_A_SERVICE

pytest.importorskip("pyuwsgi")

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
MOST_EXPOSED = 15  # tenths, as systemd-analyze counts them
KEY = "k" * 32

APP = """
from flask import Flask
from webspool import Source, Webspool
import tasks

app = Flask(__name__)
hooks = Webspool(app)
hooks.add(Source("door", verify="key", path="/webhook/<key>", secrets=["credential:door"], on={"*": tasks.tell}))
"""
TASKS = """
import os
from pathlib import Path
from webspool import task

VERSION = 1


def what_fails(act):
    try:
        act()
    except OSError as fault:
        return type(fault).__name__
    return None


@task(max_attempts=2)
def tell(delivery):
    Path("var/mine").write_text("tasks may write here")
    (Path.home() / "mine").write_text("and here")
    return {
        "version": VERSION,
        "user": os.geteuid(),
        "code": what_fails(lambda: Path("tasks.py").write_text("")),
        "etc": what_fails(lambda: Path("/etc/mine").write_text("")),
        "mount": what_fails(lambda: os.unshare(os.CLONE_NEWUSER)) if hasattr(os, "unshare") else "PermissionError",
    }
"""


class Served:
    """An instance in /srv/hooks under its units."""

    def __init__(self, systemd: Systemd) -> None:
        self.systemd, self.port = systemd, free_port()
        self.directory = "/srv/hooks"

    def prepare(self) -> None:
        webspool = BIN / "webspool"
        self.systemd.sh(
            f"""
            umask 022
            {webspool} init {self.directory} > /dev/null
            cd {self.directory}
            printf 'WEBSPOOL_BIND=127.0.0.1:{self.port}\\nWEBSPOOL_WORKERS=2\\nWEBSPOOL_SPOOLERS=2\\n' >> .env
            {webspool} init {self.directory} --systemd > commands
            mkdir -p /etc/systemd/system/webspool.service.d /srv/secrets
            printf '{KEY}' > /srv/secrets/door && chmod 600 /srv/secrets/door
            printf '[Service]\\nLoadCredential=door:/srv/secrets/door\\n' > here.conf
            printf 'StandardOutput=append:/srv/service.log\\nStandardError=inherit\\n' >> here.conf
            mv here.conf /etc/systemd/system/webspool.service.d/
            """
        )
        self.systemd.path(f"{self.directory}/app.py").write_text(APP)
        self.systemd.path(f"{self.directory}/tasks.py").write_text(TASKS)
        typed = self.systemd.path(f"{self.directory}/commands").read_text().partition("As root type:\n")[2]
        lines = [line.strip() for line in typed.splitlines() if "useradd" not in line and "/etc/webspool" not in line]
        assert len(lines) == 3
        self.type(*lines)

    def type(self, *commands: str) -> None:
        """Type commands as root; what the service had to say is shown when one fails."""
        told = self.systemd.run("sh", "-euc", "\n".join(commands))
        assert told.returncode == 0, told.stderr + self.systemd.path("/srv/service.log").read_text()[-3000:]

    def send(self) -> tuple[int, dict[str, object]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", f"/webhook/{KEY}", b"{}", {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def answers(self) -> bool:
        """Whether a webhook is accepted now; one that a dying worker had taken is not answered, and sent again."""
        try:
            return self.send()[0] == 202
        except (OSError, http.client.HTTPException):
            return False

    def job(self, job: str) -> dict[str, object]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", f"/jobs/{job}")
            return json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException):
            return {"state": "unknown"}

    def result(self) -> dict[str, object]:
        """What the task returned for a webhook sent now."""
        status, answer = self.send()
        assert status == 202, answer
        (job,) = answer["jobs"]
        wait_until(lambda: self.job(job)["state"] == "succeeded", 20)
        return self.job(job)["result"]

    def show(self, what: str) -> str:
        return self.systemd.run("systemctl", "show", "--value", "-p", what, "webspool.service").stdout.strip()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One instance for all laws, started by the very commands that init prints."""
    needs_systemd()
    if any(BIN.is_relative_to(folder) for folder in HIDDEN_FROM_A_SERVICE):
        pytest.skip(f"a service does not see this environment: {BIN}")
    with Systemd(tmp_path_factory.mktemp("systemd")) as systemd:
        instance = Served(systemd)
        instance.prepare()
        yield instance
        systemd.run("systemctl", "stop", "webspool.socket", "webspool.service")


def test_started_means_that_it_serves(served: Served) -> None:
    """systemctl start comes back once a worker answers; tasks run as the unit's user, the secret is a credential."""
    assert served.show("ActiveState") == "active"
    assert served.show("StatusText") == "serving"
    assert served.result()["user"] == 64321


def test_only_what_is_meant_can_be_written(served: Served) -> None:
    """Neither its own code nor the system, and no namespaces; var/ and its home it can."""
    found = served.result()
    assert (found["code"], found["etc"], found["mount"]) == ("OSError", "OSError", "PermissionError")
    assert served.systemd.path("/srv/hooks/var/mine").read_text()
    assert served.systemd.path("/var/lib/webspool/mine").read_text()


def test_a_restart_refuses_no_connection(served: Served) -> None:
    """The socket is systemd's: who comes meanwhile waits, and is answered 202."""
    before, answers, over = served.show("MainPID"), [], threading.Event()

    def send() -> None:
        while not over.is_set():
            answers.append(served.send()[0])

    senders = [threading.Thread(target=send) for _ in range(2)]
    for sender in senders:
        sender.start()
    try:
        wait_until(lambda: len(answers) > 10)
        served.type("systemctl restart webspool.service")
        until = len(answers) + 10
        wait_until(lambda: len(answers) > until)
    finally:
        over.set()
        for sender in senders:
            sender.join()
    assert set(answers) == {202}
    assert served.show("MainPID") != before


def test_a_reload_brings_new_code_in_the_same_master(served: Served) -> None:
    """ExecReload is webspool reload: it works under all the unit's restrictions."""
    before, path = served.show("MainPID"), served.systemd.path("/srv/hooks/tasks.py")
    path.write_text(TASKS.replace("VERSION = 1", "VERSION = 2"))
    served.type("systemctl reload webspool.service")
    assert served.result()["version"] == 2
    path.write_text("def broken(:\n")
    assert served.systemd.run("systemctl", "reload", "webspool.service").returncode != 0
    assert served.result()["version"] == 2
    path.write_text(TASKS)
    assert served.show("MainPID") == before


def test_a_killed_master_is_back_by_itself(served: Served) -> None:
    """Restart=always; who comes meanwhile waits in the socket."""
    before = served.show("MainPID")
    served.systemd.run("kill", "-KILL", before)
    wait_until(lambda: served.show("MainPID") not in (before, "0"), 60)  # until then an orphaned worker may take it
    wait_until(served.answers, 30)
    assert served.result()["user"] == 64321


def test_a_stop_leaves_nothing_running(served: Served) -> None:
    """Drained first, then ended; nothing is left of its control group."""
    served.type("systemctl stop webspool.socket webspool.service")
    assert served.show("ActiveState") == "inactive"
    assert served.show("Result") == "success"
    assert not served.systemd.run("pgrep", "-u", "64321").stdout


def test_the_unit_is_little_exposed(tmp_path: Path) -> None:
    """systemd's own count of what a unit may do, of 10.0: at most 1.5."""
    if shutil.which("systemd-analyze") is None:
        assert os.environ.get("CI") != "true", "systemd-analyze is missing"
        pytest.skip("systemd-analyze is missing")
    unit = shutil.copy(ROOT / "deploy" / "webspool.service", tmp_path)
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager", unit]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout
