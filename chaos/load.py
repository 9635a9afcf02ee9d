"""Senders: signed webhooks with event ids of their own, some sent twice, sent again when they were not answered.

What was sent and answered is noted. The signing is GitHub's, written here anew: nothing of webspool's is asked.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import random
import ssl
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from chaos.diary import Diary
from chaos.orders import PROBE, Order

SENDERS = 6
PROBE_SECONDS, SERVICE_SECONDS = 0.25, 15.0
ANSWER_SECONDS = 30.0
SENT_TWICE, SENT_AGAIN = 0.1, 0.8
TRIES, PAUSE_SECONDS = 6, 0.5


@dataclass(frozen=True)
class Target:
    """Where webhooks go: a port of this machine, a path, the sender's secret; `trust`: over TLS, with that one."""

    port: int
    secret: str
    path: str = "/hooks/github"
    trust: ssl.SSLContext | None = None

    def connection(self, seconds: float) -> http.client.HTTPConnection:
        if self.trust is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        self.trust.check_hostname = False
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=seconds, context=self.trust)


@dataclass(frozen=True)
class Webhook:
    """One event of a sender's, however often it is sent."""

    order: str
    body: bytes = field(repr=False)
    event: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def of(cls, name: str, order: Order, chance: random.Random) -> Webhook:
        filling = chance.randbytes(order.body_bytes // 2).hex()
        return cls(name, json.dumps({"order": name, "filling": filling}).encode())

    def headers(self, secret: str) -> dict[str, str]:
        signature = hmac.new(secret.encode(), self.body, hashlib.sha256).hexdigest()
        return {
            "Content-Type": "application/json",
            "X-GitHub-Event": self.order,
            "X-GitHub-Delivery": self.event,
            "X-Hub-Signature-256": f"sha256={signature}",
        }


class Sender:
    """Sends webhooks and notes what was answered, or that nothing was."""

    def __init__(self, target: Target, diary: Diary) -> None:
        self.target, self.diary = target, diary

    def send(self, webhook: Webhook, seconds: float = ANSWER_SECONDS) -> int | None:
        """Once; returns the status, None when the connection was refused, broken or silent for so long."""
        sent = time.monotonic()
        status, told, fault = self._post(webhook, seconds)
        answer = {"status": status, "fault": fault, **{name: told.get(name) for name in ("delivery", "cause")}}
        self.diary.note(
            sent=sent,
            event=webhook.event,
            order=webhook.order,
            sha256=hashlib.sha256(webhook.body).hexdigest(),
            said=told.get("status"),
            jobs=[job if isinstance(job, str) else job["id"] for job in told.get("jobs") or []],
            **answer,
        )
        return status

    def _post(self, webhook: Webhook, seconds: float) -> tuple[int | None, dict[str, Any], str | None]:
        connection = self.target.connection(seconds)
        try:
            connection.request("POST", self.target.path, webhook.body, webhook.headers(self.target.secret))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()), None
        except (OSError, http.client.HTTPException, ValueError) as fault:
            return None, {}, repr(fault)
        finally:
            connection.close()

    def insist(self, webhook: Webhook, until: threading.Event) -> None:
        """Send it until it is accepted, as senders do, a few times at most."""
        for _ in range(TRIES):
            status = self.send(webhook)
            if (status is not None and status < 300) or until.wait(PAUSE_SECONDS):
                return


class Load:
    """Webhooks at a rate, by a few senders at once, and a probe now and then, until `end`."""

    def __init__(self, sender: Sender, orders: Mapping[str, Order], per_second: float, chance: random.Random) -> None:
        self.sender, self.orders, self.per_second, self.chance = sender, orders, per_second, chance
        self.probed_at = 0.0
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(SENDERS + 1)
        self._names = list(orders)
        self._weights = [order.weight for order in orders.values()]
        self._sending = [self._pool.submit(self._go_on) for _ in range(SENDERS)]
        self._sending.append(self._pool.submit(self._probe))

    def wait_for_service(self, seconds: float = SERVICE_SECONDS) -> bool:
        """Until a probe sent from now on has been accepted, at most so long."""
        now = time.monotonic()
        while self.probed_at < now and time.monotonic() < now + seconds:
            time.sleep(0.05)
        return self.probed_at >= now

    def end(self) -> None:
        """Go on until it is served once more; wait for what is under way. Raises what a sender raised."""
        self.wait_for_service()
        self._over.set()
        for each in self._sending:
            each.result()
        self._pool.shutdown()

    def _go_on(self) -> None:
        due = time.monotonic() + self.chance.random() * SENDERS / self.per_second
        while not self._over.wait(max(0.0, due - time.monotonic())):
            self._one()
            due = max(due + SENDERS / self.per_second, time.monotonic() - 1.0)

    def _one(self) -> None:
        name = self.chance.choices(self._names, self._weights)[0]
        webhook = Webhook.of(name, self.orders[name], self.chance)
        copies = 2 if self.chance.random() < SENT_TWICE else 1
        if copies == 2 and self.chance.random() < 0.5:
            with ThreadPoolExecutor(1) as beside:  # both at once
                beside.submit(self.sender.send, webhook)
                self.sender.send(webhook)
            return
        for _ in range(copies):
            if self.chance.random() < SENT_AGAIN:
                self.sender.insist(webhook, self._over)
            else:
                self.sender.send(webhook)

    def _probe(self) -> None:
        """A webhook whose job goes before all others: when is the instance whole again?"""
        while not self._over.wait(PROBE_SECONDS):
            sent = time.monotonic()
            if self.sender.send(Webhook.of(PROBE, Order(0), self.chance), 2.0) == 202:
                self.probed_at = sent
