"""What stands around the programs of skills: the seam between who starts them and who walls them.

A sandbox satisfies `Walls`; what it gives is a `Wrap`, which the skills put in front of what they start. Neither
knows the other.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from perstack._kept import Place
from perstack.definition import StdioSkill
from perstack.job import Notice
from perstack.skills import Wrap, unwrapped

Notify = Callable[[Notice], None]


class Walls(Protocol):
    """Builds walls around what skills start. They stand until the block is left.

    place: what the job is about, for the tools that work without starting a program; None for a workspace of which
    no more is known. Both methods raise PerstackError if the walls cannot be built; `Wrap` may raise it later for
    the programs of `exec`.
    """

    @property
    def place(self) -> Place | None: ...

    def around_server(
        self, name: str, skill: StdioSkill, notify: Notify
    ) -> AbstractAsyncContextManager[Wrap]:
        """Those of one local server. name: the skill's."""
        ...

    def around_programs(
        self, skill: StdioSkill, notify: Notify
    ) -> AbstractAsyncContextManager[Wrap]:
        """Those that each program of the base skill `skill` gets, one by one."""
        ...


class _NoWalls:
    def __init__(self, place: Place | None = None) -> None:
        self.place = place

    @asynccontextmanager
    async def around_server(
        self, name: str, skill: StdioSkill, notify: Notify
    ) -> AsyncGenerator[Wrap]:
        yield unwrapped

    @asynccontextmanager
    async def around_programs(self, skill: StdioSkill, notify: Notify) -> AsyncGenerator[Wrap]:
        yield unwrapped


NO_WALLS: Walls = _NoWalls()
"""Programs run with the rights of the runtime."""


def no_walls(place: Place) -> Walls:
    """The same, for a job of which more is known."""
    return _NoWalls(place)
