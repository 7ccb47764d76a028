"""Keys, and what whoever holds one may do. Pure, but for the drawing of a new key.

A key is `psk_`, 43 characters that stand for 256 random bits, and 6 that check them, all base 62. Only its
SHA-256 is kept. It belongs to an organization and, unless it is a machine's own, to an account; it allows what
its scopes name, and never more than the account's role in the organization does at that moment.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Scope = Literal[
    "read", "publish-new", "publish-update", "status", "tag", "unpublish", "owners", "keys", "audit"
]
Role = Literal["owner", "maintainer", "publisher", "reader"]
OrganizationType = Literal["personal", "personalPlus", "team", "serviceAdmin"]

SCOPES: tuple[Scope, ...] = get_args(Scope)
ROLES: tuple[Role, ...] = get_args(Role)

ALLOWED: dict[Role, frozenset[Scope]] = {
    "owner": frozenset(SCOPES),
    "maintainer": frozenset(SCOPES) - {"owners", "keys"},
    "publisher": frozenset({"read", "publish-new", "publish-update", "tag"}),
    "reader": frozenset({"read"}),
}
"""What each role may do in its organization."""

SIGN = "psk_"
SHOWN = 8
"""Characters of a key that are kept, to tell it from others."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY = 43
_CHECK = 6


def _base62(number: int, length: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 62)
        text = _DIGITS[digit] + text
    return text.rjust(length, "0")


def new_key() -> str:
    """A key nobody else has."""
    body = _base62(secrets.randbits(256), _BODY)
    return SIGN + body + _check(body)


def _check(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK)


def is_key(text: str) -> bool:
    """Whether `text` has the form of a key and no letter of it was mistyped."""
    if not text.isascii() or not text.startswith(SIGN) or len(text) != len(SIGN) + _BODY + _CHECK:
        return False
    body, check = text[len(SIGN) : -_CHECK], text[-_CHECK:]
    return _check(body) == check


def hash_of(key: str) -> bytes:
    """What is kept of a key. It is looked up by this hash, so how long that takes says nothing about keys."""
    return hashlib.sha256(key.encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose key came with a request. scopes: what it may do now. patterns: names of Experts, none for all."""

    key: str
    organization: str
    organization_name: str | None
    organization_type: OrganizationType
    account: str | None
    account_name: str | None
    role: Role | None
    scopes: frozenset[Scope]
    patterns: tuple[str, ...] = ()

    @property
    def is_admin(self) -> bool:
        """Whether it may do what only who runs the server may."""
        return self.organization_type == "serviceAdmin"

    def may(self, scope: Scope, name: str | None = None) -> bool:
        """Whether it may do this, to the Expert called `name` if it is about one."""
        return scope in self.scopes and (name is None or covers(self.patterns, name))


def covers(patterns: Iterable[str], name: str) -> bool:
    """Whether one of `patterns` fits; none at all fits every name."""
    patterns = tuple(patterns)
    return not patterns or any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
        for pattern in patterns
    )


def comes_from(networks: Iterable[str], address: str) -> bool:
    """Whether `address` lies in one of `networks` (CIDR); none at all holds every address."""
    networks = tuple(networks)
    if not networks:
        return True
    try:
        place = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(place, ipaddress.IPv6Address) and place.ipv4_mapped:
        place = place.ipv4_mapped
    return any(place in ipaddress.ip_network(network, strict=False) for network in networks)
