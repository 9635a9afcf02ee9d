"""Alerts: what is worth waking somebody for, told once, in one message, also when the ledger cannot be read."""

from __future__ import annotations

import http.server
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import needs_uwsgi
from tests.instances import Instance
from webspool.alerts import Facts, conditions
from webspool.alerts.delivery import deliver, masked
from webspool.alerts.watch import Watch, message
from webspool.config import Config, load
from webspool.ledger.tallies import Tally
from webspool.records import Headers, WebhookRequest
from webspool.signatures import check
from webspool.telemetry import unheard

NOW = 1_800_000_000.0
WELL = Facts(now=NOW)


def keys(**found: Any) -> list[str]:
    return [alert.key for alert in conditions(replace(WELL, **found))]


# ── conditions ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_told_while_all_is_well() -> None:
    """Some failures, some refusals, a job that is due since a moment, a quiet night."""
    well = {"task:a": Tally(0, {"succeeded": 90, "failed": 10}), "source:s": Tally(0, {"accepted": 5, "refused": 9})}
    assert keys(quarter=well, oldest_queued_at=NOW - 5) == []
    assert keys(week={"source:s": Tally(0, {"accepted": 30})}, last_delivery_at={"s": NOW - 3 * 3600}) == []


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("dead", {"died": {"deploy": 2, "audit": 1}, "last_error": "RuntimeError: no"}),
        ("standing", {"oldest_queued_at": NOW - 100}),
        ("failing:a", {"quarter": {"task:a": Tally(0, {"succeeded": 9, "failed": 11})}}),
        (
            "refused:s",
            {"quarter": {"source:s": Tally(0, {"refused": 3})}, "day": {"source:s": Tally(0, {"accepted": 1})}},
        ),
        (
            "silent:s",
            {"week": {"source:s": Tally(0, {"accepted": 1000})}, "last_delivery_at": {"s": NOW - 2 * 3600}},
        ),
        ("ledger", {"unreadable": "it is not there"}),
    ],
)
def test_each_trouble_is_told_in_one_sentence(key: str, found: dict[str, Any]) -> None:
    """What, since when or how many, and what to type."""
    (alert,) = conditions(replace(WELL, **found))
    assert alert.key == key
    assert alert.sentence.endswith((".", "?"))
    assert any(letter.isdigit() for letter in alert.sentence) or key == "ledger"
    assert alert.command.startswith("webspool ")


def test_a_job_that_waits_behind_others_or_a_pause_is_no_trouble() -> None:
    """Something runs, or an operator wants it so."""
    assert keys(oldest_queued_at=NOW - 100, running=1) == []
    assert keys(oldest_queued_at=NOW - 100, paused=True) == []


def test_a_degraded_line_is_one_trouble_whatever_its_numbers() -> None:
    """`12 bytes are free` and `11 bytes are free` are not two."""
    first, second = (
        keys(degraded=["12 bytes are free"]),
        keys(degraded=["11 bytes are free"], unready=["11 bytes are free"]),
    )
    assert first == second
    assert len(first) == 1


# ── watching ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Watched:
    """A watch over a ledger that is there or not, a clock that goes when told, and the messages it sent."""

    def __init__(self, folder: Path) -> None:
        (folder / "var").mkdir()
        self.config = load(folder, {"WEBSPOOL_ALERT_URLS": "command:///bin/true", "WEBSPOOL_MIN_FREE_BYTES": "0"})
        self.now, self.sent = NOW, list[dict[str, Any]]()
        self.watch = self.begun()

    def begun(self) -> Watch:
        return Watch(self.config, unheard, self.sent.append, lambda: self.now)

    def look(self, *, after: float = 0.0) -> None:
        self.now += after
        self.watch.look_now()


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def break_ledger(config: Config) -> None:
    config.ledger_path.write_bytes(b"this is no database" * 100)


def test_a_storm_is_one_message_and_lasts_without_another(watched: Watched) -> None:
    """What comes within twenty seconds goes together; while it lasts it is told again after an hour."""
    break_ledger(watched.config)
    watched.look()
    watched.look(after=10)
    assert watched.sent == []
    watched.look(after=10)
    (first,) = watched.sent
    assert [alert["key"] for alert in first["alerts"]] == ["ledger"]
    for _ in range(20):
        watched.look(after=60)
    assert len(watched.sent) == 1
    watched.look(after=3600)
    watched.look(after=30)
    assert len(watched.sent) == 2


def test_an_alert_about_a_broken_ledger_does_not_need_the_ledger_and_its_end_is_told(watched: Watched) -> None:
    """Nor is it forgotten by a start in between."""
    break_ledger(watched.config)
    watched.look()
    watched.look(after=30)
    assert "cannot be read" in watched.sent[0]["text"]
    watched.watch = watched.begun()
    watched.look(after=60)
    assert len(watched.sent) == 1
    watched.config.ledger_path.unlink()
    watched.look(after=60)
    watched.look(after=60)
    assert any("cannot be read" in over for told in watched.sent[1:] for over in told["over"])


def test_what_is_over_before_it_was_told_is_not_told(watched: Watched) -> None:
    """A keeper that was replaced within seconds wakes nobody."""
    break_ledger(watched.config)
    watched.look()
    watched.config.ledger_path.unlink()
    watched.look(after=10)
    watched.look(after=60)
    assert all(alert["key"] != "ledger" for told in watched.sent for alert in told["alerts"])


def test_nobody_is_told_without_an_address(tmp_path: Path) -> None:
    """And nothing is looked at."""
    sent: list[dict[str, Any]] = []
    watch = Watch(load(tmp_path, {}), unheard, sent.append)
    watch.look()
    assert not (tmp_path / "var").exists()


# ── delivering ──────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def receiver(status: int) -> Iterator[tuple[str, list[WebhookRequest]]]:
    """Somebody's webhook endpoint, and what came."""
    came: list[WebhookRequest] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append(WebhookRequest("POST", self.path, Headers(self.headers.items()), body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}", came
        server.shutdown()


SECRET = "whsec_" + "c2VjcmV0" * 4


def told_of(config: Config) -> dict[str, Any]:
    return message(config, conditions(replace(WELL, died={"deploy": 2})))


def test_a_signed_webhook_is_one_by_our_own_rules(tmp_path: Path) -> None:
    """Standard Webhooks: whoever gets it checks it with any library, or with webspool."""
    with receiver(204) as (host, came):
        assert deliver([f"signed+http://{SECRET}@{host}/alerts"], told_of(load(tmp_path, {})))[0][1] is None
    assert check("standard-webhooks", [SECRET], came[0], time.time()).accepted
    assert json.loads(came[0].body)["alerts"][0]["key"] == "dead"


def test_a_command_gets_the_message_and_no_shell(tmp_path: Path) -> None:
    """The title as its argument, JSON on standard input; its exit code counts."""
    program = tmp_path / "tell me; rm -rf"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nopen({str(tmp_path / 'told')!r}, 'w').write(sys.argv[1] + sys.stdin.read())\n"
    )
    program.chmod(0o700)
    assert deliver([f"command://{program}"], told_of(load(tmp_path, {})))[0][1] is None
    assert "2 jobs have died: deploy (2)" in (tmp_path / "told").read_text()
    program.write_text("#!/bin/sh\nexit 3\n")
    assert "code 3" in str(deliver([f"command://{program}"], told_of(load(tmp_path, {})))[0][1])


def test_what_cannot_be_told_says_why_and_hides_the_secret(tmp_path: Path) -> None:
    """Nobody there, a refusal, a program that is not there, a service that nobody knows."""
    told = told_of(load(tmp_path, {}))
    with receiver(500) as (host, _):
        url = f"signed+http://{SECRET}@{host}/"
        assert "500" in str(deliver([url], told)[0][1])
    ((where, why),) = deliver([url], told)
    assert why
    assert SECRET not in where + why
    assert deliver(["command:///no/such/program"], told)[0][1]
    assert deliver(["nosuchservice://x/secret"], told)[0][1]
    assert masked("slack://a/b/c") == "slack://..."


def test_apprise_tells_the_services_that_it_knows(tmp_path: Path) -> None:
    """Its own JSON service stands for a hundred others."""
    pytest.importorskip("apprise")
    with receiver(200) as (host, came):
        assert deliver([f"json://{host}/"], told_of(load(tmp_path, {})))[0][1] is None
    assert "deploy (2)" in came[0].body.decode()


def test_a_dead_job_of_a_real_instance_is_told(tmp_path: Path) -> None:
    """From the task's end to the message, with the live process looking; `webspool alert test` goes the same way."""
    needs_uwsgi()
    program = tmp_path / "note"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nopen({str(tmp_path / 'told')!r}, 'a').write(sys.stdin.read() + '\\n')\n"
    )
    program.chmod(0o700)
    sooner = {"WEBSPOOL_ALERT_URLS": f"command://{program}"}
    with Instance(tmp_path / "instance", **sooner) as instance:
        tested = instance.command("alert", "test")
        assert (tested.returncode, "told" in tested.stdout) == (0, True)
        watch = Watch(instance.config, unheard, clock=lambda: time.time() + ahead)
        ahead = 0.0
        watch.look_now()
        instance.ended(instance.spool("discard"))
        instance.until(lambda: instance.status()["jobs"]["dead"] == 1)
        instance.until(lambda: told_by(watch))
        ahead = 30.0
        watch.look_now()
        instance.until(lambda: "1 job has died: discard (1)" in (tmp_path / "told").read_text())
    assert os.access(tmp_path / "told", os.R_OK)


def told_by(watch: Watch) -> bool:
    watch.look_now()
    return bool(watch.waiting)
