"""What the service manager is told: systemd's notifications (sd_notify(3)), without a library for one datagram."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

SOCKET = "WEBSPOOL_NOTIFY_SOCKET"
"""Ours in place of NOTIFY_SOCKET: uWSGI would say READY=1 there before its workers have imported anything."""


def notify(*lines: str) -> None:
    """Say it, as in notify("READY=1", "STATUS=serving"); where nobody listens nothing happens."""
    address = os.environ.get(SOCKET, "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto("\n".join(lines).encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
