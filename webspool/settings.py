"""Every setting of an instance: its key, how its text is read, what holds when it is absent, what it means."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from webspool import addresses
from webspool.rates import Rate

PREFIX = "WEBSPOOL_"
ENGINES = ("auto", "spool", "local", "inline")
ROLES = ("viewer", "operator")
KEY_BYTES = 32
NEW_KEY_HINT = "make one: python3 -c 'import base64, os; print(base64.b64encode(os.urandom(32)).decode())'"


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of the environment: how its text is read, what holds when it is absent, what it means."""

    key: str
    read: Callable[[str], Any]
    default: Any
    meaning: str
    secret: bool = False

    @property
    def name(self) -> str:
        return self.key.removeprefix(PREFIX).lower()


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            raise ValueError("it must be a whole number")
        if not low <= int(text) <= high:
            raise ValueError(f"it must be from {low} to {high}")
        return int(text)

    return read


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise ValueError("it must be a number of seconds, 0 or more")
    return float(text)


def _app(text: str) -> str:
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\(\))?", text):
        raise ValueError("write module:attribute as in app:app, or module:factory() as in app:create_app()")
    return text


def _proxy_header(text: str) -> str:
    for header in addresses.HEADERS:
        if text.lower() == header.lower():
            return header
    raise ValueError(f"it must be {' or '.join(addresses.HEADERS)}, in which a proxy adds the address of its client")


def _user_header(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", text):
        raise ValueError("it must be the name of a header, of letters, digits and dashes, as X-Forwarded-User")
    return text


def _yes(text: str) -> bool:
    if text.lower() not in ("yes", "no"):
        raise ValueError("it must be yes or no")
    return text.lower() == "yes"


def _role(text: str) -> str:
    if text not in ROLES:
        raise ValueError(f"it must be {' or '.join(ROLES)}")
    return text


def _engine(text: str) -> str:
    if text not in ENGINES:
        raise ValueError(f"it must be one of {', '.join(ENGINES)}")
    return text


def _database_url(text: str) -> str:
    if not text.startswith("sqlite:///") or text in ("sqlite:///", "sqlite:///:memory:"):
        raise ValueError("it must be sqlite:///PATH (relative to the instance), or sqlite:////ABSOLUTE/PATH")
    return text


def _web_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must begin with http:// or https:// and name a host")
    return text.rstrip("/")


def _path_segment(text: str) -> str:
    if "/" in text or not text.isprintable():
        raise ValueError("it must be printable text without a slash: it is the last part of an address")
    return text


def _keys(text: str) -> tuple[bytes, ...]:
    found = []
    for each in text.split():
        try:
            key = base64.urlsafe_b64decode(each.replace("+", "-").replace("/", "_") + "=" * (-len(each) % 4))
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise ValueError(f"each key is {KEY_BYTES} bytes in base64, with a space between several; {NEW_KEY_HINT}")
        found.append(key)
    return tuple(found)


def _urls(text: str) -> tuple[str, ...]:
    strange = [each.partition(":")[0] for each in text.split() if "://" not in each]
    if strange:
        raise ValueError(f"these must be URLs with a space between them; {strange[0][:12]!r} begins none")
    return tuple(text.split())


SETTINGS: tuple[Setting, ...] = (
    Setting("WEBSPOOL_BIND", str, "127.0.0.1:8000", "Where to listen: host:port, [::1]:port, a unix socket, fd://3."),
    Setting("WEBSPOOL_WORKERS", _whole(1, 512), 4, "HTTP processes."),
    Setting("WEBSPOOL_THREADS", _whole(1, 64), 4, "Requests at once in each; 1 for an app that is not thread-safe."),
    Setting("WEBSPOOL_SPOOLERS", _whole(1, 512), 4, "Processes that run tasks: that many at once."),
    Setting("WEBSPOOL_APP", _app, "app:app", "The Flask application: module:attribute or module:factory()."),
    Setting("WEBSPOOL_ENGINE", _engine, "auto", "What runs jobs; auto: spool inside uWSGI, else local."),
    Setting("WEBSPOOL_DATABASE_URL", _database_url, "sqlite:///var/ledger.db", "The ledger.", secret=True),
    Setting("WEBSPOOL_BROKER_URL", str, None, "The broker of an engine that has one.", secret=True),
    Setting("WEBSPOOL_MAX_BODY", _whole(1, 2**40), 25 * 2**20, "The largest body that is accepted, bytes."),
    Setting("WEBSPOOL_RETENTION_DAYS", _whole(1, 36500), 30, "Days that finished deliveries and jobs are kept."),
    Setting("WEBSPOOL_MIN_FREE_BYTES", _whole(0, 2**60), 2**30, "Below this much free disk, bytes: degraded."),
    Setting("WEBSPOOL_DRAIN_SECONDS", _seconds, 60.0, "Seconds that running tasks get to end before a stop."),
    Setting("WEBSPOOL_TRUSTED_PROXIES", _whole(0, 16), 0, "Proxies in front whose forwarding headers are believed."),
    Setting("WEBSPOOL_PROXY_HEADER", _proxy_header, "X-Forwarded-For", "The header in which they tell the client."),
    Setting("WEBSPOOL_RATE_PER_ADDRESS", Rate.of, None, "How often one address may come, as 600/minute."),
    Setting("WEBSPOOL_USER_HEADER", _user_header, None, "The header in which a proxy that logs people in names them."),
    Setting("WEBSPOOL_USER_HEADER_FROM", addresses.Peers.of, None, "From which addresses it is believed."),
    Setting("WEBSPOOL_USER_HEADER_ROLE", _role, None, "The role of those whom it names and no user is."),
    Setting("WEBSPOOL_PUBLIC_URL", _web_url, None, "The address under which the outside world knows this instance."),
    Setting("WEBSPOOL_OTEL", _yes, None, "Whether OpenTelemetry is told; else when OTEL_... names a collector."),
    Setting("WEBSPOOL_SECRET_KEY", str, None, "Signs sessions.", secret=True),
    Setting("WEBSPOOL_PASSWORD", str, None, "The dashboard's password.", secret=True),
    Setting("WEBSPOOL_METRICS_TOKEN", str, None, "The bearer token of /metrics.", secret=True),
    Setting("WEBSPOOL_WEBHOOK_KEY", _path_segment, None, "The key in /webhook/<key>.", secret=True),
    Setting("WEBSPOOL_ENCRYPTION_KEY", _keys, (), "Encrypts bodies of sources with encrypt=True.", secret=True),
    Setting("WEBSPOOL_ALERT_URLS", _urls, (), "Where alerts go: URLs with a space between them.", secret=True),
)
