"""The base skill over a directory, asked and read in one line."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from perstack.job import Text
from perstack.skills.base import open_base
from perstack.skills.skill import Outcome, Skill


class Asked:
    """An open base skill whose answers come as objects."""

    def __init__(self, skill: Skill) -> None:
        self.skill = skill

    async def use(self, tool: str, **args: Any) -> Outcome:
        args = {key.rstrip("_"): value for key, value in args.items()}
        return await self.skill.use(tool, args)

    async def result(self, tool: str, **args: Any) -> dict[str, Any]:
        """What the tool gave; it must not have failed."""
        outcome = await self.use(tool, **args)
        assert not outcome.is_error, outcome
        return first(outcome)

    async def fault(self, tool: str, **args: Any) -> str:
        """What the tool says against it; it must have failed, in the one shape errors have."""
        outcome = await self.use(tool, **args)
        assert outcome.is_error, outcome
        told = first(outcome)
        assert told["error"] == "Error"
        assert set(told) == {"error", "message"}
        return told["message"]

    async def run(self, *argv: str, **args: Any) -> dict[str, Any]:
        """What `exec` gave, well or not."""
        usual: dict[str, Any] = {"env": {}, "cwd": "", "stdout": True, "stderr": True}
        command = {"command": argv[0], "args": list(argv[1:])}
        return first(await self.skill.use("exec", {**command, **usual, **args}))


def first(outcome: Outcome) -> dict[str, Any]:
    part = outcome.parts[0]
    assert isinstance(part, Text)
    return msgspec.json.decode(part.text)


@asynccontextmanager
async def base_over(workspace: Path, env: Mapping[str, str] | None = None) -> AsyncGenerator[Asked]:
    """env: the runtime's environment; that of the tests if not given."""
    async with open_base(workspace, os.environ if env is None else env) as skill:
        yield Asked(skill)
