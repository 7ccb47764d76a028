"""Between a lock and a toolbox: pinned tools as tools, tools as pins, and whether a server keeps to them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from perstack.definition import BASE_SKILL, Expert, InteractiveSkill, StdioSkill
from perstack.lock import Pin, PinnedTool, differences
from perstack.skills import Tool, Toolbox, is_bundled, toolbox_of


def is_served(expert: Expert, name: str) -> bool:
    """Whether only a server knows the tools of this skill of `expert`."""
    skill = expert.skills.get(name)
    if skill is None or isinstance(skill, InteractiveSkill):
        return False
    return not (name == BASE_SKILL and isinstance(skill, StdioSkill) and is_bundled(skill))


def unpinned(pin: Pin) -> tuple[str, ...]:
    """The skills of an Expert whose servers must be asked for their tools."""
    return tuple(
        name for name in pin.expert.skills if is_served(pin.expert, name) and name not in pin.tools
    )


def pinned_tools(pin: Pin) -> dict[str, tuple[Tool, ...]]:
    """The tools that `pin` knows without any server, by skill name."""
    return {
        name: tuple(_tool(tool) for tool in tools)
        for name, tools in pin.tools.items()
        if is_served(pin.expert, name)
    }


def tools_in(box: Toolbox, expert: Expert) -> dict[str, tuple[PinnedTool, ...]]:
    """All tools of an Expert but its delegates, by skill name, to be pinned."""
    found: dict[str, list[PinnedTool]] = {name: [] for name in expert.skills}
    for entry in box.entries.values():
        if entry.kind != "delegate":
            found[entry.skill].append(_pinned(entry.tool, entry.own_name))
    return {name: tuple(tools) for name, tools in found.items()}


def drift(pin: Pin, name: str, tools: Iterable[Tool]) -> tuple[str, ...]:
    """How the tools that a skill has now differ from its pins, as far as the Expert may use them."""
    alone = msgspec.structs.replace(
        pin.expert, delegates=(), skills={name: pin.expert.skills[name]}
    )
    now = tools_in(toolbox_of(alone, (), {name: tools}), alone)[name]
    return differences(pin.tools[name], now, hints=bool(pin.tools_integrity))


def _tool(tool: PinnedTool) -> Tool:
    return Tool(
        name=tool.name,
        description=tool.description,
        schema=tool.schema,
        title=tool.title,
        reads_only=tool.reads_only,
        may_repeat=tool.may_repeat,
    )


def _pinned(tool: Tool, name: str) -> PinnedTool:
    return PinnedTool(
        name=name,
        description=tool.description,
        # As JSON has it: what a server says may hold numbers that JSON has not.
        schema=msgspec.json.decode(msgspec.json.encode(tool.schema)),
        title=tool.title,
        reads_only=tool.reads_only,
        may_repeat=tool.may_repeat,
    )
