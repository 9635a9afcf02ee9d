"""Who acts by the command line: this machine's user, on the ledger of its owner."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import click

from webspool.config import Config
from webspool.ledger import reading
from webspool.ledger.client import Client
from webspool.ledger.sockets import SocketRoute
from webspool.operate import Operator


def operator_of(config: Config) -> Operator:
    """Who acts on the ledger, in the name of this machine's user; as root it becomes the ledger's owner."""
    if not reading.exists(config):
        raise click.ClickException(f"There is no ledger yet at {config.ledger_path}: nothing can be done to it.")
    actor = _user()
    become_owner(config)
    return Operator(Client(config.ledger_path, config.output_path, SocketRoute(config.keeper_dir)), actor)


def _user() -> str:
    """The person's name on this machine, also behind sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "somebody"


def become_owner(config: Config, *, handing: Path | None = None) -> None:
    """As root, become the ledger's owner: a file that root makes beside it would shut the instance out.

    `handing`: a folder of root's that the owner has to read, as a backup made by root's cron; it is handed over.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    owner = next((each for each in (config.ledger_path, config.directory) if each.exists()), None)
    standing = owner.stat() if owner else None
    if standing is None or standing.st_uid == 0:
        return
    for path in () if handing is None else (handing, *handing.rglob("*")):
        os.chown(path, standing.st_uid, standing.st_gid, follow_symlinks=False)
    os.setgroups([])
    os.setgid(standing.st_gid)
    os.setuid(standing.st_uid)
