"""The walls of a job that is about to run."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from perstack._kept import Place
from perstack.engine import Ears, Walls
from perstack.errors import UserError
from perstack.job import Job, Notice

from ..walls.build import policies_of
from ..walls.needs import needs_of
from ..walls.places import place_of, workplace
from .order import Prepared

if TYPE_CHECKING:  # loaded where something is to be walled
    from perstack.sandbox import Policy as WallPolicy


def policies_for(prepared: Prepared) -> tuple[WallPolicy, ...]:
    """The walls of a job that is about to run; () where there are none."""
    if prepared.settings.runtime == "local":
        return ()
    needs = needs_of(prepared.lock, (prepared.order.expert,))
    if not needs:
        return ()
    runtime, passed = prepared.settings.runtime, prepared.order.passed
    return policies_of(runtime, needs, place_for(prepared), prepared.env, passed)


def place_for(prepared: Prepared) -> Place:
    """Where a job that is about to run works. Raises as `place_of` does."""
    order = prepared.order
    return place_of(
        prepared.settings,
        order.workspace,
        prepared.env,
        prepared.store,
        order.read,
        order.cwd,
        drafts=order.drafts,
    )


def workplace_for(prepared: Prepared) -> Place:
    """The same, whether or not it can be walled."""
    order = prepared.order
    return workplace(
        prepared.settings,
        order.workspace,
        prepared.env,
        prepared.store,
        order.cwd,
        drafts=order.drafts,
    )


async def check_docker(prepared: Prepared) -> tuple[str, ...]:
    """Whether there is a docker to use, and the variables to pass. Raises SandboxError, UserError."""
    from ..walls.docker import check_daemon

    await check_daemon(prepared.order.env, prepared.order.workspace)
    missing = [name for name in prepared.order.passed if not prepared.env.get(name)]
    if missing:
        raise UserError(f"Missing required environment variables: {', '.join(missing)}")
    if os.getuid() == 0 and os.stat(prepared.order.workspace).st_uid == 0:
        return (
            "Programs in containers run as root, without its rights, since the workspace is root's.",
        )
    return ()


@asynccontextmanager
async def open_containers(prepared: Prepared, ears: Ears) -> AsyncGenerator[Walls]:
    """The walls of what is prepared; their image is built first if need be. Raises SandboxError."""

    from perstack.sandbox import open_container_walls

    from ..walls.docker import load_image

    def tell(notice: Notice) -> None:
        ears.notice(Job(), notice)

    order = prepared.order
    image = await load_image(order.env, tell, order.workspace)
    async with open_container_walls(
        image, place_for(prepared), prepared.env, passed=order.passed
    ) as walls:
        yield walls
