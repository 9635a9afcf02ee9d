"""Webhooks on the wire: as many as wrk can with 16 connections, or at a steady pace that waits for no answer."""

from __future__ import annotations

import gc
import hashlib
import hmac
import json
import os
import select
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.peers import PATH

SECRET = b"bench"
BODY_BYTES = 1024
CONNECTIONS = 16
AHEAD_SECONDS = 0.3

SCRIPT = """
local number = 0
function setup(thread) thread:set("number", number); number = number + 1 end
local made = 0
local head, tail = HEAD, TAIL
function request()
    made = made + 1
    return head .. string.format("RUN-%04x-4000-8000-%012x", number, made) .. tail
end
function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format("TOLD %d %d %d %d\\n", summary.requests, errors.status, errors.connect + errors.read
        + errors.write + errors.timeout, summary.duration))
end
"""


@dataclass(frozen=True)
class Flood:
    """What wrk saw; `began` is Unix seconds."""

    began: float
    accepted: int
    refused: int
    broken: int
    seconds: float


def has_wrk() -> bool:
    """Whether there is a generator for floods."""
    return shutil.which("wrk", path=PATH) is not None


def payload(sent: str, size: int = BODY_BYTES) -> bytes:
    """A webhook's JSON body of that size."""
    bare = len(json.dumps({"sent": sent, "filling": ""}))
    return json.dumps({"sent": sent, "filling": "x" * max(0, size - bare)}).encode()


def webhook(path: str, body: bytes, delivery: str) -> bytes:
    """A request as GitHub signs it."""
    return _head(path, body, delivery) + body


def _head(path: str, body: bytes, delivery: str) -> bytes:
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"X-Hub-Signature-256: sha256={hmac.new(SECRET, body, hashlib.sha256).hexdigest()}",
        "X-GitHub-Event: push",
        f"X-GitHub-Delivery: {delivery}",
    )
    return "\r\n".join([*lines, "", ""]).encode()


def flood(url: str, path: str, seconds: float, script: Path, connections: int = CONNECTIONS) -> Flood:
    """As many webhooks as are taken; each has an id of its own and the right signature."""
    body = payload("0" * 10 + ".000000")
    head = _head(path, body, "SPLIT").decode().replace("Connection: close\r\n", "")
    before, _, after = head.partition("SPLIT")
    text = SCRIPT.replace("HEAD", _quoted(before)).replace("TAIL", _quoted(after + body.decode()))
    script.write_text(text.replace("RUN", os.urandom(4).hex()))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script), url]
    environ = {**os.environ, "PATH": PATH}
    began = time.time()
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60, env=environ)
    line = next(line for line in told.stdout.splitlines() if line.startswith("TOLD"))
    requests, refused, broken, microseconds = map(int, line.split()[1:])
    return Flood(began, requests - refused, refused, broken, microseconds / 1e6)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r").replace("\n", "\\n") + '"'


# ── at a steady pace ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Paced:
    """Seconds from the planned moment of sending, sorted: to its sending, to the first byte of the answer."""

    late: list[float]
    answered: list[float]
    failed: int


@dataclass
class _Planned:
    at: float
    request: bytes


def paced(port: int, path: str, count: int, rate: float, *, size: int = BODY_BYTES) -> Paced:
    """`count` webhooks, `rate` a second, each on a connection of its own, sent when it is planned, come what may.

    A webhook carries its planned moment, from which everything is counted: a stack that is slow to take one makes the
    next no later on paper.
    """
    begin = time.time() + AHEAD_SECONDS + count * 3e-5
    planned = [_planned(path, begin + number / rate, size) for number in range(count)]
    gc.collect()
    gc.disable()
    try:
        return _send(port, planned)
    finally:
        gc.enable()


def _planned(path: str, at: float, size: int) -> _Planned:
    return _Planned(at, webhook(path, payload(f"{at:017.6f}", size), os.urandom(16).hex()))


def _send(port: int, planned: list[_Planned], patience: float = 20.0) -> Paced:
    late: list[float] = []
    answered: list[float] = []
    failed = 0
    waiting: dict[socket.socket, float] = {}
    give_up = planned[-1].at + patience
    left = iter(planned)
    following = next(left, None)
    while (following or waiting) and time.time() < give_up:
        wait = (following.at if following else give_up) - time.time()
        if wait > 0:
            readable, _, _ = select.select(list(waiting), [], [], wait)
            for connection in readable:
                at = waiting.pop(connection)
                answered.append(time.time() - at)
                failed += not _succeeded(connection)
        if following and time.time() >= following.at:
            late.append(time.time() - following.at)
            with suppress(OSError):
                waiting[_sent(port, following.request)] = following.at
            following = next(left, None)
    for connection in waiting:
        connection.close()
    return Paced(sorted(late), sorted(answered), failed + len(planned) - len(answered))


def _sent(port: int, request: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection.sendall(request)
    return connection


def _succeeded(connection: socket.socket) -> bool:
    try:
        return connection.recv(4096).startswith((b"HTTP/1.1 2", b"HTTP/1.0 2"))
    except OSError:
        return False
    finally:
        connection.close()
