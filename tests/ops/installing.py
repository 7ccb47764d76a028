"""A project with a server whose tools the test decides, and its lock."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from perstack.engine import NOBODY, Ears, Inbox
from perstack.job import Job, Notice, ToolsDiffer
from perstack.models import Model
from perstack.ops.packages.install import collect, keep_tools, resolve_all, write_lock
from perstack.ops.running.run import GoOn, Order, Prepared, carry_out, prepare

from .locked import Locked

LISTED = Path(__file__).parents[1] / "fakes" / "mcp_listed.py"

FIND = {
    "name": "find",
    "description": "Finds things.",
    "inputSchema": {
        "type": "object",
        "properties": {"query": {"type": "string"}, "how": {"enum": ["fast", None]}},
        "required": ["query"],
    },
    "annotations": {"readOnlyHint": True, "title": "Find"},
}
SEND = {"name": "send", "description": "Sends things.", "inputSchema": {"type": "object"}}


class Project(Locked):
    """A directory with a perstack.toml: `lead`, with the skill `listed`, delegates to `helper`, who has it too."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.server = place / "server"
        self.server.mkdir(parents=True)
        self.offer(FIND, SEND)
        self.write()

    def write(
        self, *, instruction: str = "Lead.", more: str = "", helper: str = "Help.", skill: str = ""
    ) -> None:
        """skill: further keys of `lead`'s skill. more: further tables."""
        listed = (
            f'type = "mcpStdioSkill"\ncommand = "{sys.executable}"\n'
            f'args = ["{LISTED}", "{self.server}"]\n'
        )
        text = (
            f'runtime = "local"\n[experts.lead]\ninstruction = "{instruction}"\ndelegates = ["helper"]\n'
            f"[experts.lead.skills.listed]\n{listed}{skill}\n"
            f'[experts.helper]\ninstruction = "{helper}"\ndescription = "Helps."\n'
            f"[experts.helper.skills.listed]\n{listed}\n{more}"
        )
        (self.place / "perstack.toml").write_text(text)

    def offer(self, *tools: Mapping[str, Any]) -> None:
        """What the server lists from its next start on."""
        (self.server / "tools.json").write_text(json.dumps(tools))

    @property
    def starts(self) -> int:
        """How often the server was started."""
        return self._lines("starts")

    @property
    def calls(self) -> int:
        return self._lines("calls")

    def _lines(self, name: str) -> int:
        path = self.server / name
        return len(path.read_text().splitlines()) if path.exists() else 0

    async def install(
        self, *, at: float = 1000.0, frozen: bool = False, tools: bool = True
    ) -> bool:
        """Whether the lock was written."""
        installation = await resolve_all(None, (), os.environ, self.place, frozen=frozen)
        lock = await collect(installation) if tools else keep_tools(installation)
        return write_lock(installation, lock, at=at, frozen=frozen)

    def order(
        self,
        model: Model,
        *,
        query: str = "Go",
        frozen: bool = False,
        go_on: GoOn | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Order:
        return Order(
            expert="lead",
            query=query,
            cwd=self.place,
            workspace=self.place,
            env=os.environ if env is None else env,
            model=model,
            frozen=frozen,
            go_on=go_on,
        )


async def ran(order: Order) -> tuple[Job, Prepared, list[ToolsDiffer]]:
    """The job as it ended, what was settled before, and what was told of tools that differ."""
    prepared = await prepare(order)
    told: list[ToolsDiffer] = []

    def notice(_: Job, notice: Notice) -> None:
        if isinstance(notice, ToolsDiffer):
            told.append(notice)

    ears = Ears(past=NOBODY.past, fact=NOBODY.fact, ready=NOBODY.ready, notice=notice)
    inbox = Inbox()
    try:
        return await carry_out(prepared, inbox, ears), prepared, told
    finally:
        inbox.close()


def names(tools: Iterable[Any]) -> list[str]:
    return [tool.name for tool in tools]
