"""Looks every ten seconds, remembers what was told, and hands one message for all that is new to a child process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from webspool.alerts.conditions import Alert, Facts, conditions
from webspool.alerts.looking import look
from webspool.config import Config
from webspool.errors import LedgerRefused, LedgerUnavailable
from webspool.telemetry import Say

LOOK_SECONDS = 10.0
GATHER_SECONDS = 20.0
BETWEEN_SECONDS = 60.0
AGAIN_SECONDS = 3600.0
LINES_AT_MOST = 10

Send = Callable[[dict[str, Any]], None]
Memory = dict[str, Any]


class Watch:
    """The alerts of one instance. `send` takes a message; what was told is remembered beside the ledger, not in it.

    `waiting` are the alerts of the next message. Nothing is looked at while WEBSPOOL_ALERT_URLS names nobody to tell.
    """

    def __init__(
        self, config: Config, say: Say, send: Send | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._config, self._say, self._clock = config, say, clock
        self._child = Child(config, say)
        self._send = self._child.send if send is None else send
        self._next_look = 0.0
        self._memory: Memory | None = None
        self.waiting: dict[str, Alert] = {}
        self._over: dict[str, str] = {}
        self._first_at = 0.0

    def look(self) -> None:
        """Called each second; never raises."""
        if not self._config.alert_urls or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        self._child.look()
        self.look_now()

    def look_now(self) -> None:
        """One look, and a message when its time has come."""
        memory, now = self._remembered(), self._clock()
        try:
            found = look(self._config, now, known_dead=memory["dead"])
            memory["dead"] = found.dead
        except (LedgerUnavailable, LedgerRefused, OSError) as fault:
            found = Facts(now=now, unreadable=str(fault).partition("\n")[0].rstrip("."))
        self._note(conditions(found), memory, now)
        gathered = (self.waiting or self._over) and now - self._first_at >= GATHER_SECONDS
        if gathered and now - memory["sent_at"] >= BETWEEN_SECONDS:
            self._tell(memory, now)
        self._remember(memory)

    def _note(self, alerts: Sequence[Alert], memory: Memory, now: float) -> None:
        told: dict[str, Any] = memory["told"]
        lasting = {alert.key for alert in alerts}
        for alert in alerts:
            known = told.get(alert.key)
            if known is None or not alert.lasting or now - known["at"] >= AGAIN_SECONDS:
                self._first_at = self._first_at if self.waiting or self._over else now
                self.waiting[alert.key] = (
                    alert if alert.key not in self.waiting or alert.lasting else _both(self.waiting[alert.key], alert)
                )
        for key in [key for key, alert in self.waiting.items() if alert.lasting and key not in lasting]:
            del self.waiting[key]  # over before it was told
        for key in [key for key in told if key not in lasting and key not in self._over]:
            self._first_at = self._first_at if self.waiting or self._over else now
            self._over[key] = told.pop(key)["sentence"]

    def _tell(self, memory: Memory, now: float) -> None:
        self._send(message(self._config, list(self.waiting.values()), list(self._over.values())))
        for key, alert in self.waiting.items():
            if alert.lasting:
                memory["told"][key] = {"at": now, "sentence": alert.sentence}
        memory["sent_at"] = now
        self.waiting, self._over = {}, {}

    # ── what was told ───────────────────────────────────────────────────────────────────────────────────────────

    def _remembered(self) -> Memory:
        if self._memory is None:
            fresh: Memory = {"dead": None, "sent_at": 0.0, "told": {}}
            try:
                kept = json.loads(self._config.alerts_file.read_text())
                self._memory = fresh | kept if isinstance(kept, dict) else fresh
            except (OSError, ValueError):
                self._memory = fresh
        return self._memory

    def _remember(self, memory: Memory) -> None:
        path = self._config.alerts_file
        try:
            path.with_suffix(".new").write_text(json.dumps(memory))
            path.with_suffix(".new").replace(path)
        except OSError:
            return


def _both(first: Alert, second: Alert) -> Alert:
    """Two of a kind that are each told: one sentence after the other."""
    sentence = f"{first.sentence} {second.sentence}" if len(first.sentence) < 1000 else first.sentence
    return Alert(first.key, sentence, first.since, first.page, first.command, first.lasting)


def message(config: Config, alerts: Sequence[Alert], over: Sequence[str] = ()) -> dict[str, Any]:
    """One message for all of it: a title, the text, and the same as data."""
    base = (config.public_url or config.address.url or "").rstrip("/")
    lines = []
    for alert in alerts[:LINES_AT_MOST]:
        where = f"{base}/dashboard/{alert.page}" if base else "the dashboard"
        lines.append(f"{alert.sentence}\n  {where}\n  {alert.command}")
    if len(alerts) > LINES_AT_MOST:
        lines.append(f"and {len(alerts) - LINES_AT_MOST} more: webspool status")
    lines += [f"Over: {sentence}" for sentence in over[:LINES_AT_MOST]]
    title = f"webspool {config.directory.name}: " + (
        f"{len(alerts)} to look at" if len(alerts) != 1 else alerts[0].sentence.partition(".")[0][:100]
    )
    if not alerts:
        title = f"webspool {config.directory.name}: over"
    told = [{"key": each.key, "sentence": each.sentence, "since": each.since} for each in alerts]
    return {"title": title, "text": "\n".join(lines), "alerts": told, "over": list(over)}


class Child:
    """`webspool alert send` in a process of its own: whoever is told may be slow, and what tells them is large."""

    def __init__(self, config: Config, say: Say) -> None:
        self._config, self._say = config, say
        self._running: subprocess.Popen[bytes] | None = None

    def send(self, told: dict[str, Any]) -> None:
        """Hand a message over; what became of it is told by a later look."""
        program = shutil.which("webspool")
        start = [program] if program else [sys.executable, "-m", "webspool"]
        command = [*start, "--instance", str(self._config.directory), "alert", "send"]
        try:
            self._running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)  # noqa: S603
            assert self._running.stdin is not None
            self._running.stdin.write(json.dumps(told).encode())
            self._running.stdin.close()
        except OSError as fault:
            self._say("alert_failed", why=str(fault))

    def look(self) -> None:
        """Tell how the last one ended."""
        if self._running is None or (code := self._running.poll()) is None:
            return
        self._running = None
        if code:
            self._say("alert_failed", why="see the line before, or type: webspool alert test")
        else:
            self._say("alert_sent")
