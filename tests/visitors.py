"""Who visits a dashboard in tests: a browser that logs in and sends forms with the word that the page has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.furnished import Furnished
from webspool import Source, Webspool, task
from webspool.ledger import reading
from webspool.ledger.output import Piece, write_directly
from webspool.task import registry

PASSWORD = "of-the-night-shift"
SETTINGS = {"WEBSPOOL_SECRET_KEY": "s" * 48, "WEBSPOOL_PASSWORD": PASSWORD}


class Visitor:
    """A browser before one instance's dashboard."""

    def __init__(self, app: Flask, base: str = "http://localhost") -> None:
        self.client = app.test_client()
        self.base = base
        self.csrf = ""

    def get(self, path: str = "/", **more: Any) -> TestResponse:
        return self.client.get(f"/dashboard{path}", base_url=self.base, **more)

    def page(self, path: str = "/", **more: Any) -> str:
        """The text of a page that is shown."""
        answer = self.get(path, **more)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return answer.text

    def post(self, path: str, data: Any = None, *, csrf: str | None = None, **more: Any) -> TestResponse:
        fields = dict(data or {}) | {"csrf": self.csrf if csrf is None else csrf}
        return self.client.post(f"/dashboard{path}", data=fields, base_url=self.base, **more)

    def log_in(self, password: str = PASSWORD, name: str = "operator", **more: Any) -> TestResponse:
        answer = self.post("/login", {"name": name, "password": password, **more})
        if answer.status_code == 303:
            found = re.search(r'name="csrf" value="([0-9a-f]{64})"', self.page("/"))
            assert found is not None
            self.csrf = found[1]
        return answer

    def told(self, answer: TestResponse) -> str:
        """What an action's redirect shows."""
        assert answer.status_code == 303, (answer.status_code, answer.text)
        page = self.client.get(answer.headers["Location"], base_url=self.base).text
        found = re.search(r'role="status">.*?<span>(.*?)</span>', page, re.DOTALL)
        assert found is not None, page
        return found[1]


class Visited(Furnished):
    """A furnished instance with an app of its user's, whose dashboard can be visited."""

    def __init__(self, directory: Path, **settings: str) -> None:
        given = SETTINGS | settings
        directory.mkdir(exist_ok=True)
        (directory / ".env").write_text("".join(f"{name}={value}\n" for name, value in given.items() if value))
        super().__init__(directory)
        self.app = Flask("users", root_path=str(directory))
        self.hooks = Webspool(self.app)
        self.hooks.add(Source("github", verify="github", secrets=["literal:s"], on={"push": deploy, "*": audit}))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Any SQL on the ledger."""
        connection = apsw.Connection(str(self.config.ledger_path))
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def state(self, job: str) -> str:
        return str(reading.job(self.config, job)["state"])

    def print(self, attempt: str, number: int, data: bytes) -> None:
        """A piece of an attempt's output."""
        write_directly(self.config.output_path, [Piece(attempt, number, 1, 0.0, data)])

    def visitor(self, base: str = "http://localhost") -> Visitor:
        return Visitor(self.app, base)

    def operator(self) -> Visitor:
        visitor = self.visitor()
        assert visitor.log_in().status_code == 303
        return visitor


@task
def deploy(delivery: Any) -> None: ...


@task
def audit(delivery: Any) -> None: ...


registry.tasks.pop("deploy")
registry.tasks.pop("audit")


@pytest.fixture
def visited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visited]:
    monkeypatch.setenv("WEBSPOOL_INSTANCE", str(tmp_path))
    bound = registry.instance
    yield Visited(tmp_path)
    registry.instance = bound
