"""What a skill is to the rest of the house: a source of tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from perstack.job import Answer, Json, Question, ResultPart

STARTUP_S = 60.0
"""What a server has to start and to list its tools: npx may have to download it first."""

TOOL_S = 60.0
"""What a call has between two signs of life: the call itself, and each progress it reports."""


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """One callable thing.

    schema: JSON Schema object for its arguments. reads_only, may_repeat: hints; a call of a tool that only
    reads, or may repeat, is tried again after a crash, any other is not.
    """

    name: str
    description: str
    schema: dict[str, Json]
    title: str = ""
    reads_only: bool = False
    may_repeat: bool = False

    @property
    def repeatable(self) -> bool:
        return self.reads_only or self.may_repeat


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool gave back. is_error: it failed, and `parts` says how."""

    parts: tuple[ResultPart, ...]
    is_error: bool = False


class NeedsAnswer(Exception):
    """A call was called off, since its server wants to know something of a person. It can be made again then."""

    def __init__(self, question: Question) -> None:
        super().__init__(question.message)
        self.question = question


class Skill(Protocol):
    """A source of tools, open until the context manager that gave it is left."""

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What it offers, before pick and omit."""
        ...

    async def use(
        self, tool: str, args: dict[str, Json], answers: Sequence[Answer] = ()
    ) -> Outcome:
        """Call one tool. answers: to questions that earlier tries of this call brought up.

        Raises ToolError for what the model should be told, SkillUnavailable if it is gone, NeedsAnswer.
        """
        ...
