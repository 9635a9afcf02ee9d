"""Clients that hold a server up: slow, silent, half gone, deaf; many at once, until the end of the block."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

DRIP_SECONDS = 1.0
PIPELINED = 50

Connect = Callable[[], socket.socket]


@dataclass(frozen=True)
class Manner:
    """What such a client sends at first, and what again and again."""

    first: bytes
    then: bytes = b""


HEAD = b"POST /hooks/github HTTP/1.1\r\nHost: hooks.example.com\r\n"
MANNERS = {
    "idle": Manner(b""),
    "half a line": Manner(b"POST /hoo"),
    "headers a byte at a time": Manner(HEAD + b"X-Long: ", b"a"),
    "half a body": Manner(HEAD + b"Content-Length: 100000\r\n\r\n{"),
    "a body a byte at a time": Manner(HEAD + b"Content-Length: 100000\r\n\r\n{", b" "),
    "deaf": Manner(b"GET /healthz HTTP/1.1\r\nHost: hooks.example.com\r\n\r\n" * PIPELINED),
}


class Crowd:
    """Many clients of one manner, each of which comes again when it is thrown out."""

    def __init__(self, connect: Connect, manner: Manner, number: int) -> None:
        self._connect, self._manner = connect, manner
        self._places: list[socket.socket | None] = [None] * number
        self.thrown_out = -number
        self._over = threading.Event()
        self._all_there = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def begin(self) -> None:
        self._thread.start()
        assert self._all_there.wait(60), "the hostile clients found no way in"

    def end(self) -> None:
        self._over.set()
        self._thread.join()
        for each in self._places:
            if each is not None:
                each.close()

    def _go_on(self) -> None:
        while not self._over.is_set():
            for place, client in enumerate(self._places):
                if client is None or not self._goes_on(client):
                    self._places[place] = self._come()
            self._all_there.set()
            self._over.wait(DRIP_SECONDS)

    def _come(self) -> socket.socket | None:
        self.thrown_out += 1
        try:
            client = self._connect()
            client.settimeout(1.0)
            client.sendall(self._manner.first)
        except OSError:
            return None
        client.setblocking(False)
        return client

    def _goes_on(self, client: socket.socket) -> bool:
        """Whether it is still let in; a deaf one reads nothing, the others take an answer as the end."""
        try:
            if self._manner.then:
                client.send(self._manner.then)
            if self._manner is MANNERS["deaf"]:
                return True
            client.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        except OSError:
            pass
        client.close()
        return False


def bare(port: int) -> Connect:
    """Straight to a port of this machine, with hardly any room for an answer."""

    def connect() -> socket.socket:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.settimeout(5.0)
        client.connect(("127.0.0.1", port))
        return client

    return connect


def tls(port: int, trust: ssl.SSLContext, name: str, source: str) -> Connect:
    """To a port of this machine as that host, from that address."""

    def connect() -> socket.socket:
        client = socket.create_connection(("127.0.0.1", port), timeout=5.0, source_address=(source, 0))
        return trust.wrap_socket(client, server_hostname=name)

    return connect


@contextmanager
def crowd(connect: Connect, manner: str, number: int) -> Iterator[Crowd]:
    """So many clients of that manner, all of them connected before the block begins."""
    made = Crowd(connect, MANNERS[manner], number)
    made.begin()
    try:
        yield made
    finally:
        with suppress(OSError):
            made.end()
