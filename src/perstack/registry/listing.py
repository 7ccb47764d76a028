"""The index file of an Expert: its versions and tags, and what may not change from one copy to the next."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from perstack.definition import DIGEST, EXPERT_VERSION, TAG
from perstack.errors import RegistryError, RegistryTampered
from perstack.lock import Candidate, Listing

from .client import RegistryClient, Versions
from .wire import IndexLine


class _Line(msgspec.Struct, frozen=True):
    v: int = 0
    tags: dict[str, str] | None = None


def parse_index(body: bytes, name: str) -> Listing:
    """What an index file says of `name`. Lines of an unknown kind are skipped. Raises RegistryError."""
    versions: dict[str, Candidate] = {}
    tags: Mapping[str, str] = {}
    try:
        for line in body.splitlines():
            if not line.strip():
                continue
            kind = msgspec.json.decode(line, type=_Line)
            if kind.tags is not None:
                tags = kind.tags
            elif kind.v == 1:
                found = msgspec.json.decode(line, type=IndexLine)
                _check_line(found, name)
                versions[found.vers] = Candidate(
                    version=found.vers,
                    digest=found.digest,
                    status=found.status,
                    published_at=found.published_at,
                    log=found.log,
                )
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RegistryError(f"The index of {name} cannot be read: {error}.") from error
    known = {tag: to for tag, to in tags.items() if TAG.fullmatch(tag) and to in versions}
    return Listing(name=name, versions=tuple(versions.values()), tags=known)


def listing_of(versions: Versions, name: str) -> Listing:
    """The same from a registry that has no index, only R2. It may know no digests: they are empty then."""
    candidates: list[Candidate] = []
    tags: dict[str, str] = {"latest": versions.latest} if versions.latest else {}
    for found in versions.versions:
        version = found.version or found.key.rpartition("@")[2]
        candidates.append(
            Candidate(
                version=version,
                digest=found.digest if DIGEST.fullmatch(found.digest) else "",
                status=found.status,
                published_at=found.created_at,
            )
        )
        tags |= dict.fromkeys(found.tags, version)
    usable = tuple(c for c in candidates if EXPERT_VERSION.fullmatch(c.version))
    return Listing(name=name, versions=usable, tags=tags)


async def check_follows(client: RegistryClient, name: str, before: bytes, after: bytes) -> None:
    """Pass if an index file may follow another: what was published stays, or was taken back.

    A version that is not in it any more must be gone from the registry, too; else the file is an old one, played
    again. Raises RegistryTampered.
    """
    check_grown(before, after, name)
    now = {c.version for c in parse_index(after, name).versions}
    for old in parse_index(before, name).versions:
        if old.version not in now and await _is_there(client, f"{name}@{old.version}"):
            raise RegistryTampered(
                f"The registry's index of {name} has no {old.version} any more, and the registry has it still. "
                "The index is an old one, shown again by the registry or by something on the way to it. Nothing "
                "of it was used."
            )


async def _is_there(client: RegistryClient, key: str) -> bool:
    """Whether everyone can still get a version. What its owner alone can see counts as disabled."""
    try:
        return (await client.get(key)).status != "disabled"
    except RegistryError as error:
        if error.status != 404:
            raise
        return False


def check_grown(before: bytes, after: bytes, name: str) -> None:
    """Pass if no version of an index file is another document in the next. Raises RegistryTampered."""
    now = {c.version: c.digest for c in parse_index(after, name).versions}
    for old in parse_index(before, name).versions:
        if (digest := now.get(old.version, old.digest)) != old.digest:
            raise RegistryTampered(
                f"The registry says that {name}@{old.version} is {digest}; before, it said {old.digest}. "
                "What was published never changes, so one of them is a lie. Nothing of it was used."
            )


def _check_line(line: IndexLine, name: str) -> None:
    if line.name != name:
        raise RegistryError(f"The index of {name} is about {line.name}.")
    if not EXPERT_VERSION.fullmatch(line.vers) or not DIGEST.fullmatch(line.digest):
        raise RegistryError(f"The index of {name} has a version that is none: {line.vers!r}.")
