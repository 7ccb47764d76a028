"""What exactly will run: Definitions pinned by key and digest, with the tools their skills were seen to have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from perstack._value import Value
from perstack.definition import Expert
from perstack.errors import UnknownExpert

from .document import canonical_json, digest_of


class PinnedTool(Value, frozen=True):
    """A tool as its skill offered it when the lock was made.

    schema: JSON Schema object for its arguments. reads_only, may_repeat: hints, see `perstack.skills.Tool`.
    """

    name: str
    schema: dict[str, Any]
    description: str = ""
    title: str = ""
    reads_only: bool = False
    may_repeat: bool = False


class Origin(Value, frozen=True):
    """Where a published Definition came from.

    registry: the URL of the registry that has it. resolved: the URL of its document there. published_at: ISO 8601.
    log_index: its place in the registry's transparency log, None if that has none. publisher: who published it,
    by the log.
    """

    registry: str
    resolved: str
    published_at: str = ""
    log_index: int | None = None
    publisher: str = ""


class Pin(Value, frozen=True):
    """One Definition in use.

    integrity: "sha256:" and the hex digest of its document: the published one if `origin` says where that is, else
    the canonical one of the Definition itself.
    tools: those the Expert may use, by skill name; a skill that is not in it has to be asked for its tools.
    tools_integrity: digest over `tools`; empty if nobody made one.
    """

    expert: Expert
    integrity: str
    tools: dict[str, tuple[PinnedTool, ...]] = msgspec.field(
        default_factory=dict[str, tuple[PinnedTool, ...]]
    )
    tools_integrity: str = ""
    origin: Origin | None = None


class Lock(Value, frozen=True):
    """The Definitions of one job.

    experts: by exact key. resolutions: what a delegate string turned out to mean, where that is another key.
    """

    experts: dict[str, Pin] = msgspec.field(default_factory=dict[str, Pin])
    resolutions: dict[str, str] = msgspec.field(default_factory=dict[str, str])

    def key_of(self, spec: str) -> str:
        """The exact key a delegate string stands for."""
        return self.resolutions.get(spec, spec)

    def expert(self, spec: str) -> Expert:
        """The Definition behind a key or a delegate string. Raises UnknownExpert."""
        pin = self.experts.get(self.key_of(spec))
        if pin is None:
            raise UnknownExpert(spec, looked_in="the lock")
        return pin.expert

    def delegates_of(self, spec: str) -> tuple[Expert, ...]:
        """The Definitions an Expert may delegate to, in its own order."""
        return tuple(self.expert(delegate) for delegate in self.expert(spec).delegates)


def with_tools(pin: Pin, tools: Mapping[str, Iterable[PinnedTool]]) -> Pin:
    """`pin` with these tools and their digest. tools: by skill name.

    The tools of a skill are put in order by name, so the order a server lists them in never counts.
    """
    ordered = {
        skill: tuple(sorted(tools[skill], key=lambda tool: tool.name)) for skill in sorted(tools)
    }
    return replace(pin, tools=ordered, tools_integrity=tools_digest(ordered))


def tools_digest(tools: Mapping[str, Iterable[PinnedTool]]) -> str:
    """The digest over tools by skill name: of their definitions as canonical JSON."""
    return digest_of(canonical_json(tool_definitions(tools)))


def tool_definitions(tools: Mapping[str, Iterable[PinnedTool]]) -> list[dict[str, Any]]:
    """The tools as the lock file lists them: one row, by skill name and tool name."""
    rows: list[dict[str, Any]] = []
    for skill in sorted(tools):
        for tool in sorted(tools[skill], key=lambda tool: tool.name):
            row: dict[str, Any] = {"skillName": skill, "name": tool.name}
            if tool.title:
                row["title"] = tool.title
            if tool.description:
                row["description"] = tool.description
            if tool.reads_only:
                row["readsOnly"] = True
            if tool.may_repeat:
                row["mayRepeat"] = True
            row["inputSchema"] = tool.schema
            rows.append(row)
    return rows
