"""The configuration of an instance: the environment and `.env`, read once; every fault told at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from webspool import addresses, dotenv
from webspool.errors import ConfigurationError
from webspool.folders import flush_folder
from webspool.rates import Rate
from webspool.settings import PREFIX, SETTINGS

NOT_SETTINGS = frozenset({"WEBSPOOL_ENV_FILE", "WEBSPOOL_INSTANCE", "WEBSPOOL_NOTIFY_SOCKET"})
LONGEST_SOCKET_PATH = 107
LIVE_SOCKET = "var/live.sock"
"""Below the instance's directory, in which its processes work: so it stays short, however long that path is."""
REFERENCE_HINT = "write env:NAME, file:PATH, credential:NAME, or literal:... for a try"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the instance listens: a TCP host and port, a unix socket's path, or a descriptor handed in by systemd."""

    host: str | None = None
    port: int | None = None
    path: Path | None = None
    descriptor: int | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        return f"fd://{self.descriptor}" if self.port is None else f"{_bracketed(self.host)}:{self.port}"

    @property
    def url(self) -> str | None:
        """The address as a browser on this machine would write it, or None when it is no TCP address."""
        if self.port is None:
            return None
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host or "", self.host)  # noqa: S104
        return f"http://{_bracketed(host)}:{self.port}"


def _bracketed(host: str | None) -> str:
    return f"[{host}]" if host and ":" in host else str(host)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The configuration of one instance, whole and usable. Sizes in bytes, `drain_seconds` in seconds."""

    directory: Path
    bind: str
    workers: int
    threads: int
    spoolers: int
    app: str
    engine: str
    database_url: str = field(repr=False)
    broker_url: str | None = field(repr=False)
    max_body: int
    retention_days: int
    min_free_bytes: int
    drain_seconds: float
    trusted_proxies: int
    proxy_header: str
    rate_per_address: Rate | None
    user_header: str | None
    user_header_from: addresses.Peers | None
    user_header_role: str | None
    otel: bool | None
    public_url: str | None
    secret_key: str | None = field(repr=False)
    password: str | None = field(repr=False)
    metrics_token: str | None = field(repr=False)
    webhook_key: str | None = field(repr=False)
    encryption_key: tuple[bytes, ...] = field(repr=False)
    alert_urls: tuple[str, ...] = field(repr=False)
    environ: Mapping[str, str] = field(repr=False, compare=False)

    @property
    def address(self) -> Address:
        return _address(self.bind, self.directory)

    @property
    def var(self) -> Path:
        return self.directory / "var"

    @property
    def ledger_path(self) -> Path:
        """The SQLite file: `sqlite:///` and a path relative to the instance, or an absolute one after four slashes."""
        return self.directory / self.database_url.removeprefix("sqlite:///")

    @property
    def output_path(self) -> Path:
        return self.var / "output.db"

    @property
    def spool_path(self) -> Path:
        return self.directory / "my_spools"

    @property
    def master_fifo(self) -> Path:
        """The pipe by which uWSGI's master is told to replace its workers one by one."""
        return self.var / "master.fifo"

    @property
    def alerts_file(self) -> Path:
        """What somebody was told, and when."""
        return self.var / "alerts.json"

    @property
    def live_file(self) -> Path:
        """Where the live process writes who it is."""
        return self.var / "live.json"

    @property
    def keeper_dir(self) -> Path:
        return self.var / "keeper"

    def secret(self, reference: str) -> str:
        """The secret a reference stands for. Raises ConfigurationError with a hint; never shows a bare secret."""
        kind, colon, name = reference.partition(":")
        if not colon or kind not in RESOLVERS:
            raise ConfigurationError(where="a secret", faults=[f"it is a bare string; {REFERENCE_HINT}"])
        where = "a literal secret" if kind == "literal" else f"the secret {reference}"
        try:
            found = RESOLVERS[kind](self, name)
        except (ValueError, OSError) as fault:
            why = f"{fault.strerror}: {fault.filename}" if isinstance(fault, OSError) else str(fault)
            raise ConfigurationError(where=where, faults=[why]) from None
        if not found.strip():
            raise ConfigurationError(where=where, faults=["it is empty; an empty secret protects nothing"])
        return found


def load(directory: Path | str, environ: Mapping[str, str] | None = None) -> Config:
    """Read the configuration of the instance in `directory`. Raises ConfigurationError with every fault.

    `environ` (default: the process's) wins over `.env`, or over the file that WEBSPOOL_ENV_FILE names.
    """
    directory = Path(os.path.abspath(directory))
    environ = os.environ if environ is None else environ
    written, faults = _read_env_file(directory, environ)
    merged = written | dict(environ)
    faults += _unknown_keys(merged)
    values, bad = _read_settings(merged, directory)
    if faults := faults + (bad or _at_odds(values)):
        raise ConfigurationError(where=str(directory), faults=faults)
    return Config(directory=directory, environ=MappingProxyType(merged), **values)


def env_file(directory: Path, environ: Mapping[str, str]) -> Path:
    """The file that is read beside the environment: WEBSPOOL_ENV_FILE, else `.env` in the instance directory."""
    return directory / (environ.get("WEBSPOOL_ENV_FILE") or ".env")


def make_env(directory: Path, more: str = "") -> bool:
    """Write `.env` with fresh secrets, readable by its owner only; False when there is one, which stays as it is.

    `more` are further lines of it.

    Raises ConfigurationError when it cannot be written.
    """
    path = directory / ".env"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    except OSError as fault:
        raise ConfigurationError(where=str(directory), faults=[f"{path} cannot be written: {fault.strerror}"]) from None
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(_fresh_env() + more)
        file.flush()
        os.fsync(descriptor)
    flush_folder(directory)
    return True


def _fresh_env() -> str:
    def fresh() -> str:
        return os.urandom(24).hex()

    return (
        "# Written once by webspool, never overwritten. The real environment wins over these lines.\n"
        "# After a change: stop and start the instance; `webspool check` tells every fault at once.\n"
        f"WEBSPOOL_SECRET_KEY={fresh()}\n"
        f"WEBSPOOL_PASSWORD={fresh()}\n"
        f"WEBSPOOL_METRICS_TOKEN={fresh()}\n"
        "# The last part of the address /webhook/<key>.\n"
        f"WEBSPOOL_WEBHOOK_KEY={fresh()}\n"
        "# The secret that you also type in at GitHub: Settings, Webhooks, Secret.\n"
        f"GITHUB_SECRET={fresh()}\n"
    )


def _read_env_file(directory: Path, environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    path = env_file(directory, environ)
    try:
        values, faults = dotenv.parse(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        named = environ.get("WEBSPOOL_ENV_FILE")
        return {}, [f"WEBSPOOL_ENV_FILE names {path}, which does not exist"] if named else []
    except (OSError, UnicodeDecodeError) as fault:
        why = "it is not UTF-8 text" if isinstance(fault, UnicodeDecodeError) else fault.strerror
        return {}, [f"{path} cannot be read: {why}"]
    misplaced = [f"{path}: {key} is for the real environment only" for key in sorted(NOT_SETTINGS & values.keys())]
    return values, [f"{path}, {fault}" for fault in faults] + misplaced


def _unknown_keys(merged: Mapping[str, str]) -> list[str]:
    known = {setting.key for setting in SETTINGS}
    unknown = sorted(key for key in merged if key.startswith(PREFIX) and key not in known | NOT_SETTINGS)
    return [f"{key} is no setting of webspool{_did_you_mean(key, known)}" for key in unknown]


def _did_you_mean(key: str, known: set[str]) -> str:
    near = get_close_matches(key, sorted(known), n=1, cutoff=0.8)
    return f"; did you mean {near[0]}?" if near else ""


def _read_settings(merged: Mapping[str, str], directory: Path) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    faults: list[str] = []
    for setting in SETTINGS:
        text = merged.get(setting.key, "").strip()
        try:
            values[setting.name] = setting.read(text) if text else setting.default
            if setting.key == "WEBSPOOL_BIND":
                _address(values[setting.name], directory)
        except ValueError as fault:
            faults.append(f"{setting.key}{'' if setting.secret else f' is {text!r}'}: {fault}")
    return values, faults


def _at_odds(values: Mapping[str, Any]) -> list[str]:
    """What is read well and yet does not go together."""
    if values["user_header"] and values["user_header_from"] is None:
        return ["WEBSPOOL_USER_HEADER is believed from nobody: WEBSPOOL_USER_HEADER_FROM names the proxy's addresses"]
    return []


def _address(bind: str, directory: Path) -> Address:
    """Read a WEBSPOOL_BIND. Raises ValueError with a hint."""
    if found := re.fullmatch(r"fd://(\d{1,4})", bind):
        return Address(descriptor=int(found[1]))
    if "/" in bind:
        return Address(path=_socket_path(directory / bind))
    if bind.isdigit() or re.fullmatch(r":\d+", bind):
        port = bind.lstrip(":")
        raise ValueError(f"name the interface too: 127.0.0.1:{port}, or 0.0.0.0:{port} for all of them")
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})", bind)
    if not found:
        raise ValueError("write host:port as in 127.0.0.1:8000 or [::1]:8000, or the path of a unix socket")
    if not 1 <= int(found[3]) <= 65535:
        raise ValueError("a port is a number from 1 to 65535")
    return Address(host=found[1] or found[2], port=int(found[3]))


def _socket_path(path: Path) -> Path:
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise ValueError(f"the path of a unix socket has at most {LONGEST_SOCKET_PATH} bytes: {path}")
    return path


def _from_environment(config: Config, name: str) -> str:
    if not dotenv.KEY.match(name):
        raise ValueError("after env: stands the name of a variable, as in env:GITHUB_SECRET")
    if name not in config.environ:
        raise ValueError(f"{name} is not set; add {name}=... to {env_file(config.directory, config.environ)}")
    return config.environ[name]


def _from_file(config: Config, name: str) -> str:
    return _file_text(config.directory / name)


def _from_credentials(config: Config, name: str) -> str:
    folder = config.environ.get("CREDENTIALS_DIRECTORY")
    if not name or "/" in name or name == "..":
        raise ValueError("after credential: stands a name without a slash, as in LoadCredential=NAME:PATH")
    if not folder:
        raise ValueError("CREDENTIALS_DIRECTORY is not set; systemd sets it for units with LoadCredential=")
    return _file_text(Path(folder) / name)


def _file_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None


RESOLVERS: Mapping[str, Callable[[Config, str], str]] = {
    "env": _from_environment,
    "file": _from_file,
    "credential": _from_credentials,
    "literal": lambda _, text: text,
}
