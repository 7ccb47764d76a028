"""What the tests of MCP skills share: a server's surroundings, and a look at the processes of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

import anyio

from perstack.definition import StdioSkill
from perstack.job import Notice, Text
from perstack.skills import Outcome, Skill
from perstack.skills.servers import open_stdio_skill

NASTY = Path(__file__).parents[2] / "fakes" / "mcp_nasty.py"
MARK = "PERSTACK_TEST_MARK"

T = TypeVar("T", bound=Notice)


class World:
    """One test's servers. mark: the value by which their processes are known. notices: all that was heard."""

    def __init__(self, mark: str, workspace: Path) -> None:
        self.mark = mark
        self.workspace = workspace
        self.env = {**os.environ, MARK: mark}
        self.notices: list[Notice] = []

    def open(self, command: str, *args: str, **options: Any) -> AbstractAsyncContextManager[Skill]:
        """A skill of any program."""
        skill = StdioSkill(command=command, args=args, required_env=(MARK,))
        return open_stdio_skill(
            "s", skill, self.env, self.workspace, hear=self.notices.append, **options
        )

    def nasty(self, *habits: str, **options: Any) -> AbstractAsyncContextManager[Skill]:
        return self.open(sys.executable, str(NASTY), *habits, **options)

    def heard(self, kind: type[T]) -> list[T]:
        return [notice for notice in self.notices if isinstance(notice, kind)]

    def processes(self) -> list[str]:
        """The live processes of this world, each as `pid command line`."""
        return processes_with(self.mark)


def processes_with(mark: str) -> list[str]:
    """The live processes with the mark in their environment."""
    wanted = f"{MARK}={mark}\0".encode()
    found: list[str] = []
    for place in Path("/proc").iterdir():
        if not place.name.isdigit() or int(place.name) == os.getpid():
            continue
        try:
            if wanted in (place / "environ").read_bytes() + b"\0":
                words = (place / "cmdline").read_bytes().replace(b"\0", b" ")
                found.append(f"{place.name} {words.decode(errors='replace')}")
        except OSError:  # it has ended, or is not ours
            continue
    return found


async def until(happened: Callable[[], object]) -> None:
    """For what sets no event."""
    with anyio.fail_after(30):
        while not happened():  # noqa: ASYNC110  # processes end when they end
            await anyio.sleep(0.02)


def told(outcome: Outcome) -> str:
    """The text of an outcome that is one text."""
    (part,) = outcome.parts
    assert isinstance(part, Text)
    return part.text
