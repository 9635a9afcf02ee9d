"""Laws of secrets under uWSGI: whatever is sent and whatever goes wrong, nothing that an instance writes holds one."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.instances import BIN, Instance
from webspool.records import WebhookRequest
from webspool.signatures import sign

SECRETS = {
    "GITHUB_SECRET": "gh-9f2c7d41aa0b",
    "OLD_SECRET": "gh-old-51b6e07c33",
    "WEBSPOOL_WEBHOOK_KEY": "key-7Hx2+w+8=qZ",
    "TOKEN": "tok-c0ffee15c0ffee",
    "USER": "ann:pw-31415926535",
    "META_SECRET": "meta-2b81f0aa9d",
    "META_TOKEN": "verify-66d1c0de",
    "STANDARD": "whsec_" + base64.b64encode(b"standard-webhooks-secret").decode(),
    "WEBSPOOL_PASSWORD": "dash-9K2mlxq77",
    "WEBSPOOL_SECRET_KEY": "sessions-1c9d55ee8b2a4d01",
    "WEBSPOOL_METRICS_TOKEN": "metrics-77aa12cd",
}
APP = """
from flask import Flask
from webspool import Source, Webspool, task

@task(max_attempts=1)
def fails(delivery):
    raise RuntimeError(f"cannot do {delivery.id}")

app = Flask(__name__)
hooks = Webspool(app)
given = {"on": {"*": fails}}
hooks.add(Source("github", verify="github", secrets=["env:GITHUB_SECRET", "file:old_secret"], **given))
hooks.add(Source("keyed", path="/keyed/<key>", verify="key", secrets=["env:WEBSPOOL_WEBHOOK_KEY"], **given))
hooks.add(Source("bearer", verify="bearer", secrets=["env:TOKEN"], **given))
hooks.add(Source("gitlab", verify="gitlab", secrets=["env:TOKEN"], **given))
hooks.add(Source("basic", verify="basic", secrets=["env:USER"], **given))
hooks.add(Source("meta", verify="meta", secrets=["env:META_SECRET"], tokens=["env:META_TOKEN"], **given))
hooks.add(Source("standard", verify="standard-webhooks", secrets=["env:STANDARD"], **given))
hooks.add(Source("notion", verify="notion"))
"""
CAPTURED = "secret_tMrlL1qK5vuQAh1b6cZG"


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    made = Instance(tmp_path_factory.mktemp("secrets"), {"app.py": APP, "tasks.py": ""}, **SECRETS)
    (made.directory / "old_secret").write_text(SECRETS["OLD_SECRET"] + "\n")
    with made:
        yield made


def shapes(secret: str) -> set[bytes]:
    """How a secret may have been written down."""
    raw = secret.removeprefix("whsec_").encode()
    return {raw, quote(secret, safe="").encode(), base64.b64encode(secret.encode()), json.dumps(secret).encode()[1:-1]}


def send(instance: Instance, path: str, scheme: str, secret: str, wrong: bool, method: str = "POST") -> int:
    """As the sender would, or with a body that was changed on the way."""
    request = WebhookRequest(method, path, {"Content-Type": "application/json"}, b'{"a": 1}')
    signed = sign(scheme, secret, request)
    body = b'{"a": 1' if wrong else signed.body
    return instance.request(method, signed.url, body, dict(signed.headers.pairs)).status  # type: ignore[attr-defined]


def test_nothing_that_an_instance_writes_holds_a_secret(instance: Instance) -> None:
    """Log, ledger, bodies, output, happenings: after good and forged webhooks, questions, failures and commands."""
    ways = [
        ("/hooks/github", "github", SECRETS["GITHUB_SECRET"]),
        ("/hooks/github", "github", SECRETS["OLD_SECRET"]),
        ("/keyed/<key>", "key", SECRETS["WEBSPOOL_WEBHOOK_KEY"]),
        ("/hooks/bearer", "bearer", SECRETS["TOKEN"]),
        ("/hooks/gitlab", "gitlab", SECRETS["TOKEN"]),
        ("/hooks/basic", "basic", SECRETS["USER"]),
        ("/hooks/standard", "standard-webhooks", SECRETS["STANDARD"]),
        ("/hooks/meta", "meta", SECRETS["META_SECRET"]),
    ]
    for path, scheme, secret in ways:
        assert send(instance, path, scheme, secret, wrong=False) in (200, 202), path
        assert send(instance, path, scheme, secret, wrong=True) in (400, 401), path
        assert send(instance, path, scheme, secret, wrong=False, method="PUT") == 405
    key = quote(SECRETS["WEBSPOOL_WEBHOOK_KEY"], safe="")
    token = SECRETS["META_TOKEN"]
    for asked in (f"/nobody/{key}", f"/keyed/{key}/more", f"/nobody?key={key}", f"/keyed/wrong?key={key}"):
        instance.post(asked, b"{}", {"Authorization": f"Bearer {SECRETS['TOKEN']}", "Cookie": f"s={SECRETS['TOKEN']}"})
    for verify in (token, token + "1"):
        instance.get(f"/hooks/meta?hub.mode=subscribe&hub.verify_token={verify}&hub.challenge=<b>")
    assert instance.post("/hooks/notion", json.dumps({"verification_token": CAPTURED}).encode()).status == 200
    instance.until(lambda: instance.status()["jobs"]["dead"] == len(ways) + 1)  # the key in the query is believed too
    instance.until(lambda: instance.status()["deliveries"]["refused"] >= 2 * len(ways) + 3)
    for words in (["check", "-v"], ["failures"], ["deliveries", "--refused", "--json"], ["explain", refusal(instance)]):
        told = webspool(instance, *words)
        assert told.returncode == 0, told.stderr
        assert not leaks(told.stdout + told.stderr), words
    for path in written(instance):
        assert not leaks(path.read_bytes()), path
    assert SECRETS["TOKEN"] in (instance.directory / ".env").read_text()


def test_a_token_that_was_captured_is_shown_by_the_command_for_it_alone(instance: Instance) -> None:
    """A file of its owner's; neither log nor ledger."""
    assert CAPTURED.encode() in webspool(instance, "captured", "notion").stdout
    holding = [path for path in written(instance, captured=True) if CAPTURED.encode() in path.read_bytes()]
    assert [(path.name, path.stat().st_mode & 0o777) for path in holding] == [("notion", 0o600)]


def leaks(text: bytes) -> list[str]:
    """The secrets that a text holds."""
    return [name for name, secret in SECRETS.items() if any(shape in text for shape in shapes(secret))]


def written(instance: Instance, captured: bool = False) -> list[Path]:
    """Everything in the instance's folder but what was given to it."""
    given = {".env", "old_secret", "app.py", "tasks.py", "uwsgi.ini"}
    files = [path for path in instance.directory.rglob("*") if path.is_file()]
    return [path for path in files if path.name not in given and (captured or path.parent.name != "captured")]


def refusal(instance: Instance) -> str:
    """The newest webhook that was refused."""
    found = json.loads(webspool(instance, "deliveries", "--refused", "--json").stdout)
    return str(found[0]["id"])


def webspool(instance: Instance, *words: str) -> subprocess.CompletedProcess[bytes]:
    """A command as an operator types it."""
    return subprocess.run([BIN / "webspool", *words], cwd=instance.directory, capture_output=True, check=False)
