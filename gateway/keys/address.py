"""Where a caller calls from, and whether a key may be used from there. Pure.

The address is the socket's own, unless that belongs to a proxy that the operator trusts: then `X-Forwarded-For` is read from its right
end (where trusted proxies write) until an address that is no trusted proxy. What a stranger writes into that header counts for nothing.
An IPv4 address inside IPv6 (`::ffff:192.0.2.1`) is the IPv4 address. Source: MDN, "X-Forwarded-For", read 2026-11.
Errors: `ValueError` for a range that is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_HOPS_MAX = 16
_IPV6_SITE_BITS = 64


def from_wire_network(text: str) -> Network:
    """A range such as `192.0.2.0/24`, `2001:db8::/32`, or one address. Raises `ValueError`."""
    return ip_network(text.strip())


def from_wire_address(text: str) -> Address | None:
    """An address as it stands in a header or a socket's name, with or without a port; None where it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_within(address: Address | None, networks: Sequence[Network]) -> bool:
    """Does an address lie in one of these ranges? An unknown one lies in none."""
    return address is not None and any(address in network for network in networks)


class Proxies:
    """The proxies whose word counts, as ranges; none unless the operator names some."""

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._trusted = tuple(trusted)

    def caller_address(self, peer: str | None, headers: Iterable[tuple[bytes, bytes]]) -> Address | None:
        """The address that a request comes from; None where the socket has none (a Unix socket)."""
        address = from_wire_address(peer or "")
        if not is_within(address, self._trusted):
            return address
        forwarded = b",".join(value for name, value in headers if name == b"x-forwarded-for")
        hops = forwarded.decode("latin-1").split(",") if forwarded else []
        for hop in hops[: -_HOPS_MAX - 1 : -1]:
            before = from_wire_address(hop)
            if before is None:
                break
            address = before
            if not is_within(address, self._trusted):
                break
        return address


NO_PROXIES = Proxies()


def site_of(address: Address | None) -> str:
    """Whom to hold to account for an address: itself, or the /64 of an IPv6 one, which is one customer's."""
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address), _IPV6_SITE_BITS), strict=False))
    return str(address)
