"""What `webspool init --systemd --nginx` writes beside an instance: unit, socket and site, with its real paths."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from webspool.config import Address, Config
from webspool.errors import ConfigurationError

TEMPLATE = Path(__file__).parent.parent / "server_template"
UNIT = ("webspool.service", "webspool.socket")
SITE = ("nginx.conf",)
PROGRAMS = Path(sys.executable).parent
HIDDEN_FROM_A_SERVICE = ("/tmp", "/var/tmp", "/run", "/dev", "/proc", "/sys")  # noqa: S108
HOMES = ("/home", "/root", "/run/user")


def refuse_unusable(directory: Path) -> None:
    """Raises ConfigurationError when a unit could not run an instance that lies there."""
    if faults := [*_faults(directory), *_faults(PROGRAMS)]:
        raise ConfigurationError(where=str(directory), faults=faults)


def write_server_files(config: Config, names: tuple[str, ...]) -> list[str]:
    """Write these files to `deploy/` of the instance, over those of an earlier call. Returns their names there."""
    values = server_values(config, PROGRAMS)
    folder = config.directory / "deploy"
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(filled((TEMPLATE / name).read_text(encoding="utf-8"), values), encoding="utf-8")
    return [f"deploy/{name}" for name in names]


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with @name@ replaced, for the names that there are; systemd's own @sets stay."""
    return re.sub(r"@(\w+)@", lambda found: values.get(found[1], found[0]), text)


def _faults(path: Path) -> list[str]:
    if not re.fullmatch(r"[\w./+-]+", str(path), re.ASCII):
        return [f"{path}: a unit's paths are of ASCII letters, digits and . _ + - only; choose another"]
    if _below(path, HIDDEN_FROM_A_SERVICE):
        return [f"{path}: the service does not see that path (PrivateTmp=); choose one as /srv/hooks"]
    return []


def _below(path: Path, folders: tuple[str, ...]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def server_values(config: Config, programs: Path) -> dict[str, str]:
    """What stands in the templates between @ and @."""
    address = _reachable(config.address)
    needed = (config.directory, programs, Path(sys.base_prefix).resolve())
    return {
        "directory": str(config.directory),
        "programs": str(programs),
        "protect_home": "read-only" if any(_below(path, HOMES) for path in needed) else "yes",
        "address": address,
        "upstream": f"unix:{address}" if address.startswith("/") else address,
        "max_body": str(config.max_body),
    }


def _reachable(address: Address) -> str:
    """Where the socket unit listens. An address without a host is one that systemd gave: then the usual one."""
    return "127.0.0.1:8000" if address.descriptor is not None else str(address)


def commands(config: Config, names: tuple[str, ...]) -> str:
    """What to type next, as root."""
    directory, lines = config.directory, []
    if set(UNIT) & set(names):
        lines += [
            "useradd --system --home-dir /var/lib/webspool --shell /usr/sbin/nologin webspool",
            f"chown -R webspool: {directory}/var {directory}/my_spools {directory}/.env",
            f"install -D -m 644 /dev/null /etc/webspool/instance && echo {directory} > /etc/webspool/instance",
            f"cp {directory}/deploy/webspool.service {directory}/deploy/webspool.socket /etc/systemd/system/",
            "systemctl daemon-reload && systemctl enable --now webspool.socket webspool.service",
        ]
    if set(SITE) & set(names):
        lines += [
            f"cp {directory}/deploy/nginx.conf /etc/nginx/sites-available/webspool   # then put your name into it",
            "ln -s ../sites-available/webspool /etc/nginx/sites-enabled/ && nginx -t && systemctl reload nginx",
        ]
    return "\n".join(f"  {line}" for line in lines)


def make_writable_folders(config: Config) -> None:
    """`var/` has to be there before the unit starts: it is what systemd lets the service write to."""
    config.var.mkdir(mode=0o700, exist_ok=True)
    os.chmod(config.spool_path, 0o700)
