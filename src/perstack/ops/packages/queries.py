"""Questions to registries that change nothing: what is there, what is it, how do two versions differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches, unified_diff

import msgspec

from perstack._value import Value
from perstack.definition import Expert, parse_delegate, scope_of
from perstack.errors import RegistryError, RegistryTampered, UnknownExpert
from perstack.lock import Change, Grant, NoVersion, changes, reach_of
from perstack.registry import (
    Attested,
    Cache,
    Claim,
    ExpertDigest,
    RegistryClient,
    RegistryExpert,
    SearchFound,
    SearchHit,
    cache_place,
    expert_of,
    side_by_side,
)

from .access import Access, open_registry
from .attested import attested
from .upkeep import Version

_MISSING = 404
_NO_SUCH = (404, 405, 501)


class Hit(Value, frozen=True):
    """An Expert that was found, in its latest version."""

    name: str
    version: str
    description: str
    status: str
    owner: str = ""
    updated_at: str = ""


class Hits(Value, frozen=True):
    """total: how many there are in all; 0 if the registry does not count. cursor: for the next page."""

    experts: tuple[Hit, ...]
    total: int = 0
    cursor: str = ""


class About(Value, frozen=True):
    """One version, what it may touch, what is attested of it, and the others there are, the newest first."""

    expert: RegistryExpert
    reach: tuple[Grant, ...]
    versions: tuple[Version, ...] = ()
    attested: tuple[Attested, ...] = ()


class Difference(Value, frozen=True):
    """before, after: exact keys. instruction: a unified diff, empty if it is the same."""

    before: str
    after: str
    changes: tuple[Change, ...]
    instruction: str = ""

    @property
    def widens(self) -> bool:
        return any(change.effect == "widen" for change in self.changes)


async def search(
    access: Access, words: str, filters: Mapping[str, str], *, take: int = 20, cursor: str = ""
) -> Hits:
    """Experts of the default registry. filters: scope, package, env, tag, status, sort.

    A registry that has no search is asked for names that begin with `words`.
    """
    query: dict[str, str | int] = {"q": words, **filters, "take": take}
    if cursor:
        query["cursor"] = cursor
    async with open_registry(access) as client:
        try:
            found, meta = await client.page("GET", "/search", SearchFound, query)
        except RegistryError as error:
            if error.status not in _NO_SUCH:
                raise
            return await _listed(client, words, take)
    return Hits(experts=_hits(found.experts), total=int(meta.get("total", 0)), cursor=found.cursor)


def _hits(found: Iterable[SearchHit | RegistryExpert]) -> tuple[Hit, ...]:
    return tuple(
        Hit(
            name=each.name,
            version=each.version,
            description=each.description,
            status=each.status,
            owner=each.owner.name or "",
            updated_at=each.updated_at,
        )
        for each in found
    )


async def _listed(client: RegistryClient, prefix: str, take: int) -> Hits:
    query: dict[str, str | int] = {"filter": prefix} if prefix else {}
    found = await client.experts(**query, take=take)
    return Hits(experts=_hits(found.experts), total=found.total)


async def about(access: Access, spec: str) -> About:
    """The version that `spec` selects. Raises UserError for what is no spec or selects nothing, RegistryError."""
    name = parse_delegate(spec).name
    async with open_registry(access, name) as client:
        found = await _selected(client, spec)
        expert = await _definition(client, found)
        listed = (await client.versions(name)).versions
        claim = Claim(name=name, version=found.version, digest=found.digest)
        owner = found.owner.name or found.owner.organization_id
        cache = Cache(cache_place(access.env))
        there = await attested(client, cache, claim, owner) if found.digest else ()
    versions = (
        Version(key=each.key, version=each.version, status=each.status, tags=each.tags)
        for each in listed
    )
    return About(
        expert=found, reach=reach_of(expert).grants, versions=tuple(versions), attested=there
    )


async def diff(access: Access, before: str, after: str) -> Difference:
    """How two versions differ, of one Expert or of two. Raises UserError, RegistryError."""
    found: dict[str, Expert] = {}

    async def look(spec: str) -> None:
        async with open_registry(access, parse_delegate(spec).name) as client:
            found[spec] = await _definition(client, await _selected(client, spec))

    await side_by_side(look, {before, after})
    old, new = found[before], found[after]
    lines = unified_diff(
        old.instruction.splitlines(),
        new.instruction.splitlines(),
        old.key,
        new.key,
        lineterm="",
    )
    return Difference(
        before=old.key, after=new.key, changes=changes(old, new), instruction="\n".join(lines)
    )


async def _selected(client: RegistryClient, spec: str) -> RegistryExpert:
    """The version that `spec` selects. Raises UnknownExpert, NoVersion with the versions there are."""
    try:
        return await client.get(spec)
    except RegistryError as error:
        if error.status != _MISSING:
            raise
        name = parse_delegate(spec).name
        there = await _versions(client, name)
        if there is None:
            raise UnknownExpert(spec, await _near(client, name), client.place.url) from error
        others = ((each.version, each.status) for each in there)
        raise NoVersion(
            spec, f"{name} has no such version, or none that you may see.", others
        ) from error


async def _versions(client: RegistryClient, name: str) -> tuple[ExpertDigest, ...] | None:
    try:
        return (await client.versions(name)).versions
    except RegistryError as error:
        if error.status != _MISSING:
            raise
        return None


async def _near(client: RegistryClient, name: str) -> list[str]:
    """Names of the registry like this one: of its scope, or with its first letters."""
    scope = scope_of(name)
    found = await client.experts(filter=f"{scope}/" if scope else name[:2], take=100)
    return get_close_matches(name, [each.name for each in found.experts], n=2)


async def _definition(client: RegistryClient, found: RegistryExpert) -> Expert:
    """What was published, out of its document; out of the answer, where a registry has no documents."""
    if found.digest:
        expert = expert_of(await client.document(found.digest))
        if expert.key != found.key:
            raise RegistryTampered(
                f"{client.place.url} gives a document of {expert.key} for {found.key}. Do not rely on it."
            )
        return expert
    try:
        return msgspec.convert(
            {
                "key": found.key,
                "name": found.name,
                "version": found.version,
                "instruction": found.instruction,
                "description": found.description,
                "skills": found.skills,
                "delegates": found.delegate_specs or found.delegates,
            },
            Expert,
        )
    except msgspec.ValidationError as error:
        raise RegistryError(f"{found.key} is no Definition: {error}.") from error
