"""Where an Expert runs: one row for each runtime, with what it needs of this machine and how it carries out a job.

A runtime that cannot be had is an error which says what to do; none ever stands in for another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from perstack.definition import RuntimeName
from perstack.engine import Ears, Inbox, Walls, no_walls, run_job
from perstack.errors import UserError
from perstack.job import Job

from ..project import Settings
from ..walls.build import check_walls, walls_of
from ..walls.needs import Need, needs_of, unwalled
from ..walls.places import searched
from .order import Prepared
from .walled import place_for, workplace_for


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """One way to run an Expert.

    check: whether it can be had for what is prepared; gives what it does not hold, one sentence each, and raises
    UserError or SandboxError, before anything is written. carry_out: runs the job until it is finished, parked or
    stopped; raises as `engine.run_job` does. asks_model: our runtime asks a provider's model, and needs its key.
    """

    name: RuntimeName
    check: Callable[[Prepared], Awaitable[tuple[str, ...]]]
    carry_out: Callable[[Prepared, Inbox, Ears], Awaitable[Job]]
    asks_model: bool = True


async def _run_here(prepared: Prepared, inbox: Inbox, ears: Ears) -> Job:
    if prepared.settings.runtime != "local" and _needs(prepared):
        walls = walls_of(prepared.settings, place_for(prepared), prepared.env)
    else:
        walls = no_walls(workplace_for(prepared))
    return await _run(prepared, inbox, ears, walls)


async def _run(prepared: Prepared, inbox: Inbox, ears: Ears, walls: Walls) -> Job:
    return await run_job(
        prepared.plan,
        store=prepared.store,
        open_model=prepared.open_model,
        env=prepared.env,
        inbox=inbox,
        ears=ears,
        frozen=prepared.order.frozen,
        walls=walls,
    )


def _needs(prepared: Prepared) -> tuple[Need, ...]:
    return needs_of(prepared.lock, (prepared.order.expert,))


async def _check_local(prepared: Prepared) -> tuple[str, ...]:
    return unwalled(_needs(prepared))


async def _check_sandbox(prepared: Prepared) -> tuple[str, ...]:
    needs = _needs(prepared)
    remarks = check_walls(prepared.settings, needs, place_for(prepared)) if needs else ()
    return (*remarks, *searched(workplace_for(prepared)))


async def _check_docker(prepared: Prepared) -> tuple[str, ...]:
    from .walled import check_docker

    return (*await check_docker(prepared), *searched(workplace_for(prepared)))


async def _run_in_docker(prepared: Prepared, inbox: Inbox, ears: Ears) -> Job:
    from .walled import open_containers

    async with open_containers(prepared, ears) as walls:
        return await _run(prepared, inbox, ears, walls)


async def _check_foreign(prepared: Prepared) -> tuple[str, ...]:
    from .foreign import check_foreign

    return await check_foreign(prepared)


async def _run_foreign(prepared: Prepared, inbox: Inbox, ears: Ears) -> Job:
    from .foreign import run_with

    return await run_with(prepared, inbox, ears)


def _foreign(name: RuntimeName) -> Runtime:
    """Another vendor's program: it asks its own model."""
    return Runtime(name=name, check=_check_foreign, carry_out=_run_foreign, asks_model=False)


RUNTIMES: dict[RuntimeName, Runtime] = {
    row.name: row
    for row in (
        Runtime(name="sandbox", check=_check_sandbox, carry_out=_run_here),
        Runtime(name="docker", check=_check_docker, carry_out=_run_in_docker),
        Runtime(name="local", check=_check_local, carry_out=_run_here),
        _foreign("claude-code"),
        _foreign("cursor"),
        _foreign("gemini"),
    )
}


def runtime_of(settings: Settings) -> Runtime:
    """The runtime that was asked for, never a weaker one. Raises UserError if this version does not have it."""
    if settings.runtime not in RUNTIMES:
        has = ", ".join(f'"{name}"' for name in RUNTIMES)
        raise UserError(
            f'The runtime "{settings.runtime}" is not available in this version; it has {has}. '
            "Choose one with --runtime (--runtime local runs an Expert with your rights), or with runtime in "
            "perstack.toml."
        )
    return RUNTIMES[settings.runtime]
