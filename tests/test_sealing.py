"""Encryption at rest: what a source wants encrypted lies nowhere readable, and is there for its task and operator."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import needs_uwsgi
from tests.instances import SECRET, Instance, signed_headers
from webspool.config import load
from webspool.errors import BodySealed, ConfigurationError
from webspool.sealing import MARK, PLAIN, SEALED, Keyring, plain

OLD, NEW = b"o" * 32, b"n" * 32
SECRET_ROOM = "나의 비밀 방"
APP = """
from flask import Flask
from webspool import Source, Webspool
import tasks

app = Flask(__name__)
hooks = Webspool(app)
github = {"verify": "github", "secrets": ["env:GITHUB_SECRET"]}
hooks.add(Source("sealed", encrypt=True, on={"*": tasks.tell}, **github))
hooks.add(Source("open", on={"*": tasks.tell}, **github))
"""
TASKS = """
from webspool import task

@task
def tell(delivery):
    return [len(delivery.body), delivery.data["room"]]
"""


def text_of(*keys: bytes) -> str:
    return " ".join(base64.b64encode(key).decode() for key in keys)


# ── the ring ────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.binary(max_size=300))
def test_a_body_comes_back_and_cannot_be_read_before(body: bytes) -> None:
    """Every body, with the same key or with one behind it; never the same bytes twice."""
    stored = Keyring([OLD]).seal(body, "d_1")
    assert Keyring([NEW, OLD]).unseal(stored, "d_1") == body
    assert stored.startswith(SEALED)
    assert len(body) < 8 or body not in stored.removeprefix(SEALED)
    assert Keyring([OLD]).seal(body, "d_1") != stored


def test_a_body_of_another_record_or_key_or_changed_is_not_opened() -> None:
    """Nobody moves a body to another delivery, or turns a bit of it."""
    stored = Keyring([OLD]).seal(b"body", "d_1")
    for ring, sealed, id in [
        (Keyring([OLD]), stored, "d_2"),
        (Keyring([NEW]), stored, "d_1"),
        (Keyring(), stored, "d_1"),
        (Keyring([OLD]), stored[:-1] + bytes([stored[-1] ^ 1]), "d_1"),
        (Keyring([OLD]), SEALED, "d_1"),
    ]:
        with pytest.raises(BodySealed):
            ring.unseal(sealed, id)


@given(st.binary(max_size=40), st.sampled_from([b"", MARK, SEALED, PLAIN]))
def test_a_sender_who_writes_our_mark_is_given_back_what_was_written(body: bytes, mark: bytes) -> None:
    """With and without keys: a body that is not to be encrypted is what it is."""
    assert Keyring().unseal(plain(mark + body), "d_1") == mark + body
    assert Keyring([OLD]).unseal(plain(mark + body), "d_1") == mark + body


@pytest.mark.parametrize("given_key", ["x", "x" * 43 + "!", text_of(b"short"), text_of(OLD) + " x"])
def test_a_bad_key_is_refused_at_start_and_not_shown(tmp_path: Path, given_key: str) -> None:
    """With the line that makes a good one."""
    with pytest.raises(ConfigurationError) as refused:
        load(tmp_path, {"WEBSPOOL_ENCRYPTION_KEY": given_key})
    assert "os.urandom(32)" in str(refused.value)
    assert given_key not in str(refused.value)


# ── a real instance ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance with a key, one source that encrypts and one that does not."""
    needs_uwsgi()
    code = {"app.py": APP, "tasks.py": TASKS}
    with Instance(tmp_path_factory.mktemp("sealed"), code, WEBSPOOL_ENCRYPTION_KEY=text_of(OLD)) as instance:
        yield instance


def sent(instance: Instance, source: str, secret: str = SECRET, more: int = 0) -> Any:
    body = json.dumps({"room": SECRET_ROOM, "more": "x" * more}, ensure_ascii=False).encode()
    return instance.post(f"/hooks/{source}", body, signed_headers(body, event="push", secret=secret))


def on_disk(instance: Instance) -> bytes:
    """All that the instance has written below var/, its log flushed into the files."""
    connection = apsw.Connection(str(instance.config.ledger_path))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    var = instance.config.var
    return b"".join(path.read_bytes() for path in [*var.glob("ledger.db*"), *var.glob("bodies/*")])


@pytest.mark.parametrize("more", [0, 200_000], ids=["in the ledger", "in a file"])
def test_the_task_and_the_operator_read_it_and_the_disk_does_not(sealed: Instance, more: int) -> None:
    """Small ones lie in the ledger, large ones in files."""
    reply = sent(sealed, "sealed", more=more)
    assert sealed.ended(reply.json["jobs"][0])["result"][1] == SECRET_ROOM
    delivery = reply.json["delivery"]
    shown = sealed.command("delivery", delivery, "--raw").stdout
    assert SECRET_ROOM in shown
    assert SECRET_ROOM.encode() not in on_disk(sealed)
    again = json.loads(sealed.command("replay", delivery, "--yes", "--json").stdout)
    (job,) = [each["id"] for each in again[0]["jobs"]]
    assert sealed.ended(job)["result"][1] == SECRET_ROOM


def test_a_refused_one_is_kept_encrypted_too_and_can_be_replayed(sealed: Instance) -> None:
    """Refusals hold the same data."""
    assert sent(sealed, "sealed", secret="another").status == 401
    (refusal,) = sealed.until(lambda: [each["id"] for each in sealed.refusals() if each["source"] == "sealed"])
    assert SECRET_ROOM.encode() not in on_disk(sealed)
    told = json.loads(sealed.command("replay", refusal, "--vouch", "--yes", "--json").stdout)
    assert sealed.ended(told[0]["jobs"][0]["id"])["result"][1] == SECRET_ROOM
    assert SECRET_ROOM.encode() not in on_disk(sealed)


def test_a_source_that_does_not_ask_for_it_is_stored_as_it_came(sealed: Instance) -> None:
    """Then a text search finds it, and no key has to be kept."""
    assert sealed.ended(sent(sealed, "open").json["jobs"][0])["state"] == "succeeded"
    assert SECRET_ROOM.encode() in on_disk(sealed)


def test_without_its_key_a_body_is_told_as_encrypted(sealed: Instance) -> None:
    """By every command that would show it; nothing ends with a traceback."""
    delivery = sent(sealed, "sealed").json["delivery"]
    path = sealed.directory / ".env"
    kept = path.read_text()
    path.write_text(kept.replace(text_of(OLD), text_of(NEW)))
    try:
        told = sealed.command("delivery", delivery)
    finally:
        path.write_text(kept)
    assert "no key of WEBSPOOL_ENCRYPTION_KEY opens them" in told.stdout
    assert "Traceback" not in told.stderr


def test_a_source_that_encrypts_needs_a_key(tmp_path: Path) -> None:
    """The start is refused, with the line to type."""
    for name, text in {"app.py": APP, "tasks.py": TASKS, ".env": f"GITHUB_SECRET={SECRET}\n", "uwsgi.ini": ""}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "my_spools").mkdir()
    told = Instance.command(type("Folder", (), {"directory": tmp_path})(), "check")  # type: ignore[arg-type]
    assert told.returncode == 1
    assert "source sealed: encrypt=True needs WEBSPOOL_ENCRYPTION_KEY" in told.stderr
