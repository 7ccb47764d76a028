"""What a command needs to ask registries: the project, if there is one, the environment, the keys, a way there."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from perstack.errors import UserError
from perstack.registry import Place, RegistryClient, open_client

from ..project import Flags, LoadedProject, load_env, load_project, need_project, settle
from .registries import Registries, registries_of
from .sources import Sources


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """loaded: the project, None without one. env: of the process and of env files. registries: with their keys."""

    loaded: LoadedProject | None
    env: dict[str, str]
    cwd: Path
    registries: Registries
    sources: Sources

    @property
    def project(self) -> LoadedProject:
        """The project, where there has to be one."""
        assert self.loaded is not None, "asked for without needs_project"
        return self.loaded

    def place(self, name: str | None = None) -> Place:
        """The registry of an Expert, or the default one."""
        return self.registries.default if name is None else self.registries.of(name)


def access_of(
    config: str | None,
    env_paths: tuple[str, ...],
    sources: Sources,
    env: Mapping[str, str],
    cwd: Path,
    *,
    needs_project: bool = False,
) -> Access:
    """Raises UserError, DefinitionError. env: of the process."""
    find = need_project if needs_project else load_project
    loaded = find(config, cwd, env)
    settings = settle(loaded.project if loaded else None, Flags(env_paths=env_paths))
    variables = load_env(settings.env_paths, env, cwd, required=settings.env_required)
    registries = registries_of(loaded.project if loaded else None, variables, sources)
    return Access(loaded=loaded, env=variables, cwd=cwd, registries=registries, sources=sources)


@asynccontextmanager
async def open_registry(
    access: Access, name: str | None = None, *, needs_key: bool = False
) -> AsyncGenerator[RegistryClient]:
    """The registry of the Expert `name`, or the default one.

    Raises UserError if no connection may be opened, or if there is no key and one is needed.
    """
    place = access.place(name)
    if access.sources.is_offline(access.env):
        raise UserError(
            f"This has to ask {place.url}. Leave out --offline, or unset PERSTACK_OFFLINE."
        )
    if needs_key and not place.key:
        raise UserError(
            f"There is no key for {place.url}. Run `perstack login --registry {place.url}`, "
            "or set PERSTACK_API_KEY."
        )
    async with open_client(place) as client:
        yield client
