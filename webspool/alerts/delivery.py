"""How somebody is told: by a service that Apprise knows, by a command of the user's, or by a signed webhook."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from webspool.records import Headers, WebhookRequest, new_id
from webspool.signatures import sign

COMMAND, SIGNED = "command", ("signed+http", "signed+https")
SECONDS = 20.0

Told = dict[str, Any]


def deliver(urls: Iterable[str], told: Told) -> list[tuple[str, str | None]]:
    """Tell all of them. Returns for each where, without secrets, and why it could not be told, or None."""
    return [(masked(url), _why_not(url, told)) for url in urls]


def masked(url: str) -> str:
    """The address without what only its owner should know: its scheme, and the host of a plain one."""
    parts = urlsplit(url)
    if parts.scheme == COMMAND:
        return f"{COMMAND}://{parts.path}"
    return f"{parts.scheme}://{parts.hostname}/..." if parts.scheme in SIGNED else f"{parts.scheme}://..."


def _why_not(url: str, told: Told) -> str | None:
    scheme = urlsplit(url).scheme
    tell: Callable[[str, Told], str | None] = _by_apprise
    if scheme == COMMAND:
        tell = _by_command
    elif scheme in SIGNED:
        tell = _by_webhook
    return tell(url, told)


def _by_command(url: str, told: Told) -> str | None:
    """The program gets the title as its argument and the message as JSON on standard input; no shell is involved."""
    program = urlsplit(url).path
    try:
        ended = subprocess.run(  # noqa: S603
            [program, told["title"]], input=json.dumps(told).encode(), timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        return str(fault)
    return f"it ended with code {ended.returncode}" if ended.returncode else None


def _by_webhook(url: str, told: Told) -> str | None:
    """JSON, signed as Standard Webhooks has it with the secret that stands before the @."""
    parts = urlsplit(url)
    secret = unquote(parts.username or "")
    host = parts.netloc.rpartition("@")[2]
    address = urlunsplit((parts.scheme.removeprefix("signed+"), host, parts.path, parts.query, ""))
    body = json.dumps(told).encode()
    try:
        bare = WebhookRequest("POST", parts.path or "/", Headers([("Content-Type", "application/json")]), body)
        signed = sign("standard-webhooks", secret, bare, event_id=new_id("m"))
        asked = urllib.request.Request(address, body, dict(Headers(list(signed.headers.items()))), method="POST")  # noqa: S310
        with urllib.request.urlopen(asked, timeout=SECONDS) as answer:  # noqa: S310
            return None if answer.status < 300 else f"it answered {answer.status}"
    except urllib.error.HTTPError as fault:
        return f"it answered {fault.code}"
    except (OSError, ValueError) as fault:
        return str(fault).replace(secret, "***") if secret else str(fault)


def _by_apprise(url: str, told: Told) -> str | None:
    try:
        import apprise
    except ImportError:
        return "this needs Apprise; type: pip install 'webspool[alerts]'"
    teller = apprise.Apprise()
    if not teller.add(url):
        return "Apprise does not know such an address"
    with open(os.devnull, "w"):
        return None if teller.notify(title=told["title"], body=told["text"]) else "the service did not take it"
