"""What an Expert is given when it runs: nothing of it is hidden, and no model is needed to see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perstack.definition import (
    Limits,
    Reasoning,
    RuntimeName,
    compose_instruction,
)
from perstack.engine import toolboxes_of, unpinned
from perstack.job import Json, utc
from perstack.lock import Lock
from perstack.models import default_model

from .packages.locking import lock_to_run
from .project import Settings, load_env, load_project, settle
from .running.order import Order, store_of
from .running.provided import Provided, provided_to
from .walls.build import policies_of
from .walls.needs import needs_of
from .walls.places import place_of

if TYPE_CHECKING:
    from perstack.sandbox import Policy as WallPolicy


class ShownTool(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One tool as the model is told of it. answered_by: the skill, delegate or person behind it."""

    name: str
    description: str
    input_schema: dict[str, Json]
    answered_by: str


class Shown(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One Expert as it would run now. starts_servers: skills whose tools only their servers know,
    since no lock pins them. provided: what it and its delegates use at the provider, where no wall reaches."""

    key: str
    version: str
    integrity: str
    provider: str
    model: str
    reasoning: Reasoning
    limits: Limits
    delegates: tuple[str, ...]
    starts_servers: tuple[str, ...]
    tools: tuple[ShownTool, ...]
    instruction: str
    runtime: RuntimeName
    walls: tuple[WallPolicy, ...]
    approve: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    provided: tuple[Provided, ...] = ()


async def show(order: Order, at: float) -> Shown:
    """What the Expert of `order` would be given. at: stands for the start of the run, seconds since 1970.

    Raises UnknownExpert, DefinitionError, UserError, and what `lock_of` raises.
    """
    loaded = load_project(order.config, order.cwd, order.env)
    settings = settle(loaded.project if loaded else None, order.flags)
    env = load_env(settings.env_paths, order.env, order.cwd, required=settings.env_required)
    locked = await lock_to_run(
        order.expert, loaded, frozen=order.frozen, env=env, sources=order.sources
    )
    lock = locked.lock
    key = lock.key_of(order.expert)
    pin = lock.experts[key]
    delegates = lock.delegates_of(key)
    box = toolboxes_of(lock)[key]
    return Shown(
        key=key,
        version=pin.expert.version,
        integrity=pin.integrity,
        provider=settings.provider,
        model=settings.model or default_model(settings.provider),
        reasoning=settings.reasoning,
        limits=settings.limits,
        delegates=tuple(delegate.key for delegate in delegates),
        starts_servers=unpinned(pin),
        tools=tuple(
            ShownTool(
                name=entry.tool.name,
                description=entry.tool.description,
                input_schema=entry.tool.schema,
                answered_by=entry.skill,
            )
            for entry in box.entries.values()
        ),
        instruction=compose_instruction(
            pin.expert, delegates, at=utc(at), workspace=str(order.workspace)
        ),
        runtime=settings.runtime,
        approve=pin.expert.approve,
        deny=pin.expert.deny,
        provided=provided_to(lock, key),
        walls=_walls(order, settings, lock),
    )


def _walls(order: Order, settings: Settings, lock: Lock) -> tuple[WallPolicy, ...]:
    """The walls of what the Expert and its delegates start. A workspace that cannot be walled has none to show."""
    needs = needs_of(lock, (order.expert,))
    if settings.runtime == "local" or not needs:
        return ()
    place = place_of(settings, order.workspace, order.env, store_of(order), order.read, order.cwd)
    return policies_of(settings.runtime, needs, place, order.env, order.passed)
