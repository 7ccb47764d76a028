"""What an owner does to published versions: tags, status, unpublishing. Each is one request, in the end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

from msgspec.structs import replace

from perstack._value import Value
from perstack.definition import TAG, parse_key, parse_version
from perstack.errors import RegistryError, UserError
from perstack.registry import ExpertDigest, RegistryClient, RegistryExpert, Status, side_by_side

from .access import Access, open_registry
from .payload import LATEST

STATUSES: tuple[Status, ...] = ("available", "deprecated", "disabled")

MOVES: dict[Status, tuple[Status, ...]] = {
    "available": ("deprecated", "disabled"),
    "deprecated": ("disabled",),
    "disabled": (),
}
"""What a version may become."""

_ADVICE = {
    "Expert is delegated to other experts": "Others need it. `perstack status <key> disabled` keeps others away.",
    "Cannot change deprecated expert to available": "Publish a new version instead.",
    "Cannot change status of disabled expert": "Publish a new version instead.",
    "Cannot manually set latest tag": "Publishing moves it: `perstack publish --latest`.",
}


class Version(Value, frozen=True):
    """A published version, as its registry has it now."""

    key: str
    version: str
    status: Status
    tags: tuple[str, ...]


def versioned(key: str) -> str:
    """`key`, which must name one version. Raises UserError."""
    if parse_key(key).version is None:
        raise UserError(f'"{key}" names no version. Write it as in {parse_key(key).name}@1.0.0.')
    return key


def one_version(key: str) -> str:
    """`key`, which must name a version or a tag. Raises UserError."""
    parsed = parse_key(key)
    if parsed.version is None and parsed.tag is None:
        raise UserError(f'"{key}" names no version. Write it as in {parsed.name}@1.0.0.')
    return key


def status_named(text: str) -> Status:
    """The status that `text` is. Raises UserError."""
    for status in STATUSES:
        if text == status:
            return status
    raise UserError(f'"{text}" is no status. It is one of {", ".join(STATUSES)}.')


async def unpublish(access: Access, key: str) -> None:
    """Take a version out of its registry. Its number cannot be used again."""
    versioned(key)
    async with _owner(access, key) as client:
        await client.unpublish(key)


async def set_tags(access: Access, key: str, tags: Iterable[str]) -> Version:
    """Give a version these tags in place of those it has; `latest` stays where it is."""
    wanted = list(dict.fromkeys(tags))
    for tag in wanted:
        if not TAG.fullmatch(tag) or tag.isdigit():
            raise UserError(
                f'"{tag}" is no tag: lower case letters, digits, - and _, not digits alone.'
            )
    return await _update(access, key, {"tags": wanted})


async def set_status(
    access: Access, key: str, status: Status, *, message: str = "", replacement: str = ""
) -> Version:
    """Change the status of a version. message, replacement: what users of a deprecated one are told."""
    change: dict[str, object] = {"status": status}
    told = {"message": message, "replacement": replacement}
    if deprecation := {name: text for name, text in told.items() if text}:
        if status != "deprecated":
            raise UserError("A message and a replacement are for versions that become deprecated.")
        change["deprecation"] = deprecation
    return await _update(access, key, change)


async def _update(access: Access, key: str, change: dict[str, object]) -> Version:
    one_version(key)
    async with _owner(access, key) as client:
        return _version(await client.update(key, change))


async def versions_of(access: Access, name: str) -> tuple[Version, ...]:
    """All versions with their status, the newest first. Raises UserError if there are none."""
    async with open_registry(access, name) as client:
        try:
            found = (await client.versions(name)).versions
        except RegistryError as error:
            if error.status != 404:
                raise
            found = ()
        if not found:
            raise UserError(f"{name} has no published versions in {client.place.url}.")
        # a registry without our additions says the status of one version only
        known = {each.key: each.status for each in found if each.digest}

        async def ask(key: str) -> None:
            known[key] = (await client.get(key)).status

        await side_by_side(ask, [each.key for each in found if each.key not in known])
    versions = [_version(replace(each, status=known[each.key])) for each in found]
    return tuple(sorted(versions, key=lambda each: parse_version(each.version), reverse=True))


def custom_tags(tags: Iterable[str]) -> tuple[str, ...]:
    return tuple(tag for tag in tags if tag != LATEST)


def _version(found: ExpertDigest | RegistryExpert) -> Version:
    return Version(key=found.key, version=found.version, status=found.status, tags=found.tags)


@asynccontextmanager
async def _owner(access: Access, key: str) -> AsyncGenerator[RegistryClient]:
    """The registry of `key`, to change something there; what it refuses comes with advice."""
    try:
        async with open_registry(access, key, needs_key=True) as client:
            yield client
    except RegistryError as error:
        advice = _ADVICE.get(error.reason)
        if advice is None:
            raise
        raise RegistryError(
            f"{error}. {advice}", status=error.status, reason=error.reason, aborted=error.aborted
        ) from error
