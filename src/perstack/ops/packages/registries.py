"""Which registry a name has, and which key it gets.

A name has exactly one registry: its scope's, where the project names one, else the default one. Nothing is looked
for in a second place, so nobody can slip an Expert in under a name of ours. The key of a registry goes to that
registry alone: the variable the project names for it, else one named after the scope, else what `perstack login`
keeps. `PERSTACK_API_KEY` is for the default registry. A mirror gets the key of a registry at its own origin, if
there is one: never that of the registry it stands for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec
from msgspec.structs import replace

from perstack.definition import (
    REGISTRY_KEY,
    Project,
    RegistryPlace,
    plain_url,
    registry_url_fault,
    scope_of,
)
from perstack.errors import UserError
from perstack.registry import Place

from .credentials import kept_key, origin_of
from .sources import Sources

BASE_URL = "PERSTACK_API_BASE_URL"


class Registries(msgspec.Struct, frozen=True, kw_only=True):
    """The registries of a project. scopes: those that are named, by scope such as `@acme`."""

    default: Place
    scopes: dict[str, Place]

    def of(self, name: str) -> Place:
        """The one registry of the Expert `name`, which may have a selector after it."""
        return self.scopes.get(scope_of(name[:1] + name[1:].partition("@")[0]) or "", self.default)

    def at(self, url: str) -> Place | None:
        """The registry that is known by this URL."""
        places = (self.default, *self.scopes.values())
        return next((place for place in places if place.url == url), None)


def registries_of(
    project: Project | None, env: Mapping[str, str], sources: Sources | None = None
) -> Registries:
    """The registries, with the keys for them. env: process and dotenv files together. Raises UserError.

    The URL of the default one is the command line's, else that of `PERSTACK_API_BASE_URL`, else the project's.
    """
    project = project or Project()
    given = (sources.registry if sources else None, "--registry"), (env.get(BASE_URL), BASE_URL)
    url = project.api_base_url
    for text, where in reversed(given):
        if text:
            if problem := registry_url_fault(text):
                raise UserError(f"{where}: {problem}.")
            url = text
    url = plain_url(url)
    default = Place(
        url=url,
        key=env.get(REGISTRY_KEY) or kept_key(url, env),
        mirror=project.registry.mirror,
    )
    scopes = {
        scope: Place(url=place.url, key=_key_of(scope, place, url, env), mirror=place.mirror)
        for scope, place in project.registries.items()
    }
    known = (default, *scopes.values())
    return Registries(
        default=_with_mirror_key(default, known, env),
        scopes={scope: _with_mirror_key(place, known, env) for scope, place in scopes.items()},
    )


def key_variable(scope: str) -> str:
    """The variable with the key for the registry of a scope: `PERSTACK_API_KEY_ACME` for `@acme`."""
    return f"{REGISTRY_KEY}_{re.sub(r'[^A-Z0-9]', '_', scope.removeprefix('@').upper())}"


def _with_mirror_key(place: Place, known: Iterable[Place], env: Mapping[str, str]) -> Place:
    """`place` with the key for its mirror: of one of the registries that are `known`, else the one kept for it."""
    if place.mirror is None:
        return place
    origin = origin_of(place.mirror)
    keys = (each.key for each in known if each.key and origin_of(each.url) == origin)
    return replace(place, mirror_key=next(keys, None) or kept_key(place.mirror, env))


def _key_of(scope: str, place: RegistryPlace, default: str, env: Mapping[str, str]) -> str | None:
    named = env.get(place.key_env) if place.key_env else None
    if key := named or env.get(key_variable(scope)):
        return key
    if origin_of(place.url) == origin_of(default):
        return env.get(REGISTRY_KEY) or kept_key(place.url, env)
    return kept_key(place.url, env)
