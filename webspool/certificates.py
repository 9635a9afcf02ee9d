"""Certificates of senders that sign with one: fetched from the address that the scheme trusts, kept in memory."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import urlsplit

SECONDS = 5.0
MAX_BYTES = 64 << 10
KEPT = 32
KEPT_SECONDS = 24 * 3600.0
FAILED_SECONDS = 60.0
FETCHES_A_MINUTE = 10


class Certificates:
    """PEM texts by address.

    Strangers name the addresses, within the hosts that a scheme trusts: what is kept, how often one that failed is
    tried again, and how many are fetched in a minute is bounded.
    """

    def __init__(self, fetch: Callable[[str], str | None] | None = None, clock: Callable[[], float] = time.monotonic):
        self._fetch, self._clock = fetch or fetched, clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[str | None, float]] = OrderedDict()
        self._begun: list[float] = []

    def get(self, address: str) -> str | None:
        """The certificate at an address that `signatures.certificate_wanted` told; None when it cannot be had now."""
        with self._lock:
            known = self._kept.get(address)
            now = self._clock()
            if known is not None and now < known[1]:
                return known[0]
            self._begun = [moment for moment in self._begun if moment > now - 60]
            if len(self._begun) >= FETCHES_A_MINUTE:
                return None if known is None else known[0]
            self._begun.append(now)
        text = self._fetch(address)
        with self._lock:
            self._keep(address, text)
        return text

    def _keep(self, address: str, text: str | None) -> None:
        self._kept[address] = text, self._clock() + (FAILED_SECONDS if text is None else KEPT_SECONDS)
        self._kept.move_to_end(address)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)


def fetched(address: str) -> str | None:
    """What an https address answers, when it is a certificate. No redirect is followed."""
    text = _answer(address)
    return text if text is not None and "BEGIN CERTIFICATE" in text else None


def opened(address: str) -> bool:
    """Whether an https address answers 200 within five seconds. No redirect is followed."""
    return _answer(address) is not None


def _answer(address: str) -> str | None:
    parts = urlsplit(address)
    if parts.scheme != "https" or not parts.hostname:
        return None
    context = ssl.create_default_context()
    connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=SECONDS, context=context)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", target, headers={"Accept": "application/x-pem-file, text/plain, */*"})
        response = connection.getresponse()
        text = response.read(MAX_BYTES + 1).decode("ascii", "replace")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return text if response.status == 200 and len(text) <= MAX_BYTES else None
