"""`webspool check --server`: what a box has around a good configuration that would still keep webhooks away."""

from __future__ import annotations

import ctypes
import re
import socket
import ssl
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from webspool.config import Config, env_file
from webspool.disk import Room, folders_of, free
from webspool.errors import WebspoolError
from webspool.ledger import standing

ENOUGH_FILES = 4096
ENOUGH_BACKLOG = 1024
NGINX_BODY_BYTES = 1 << 20
NEAR_EXPIRY_DAYS = 14
REACH_SECONDS = 10.0
REFUSED_AT_ONCE_SECONDS = 2.0
CLOCK_UNSYNCHRONISED = 5
LOOPBACK = ("127.", "localhost", "::1")


@dataclass(frozen=True)
class Places:
    """Where a box keeps what is looked at."""

    units: Path = Path("/etc/systemd/system")
    nginx: Path = Path("/etc/nginx")
    proc: Path = Path("/proc")


def server_faults(config: Config, places: Places | None = None) -> Iterator[str]:
    """What is wrong around the instance, a sentence each with what to type."""
    places = places or Places()
    yield from _owners(config)
    yield from _disk(config)
    yield from _limits(config, places)
    yield from _clock()
    yield from _proxies(config)
    yield from _site(config, places)
    yield from _unit(config, places)
    yield from _reach(config)


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _owners(config: Config) -> Iterator[str]:
    """One user owns what is written: what root has written in between, the service cannot open."""
    ledger = config.ledger_path
    if not ledger.exists():
        return
    owner = ledger.stat().st_uid
    written = [config.var, config.spool_path, *sorted(ledger.parent.glob(f"{ledger.name}*")), *config.var.iterdir()]
    strange = [path for path in dict.fromkeys(written) if path.lstat().st_uid != owner]
    if strange:
        yield (
            f"{strange[0]} belongs to user {strange[0].lstat().st_uid}, the ledger to user {owner}"
            f"{f' ({len(strange)} such files)' if len(strange) > 1 else ''}; type: "
            f"chown -R {owner}: {config.var} {config.spool_path}"
        )
    for path in (config.var, config.spool_path, env_file(config.directory, config.environ)):
        if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield f"{path} can be read by other users; type: chmod go= {path}"


def _disk(config: Config) -> Iterator[str]:
    found = free(folders_of(config))
    if found.room(config.min_free_bytes) is not Room.AMPLE:
        yield f"{found}, fewer than WEBSPOOL_MIN_FREE_BYTES={config.min_free_bytes}; make room, or type: webspool prune"


# ── the kernel's limits and clock ───────────────────────────────────────────────────────────────────────────────


def _limits(config: Config, places: Places) -> Iterator[str]:
    backlog = _number(places.proc / "sys/net/core/somaxconn")
    if backlog is not None and backlog < ENOUGH_BACKLOG:
        yield (
            f"net.core.somaxconn is {backlog}: a burst of connections is refused; type: "
            f"echo net.core.somaxconn={ENOUGH_BACKLOG * 4} > /etc/sysctl.d/60-webspool.conf && sysctl --system"
        )
    master = _master(config)
    limits = places.proc / (str(master) if master else "self") / "limits"
    found = re.search(r"Max open files\s+(\d+)", limits.read_text()) if limits.exists() else None
    if found and int(found[1]) < ENOUGH_FILES:
        whose = f"of the running instance (pid {master})" if master else "of this shell"
        yield f"the limit of open files {whose} is {found[1]}; set LimitNOFILE=65536 in the unit, or ulimit -n 65536"


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _master(config: Config) -> int | None:
    try:
        serving = standing.serving(config)
    except WebspoolError:
        return None
    return int(serving.instance["pid"]) if serving.instance else None


def _clock() -> Iterator[str]:
    """Signatures with a time are refused by a clock that is minutes off. The kernel knows whether it is kept right."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return
    if state == CLOCK_UNSYNCHRONISED:
        yield "the clock is not synchronised: signatures with a time may be refused; type: timedatectl set-ntp true"


# ── proxies ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _proxies(config: Config) -> Iterator[str]:
    address = config.address
    open_to_all = address.port is not None and not (address.host or "").startswith(LOOPBACK)
    if open_to_all:
        yield (
            f"WEBSPOOL_BIND={config.bind} faces the network: uWSGI's HTTP parser is for loopback; "
            "bind 127.0.0.1 and put nginx in front (webspool init . --nginx)"
        )
    if open_to_all and config.trusted_proxies:
        yield "WEBSPOOL_TRUSTED_PROXIES is set: whoever reaches the address can forge X-Forwarded-For; bind 127.0.0.1"
    if config.public_url and not config.trusted_proxies and not open_to_all:
        yield (
            "WEBSPOOL_PUBLIC_URL is set, so something stands in front, but WEBSPOOL_TRUSTED_PROXIES is 0: every sender "
            "seems to be the proxy; set WEBSPOOL_TRUSTED_PROXIES=1 in .env"
        )


def _site(config: Config, places: Places) -> Iterator[str]:
    """nginx's files that name our address: their limit of bodies and the headers they set."""
    for path, text in _naming(str(config.address), places.nginx, ("sites-enabled/*", "conf.d/*.conf")):
        found = _BODY.search(text) or next((each for each in map(_BODY.search, _for_all_sites(places)) if each), None)
        size = int(found[1]) * _UNITS[found[2].lower()] if found else NGINX_BODY_BYTES
        if 0 < size < config.max_body:
            yield (
                f"{path} lets bodies of {size} bytes through{'' if found else ' (the default)'}, WEBSPOOL_MAX_BODY is "
                f"{config.max_body}; write into its server: client_max_body_size {config.max_body};"
            )
        if config.trusted_proxies and "X-Forwarded-For" not in text:
            yield (
                f"{path} sets no X-Forwarded-For, which WEBSPOOL_TRUSTED_PROXIES={config.trusted_proxies} expects; "
                "write: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
            )


_BODY = re.compile(r"client_max_body_size\s+(\d+)([kKmMgG]?)\s*;")


def _for_all_sites(places: Places) -> Iterator[str]:
    """What nginx says above all sites."""
    yield from (text for _, text in _naming("", places.nginx, ("nginx.conf",)))


_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def _naming(what: str, folder: Path, patterns: Iterable[str]) -> Iterator[tuple[Path, str]]:
    for path in sorted(found for pattern in patterns for found in folder.glob(pattern)):
        try:
            text = re.sub(r"(?m)^\s*#.*$", "", path.read_text(errors="replace"))
        except OSError:
            continue
        if what in text:
            yield path, text


# ── the unit ────────────────────────────────────────────────────────────────────────────────────────────────────


def _unit(config: Config, places: Places) -> Iterator[str]:
    """systemd's units of the instance, or of one that is gone: missing paths, a stop before the drain ends."""
    for path, text in _naming("", places.units, ("*.service",)):
        ours, gone = f"={config.directory}\n" in text, list(_gone(text))
        if gone and (ours or any(line.startswith("WEBSPOOL_INSTANCE=") for line in gone)):
            yield f"{path} names what does not exist: {', '.join(gone)}; write it anew: webspool init . --systemd"
        if not ours:
            continue
        stop = re.search(r"(?m)^TimeoutStopSec=(\d+)s?\s*$", text)
        if stop and int(stop[1]) <= config.drain_seconds:
            yield (
                f"{path}: TimeoutStopSec={stop[1]} is not above WEBSPOOL_DRAIN_SECONDS={config.drain_seconds:g}: tasks "
                f"are killed while they drain; write TimeoutStopSec={config.drain_seconds + 30:.0f}"
            )


def _gone(unit: str) -> Iterator[str]:
    """The settings of a unit with a path in them at which there is nothing; what systemd fills in (%h) is left out."""
    for key, value in re.findall(_PATHS, unit):
        for path in value.split()[:1] if key.startswith("Exec") else value.split():
            bare = path.lstrip("@:+!-" if key.startswith("Exec") else "+")
            if bare.startswith("/") and "%" not in bare and not Path(bare).exists():
                yield f"{key}={bare}"


_PATHS = (
    r"(?m)^(?:Environment=)?(ExecStart|ExecReload|ExecStop|WorkingDirectory|ReadWritePaths|WEBSPOOL_INSTANCE)=(.+)$"
)


# ── from outside ────────────────────────────────────────────────────────────────────────────────────────────────


def _reach(config: Config) -> Iterator[str]:
    """The way that webhooks take: name, certificate, proxy, and its limit of bodies."""
    if config.public_url is None:
        return
    try:
        with _connected(config.public_url) as connection:
            yield from _certificate(config.public_url, connection)
            status = _asked(connection, config.public_url, "GET", "/healthz", "")
    except (OSError, ValueError) as fault:
        yield f"WEBSPOOL_PUBLIC_URL: {config.public_url} cannot be reached from here: {fault}"
        return
    if status != 200:
        yield f"WEBSPOOL_PUBLIC_URL: {config.public_url}/healthz answers {status}, not 200: is it this instance?"
    elif _refuses_size(config.public_url, config.max_body):
        yield (
            f"what stands in front of {config.public_url} refuses a body of {config.max_body} bytes (413), which "
            "WEBSPOOL_MAX_BODY allows; raise its limit (nginx: client_max_body_size)"
        )


def _connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    bare = socket.create_connection((parts.hostname, port), timeout=REACH_SECONDS)
    if parts.scheme != "https":
        return bare
    try:
        return ssl.create_default_context().wrap_socket(bare, server_hostname=parts.hostname)
    except BaseException:
        bare.close()
        raise


def _certificate(url: str, connection: socket.socket) -> Iterator[str]:
    told = connection.getpeercert() if isinstance(connection, ssl.SSLSocket) else None
    if not told:
        return
    days = (ssl.cert_time_to_seconds(str(told["notAfter"])) - time.time()) / 86400
    if days < NEAR_EXPIRY_DAYS:
        yield f"the certificate of {url} ends in {days:.0f} days; renew it (certbot renew)"


def _asked(connection: socket.socket, url: str, method: str, path: str, headers: str) -> int:
    """The status of the answer to a request without a body."""
    parts = urlsplit(url)
    base = parts.path.rstrip("/")
    request = f"{method} {base}{path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n{headers}\r\n"
    connection.sendall(request.encode())
    found = re.match(rb"HTTP/1\.\d (\d{3})", connection.recv(4096))
    if found is None:
        raise ValueError("what answers does not speak HTTP")
    return int(found[1])


def _refuses_size(url: str, size: int) -> bool:
    """Whether the announcement of such a body is refused at once; nothing of it is sent."""
    try:
        with _connected(url) as connection:
            connection.settimeout(REFUSED_AT_ONCE_SECONDS)
            return _asked(connection, url, "POST", "/hooks/", f"Content-Length: {size}\r\n") == 413
    except (OSError, ValueError):
        return False
