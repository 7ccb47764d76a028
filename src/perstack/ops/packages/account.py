"""Who we are to a registry: sign in with a key and out again, and the keys of the organization.

A key that was made is told once, by whoever asked for it; nothing here writes one anywhere but into its own file.
"""

from __future__ import annotations

from typing import Any

import msgspec

from perstack._value import Value
from perstack.errors import RegistryError, UserError
from perstack.registry import Place, RegistryClient, open_client

from .access import Access, open_registry
from .credentials import Credential, forget, keep, kept_credential, origin_of

_UNAUTHORIZED = 401


class Key(Value, frozen=True):
    """A key, as its registry tells of it. prefix: its first letters. secret: of a new one only."""

    id: str
    prefix: str
    name: str
    scopes: tuple[str, ...]
    created_at: str
    expires_at: str
    patterns: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    revoked_at: str = ""
    used_at: str = ""
    account_id: str = ""
    secret: str = msgspec.field(default="", name="key")

    def __repr__(self) -> str:
        return f"Key(id={self.id!r}, prefix={self.prefix!r}, name={self.name!r})"

    __str__ = __repr__


class Organization(Value, frozen=True):
    id: str
    name: str = ""
    organization_type: str = ""


class Account(Value, frozen=True):
    id: str
    name: str = ""


class Identity(Value, frozen=True):
    """`GET /whoami`. scopes: what the key may do now. role: of the account in the organization."""

    key: Key
    organization: Organization
    scopes: tuple[str, ...] = ()
    account: Account | None = None
    role: str = ""
    admin: bool = False


class _Keys(msgspec.Struct, frozen=True):
    keys: tuple[Key, ...]


class _Key(msgspec.Struct, frozen=True):
    key: Key


async def login(access: Access, key: str) -> Identity | None:
    """Keep `key` for the default registry, if that knows it; None if it cannot say whose it is.

    Raises UserError for a key it does not know, RegistryError; nothing is kept then.
    """
    place = access.place()
    if not key or any(not "!" <= character <= "~" for character in key):
        raise UserError("That is no key: it is one word, as the registry gave it.")
    if access.sources.is_offline(access.env):
        raise UserError(
            f"This has to ask {place.url}. Leave out --offline, or unset PERSTACK_OFFLINE."
        )
    async with open_client(Place(url=place.url, key=key)) as client:
        try:
            identity = await _whoami(client)
        except RegistryError as error:
            if error.status == _UNAUTHORIZED:
                raise UserError(
                    f"{place.url} does not know this key, or it has expired."
                ) from error
            if error.status != 404:
                raise
            identity = None
    organization = identity.organization.name if identity else ""
    keep(Credential(origin=origin_of(place.url), key=key, organization=organization), access.env)
    return identity


async def logout(access: Access, *, revoke: bool) -> bool:
    """Delete the key that is kept for the default registry; whether there was one. revoke: there, too."""
    url = access.place().url
    kept = kept_credential(url, access.env)
    if kept is None:
        return False
    if revoke:
        async with open_client(Place(url=url, key=kept.key)) as client:
            try:
                identity = await _whoami(client)
                await client.request("DELETE", f"/keys/{identity.key.id}")
            except RegistryError as error:
                if error.status != _UNAUTHORIZED:  # that one is no longer good for anything
                    raise
    return forget(url, access.env)


async def whoami(access: Access) -> Identity:
    """Raises UserError without a key, RegistryError."""
    async with open_registry(access, needs_key=True) as client:
        return await _whoami(client)


async def _whoami(client: RegistryClient) -> Identity:
    return await client.data("GET", "/whoami", Identity)


async def keys(access: Access) -> tuple[Key, ...]:
    """The keys of the organization, revoked ones too."""
    async with open_registry(access, needs_key=True) as client:
        return (await client.data("GET", "/keys", _Keys)).keys


async def create_key(access: Access, wish: dict[str, Any]) -> Key:
    """A new key; its `secret` is told this once.

    wish: `name`, and if need be `scopes`, `patterns`, `networks`, `expiresInDays`.
    """
    async with open_registry(access, needs_key=True) as client:
        return (await client.data("POST", "/keys", _Key, body=msgspec.json.encode(wish))).key


async def revoke_key(access: Access, which: str) -> Key:
    """Take a key back. which: its id, or its prefix if no other has that. Raises UserError."""
    async with open_registry(access, needs_key=True) as client:
        there = [
            key for key in (await client.data("GET", "/keys", _Keys)).keys if not key.revoked_at
        ]
        found = [key for key in there if which in (key.id, key.prefix)]
        if len(found) != 1:
            how = "Several keys begin" if found else "No key that is in use has this id, or begins"
            raise UserError(f'{how} with "{which}". See `perstack key list`.')
        await client.request("DELETE", f"/keys/{found[0].id}")
    return found[0]
