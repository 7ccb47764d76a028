"""The tools of one Expert: which there are, what answers each, and whether a call of one can be made.

A toolbox is a value made from the Definition and the tools its skills are known to have. Names are shown to the
model as they are; two tools of one name are a fault of the Definition, found before anything runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from perstack.definition import (
    BASE_SKILL,
    Expert,
    InteractiveSkill,
    RemoteSkill,
    StdioSkill,
    delegate_tool,
)
from perstack.errors import DefinitionError, Fault
from perstack.job import Call, CallKind

from .arguments import faults_in
from .skill import Tool

TODO_TOOLS = frozenset({"todo", "clearTodo"})
COMPLETION = "attemptCompletion"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One tool the Expert may call. skill: where it comes from; a delegate's Expert key."""

    tool: Tool
    kind: CallKind
    skill: str


class Toolbox(msgspec.Struct, frozen=True):
    """The tools of one Expert by name, in the order the model sees them."""

    entries: dict[str, Entry]

    @property
    def tools(self) -> tuple[Tool, ...]:
        return tuple(entry.tool for entry in self.entries.values())

    def complete(self, call: Call) -> Call:
        """`call` as the model made it, with what answers it, or with the fault the model is told of."""
        entry = self.entries.get(call.tool)
        if entry is None:
            names = ", ".join(self.entries) or "none"
            return replace(call, fault=f"There is no tool {call.tool!r}. The tools are: {names}.")
        call = replace(call, kind=entry.kind, skill=entry.skill, repeatable=entry.tool.repeatable)
        if call.fault:
            return call
        if faults := faults_in(entry.tool.schema, call.args):
            return replace(call, fault=f"Invalid arguments for {call.tool}: {'; '.join(faults)}.")
        return call


def toolbox_of(
    expert: Expert, delegates: Sequence[Expert], tools: Mapping[str, Iterable[Tool]]
) -> Toolbox:
    """What `expert` may call. tools: by skill name, before pick and omit.

    Raises DefinitionError if two tools share a name.
    """
    entries: dict[str, Entry] = {}
    faults: list[Fault] = []
    for entry in _entries(expert, delegates, tools):
        name = entry.tool.name
        if name in entries:
            faults.append(
                Fault(
                    f"experts.{expert.key}",
                    f'"{entries[name].skill}" and "{entry.skill}" both offer a tool "{name}"',
                    "leave one out with `omit`, or rename the interactive tool or the delegate",
                )
            )
        entries[name] = entry
    if faults:
        raise DefinitionError(expert.key, faults)
    return Toolbox(entries)


def _entries(
    expert: Expert, delegates: Sequence[Expert], tools: Mapping[str, Iterable[Tool]]
) -> Iterable[Entry]:
    for name, skill in expert.skills.items():
        match skill:
            case StdioSkill() | RemoteSkill():
                for tool in tools.get(name, ()):
                    if tool.name not in skill.omit and (not skill.pick or tool.name in skill.pick):
                        yield Entry(tool=tool, kind=_kind(name, tool.name), skill=name)
            case InteractiveSkill(tools=questions):
                for tool_name, question in questions.items():
                    tool = Tool(
                        name=tool_name,
                        description=question.description or "",
                        schema=msgspec.json.decode(question.input_json_schema),
                    )
                    yield Entry(tool=tool, kind="ask", skill=name)
    for delegate in delegates:
        name, description, schema = delegate_tool(delegate)
        tool = Tool(name=name, description=description, schema=schema)
        yield Entry(tool=tool, kind="delegate", skill=delegate.key)


def _kind(skill: str, tool: str) -> CallKind:
    if skill != BASE_SKILL:
        return "tool"
    if tool in TODO_TOOLS:
        return "todo"
    return "complete" if tool == COMPLETION else "tool"
