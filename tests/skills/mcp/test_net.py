"""Which addresses are public: a table, and names that are looked up here."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack._net import NotPublic, is_loopback, is_public, public_addresses

PRIVATE = """
    0.0.0.0 10.255.255.255 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.255 168.63.129.16 169.254.0.1
    169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1 192.168.255.255
    198.18.0.1    198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
    :: ::1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:192.168.1.1 ::ffff:169.254.169.254 64:ff9b::10.0.0.1 64:ff9b::7f00:1
    64:ff9b:1::808:808 100::1 2001::1 2001:db8::1 2002:a00:1:: 2002:7f00:1:: 3fff::1 5f00::1 fc00::1 fd00::1
    fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1
""".split()
PUBLIC = """
    1.1.1.1 8.8.8.8 172.15.0.1 172.32.0.1 100.63.255.255 100.128.0.1 9.255.255.255 11.0.0.0
    ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808:: 2606:4700:4700::1111 2a00:1450:4001::1
""".split()


@pytest.mark.parametrize("address", PRIVATE)
def test_it_is_not_public(address: str):
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_it_is_public(address: str):
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_as_public_in_every_disguise(plain: ipaddress.IPv4Address):
    number = int(plain)
    disguises = (
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80)),
    )
    assert {is_public(str(disguise)) for disguise in disguises} == {is_public(str(plain))}


@given(st.ip_addresses())
def test_what_the_library_knows_to_be_private_is_never_public(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
):
    if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        assert not is_public(str(address)) or (
            isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None
        )


def test_loopback_is_told_by_spelling():
    for name in (
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "[::1]",
    ):
        assert is_loopback(name)
    for name in ("localhost.example.com", "8.8.8.8", "10.0.0.1", "", "x"):
        assert not is_loopback(name)


@pytest.mark.anyio
async def test_a_name_is_judged_by_where_it_leads():
    with pytest.raises(NotPublic) as caught:
        await public_addresses("localhost", 443)
    assert caught.value.host == "localhost"
    assert is_loopback(caught.value.address)
    assert "localhost is not a public host (it leads to" in str(caught.value)


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "2130706433", "0x7f.1", "10.0.0.1", "0"])
async def test_an_address_is_judged_however_it_is_spelled(host: str):
    with pytest.raises(NotPublic):
        await public_addresses(host, 443)


@pytest.mark.anyio
async def test_loopback_passes_if_it_may_and_nothing_else_does():
    assert "127.0.0.1" in await public_addresses("127.0.0.1", 80, allow_loopback=True)
    for host in ("10.0.0.1", "0.0.0.0", "169.254.169.254"):
        with pytest.raises(NotPublic):
            await public_addresses(host, 80, allow_loopback=True)


@pytest.mark.anyio
async def test_a_public_address_is_what_is_connected_to():
    assert await public_addresses("8.8.8.8", 443) == ("8.8.8.8",)
    assert await public_addresses("[2606:4700:4700::1111]", 443) == ("2606:4700:4700::1111",)


@pytest.mark.anyio
async def test_a_name_that_leads_nowhere_is_an_error():
    with pytest.raises(socket.gaierror):
        await public_addresses("no-such-name.invalid", 443)
