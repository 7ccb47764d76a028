"""Keeps one server connected while a skill is open.

A keeper task opens the server, asks for its tools, and stays until the connection ends or the skill is closed.
Calls go straight to the open connection, as many at once as are made. When the connection ends, the next call has
it opened anew, after a pause: as often as `Limits.again` says, after which the skill is unavailable.

What a connection is made of is not known here (`mcp.py`).
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, cast

import anyio
import anyio.lowlevel
from anyio.abc import TaskStatus

from perstack.errors import SkillUnavailable, sole
from perstack.job import Answer, Json, Notice, SkillConnected, SkillDisconnected, SkillStderr

from .skill import Outcome, Tool

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
CLOSE_S = 2.0
"""What a server elsewhere gets to take note that we go."""

FAULTS_TOLD = 20

_CLOSED = "it was closed"

Hear = Callable[[Notice], None]
"""Is told what happens with a skill. Must not wait."""

Changed = Callable[[tuple[Tool, ...], tuple[Tool, ...]], None]
"""Is told that a server offers other tools: (before, now)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """startup_s: from the start of a server to its tools. tool_s: for listing them again when they change.

    again: how often the server may be opened after the first time; None for any number.
    """

    startup_s: float
    tool_s: float
    again: int | None


class Life(Protocol):
    """One connection. spawned: when its process ran, None if it has none. greeted: when it had answered.

    news: set when it has ended or the tools have changed (stale); who waits for it replaces it.
    """

    spawned: float | None
    greeted: float
    news: anyio.Event
    ended: bool
    stale: bool

    @property
    def server(self) -> tuple[str, str] | None:
        """Name and version, as the server has them."""
        ...

    async def listed(self) -> tuple[tuple[Tool, ...], tuple[str, ...]]:
        """All tools that can be offered, and why others cannot."""
        ...

    async def listen(self) -> None:
        """Hear of changed tools, where that takes a task of its own."""
        ...

    async def call(self, tool: str, args: dict[str, Json], answers: Sequence[Answer]) -> Outcome:
        """Use a tool. Failures come back as outcomes that say what is known of them. Raises NeedsAnswer."""
        ...

    async def ending(self) -> str:
        """Why the connection ended, in words."""
        ...


@asynccontextmanager
async def opened(keeper: Keeper) -> AsyncGenerator[Keeper]:
    """`keeper` at work, until the block is left. Raises SkillUnavailable if its server cannot be opened."""
    try:
        async with anyio.create_task_group() as tasks:
            await tasks.start(keeper.keep)
            try:
                yield keeper
            finally:
                with anyio.move_on_after(CLOSE_S, shield=True):
                    await keeper.close()
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        cause = sole(cast("BaseException", group))
        raise cause from cause.__cause__


class Keeper:
    """One skill: keeps its server connected, and uses it.

    connect: opens one connection; raises SkillUnavailable for all that goes wrong with it. tail: the last words
    of the server.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], AbstractAsyncContextManager[Life]],
        limits: Limits,
        hear: Hear,
        changed: Changed | None = None,
        tail: Callable[[], str] = str,
    ) -> None:
        self._name = name
        self._connect = connect
        self._limits = limits
        self._hear = hear
        self._changed = changed
        self._tail = tail
        self._tools: tuple[Tool, ...] | None = None
        self._life: Life | None = None
        self._failure = SkillUnavailable(name, _CLOSED)  # why there is no life
        self._closing = False
        self._over = False  # there will not be another
        self._done = anyio.Event()
        self._turn = anyio.Event()  # set, and replaced, when an attempt to connect has ended
        self._wanted = anyio.Event()

    @property
    def tools(self) -> tuple[Tool, ...]:
        return self._tools or ()

    async def use(
        self, tool: str, args: dict[str, Json], answers: Sequence[Answer] = ()
    ) -> Outcome:
        await anyio.lowlevel.checkpoint()  # what fails at once must not keep others from running
        return await (await self._alive()).call(tool, args, answers)

    async def _alive(self) -> Life:
        """The open connection, opened anew if need be. Raises SkillUnavailable."""
        life = self._life
        if life is not None and not life.ended:
            return life
        if not self._over:
            self._wanted.set()
            await self._turn.wait()
        if self._life is None:
            why = self._failure
            raise SkillUnavailable(why.skill, why.reason, why.stderr_tail)
        return self._life

    async def keep(self, *, task_status: TaskStatus[None]) -> None:
        """Keep the server connected. Has started when it first is; raises SkillUnavailable if it cannot be."""
        again, pause_s = self._limits.again, FIRST_PAUSE_S
        try:
            while True:
                first = self._tools is None
                lived = await self._live(task_status.started if first else lambda: None)
                if first and not lived:
                    raise self._failure
                if again == 0 or self._closing:
                    return
                again = None if again is None else again - 1
                if lived:
                    pause_s = FIRST_PAUSE_S
                else:
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                    self._wanted = anyio.Event()
                    self._turned()
                await self._wanted.wait()
                await anyio.sleep(pause_s)
                self._wanted = anyio.Event()
        finally:
            self._over = True
            self._turned()
            self._done.set()

    async def close(self) -> None:
        """Take leave of the server, if there is a connection. What else goes on is for the caller to cancel."""
        self._closing = True
        if self._life is not None:
            self._life.news.set()
            await self._done.wait()

    def _turned(self) -> None:
        self._turn.set()
        self._turn = anyio.Event()

    async def _live(self, connected: Callable[[], None]) -> bool:
        """Open the server and stay until the connection ends. Whether there was one; `_failure` says why not."""
        began = anyio.current_time()
        clock = anyio.CancelScope(deadline=began + self._limits.startup_s)
        lived, reason = False, ""
        cause: BaseException | None = None
        try:
            with clock:
                async with self._connect() as life:
                    self._take(*await life.listed())
                    clock.deadline = math.inf
                    self._hear(self._connected(life, began))
                    lived, self._life = True, life
                    connected()
                    self._turned()
                    try:
                        await self._attend(life)
                    finally:
                        self._life = None  # closing takes a while, and a call now would be lost
                    reason = _CLOSED if self._closing else await life.ending()
        except (SkillUnavailable, ExceptionGroup) as error:
            cause = sole(cast("BaseException", error))
            if not isinstance(cause, SkillUnavailable):
                raise
            reason, cause = reason or cause.reason, cause.__cause__
        finally:
            if lived:
                self._hear(SkillDisconnected(skill=self._name))
        if clock.cancelled_caught:
            reason = f"it did not answer within {self._limits.startup_s:g} s"
        self._failure = SkillUnavailable(self._name, reason, self._tail())
        self._failure.__cause__ = cause
        return lived

    def _connected(self, life: Life, began: float) -> SkillConnected:
        ready = began if life.spawned is None else life.spawned
        return SkillConnected(
            skill=self._name,
            server=life.server,
            spawn_s=None if life.spawned is None else life.spawned - began,
            handshake_s=life.greeted - ready,
            discovery_s=anyio.current_time() - life.greeted,
        )

    async def _attend(self, life: Life) -> None:
        """Keep the tools as the server has them, until the connection ends."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(life.listen)
            while not life.ended and not self._closing:
                await life.news.wait()
                life.news = anyio.Event()
                if life.stale and not life.ended and not self._closing:
                    life.stale = False
                    await self._refresh(life)
            tasks.cancel_scope.cancel()

    async def _refresh(self, life: Life) -> None:
        try:
            with anyio.move_on_after(self._limits.tool_s):
                self._take(*await life.listed())
        except SkillUnavailable as error:  # if the connection has ended, that will be seen as well
            text = f"its tools have changed, but could not be listed: {error.reason}"
            self._hear(SkillStderr(skill=self._name, text=text))

    def _take(self, tools: tuple[Tool, ...], faults: tuple[str, ...]) -> None:
        before, self._tools = self._tools, tools
        for fault in faults[:FAULTS_TOLD]:
            self._hear(SkillStderr(skill=self._name, text=fault))
        if self._changed is not None and before is not None and before != tools:
            self._changed(before, tools)
