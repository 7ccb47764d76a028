"""The instruction: everything the model is told before the first message, as one text.

Nothing is added to it elsewhere. Skill descriptions are for people and stay out; tool descriptions and
schemas travel beside the instruction, not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from .expert import BASE_SKILL, Expert, InteractiveSkill
from .key import short_of

T = TypeVar("T")

COMPLETION_TOOL = "attemptCompletion"


class DelegateTool(NamedTuple):
    """A delegate as the model sees it: one tool that takes a query."""

    name: str
    description: str
    schema: dict[str, Any]


def delegate_tool(expert: Expert) -> DelegateTool:
    """The tool by which another Expert hands work to `expert`."""
    return DelegateTool(
        name=short_of(expert.name),
        description=expert.description or f"Hand a task to the Expert {expert.name}.",
        schema={
            "type": "object",
            "properties": {
                "query": {
                    "type": "string",
                    "description": "The whole task, with everything needed to do it: "
                    "the delegate sees nothing of this conversation.",
                }
            },
            "required": ["query"],
        },
    )


def has_completion_tool(expert: Expert) -> bool:
    """Whether `expert` is offered `attemptCompletion`: the base skill is on and does not filter it out."""
    base = expert.skills.get(BASE_SKILL)
    if base is None or isinstance(base, InteractiveSkill):
        return False
    return COMPLETION_TOOL not in base.omit and (not base.pick or COMPLETION_TOOL in base.pick)


def tool_name_clashes(named: Iterable[tuple[str, T]]) -> Iterator[tuple[T, str, T]]:
    """Tools whose name is taken, each as (its owner, the name, the owner who has it).

    named: (tool name, owner), the first of a name keeps it. Delegates offer `short_of` their name.
    """
    first: dict[str, T] = {}
    for tool, owner in named:
        if tool in first:
            yield owner, tool, first[tool]
        else:
            first[tool] = owner


def compose_instruction(
    expert: Expert, delegates: Sequence[Expert], *, at: str, workspace: str
) -> str:
    """The text that the model gets for a Run of `expert`.

    delegates: those it may call, in the order of their tools. at: start of the Run, ISO 8601 in UTC.
    workspace: absolute path of the working directory as the Expert's tools see it.
    """
    sections = [_opening(expert, at, workspace), f"## Task\n\n{expert.instruction}"]
    rules = [
        f'### Rules for skill "{name}"\n\n{skill.rule}'
        for name, skill in expert.skills.items()
        if skill.rule
    ]
    if rules:
        sections.append("\n\n".join(["## Skills", *rules]))
    if delegates:
        tools = [delegate_tool(delegate) for delegate in delegates]
        lines = "\n".join(f"- {tool.name}: {tool.description}" for tool in tools)
        sections.append(
            "## Delegates\n\nThese Experts can be called as tools. Each starts afresh and knows only "
            f"the query you send.\n\n{lines}"
        )
    return "\n\n---\n\n".join(sections) + "\n"


def _opening(expert: Expert, at: str, workspace: str) -> str:
    if has_completion_tool(expert):
        ending = (
            f"- When the work is done, call `{COMPLETION_TOOL}` alone, without other calls beside it. "
            "If it comes back with open todos, finish those first. Then write the final answer.\n"
            f"- A request outside your field, or one that cannot be understood: call `{COMPLETION_TOOL}` at "
            "once, then say so and name your field."
        )
    else:
        ending = (
            "- When the work is done, reply without calling a tool: that reply is the final answer.\n"
            "- A request outside your field, or one that cannot be understood: say so at once, and name "
            "your field."
        )
    return (
        f"You are {short_of(expert.name)}, an Expert run by Perstack. "
        "You work on the user's request with the tools you have, on your own, until it is done.\n\n"
        "- The first user message states the goal.\n"
        "- Check what you assume. Look at the results of your calls before you go on.\n"
        "- Keep calling tools while there is work left: a reply without a call ends the run. Calls that do "
        "not depend on each other may go out in one turn.\n"
        f"{ending}\n\n"
        f"Started at: {at}\n"
        f"Working directory: {workspace}"
    )
