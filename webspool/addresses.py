"""Where a request comes from: the peer, or what the proxies in front have written; and lists of networks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

HEADERS = ("X-Forwarded-For", "Forwarded")
UNIX_SOCKET = "0.0.0.0"  # noqa: S104 - what uWSGI calls the peer on a unix socket
LONGEST_ADDRESS = 100
LONGEST_ELEMENT = 1000

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]

_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\w+)?|([\d.]+):\w+")
_PAIR = r'[\w!#$%&\'*+.^`|~-]+=(?:"(?:[^"\\]|\\.)*"|[^\s",;]*)'
_ELEMENT = re.compile(rf"\s*{_PAIR}(?:\s*;\s*{_PAIR})*\s*")
_FOR = re.compile(r'(?:^|;)\s*for=(?:"((?:[^"\\]|\\.)*)"|([^\s",;]*))', re.IGNORECASE)


def client_of(environ: Mapping[str, Any], proxies: int, header: str = "X-Forwarded-For") -> str | None:
    """The client's address, as so many trusted proxies in front have told it; None when it cannot be told.

    Each proxy adds the address of whom it serves to the right of `header` (X-Forwarded-For, or Forwarded of
    RFC 7239): with one proxy the last entry counts, with two the last but one, and what stands left of it was
    written by strangers. Without proxies it is the peer of the connection; a unix socket has none.
    """
    if proxies:
        written = environ.get("HTTP_" + header.upper().replace("-", "_"), "")
        entries = _forwarded(written, proxies) if header == "Forwarded" else written.split(",")[-proxies:]
        if entries and entries[0].strip():
            return canonical(entries[0])
    peer = environ.get("REMOTE_ADDR")
    return canonical(peer) if peer and peer != UNIX_SOCKET else None


@dataclass(frozen=True, slots=True)
class Peers:
    """Who may connect and be believed: networks, and whoever reaches our unix socket (`unix`)."""

    networks: Networks
    unix: bool

    @classmethod
    def of(cls, text: str) -> Peers:
        """Networks, addresses and the word unix, with a space between them. Raises ValueError."""
        words = text.split()
        return cls(networks(word for word in words if word != "unix"), "unix" in words)

    @property
    def hold_this_machine(self) -> bool:
        """Whether every program here is among them."""
        return any(within(near, self.networks) for near in ("127.0.0.1", "::1"))

    def hold(self, environ: Mapping[str, Any]) -> bool:
        """Whether the other end of the connection is one of them, whatever middleware has made of its address."""
        peer = environ.get("werkzeug.proxy_fix.orig", environ).get("REMOTE_ADDR")
        if not peer or peer == UNIX_SOCKET:
            return self.unix
        return within(canonical(peer), self.networks)


@lru_cache(maxsize=1024)
def canonical(text: str) -> str | None:
    """An address without port, zone and quotes, an IPv4 one in IPv6 as itself; None when it is no address."""
    found = _read(text)
    return None if found is None else str(found)


def network_of(address: str) -> str:
    """Whom a limit by address counts as one: an IPv4 address, the /64 of an IPv6 one."""
    return str(ip_network((address, 64), strict=False)) if ":" in address else address


def networks(texts: Iterable[str]) -> Networks:
    """Networks and addresses. Raises ValueError that says which is none, and what may be meant."""
    return tuple(_network(text) for text in texts)


@lru_cache(maxsize=1024)
def within(address: str | None, allowed: Networks) -> bool:
    """Whether the address lies in one of the networks; one that is not known lies in none."""
    found = None if address is None else _read(address)
    return found is not None and any(found in network for network in allowed)


def _read(text: str) -> Address | None:
    text = text.strip().strip('"')
    if len(text) > LONGEST_ADDRESS:
        return None
    if found := _WITH_PORT.fullmatch(text):
        text = found[1] or found[2] or ""
    try:
        read = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = read.ipv4_mapped if isinstance(read, IPv6Address) else None
    return mapped or read


def _network(text: str) -> IPv4Network | IPv6Network:
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not text")
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no address or network, as 192.0.2.7 or 2001:db8::/32") from None
    raise ValueError(f"{text!r} is an address with a mask; write {meant}")


def _forwarded(written: str, proxies: int) -> list[str]:
    """The `for` of the last elements, read from the right: what strangers wrote cannot reach over there."""
    found: list[str] = []
    while written.strip() and len(found) < proxies:
        cut = _start_of_the_last(written)
        if cut is None:
            return ["unknown"]
        told = _FOR.search(written[cut:])
        found.insert(0, (told[1] or told[2] or "unknown") if told else "unknown")
        written = written[: max(cut - 1, 0)]
    return found


def _start_of_the_last(written: str) -> int | None:
    """Where the last well-formed element begins; None when the end is none."""
    end = len(written)
    cut = end
    while cut > 0 and end - cut <= LONGEST_ELEMENT:
        cut = written.rfind(",", 0, cut)
        if _ELEMENT.fullmatch(written, cut + 1):
            return cut + 1
        if cut < 0:
            break
    return None
