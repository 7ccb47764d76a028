"""Who is measured: Perstack, two floors, and other libraries."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

HERE = Path(__file__).parent
PEERS = HERE / ".cache"

Work = Literal["nothing", "steps", "delegates", "jobs"]

PROJECT = """
model = "claude-sonnet-5"
maxSteps = 1000

[provider]
providerName = "anthropic"

[experts.lead]
description = "Reads a note, or has it read"
instruction = "You are a careful worker. Use the tools you are given, then say that you are done."
delegates = ["worker"]

[experts.lead.skills."@perstack/base"]
type = "mcpStdioSkill"
command = "npx"
packageName = "@perstack/base"
pick = ["readTextFile"]

[experts.worker]
description = "Does a part of the work"
instruction = "You are a careful worker. Use the tools you are given, then say that you are done."

[experts.worker.skills."@perstack/base"]
type = "mcpStdioSkill"
command = "npx"
packageName = "@perstack/base"
pick = ["readTextFile"]
"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One program in the field.

    script: in programs/, called with the server's URL and a number of jobs. needs: what to install for it, beside
    the development environment. does: the work it is measured at. most_jobs: it gets no more at once, unless
    asked for with --all.
    """

    name: str
    script: str
    arguments: Sequence[str] = ()
    needs: Sequence[str] = ()
    does: frozenset[Work] = frozenset({"steps", "delegates", "jobs"})
    most_jobs: int = 100
    peer: bool = True
    files: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    def command(self, jobs: int) -> list[str]:
        return [
            sys.executable,
            str(HERE / "programs" / self.script),
            "{url}",
            str(jobs),
            *self.arguments,
        ]

    @property
    def folder(self) -> Path:
        return PEERS / Path(self.script).stem

    def surroundings(self) -> dict[str, str]:
        return self.env | ({"PYTHONPATH": str(self.folder)} if self.needs else {})

    def install(self) -> str:
        """Make sure that what it needs is there. Why it is not, or an empty string."""
        if not self.needs or self.folder.is_dir():
            return ""
        command = [
            "uv",
            "pip",
            "install",
            "--quiet",
            "--python",
            sys.executable,
            "--target",
            str(self.folder),
        ]
        try:
            done = subprocess.run(
                [*command, *self.needs], capture_output=True, text=True, timeout=300
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        return done.stderr.strip().splitlines()[-1] if done.returncode else ""


class CommandLine(Entry):
    """Perstack through `perstack run`."""

    def command(self, jobs: int) -> list[str]:
        query = "Read the note as often as you need to."
        run = ["run", "lead", query, "--config", "perstack.toml"]
        return [sys.executable, "-m", "perstack.cli.main", *run]


BARE = Entry(name="bare Python", script="nothing.py", does=frozenset({"nothing"}), peer=False)
FLOOR = Entry(name="asyncio floor", script="asyncio_floor.py", most_jobs=1_000, peer=False)
AIOHTTP = Entry(name="aiohttp loop", script="aiohttp_loop.py", most_jobs=1_000, peer=False)
COMMAND = CommandLine(
    name="perstack",
    script="",
    does=frozenset({"steps", "delegates"}),
    peer=False,
    files={"perstack.toml": PROJECT},
    env={"ANTHROPIC_BASE_URL": "{url}", "ANTHROPIC_API_KEY": "x"},
)
EMBEDDED = Entry(
    name="perstack",
    script="perstack_jobs.py",
    does=frozenset({"jobs"}),
    most_jobs=1_000,
    peer=False,
    files={"perstack.toml": PROJECT},
)

FIELD: tuple[Entry, ...] = (
    BARE,
    FLOOR,
    AIOHTTP,
    COMMAND,
    EMBEDDED,
    Entry(name="anthropic SDK loop", script="anthropic_sdk.py"),
    Entry(name="openai SDK loop", script="openai_sdk.py"),
    Entry(name="pydantic-ai (Anthropic)", script="pydantic_ai_loop.py", arguments=("anthropic",)),
    Entry(name="pydantic-ai (OpenAI)", script="pydantic_ai_loop.py", arguments=("openai",)),
    Entry(name="openai-agents", script="openai_agents.py", needs=("openai-agents",)),
    Entry(
        name="langgraph",
        script="langgraph_agent.py",
        needs=("langgraph", "langchain", "langchain-anthropic"),
    ),
    Entry(
        name="smolagents",
        script="smolagents_agent.py",
        needs=("smolagents[openai]",),
        does=frozenset({"steps", "jobs"}),
    ),
)
