"""Walls built around what a job's skills start, or, where they cannot be, what to do.

In the runtimes "sandbox" and "docker" each program gets its walls, or does not run.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from perstack._kept import Place
from perstack.definition import RuntimeName
from perstack.engine import NO_WALLS, Walls, no_walls
from perstack.errors import SandboxError

from ..history.jobs import history_place, store_at
from ..project import Settings
from .needs import Need
from .places import place_of

if TYPE_CHECKING:  # loaded where something is to be walled
    from perstack.sandbox import Policy as WallPolicy


def walls_of(settings: Settings, place: Place, env: Mapping[str, str]) -> Walls:
    """What is built around the programs of a job's skills in its runtime."""
    if settings.runtime == "local":
        return no_walls(place)
    from perstack.sandbox import NativeWalls

    return NativeWalls(place, env)


@asynccontextmanager
async def open_walls(
    settings: Settings,
    needs: tuple[Need, ...],
    workspace: Path,
    env: Mapping[str, str],
    read: tuple[Path, ...],
) -> AsyncGenerator[Walls]:
    """What is built around servers that are asked for their tools. Raises SandboxError, UserError."""
    if settings.runtime == "local" or not needs:
        yield NO_WALLS
        return
    history = history_place(None, None, env, workspace)
    store = None if isinstance(history, str) else store_at(history)
    place = place_of(settings, workspace, env, store, read)
    if settings.runtime != "docker":
        check_walls(settings, needs, place)
        yield walls_of(settings, place, env)
        return
    from perstack.sandbox import open_container_walls

    from .docker import check_daemon, load_image

    await check_daemon(env, workspace)
    image = await load_image(env, lambda _: None, workspace)
    async with open_container_walls(image, place, env) as walls:
        yield walls


def check_walls(settings: Settings, needs: tuple[Need, ...], place: Place) -> tuple[str, ...]:
    """Whether the walls that are needed can be built; what is to be said of it.

    Raises SandboxError if not, unless all that needs them is an `exec` that every Expert has who does not say
    otherwise: then that is refused when it is called. It may never be, so nothing is tried for it now.
    """
    from perstack.sandbox import layers_of, look_for_layers

    if settings.runtime_chosen or any(need.named for need in needs):
        layers_of(place.workspace)
    elif needs:
        try:
            look_for_layers(place.workspace)
        except SandboxError as error:
            return (f"warning: No program can be run, and `exec` will be refused. {error}",)
    return ()


def policies_of(
    runtime: RuntimeName,
    needs: tuple[Need, ...],
    place: Place,
    env: Mapping[str, str],
    passed: tuple[str, ...] = (),
) -> tuple[WallPolicy, ...]:
    """The walls that each of `needs` gets; those that are alike once. passed: see `Order`."""
    from perstack.sandbox import container_policy, policy_for

    found: list[WallPolicy] = []
    for need in needs:
        if runtime == "docker":
            policy = container_policy(
                need.name, need.skill, env, place, passed=passed, serves=need.serves
            )
        else:
            policy = policy_for(need.name, need.skill, env, place, serves=need.serves)
        if policy not in found:
            found.append(policy)
    return tuple(found)
