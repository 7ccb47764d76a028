"""The tools of one Expert: which there are, what answers each, and whether a call of one can be made.

A toolbox is a value made from the Definition and the tools its skills are known to have.

Names. A tool is shown to the model by its own name. The base skill, interactive skills and delegates have the
first claim: two of them with one name are a fault of the Definition, found before anything runs. A tool of any
other skill whose name is claimed, or shared with another such skill, is shown as `<skill>__<tool>`, so that
installing a server never changes what an existing name means.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from perstack.definition import (
    BASE_SKILL,
    COMPLETION_TOOL,
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
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]+")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One tool the Expert may call, under the name the model is shown.

    skill: where it comes from; a delegate's Expert key. own_name: what it is called there.
    """

    tool: Tool
    kind: CallKind
    skill: str
    own_name: str


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
        call = replace(
            call,
            kind=entry.kind,
            skill=entry.skill,
            repeatable=entry.tool.repeatable,
            own_name="" if entry.own_name == call.tool else entry.own_name,
        )
        if call.fault:
            return call
        if faults := faults_in(entry.tool.schema, call.args):
            return replace(call, fault=f"Invalid arguments for {call.tool}: {'; '.join(faults)}.")
        return call


def toolbox_of(
    expert: Expert, delegates: Sequence[Expert], tools: Mapping[str, Iterable[Tool]]
) -> Toolbox:
    """What `expert` may call. tools: by skill name, before pick and omit; a skill that is not in it has none.

    Raises DefinitionError if two tools claim one name.
    """
    claims: dict[str, Entry] = {}
    faults: list[Fault] = []
    for entry in _claiming(expert, delegates, tools):
        name = entry.own_name
        if name in claims:
            faults.append(
                Fault(
                    f"experts.{expert.key}",
                    f'"{claims[name].skill}" and "{entry.skill}" both offer a tool "{name}"',
                    "leave one out with `omit`, or rename the interactive tool or the delegate",
                )
            )
        claims[name] = entry
    if faults:
        raise DefinitionError(expert.key, faults)
    foreign = list(_foreign(expert, tools))
    taken = Counter(entry.own_name for entry in (*claims.values(), *foreign))
    shown = [_qualified(entry) if taken[entry.own_name] > 1 else entry for entry in foreign]
    return Toolbox({entry.tool.name: entry for entry in (*claims.values(), *shown)})


def _claiming(
    expert: Expert, delegates: Sequence[Expert], tools: Mapping[str, Iterable[Tool]]
) -> Iterator[Entry]:
    """The tools that keep their names: of the base skill, of people, of delegates."""
    base = expert.skills.get(BASE_SKILL)
    if base is not None and not isinstance(base, InteractiveSkill):
        for tool in _picked(base, tools.get(BASE_SKILL, ())):
            yield Entry(tool=tool, kind=_kind(tool.name), skill=BASE_SKILL, own_name=tool.name)
    for name, skill in expert.skills.items():
        if isinstance(skill, InteractiveSkill):
            for tool_name, question in skill.tools.items():
                schema = msgspec.json.decode(question.input_json_schema)
                tool = Tool(name=tool_name, description=question.description or "", schema=schema)
                yield Entry(tool=tool, kind="ask", skill=name, own_name=tool_name)
    for delegate in delegates:
        name, description, schema = delegate_tool(delegate)
        tool = Tool(name=name, description=description, schema=schema)
        yield Entry(tool=tool, kind="delegate", skill=delegate.key, own_name=name)


def _foreign(expert: Expert, tools: Mapping[str, Iterable[Tool]]) -> Iterator[Entry]:
    for name, skill in expert.skills.items():
        if name != BASE_SKILL and not isinstance(skill, InteractiveSkill):
            for tool in _picked(skill, tools.get(name, ())):
                yield Entry(tool=tool, kind="tool", skill=name, own_name=tool.name)


def _picked(skill: StdioSkill | RemoteSkill, tools: Iterable[Tool]) -> Iterator[Tool]:
    for tool in tools:
        if tool.name not in skill.omit and (not skill.pick or tool.name in skill.pick):
            yield tool


def _qualified(entry: Entry) -> Entry:
    skill = _NOT_IN_A_NAME.sub("_", entry.skill)
    return replace(entry, tool=replace(entry.tool, name=f"{skill}__{entry.own_name}"))


def _kind(tool: str) -> CallKind:
    if tool in TODO_TOOLS:
        return "todo"
    return "complete" if tool == COMPLETION_TOOL else "tool"
