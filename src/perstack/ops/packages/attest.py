"""Attest something of a published version, signed here, and look after the keys for that.

The private half of a key stays in its file; the registry learns the public one. What is signed names the document
by its digest, and the registry's log must hold it: else a registry could have us sign for what nobody published.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import msgspec

from perstack.definition import PUBLISH, parse_delegate, predicate_type_fault, predicate_type_of
from perstack.errors import RegistryTampered, UserError
from perstack.registry import (
    Attestation,
    AttestationKey,
    AttestationKeys,
    BadAttestation,
    Cache,
    Claim,
    RegistryClient,
    cache_place,
    check_claims,
    expert_of,
    key_id,
    new_key_pem,
    public_key_of,
    seed_in,
    sign_statement,
)

from .access import Access, open_registry
from .account import Identity, Key
from .ci_key import open_for_publishing
from .credentials import config_home

_PRIVATE = 0o600
MAX_KEY_FILE = 64 * 1024
MAX_PREDICATE = 128 * 1024


class _One(msgspec.Struct, frozen=True):
    attestation: Attestation


class _OneKey(msgspec.Struct, frozen=True):
    key: AttestationKey


def key_file(env: Mapping[str, str]) -> Path:
    """Where a key is, unless the user names another file."""
    return config_home(env) / "perstack" / "signing-key.pem"


async def attest(
    access: Access, key: str, kind: str, predicate: Path | None, signing_key: Path | None
) -> Attestation:
    """Sign a statement about an exact version, and hand it to the registry.

    kind: type of the predicate, or its short name. predicate: file with its JSON; what was published can be said
    without one. signing_key: file, None for the usual one. Raises UserError, RegistryError, RegistryTampered.
    """
    spec = parse_delegate(key)
    if spec.kind != "version":
        raise UserError(f'"{key}" is no exact version. Write it as in @acme/reader@1.0.0.')
    if fault := predicate_type_fault(kind):
        raise UserError(f"{fault}.")
    seed = _seed(signing_key or key_file(access.env))
    url = access.place(spec.name).url
    kind = predicate_type_of(kind)
    told = _predicate(predicate) if predicate else _published(kind, key, url)
    cache = Cache(cache_place(access.env))
    async with open_for_publishing(access, spec.name, _unheard) as client:
        digest = await _digest_of(client, cache, key)
        try:
            envelope = sign_statement(key, digest, kind, told, seed)
        except BadAttestation as error:
            raise UserError(f"This cannot be attested: {error}.") from error
        path = f"/experts/{quote(key, safe='')}/attestations"
        body = msgspec.json.encode(envelope)
        return (await client.data("POST", path, _One, body=body)).attestation


def _unheard(_: Key) -> None:
    """That a job got a key is told by the attestation it makes."""


async def _digest_of(client: RegistryClient, cache: Cache, key: str) -> str:
    """The digest of the document that was published as `key`."""
    found = await client.get(key)
    expert = expert_of(await client.document(found.digest))
    if expert.key != key:
        raise RegistryTampered(
            f"{client.place.url} gives a document of {expert.key} for {key}. Nothing was signed."
        )
    claim = Claim(name=expert.name, version=expert.version or "", digest=found.digest)
    await check_claims(client, cache, [claim])
    return found.digest


def _predicate(path: Path) -> dict[str, Any]:
    try:
        told = msgspec.json.decode(_read(path, MAX_PREDICATE))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not JSON: {error}.") from error
    if not isinstance(told, dict):
        raise UserError(f"{path} must hold a JSON object.")
    return cast("dict[str, Any]", told)


def _published(kind: str, key: str, url: str) -> dict[str, Any]:
    if kind != PUBLISH:
        raise UserError("Name the file with what you attest: --predicate FILE.")
    name, _, version = key[1:].partition("@")
    return {"name": key[:1] + name, "version": version, "registry": url}


# Keys -----------------------------------------------------------------------------------------------------


async def keys(access: Access) -> tuple[AttestationKey, ...]:
    """Those that the organization attests with, revoked ones too."""
    async with open_registry(access, needs_key=True) as client:
        return (await client.data("GET", await _path(client), AttestationKeys)).keys


async def add_key(access: Access, name: str, file: Path | None) -> tuple[AttestationKey, Path]:
    """Let the organization attest with the key in `file`, which is made if it is not there; and where it is."""
    path = file or key_file(access.env)
    async with open_registry(access, needs_key=True) as client:
        place = await _path(client)
        if not path.exists():
            _make(path)
        public = public_key_of(_seed(path))
        wish = {"name": name, "publicKey": base64.b64encode(public).decode()}
        made = await client.data("POST", place, _OneKey, body=msgspec.json.encode(wish))
    if made.key.id != key_id(public):
        raise RegistryTampered(f"{client.place.url} has added another key than it was sent.")
    return made.key, path


async def revoke_key(access: Access, which: str) -> AttestationKey:
    """Take a key back. which: its id, or a beginning of it that no other has."""
    async with open_registry(access, needs_key=True) as client:
        place = await _path(client)
        there = (await client.data("GET", place, AttestationKeys)).keys
        found = [key for key in there if not key.revoked_at and which and key.id.startswith(which)]
        if len(found) != 1:
            how = "Several keys begin" if found else "No key that is in use begins"
            raise UserError(f'{how} with "{which}". See `perstack signing-key list`.')
        await client.request("DELETE", f"{place}/{found[0].id}")
    return found[0]


async def _path(client: RegistryClient) -> str:
    """Where the keys of the caller's organization are."""
    organization = (await client.data("GET", "/whoami", Identity)).organization
    return f"/orgs/{quote(organization.name or organization.id, safe='')}/attestation-keys"


def _make(path: Path) -> None:
    """A new key in a new file that only its owner can read."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
        with os.fdopen(handle, "wb") as file:
            file.write(new_key_pem())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error


def _seed(path: Path) -> bytes:
    try:
        shared = path.stat().st_mode & 0o077
    except FileNotFoundError:
        raise UserError(
            f"There is no key {path}. `perstack signing-key add <name>` makes one; --signing-key names "
            "another file."
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    if shared:
        raise UserError(f"{path} holds a key and can be read by others. Run `chmod 600 {path}`.")
    try:
        return seed_in(_read(path, MAX_KEY_FILE))
    except ValueError as error:
        raise UserError(f"{path} cannot be used: {error}.") from None


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            found = file.read(most + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    if len(found) > most:
        raise UserError(f"{path} has more than {most} bytes.")
    return found
