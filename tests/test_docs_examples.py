"""The programs in the how-tos do what the pages say: each is written into an instance as it stands, loaded, and run."""

from __future__ import annotations

import http.server
import importlib
import re
import smtplib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from webspool.cli.making import write_instance
from webspool.config import load, make_env
from webspool.engines.inline import InlineEngine
from webspool.loading import load_app, stand_in_for_uwsgi
from webspool.task import registry
from webspool.testing import inline, signed_request

HOW_TO = Path(__file__).parents[1] / "docs" / "how-to"
SETTINGS = "GITHUB_SECRET=for-tests\nWEBSPOOL_WEBHOOK_KEY=for-tests-too\n"

Page = Callable[..., tuple[Any, InlineEngine]]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """Writes a page's files, named in the first line of each block, and loads the app into a test's engine."""
    modules, opened, tasks = set(sys.modules), [], dict(registry.tasks)
    registry.tasks.clear()

    def load_page(name: str, app: str = "app:app") -> tuple[Any, InlineEngine]:
        for file, text in re.findall(
            r"^```python\n# (\w+\.py)\n(.*?)^```", (HOW_TO / name).read_text(), re.MULTILINE | re.DOTALL
        ):
            (tmp_path / file).write_text(text)
        (tmp_path / ".env").write_text(f"{SETTINGS}WEBSPOOL_APP={app}\n")
        (tmp_path / "my_spools").mkdir()
        stand_in_for_uwsgi(tmp_path)
        loaded = load_app(load(tmp_path, {}))
        assert loaded.extensions["webspool"].faults() == []
        opened.append(inline(loaded))
        return loaded, opened[-1].__enter__()

    yield load_page
    for each in opened:
        each.__exit__(None, None, None)
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(tmp_path)):
            del sys.modules[name]
    registry.tasks.clear()
    registry.tasks.update(tasks)


def module(name: str) -> Any:
    return sys.modules[name]


def test_an_existing_app_with_a_factory(page: Page) -> None:
    """Blueprint, application context and the source that stands beside the factory."""
    app, jobs = page("existing-flask-app.md", "shop:create_app()")
    assert app.test_client().post("/orders/7/receipt").status_code == 202
    reply = app.test_client().open(**signed_request("github", {"after": "abc"}, event="push"))
    assert reply.status_code == 202
    told = {ran.task: ran for ran in jobs.run()}
    assert told["send_receipt"].output == "the shop at the corner: receipt for order 7\n"
    assert told["deploy"].output == "deploying abc\n"


def test_a_row_of_flask_sqlalchemy_is_there_for_the_task(page: Page, tmp_path: Path) -> None:
    """Each side has a session of its own."""
    app, jobs = page("existing-flask-app.md", "shop:create_app()")
    billing = importlib.import_module("billing")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/shop.db"
    billing.db.init_app(app)
    with app.app_context():
        billing.db.create_all()
        billing.db.session.add(billing.Order(id=7))
        billing.db.session.commit()
        billing.mark_paid.spool(order=7)
        (ran,) = jobs.run()
        assert ran.state == "succeeded", ran.traceback
        billing.db.session.expire_all()
        assert billing.db.session.get_one(billing.Order, 7).paid


def test_a_mail_by_flask_mail(page: Page) -> None:
    """Its task works in a fresh context; the library keeps what it would have sent."""
    app, jobs = page("existing-flask-app.md", "shop:create_app()")
    app.config.update(SENDER="shop@example.com", TESTING=True)
    mail_tasks = __import__("mail_tasks")
    mail_tasks.mail.init_app(app)
    with mail_tasks.mail.record_messages() as sent, app.app_context():
        mail_tasks.welcome.spool(address="a@example.com", name="Ada")
        (ran,) = jobs.run()
    assert ran.state == "succeeded", ran.traceback
    assert [message.subject for message in sent] == ["Welcome, Ada"]


class MailServer:
    """Stands for smtplib.SMTP: keeps what is sent, or refuses it."""

    sent: list[Any] = []  # noqa: RUF012
    refusal: Exception | None = None

    def __init__(self, *_: object, **__: object) -> None: ...

    def __enter__(self) -> MailServer:
        return self

    def __exit__(self, *_: object) -> None: ...

    def send_message(self, message: Any) -> None:
        if self.refusal:
            raise self.refusal
        self.sent.append(message)


def test_an_e_mail_has_one_message_id_in_all_attempts(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is down is tried again; an address that is refused for good ends the job at once."""
    monkeypatch.setattr(smtplib, "SMTP", MailServer)
    monkeypatch.setattr(MailServer, "sent", [])
    monkeypatch.setenv("MAIL_FROM", "shop@example.com")
    monkeypatch.setenv("MAIL_HOST", "localhost")
    app, jobs = page("send-an-email.md")
    app.test_client().post("/sign-up", data={"email": "a@example.com"})
    monkeypatch.setattr(MailServer, "refusal", smtplib.SMTPServerDisconnected("down"))
    assert [ran.state for ran in jobs.run()] == ["scheduled"]
    monkeypatch.setattr(MailServer, "refusal", None)
    jobs.advance(60)
    assert [ran.state for ran in jobs.run()] == ["succeeded"]
    (message,) = MailServer.sent
    assert message["Message-ID"].endswith("@example.com>")
    refused = smtplib.SMTPRecipientsRefused({"b@example.com": (550, b"no such user")})
    monkeypatch.setattr(MailServer, "refusal", refused)
    app.test_client().post("/sign-up", data={"email": "b@example.com"})
    (ran,) = jobs.run()
    assert (ran.state, ran.outcome) == ("dead", "discarded")
    assert "no such user" in ran.error


def test_thumbnails(page: Page) -> None:
    """An upload becomes two small pictures; what is no picture is dead at once."""
    image = importlib.import_module("PIL.Image")
    app, jobs = page("make-thumbnails.md")
    picture = BytesIO()
    image.new("RGB", (2000, 1000)).save(picture, "PNG")
    picture.seek(0)
    assert app.test_client().post("/pictures", data={"picture": (picture, "../../etc/passwd")}).status_code == 202
    (ran,) = jobs.run()
    assert ran.result == {"small": [160, 80], "large": [1024, 512]}
    assert len(list(Path("pictures").glob("*.jpg"))) == 2
    app.test_client().post("/pictures", data={"picture": (BytesIO(b"no picture"), "a.png")})
    assert [ran.state for ran in jobs.run()] == ["dead"]


class Ranges(http.server.BaseHTTPRequestHandler):
    """Serves one file, from where it is asked; the first connection breaks off in the middle."""

    whole = bytes(range(256)) * 20_000
    asked: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        given = self.headers.get("Range")
        self.asked.append(given)
        start = int(given.removeprefix("bytes=").rstrip("-")) if given else 0
        rest = self.whole[start:]
        self.send_response(206 if given else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest if given else rest[: len(rest) // 2])

    def log_message(self, *_: object) -> None: ...


def test_a_download_goes_on_where_it_was_cut_off(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second attempt asks for the rest only; the route takes no address of a stranger's choice."""
    app, jobs = page("long-download.md")
    wrong = {"url": "http://127.0.0.1/", "name": "x"}
    assert app.test_client().post("/downloads", json=wrong).status_code == 400
    monkeypatch.setattr(Ranges, "asked", [])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/file"
        with app.app_context():
            module("tasks").download.options(key="file").spool(url=url, name="file")
        assert [ran.state for ran in jobs.run()] == ["scheduled"]
        jobs.advance(30)
        (ran,) = jobs.run()
        server.shutdown()
    assert ran.result == len(Ranges.whole)
    assert Path("downloads/file").read_bytes() == Ranges.whole
    assert Ranges.asked == [None, f"bytes={len(Ranges.whole) // 2}-"]


def test_the_row_of_retry_on(page: Page, tmp_path: Path) -> None:
    """From Celery: what is not in retry_on ends at once, a poll waits uncharged, a chain is a spool at the end."""
    (tmp_path / "app.py").write_text("from flask import Flask\nfrom webspool import Webspool\nimport tasks\n")
    with open(tmp_path / "app.py", "a") as file:
        file.write("app = Flask(__name__)\nhooks = Webspool(app)\n")
    app, jobs = page("from-celery.md")
    tasks = module("tasks")
    with app.app_context():
        tasks.charge.spool(order=-1)
        assert [ran.state for ran in jobs.run()] == ["dead"]
        tasks.finished = lambda export: False
        tasks.poll.spool(export=1)
        assert [(ran.state, ran.outcome) for ran in jobs.run()] == [("scheduled", "snoozed")]
        tasks.first.spool(n=1)
        assert [(ran.task, ran.output) for ran in jobs.run()] == [("first", ""), ("second", "2\n")]


def test_the_hook_of_adnanh_webhook(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push to main runs the program with the commit as its argument; what is no commit never reaches it."""
    app, jobs = page("from-adnanh-webhook.md")
    ran: list[list[str]] = []
    monkeypatch.setattr(module("tasks").subprocess, "run", lambda words, **_: ran.append(words))

    def push(ref: str, after: str) -> str:
        app.test_client().open(**signed_request("redeploy", {"ref": ref, "after": after}, event="push"))
        return jobs.run()[0].state

    assert push("refs/heads/main", "a" * 40) == "succeeded"
    assert push("refs/heads/other", "b" * 40) == "succeeded"
    assert push("refs/heads/main", "$(reboot)") == "dead"
    assert ran == [["/srv/site/redeploy.sh", "a" * 40]]


def test_the_tests_of_a_users_own_tasks(tmp_path: Path) -> None:
    """The page's files, beside an instance as init writes it, pass under pytest."""
    found = re.findall(r"^```python\n(.*?)^```", (HOW_TO / "test-your-tasks.md").read_text(), re.MULTILINE | re.DOTALL)
    write_instance(tmp_path)
    make_env(tmp_path)
    with (tmp_path / "tasks.py").open("a") as tasks:
        tasks.write("\n\n@task\ndef report(month):\n    return month\n")
    (tmp_path / "conftest.py").write_text(found[0])
    (tmp_path / "test_deploy.py").write_text("import tasks\n" + "\n\n".join(found[1:]))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_deploy.py"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "4 passed" in told.stdout, told.stdout + told.stderr


def test_the_changed_import(page: Page) -> None:
    """uWSGI's decorators by ours: called as before."""
    app, jobs = page("from-uwsgidecorators.md")
    assert app.test_client().get("/resize/cat.png").status_code == 202
    assert [ran.output for ran in jobs.run()] == ["resizing cat.png 160\n"]
