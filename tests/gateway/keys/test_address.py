"""Where a caller calls from: the socket, or what trusted proxies say; and which ranges an address lies in."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from gateway.keys.address import NO_PROXIES, Proxies, from_wire_address, from_wire_network, is_within, site_of

PROXIES = Proxies((ip_network("10.0.0.0/8"), ip_network("2001:db8:aaaa::/48")))


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.9"], "192.0.2.1"),  # a stranger's header counts for nothing
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.9"], "198.51.100.9"),
        ("10.0.0.1", ["203.0.113.5, 198.51.100.9"], "198.51.100.9"),  # what the client itself wrote is left of it
        ("10.0.0.1", ["203.0.113.5, 198.51.100.9, 10.0.0.7"], "198.51.100.9"),
        ("10.0.0.1", ["203.0.113.5", "198.51.100.9"], "198.51.100.9"),  # two lines are one list
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["203.0.113.5, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.9:4711"], "198.51.100.9"),
        ("2001:db8:aaaa::1", ["[2001:db8:1::2]:443"], "2001:db8:1::2"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.9"], "198.51.100.9"),
        ("10.0.0.1", [",".join(["10.0.0.9"] * 5000)], "10.0.0.9"),
        ("fe80::1%eth0", [], "fe80::1"),
    ],
)
def test_the_callers_address_is_the_first_that_no_trusted_proxy_has(
    peer: str, forwarded: list[str], expected: str
) -> None:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    assert PROXIES.caller_address(peer, headers) == ip_address(expected)


def test_without_trusted_proxies_the_header_is_never_read() -> None:
    assert NO_PROXIES.caller_address("10.0.0.1", [(b"x-forwarded-for", b"198.51.100.9")]) == ip_address("10.0.0.1")
    assert PROXIES.caller_address(None, [(b"x-forwarded-for", b"198.51.100.9")]) is None


def test_ranges_of_both_families_hold_their_own_addresses_only() -> None:
    ranges = [from_wire_network(text) for text in ("192.0.2.0/25", "203.0.113.7", "2001:db8::/32")]
    inside = ["192.0.2.0", "192.0.2.127", "203.0.113.7", "2001:db8:ffff::1", "::ffff:192.0.2.1"]
    outside = ["192.0.2.128", "203.0.113.8", "2001:db9::1", "::1", "nonsense"]
    assert all(is_within(from_wire_address(text), ranges) for text in inside)
    assert not any(is_within(from_wire_address(text), ranges) for text in outside)
    assert not is_within(None, ranges)


@pytest.mark.parametrize("text", ["", "192.0.2.1/24", "192.0.2.0/33", "300.1.1.1", "2001:db8::/129", "all"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        from_wire_network(text)


def test_an_ipv6_customer_is_its_64_and_an_ipv4_one_its_address() -> None:
    one, same, other = (from_wire_address(f"2001:db8:0:{net}::{host}") for net, host in ((1, 1), (1, 9), (2, 1)))
    assert site_of(one) == site_of(same) == "2001:db8:0:1::/64"
    assert site_of(other) != site_of(one)
    assert site_of(from_wire_address("192.0.2.1")) == "192.0.2.1"
