"""What the Experts of a job use at the provider besides its replies: whether it is there, what to say of it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from perstack.definition import Expert, ProviderAccess, ProviderName, provider_faults, uses_provider
from perstack.errors import UserError
from perstack.lock import Lock
from perstack.models import provider_tools_refusal


class Provided(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one Expert uses at the provider: names of tools, their options, ids of skills."""

    expert: str
    tools: tuple[str, ...] = ()
    options: dict[str, dict[str, object]] = msgspec.field(
        default_factory=dict[str, dict[str, object]]
    )
    skills: tuple[str, ...] = ()


def provided_to(lock: Lock, root: str) -> tuple[Provided, ...]:
    """What `root` and its delegates use at the provider; only those that use anything."""
    return tuple(
        Provided(
            expert=key,
            tools=expert.provider_tools,
            options=expert.provider_tool_options,
            skills=tuple(
                skill.get("skillId") or skill.get("name", "") for skill in expert.provider_skills
            ),
        )
        for key, expert in _users(lock, root)
    )


def check_provided(lock: Lock, root: str, access: ProviderAccess, model: str) -> None:
    """Everything that `root` and its delegates want of the provider can be sent to it. Raises UserError."""
    faults: list[str] = []
    for key, expert in _users(lock, root):
        for fault in provider_faults(access.provider, expert):
            hint = f" ({fault.hint})" if fault.hint else ""
            faults.append(f"{key}: {'.'.join(fault.at)}: {fault.what}{hint}")
        refusal = provider_tools_refusal(access, model)
        if not faults and refusal:
            named = ", ".join(expert.provider_tools)
            faults.append(f"{key}: tools of the provider ({named}) cannot be used: {refusal}")
    if faults:
        lines = "".join(f"\n  - {line}" for line in faults)
        raise UserError(f"The provider cannot do what is asked of it:{lines}")


def outside_walls(lock: Lock, root: str, provider: ProviderName) -> tuple[str, ...]:
    """What runs at the provider, where no wall of ours reaches: a sentence for each Expert."""
    return tuple(sentence_of(row, provider) for row in provided_to(lock, root))


def sentence_of(row: Provided, provider: str) -> str:
    """What runs at the provider for one Expert."""
    what = [_with_options(tool, row.options.get(tool, {})) for tool in row.tools]
    what += [f"skill {skill}" for skill in row.skills]
    verb = "runs" if len(what) == 1 else "run"
    return f"{', '.join(what)} of {row.expert} {verb} at {provider}, outside the walls."


def _with_options(tool: str, options: dict[str, object]) -> str:
    if not options:
        return tool
    told = (
        f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}"  # pyright: ignore[reportUnknownArgumentType]  # texts
        for name, value in options.items()
    )
    return f"{tool} ({'; '.join(told)})"


def _users(lock: Lock, root: str) -> Iterator[tuple[str, Expert]]:
    todo, seen = [root], set[str]()
    while todo:
        key = lock.key_of(todo.pop(0))
        if key in seen:
            continue
        seen.add(key)
        expert = lock.expert(key)
        todo += expert.delegates
        if uses_provider(expert):
            yield key, expert
