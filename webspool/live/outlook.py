"""Whoever waits for output or for a change of the ledger, and the one look that is taken for all of them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from webspool.config import Config
from webspool.dashboard.output import job_output
from webspool.ledger.versions import Versions

LOOK_SECONDS = 0.025
LOOKS_KEPT = 512

Told = dict[str, Any]


class Happened(Protocol):
    """An event of threading's or gevent's."""

    def set(self) -> None: ...
    def wait(self, timeout: float | None = None) -> Any: ...


class Outlook:
    """Looks at the ledger's and the output's version some forty times a second while anybody waits, else never.

    `event` makes an event, `sleep` and `start` are those of the server's kind of threads.
    """

    def __init__(
        self,
        config: Config,
        event: Callable[[], Happened],
        sleep: Callable[[float], object],
        start: Callable[[Callable[[], None]], object],
    ) -> None:
        self._config = config
        self._event, self._sleep, self._start = event, sleep, start
        self._versions = Versions(config.ledger_path, config.output_path)
        self._changed = event()
        self._watching = False
        self._waiting = 0
        self._looks: OrderedDict[tuple[Any, ...], Told] = OrderedDict()

    def output(self, job: str, attempt: int | None, after: int, known: str, seconds: float) -> Told:
        """What an attempt printed after chunk `after`, as soon as there is something that `known` (the `mark` of the
        answer before) does not say, or nothing can follow; after `seconds` as it stands.

        Raises NotFound.
        """

        def look() -> tuple[bool, Told]:
            told = self._looked(job, attempt, after)
            over = told["finished"] and told["ended"]
            return bool(told["chunks"]) or told["mark"] != known or over, told

        return self._wait(look, seconds)

    def change(self, known: str, seconds: float) -> Told:
        """The ledger's version, once it is another than `known`; after `seconds` as it is."""

        def look() -> tuple[bool, Told]:
            version = self._versions.ledger()
            return version != known, {"version": version}

        return self._wait(look, seconds)

    def version(self) -> str:
        """Another word after each commit to the ledger; empty when it cannot be read."""
        return self._versions.ledger()

    def _wait(self, look: Callable[[], tuple[bool, Told]], seconds: float) -> Told:
        give_up = time.monotonic() + seconds
        self._waiting += 1
        try:
            while True:
                changed = self._watched()
                news, told = look()
                left = give_up - time.monotonic()
                if news or left <= 0:
                    return told
                changed.wait(left)
        finally:
            self._waiting -= 1

    def _looked(self, job: str, attempt: int | None, after: int) -> Told:
        """The same look for everybody who asks the same before something changes."""
        asked = (job, attempt, after, self._versions.both())
        if asked not in self._looks:
            self._looks[asked] = job_output(self._config, job, attempt, after)
            while len(self._looks) > LOOKS_KEPT:
                self._looks.popitem(last=False)
        return self._looks[asked]

    def _watched(self) -> Happened:
        if not self._watching:
            self._watching = True
            self._start(self._watch)
        return self._changed

    def _watch(self) -> None:
        seen = self._versions.both()
        try:
            while self._waiting:
                self._sleep(LOOK_SECONDS)
                if (now := self._versions.both()) != seen:
                    seen = now
                    happened, self._changed = self._changed, self._event()
                    happened.set()
        finally:
            self._watching = False
            self._changed.set()
            self._changed = self._event()
