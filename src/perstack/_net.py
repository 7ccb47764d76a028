"""Which hosts are what, and whether we may connect to them: the one place that knows.

Addresses are judged after names are looked up, and the address that was judged is the one to connect to. A name
can lead to a private address, and to another one the next time it is asked; that is how a server, or who owns
its name, would reach what only this machine can reach.
"""

from __future__ import annotations

import ipaddress
import socket

import anyio

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is given out for public use. What lies elsewhere is something else, now or later."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_6TO4 = ipaddress.IPv6Network("2002::/16")

_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # a cloud's own channel to its machines
        "192.0.0.0/24",
        "192.88.99.0/24",
        "2001::/23",  # Teredo and other protocols, which carry addresses we would have to judge
        "3fff::/20",  # documentation; the library of older Pythons does not know it
    )
)


class NotPublic(OSError):
    """A host that may not be connected to, since its address is not public."""

    def __init__(self, host: str, address: str) -> None:
        super().__init__(host, address)
        self.host = host
        self.address = address

    def __str__(self) -> str:
        leads = "" if self.host == self.address else f" (it leads to {self.address})"
        return f"{self.host} is not a public host{leads}"


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine by its spelling alone; nothing is looked up."""
    name = host.lower().rstrip(".").removeprefix("[").removesuffix("]")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_public(address: str) -> bool:
    """Whether `address`, an IP address, belongs to the public Internet.

    Not: private, loopback, link-local (with the metadata services of clouds), shared (carrier NAT), multicast,
    reserved and documentation addresses; nor IPv6 addresses that stand for such an IPv4 address.
    """
    plain = ipaddress.ip_address(address.partition("%")[0])
    if any(plain in network for network in _NOT_PUBLIC):
        return False
    if isinstance(plain, ipaddress.IPv4Address):
        return plain.is_global and not plain.is_multicast and not plain.is_reserved
    carried = _carried(plain)
    if carried is not None:
        return is_public(str(carried))
    return plain in _UNICAST and plain.is_global


def _carried(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that `address` stands for."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


async def public_addresses(
    host: str, port: int, *, allow_loopback: bool = False
) -> tuple[str, ...]:
    """The addresses of `host`, a name or an address, to connect to. Looks it up; the order is the system's.

    allow_loopback: let this machine pass, too. Raises NotPublic if a single one of them may not be connected to:
    a name that leads to both kinds is up to no good. Raises OSError if the name cannot be looked up.
    """
    name = host.removeprefix("[").removesuffix("]")
    found = await anyio.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    addresses = tuple(dict.fromkeys(str(place[4][0]) for place in found))
    for address in addresses:
        if not is_public(address) and not (allow_loopback and is_loopback(address)):
            raise NotPublic(name, address)
    return addresses
