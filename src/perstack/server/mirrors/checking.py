"""What an upstream says, held against what is known of it. Pure; what does not agree is raised as Refused (502).

url: of the upstream, for the error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from perstack.definition import Expert
from perstack.errors import RegistryError
from perstack.lock import Listing, digest_of
from perstack.registry import IndexConfig, expert_of, parse_index

from .faults import wrong

_RARE = ("delegateSpecs", "providerTools", "providerSkills", "providerToolOptions")
"""Members of a document that are left out when they are empty."""


class _Expert(msgspec.Struct, frozen=True):
    expert: dict[str, Any]


class _OneExpert(msgspec.Struct, frozen=True):
    data: _Expert


class _Digest(msgspec.Struct, frozen=True):
    name: str
    version: str = ""
    digest: str = ""


class _Digests(msgspec.Struct, frozen=True):
    versions: tuple[_Digest, ...]


class _Versions(msgspec.Struct, frozen=True):
    data: _Digests


def listing_in(body: bytes, name: str, url: str) -> Listing:
    """What an index file says, which must be that of `name`."""
    try:
        return parse_index(body, name)
    except RegistryError as error:
        raise wrong(f"{url}: {error}") from error


def expert_in(document: bytes, digest: str, url: str) -> Expert:
    """What a document defines, which must have this digest."""
    if digest_of(document) != digest:
        raise wrong(f"{url} gives a document that is not {digest}")
    try:
        return expert_of(document)
    except RegistryError as error:
        raise wrong(f"{url}: {error}") from error


def check_expert(body: bytes, key: str, document: Mapping[str, Any], url: str) -> None:
    """That R1 says of `key` what its document says."""
    try:
        said = msgspec.json.decode(body, type=_OneExpert).data.expert
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise wrong(f"{url} says of {key} what cannot be read") from error
    members = {*document, *_RARE} - {"schema"}
    if said.get("key") != key or any(
        (said.get(member) or None) != (document.get(member) or None) for member in members
    ):
        raise wrong(f"{url} says of {key} what its document does not say")


def check_versions(body: bytes, listing: Listing, url: str) -> None:
    """That R2 says of an Expert's versions what its index says."""
    known = {each.version: each.digest for each in listing.versions}
    try:
        said = msgspec.json.decode(body, type=_Versions).data.versions
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise wrong(f"{url} says of {listing.name} what cannot be read") from error
    for one in said:
        if one.name != listing.name or one.digest not in ("", known.get(one.version, one.digest)):
            raise wrong(f"{url} says of {listing.name} what its index does not say")


def check_config(body: bytes, url: str) -> None:
    """That what the upstream says of itself can be read."""
    try:
        msgspec.json.decode(body, type=IndexConfig)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise wrong(f"{url} says of itself what cannot be read") from error
