"""Where a request comes from: proxies are counted from the right, and what a stranger writes decides nothing."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webspool.addresses import canonical, client_of, network_of, networks, within

addresses = st.ip_addresses().map(lambda found: canonical(str(found)))


def seen(forwarded: str | None, proxies: int, header: str = "X-Forwarded-For", peer: str | None = "10.0.0.1") -> Any:
    name = "HTTP_" + header.upper().replace("-", "_")
    environ = ({name: forwarded} if forwarded is not None else {}) | ({"REMOTE_ADDR": peer} if peer else {})
    return client_of(environ, proxies, header)


@pytest.mark.parametrize(
    ("forwarded", "proxies", "client"),
    [
        ("192.0.2.7", 0, "10.0.0.1"),
        ("192.0.2.7", 1, "192.0.2.7"),
        ("6.6.6.6, 192.0.2.7", 1, "192.0.2.7"),
        ("6.6.6.6, 192.0.2.7, 10.0.0.2", 2, "192.0.2.7"),
        ("192.0.2.7", 2, "192.0.2.7"),
        (None, 1, "10.0.0.1"),
        ("", 1, "10.0.0.1"),
        ("192.0.2.7:4711", 1, "192.0.2.7"),
        ("[2001:DB8::1]:4711", 1, "2001:db8::1"),
        ("2001:db8:0:0::1", 1, "2001:db8::1"),
        ("::ffff:192.0.2.7", 1, "192.0.2.7"),
        ("fe80::1%eth0", 1, "fe80::1"),
        ("unknown", 1, None),
        ("192.0.2.7, ", 1, "10.0.0.1"),
        ("nonsense" * 100, 1, None),
        ("192.0.2.256", 1, None),
    ],
)
def test_the_client_is_what_the_trusted_proxies_have_told(forwarded: str | None, proxies: int, client: str) -> None:
    """With a port, in brackets, mapped; a shorter way than configured gives the first that is told."""
    assert seen(forwarded, proxies) == client


@pytest.mark.parametrize(
    ("forwarded", "proxies", "client"),
    [
        ("for=192.0.2.7", 1, "192.0.2.7"),
        ('For="[2001:db8::1]:4711";proto=https;by=10.0.0.2', 1, "2001:db8::1"),
        ("for=6.6.6.6, for=192.0.2.7;host=a.example, for=10.0.0.2", 2, "192.0.2.7"),
        ('for=", for=192.0.2.7', 1, "192.0.2.7"),
        ('for="6.6.6.6, for="[2001:db8::1]"', 1, "2001:db8::1"),
        ('x="a,b";for=192.0.2.7', 1, "192.0.2.7"),
        ("proto=https", 1, None),
        ("for=_hidden", 1, None),
        ("for=192.0.2.7, nonsense", 1, None),
        ("for=192.0.2.7, " + "a" * 5000, 1, None),
        ("," * 30000, 1, None),
    ],
)
def test_the_header_of_rfc_7239_is_read_from_the_right(forwarded: str, proxies: int, client: str | None) -> None:
    """A stranger's open quote does not reach over what the proxy has added."""
    assert seen(forwarded, proxies, "Forwarded") == client


@given(st.text(max_size=60), addresses, st.integers(1, 3))
def test_what_stands_left_of_the_trusted_entries_is_nothing(written: str, client: str, proxies: int) -> None:
    """Whatever it is."""
    added = ", ".join([client, *["10.0.0.9"] * (proxies - 1)])
    assert seen(f"{written}, {added}", proxies) == client
    element = f'for="[{client}]"' if ":" in client else f"for={client}"
    added = ", ".join([element, *["for=10.0.0.9"] * (proxies - 1)])
    assert seen(f"{written}, {added}", proxies, "Forwarded") == client


def test_a_unix_socket_has_no_peer() -> None:
    """uWSGI calls it 0.0.0.0; the proxy behind it counts as one all the same."""
    assert seen(None, 0, peer="0.0.0.0") is None
    assert seen(None, 0, peer=None) is None
    assert seen("192.0.2.7", 1, peer="0.0.0.0") == "192.0.2.7"


def test_an_address_lies_in_the_networks_that_hold_it() -> None:
    """IPv4 and IPv6 side by side; one that is not known lies in none."""
    allowed = networks(["192.0.2.0/24", "198.51.100.7", "2001:db8::/32"])
    assert [within(each, allowed) for each in ("192.0.2.255", "198.51.100.7", "2001:db8:ffff::1")] == [True] * 3
    assert [within(each, allowed) for each in ("192.0.3.0", "198.51.100.8", "2001:db9::1", None, "x")] == [False] * 5


@pytest.mark.parametrize(
    ("text", "hint"),
    [("192.0.2.1/24", "write 192.0.2.0/24"), ("office", "no address"), ("192.0.2.0/33", "no address"), (7, "not text")],
)
def test_what_is_no_network_says_what_may_be_meant(text: Any, hint: str) -> None:
    """At start, as a fault of the source."""
    with pytest.raises(ValueError, match=hint):
        networks([text])


@given(st.ip_addresses(v=6))
def test_a_limit_counts_a_whole_ipv6_network_as_one(address: Any) -> None:
    """Whoever has one address has 2**64 of them."""
    first = network_of(str(address))
    assert first == network_of(str(IPv6Address(int(address) ^ 0xFFFF_FFFF)))
    assert network_of("192.0.2.7") == "192.0.2.7"
