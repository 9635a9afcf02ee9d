"""What a stranger may put on a wire, and an instance with a source of each kind to put it on."""

from __future__ import annotations

import gzip
import itertools
import socket
from collections.abc import Mapping
from typing import Any

from tests.instances import CODE, SECRET, Instance, Reply, answer_on, signed_headers
from webspool.records import WebhookRequest
from webspool.signatures import sign

SETTINGS = {"WEBSPOOL_TRUSTED_PROXIES": "1", "WEBSPOOL_RATE_PER_ADDRESS": "40/hour", "WEBSPOOL_WORKERS": "3"}
APP = (
    (CODE / "app.py").read_text().replace("from webspool import", "import answers\nfrom webspool import Answer,")
    + """

SEE = {"*": tasks.see}
LATE = Answer("late")
hooks.add(Source("rated", verify="none", rate="6/hour", on=SEE))
hooks.add(Source("fenced", verify="none", allow=["192.0.2.0/24", "2001:db8::/32"], on=SEE))
hooks.add(Source("parts", verify="none", on={"*": tasks.read_form}))
hooks.add(Source("meta", verify="meta", secrets=["literal:s"], tokens=["literal:token"], on=SEE))
hooks.add(Source("slack", verify="slack", secrets=["literal:s"], on=SEE))
hooks.add(Source("told", verify="none", answer=answers.tell, on=SEE))
hooks.add(Source("late", verify="none", answer=answers.sleep, answer_seconds=0.3, answer_fallback=LATE, on=SEE))
hooks.add(Source("hung", verify="none", answer=answers.hold_the_lock, answer_seconds=0.2, on=SEE))
"""
)
ANSWERS = """
import time

import webspool.answering

webspool.answering.GUARD_SECONDS = 0.8


def tell(delivery):
    return {"delivery": delivery.id, "n": delivery.data["n"]}


def sleep(delivery):
    time.sleep(60)


def hold_the_lock(delivery):
    sum(range(10**12))
"""
TASKS = (
    (CODE / "tasks.py").read_text()
    + """

@task(max_attempts=1)
def read_form(delivery):
    note("read", fields=len(delivery.form))
"""
)
CODE_FILES = {"app.py": APP, "tasks.py": TASKS, "answers.py": ANSWERS}

_clients = itertools.count(1)


def fresh_client() -> str:
    """An address that nobody has had yet."""
    number = next(_clients)
    return f"198.51.{number >> 8}.{number & 255}"


def post(instance: Instance, source: str, body: bytes = b"{}", client: str | None = None, **headers: str) -> Reply:
    told = {"X-Forwarded-For": client or fresh_client()} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return instance.post(f"/hooks/{source}", body, told)


def signed(body: bytes, source: str = "reader", **headers: str) -> bytes:
    """A webhook of GitHub's as bytes on the wire."""
    told = signed_headers(body, event="ping", secret=SECRET) | {"Content-Length": str(len(body))} | headers
    return wire(f"/hooks/{source}", told, body)


def wire(path: str, headers: Mapping[str, str], body: bytes = b"", method: str = "POST") -> bytes:
    told = {"Host": "localhost", "X-Forwarded-For": fresh_client()} | headers
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items()), "", ""]
    return "\r\n".join(lines).encode("utf-8") + body


def slack(body: bytes) -> bytes:
    """A webhook of Slack's."""
    request = sign("slack", "s", WebhookRequest("POST", "/hooks/slack", {"Content-Type": "application/json"}, body))
    return wire("/hooks/slack", dict(request.headers) | {"Content-Length": str(len(body))}, body)


def said(instance: Instance, data: bytes) -> Reply | None:
    """What is answered to these bytes when no more will come; None: the connection was closed without a word."""
    try:
        with socket.create_connection(("127.0.0.1", instance.port), timeout=30) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return answer_on(connection)
    except (ConnectionError, OSError):
        return None
    except Exception as fault:  # http.client's own: what came is no answer
        return None if "RemoteDisconnected" in repr(fault) else _raise(fault)


def _raise(fault: Exception) -> Any:
    raise fault


JSON = {"Content-Type": "application/json"}
BOMB = gzip.compress(bytes(50 << 20))
SMUGGLED = b"POST /hooks/open HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
PARTS = b"".join(
    b'--b\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n' % n + b"x" * 2000 + b"\r\n" for n in range(10_000)
)
MANY_PARTS = PARTS + b"--b--\r\n"
