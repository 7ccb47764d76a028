"""MCP servers as skills: local ones over stdin and stdout, remote ones over HTTP.

The only module, beside the base skill's own server, that imports the MCP SDK, which takes a second. So it is
itself imported only when an Expert has such a skill.

How a skill lives. A *keeper* task opens the server, asks for its tools, and keeps the connection until it ends
or the skill is closed. Calls go straight to the open connection, as many at once as are made. When the
connection ends, calls in flight come back as errors that say the outcome is unknown, since nobody knows whether
they took effect; they are never made again here. The next call has the server opened anew: a local one once,
after which the skill is unavailable; a remote one as often as asked, with growing pauses.

Both eras of the protocol are spoken. `initialize` comes first, since almost every server knows it, and one that
does not says so at once; asking the newer way first costs ten seconds with servers that ignore what they do not
know.

Not done here: which tools an Expert may use (`toolbox.py`), and whether arguments fit the schema.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import anyio
import mcp_types as types
from anyio.abc import TaskStatus
from mcp import Client, MCPError
from mcp.client.session import ClientRequestContext, IncomingMessage
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.message import SessionMessage
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from perstack._version import version
from perstack.definition import StdioSkill
from perstack.errors import SkillUnavailable, sole
from perstack.job import (
    Json,
    Notice,
    SkillConnected,
    SkillDisconnected,
    SkillStarting,
    SkillStderr,
    Text,
)

from .base.shell import Wrap, unwrapped
from .launch import (
    GRACE_S,
    LINE_MAX,
    Murmur,
    OversizedLine,
    Process,
    command_of,
    environment_of,
    open_process,
)
from .mcp_results import clean, outcome_of, tools_of
from .skill import Outcome, Skill, Tool

STARTUP_S = 60.0
"""What a server has to start and to list its tools: npx may have to download it first."""

TOOL_S = 60.0
"""What a call has between two signs of life: the call itself, and each progress it reports."""

LONGEST = 10
"""How many times `tool_s` a call may take in all, however much progress it reports."""

PAGES_MAX = 100
TOOLS_MAX = 1000
FAULTS_TOLD = 20

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_MESSAGE_MAX = 8192
_SESSION_OVER = "Session terminated"  # the SDK's words, which have no code of their own
_NO_ELICITATION = "Elicitation not supported"  # likewise
_WAITING_MESSAGES = 64  # so that a call can be cancelled while the server does not read

Hear = Callable[[Notice], None]
"""Is told what happens with a skill. Must not wait."""

Ask = Callable[[str, dict[str, Json]], Awaitable[dict[str, Json] | None]]
"""Asks a person: (message, JSON Schema of the answer) → the answer, None if there will be none."""

Changed = Callable[[tuple[Tool, ...], tuple[Tool, ...]], None]
"""Is told that a server offers other tools: (before, now)."""

_Streams = AbstractAsyncContextManager[
    Any
]  # of the SDK's two streams, whose types it keeps private
_FAILURES = (
    SkillUnavailable,
    MCPError,
    ValueError,  # pydantic's ValidationError is one
    RuntimeError,
    OSError,
    anyio.ClosedResourceError,
    anyio.BrokenResourceError,
)
"""How a connection fails: the SDK, and what is below it."""


@asynccontextmanager
async def open_stdio_skill(
    name: str,
    skill: StdioSkill,
    env: Mapping[str, str],
    workspace: Path,
    *,
    hear: Hear,
    startup_s: float = STARTUP_S,
    tool_s: float = TOOL_S,
    wrap: Wrap = unwrapped,
    ask: Ask | None = None,
    changed: Changed | None = None,
) -> AsyncGenerator[Skill]:
    """The local server `skill`, running in `workspace`, until the block is left. All it started has then ended.

    Must be entered and left in the same task. name: the skill's. env: the variables of the run, of which the
    server gets a short list and what `requiredEnv` names. wrap: puts a sandbox's launcher in front.

    Raises UserError and MissingEnv for what the Definition or the environment lacks, SkillUnavailable if the
    server cannot be started or does not answer within `startup_s`.
    """
    command = command_of(name, skill)
    child_env = environment_of(name, skill, env)
    argv = tuple(wrap(command, child_env))
    murmur = Murmur(lambda text: hear(SkillStderr(skill=name, text=text)))

    @asynccontextmanager
    async def way() -> AsyncGenerator[_Way]:
        hear(SkillStarting(skill=name, command=command[0], args=command[1:]))
        async with open_process(name, argv, child_env, workspace, murmur) as process:
            yield _Local(process)

    limits = _Limits(startup_s=startup_s, tool_s=tool_s, again=1)
    async with _opened(_Keeper(name, way, murmur, limits, hear, ask, changed)) as keeper:
        yield keeper


@dataclass(frozen=True, slots=True)
class _Limits:
    """again: how often the server may be opened after the first time; None for any number."""

    startup_s: float
    tool_s: float
    again: int | None


class _Dial(Protocol):
    """A client over a transport, not connected yet. mode: "legacy" or "auto"."""

    def __call__(self, transport: _Streams, mode: str) -> Client: ...


class _Way(Protocol):
    """How to reach one server. spawned: whether it is a process of ours."""

    spawned: bool

    async def dial(self, stack: AsyncExitStack, dial: _Dial) -> Client:
        """A connected client, which belongs to `stack`."""
        ...

    async def ending(self) -> str:
        """Why there is no connection any more, in words."""
        ...


@asynccontextmanager
async def _opened(keeper: _Keeper) -> AsyncGenerator[_Keeper]:
    _hush()
    try:
        async with anyio.create_task_group() as tasks:
            await tasks.start(keeper.keep)
            try:
                yield keeper
            finally:
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        cause = sole(cast("BaseException", group))
        raise cause from cause.__cause__


def _hush() -> None:
    """Keep the SDK's log lines off our standard error; who configures logging still gets them."""
    for name in ("mcp", "client"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


class _Keeper:
    """One skill: keeps its server connected, and uses it."""

    def __init__(
        self,
        name: str,
        way: Callable[[], AbstractAsyncContextManager[_Way]],
        murmur: Murmur,
        limits: _Limits,
        hear: Hear,
        ask: Ask | None,
        changed: Changed | None,
    ) -> None:
        self._name = name
        self._way = way
        self._murmur = murmur
        self._limits = limits
        self._hear = hear
        self._ask = ask
        self._changed = changed
        self._tools: tuple[Tool, ...] | None = None
        self._life: _Life | None = None
        self._failure = SkillUnavailable(name, "it was closed")  # why there is no life
        self._over = False  # there will not be another
        self._turn = anyio.Event()  # set, and replaced, when an attempt to connect has ended
        self._wanted = anyio.Event()

    @property
    def tools(self) -> tuple[Tool, ...]:
        return self._tools or ()

    async def use(self, tool: str, args: dict[str, Json]) -> Outcome:
        return await (await self._alive()).call(tool, args)

    async def _alive(self) -> _Life:
        """The open connection, opened anew if need be. Raises SkillUnavailable."""
        if self._life is None and not self._over:
            self._wanted.set()
            await self._turn.wait()
        if self._life is None:
            why = self._failure
            raise SkillUnavailable(why.skill, why.reason, why.stderr_tail)
        return self._life

    async def keep(self, *, task_status: TaskStatus[None]) -> None:
        """Keep the server connected. Has started when it first is; raises SkillUnavailable if it cannot be."""
        again, pause_s = self._limits.again, _FIRST_PAUSE_S
        try:
            while True:
                first = self._tools is None
                lived = await self._live(task_status.started if first else lambda: None)
                if first and not lived:
                    raise self._failure
                if again == 0:
                    return
                again = None if again is None else again - 1
                if lived:
                    pause_s = _FIRST_PAUSE_S
                else:
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                    self._wanted = anyio.Event()
                    self._turned()
                await self._wanted.wait()
                await anyio.sleep(pause_s)
                self._wanted = anyio.Event()
        finally:
            self._over = True
            self._turned()

    def _turned(self) -> None:
        self._turn.set()
        self._turn = anyio.Event()

    async def _live(self, connected: Callable[[], None]) -> bool:
        """Open the server and stay until the connection ends. Whether there was one; `_failure` says why not."""
        began = anyio.current_time()
        clock = anyio.CancelScope(deadline=began + self._limits.startup_s)
        way: _Way | None = None
        lived, reason = False, ""
        cause: BaseException | None = None
        try:
            with clock:
                async with self._way() as way, AsyncExitStack() as stack:
                    spawned = anyio.current_time()
                    life = _Life(self._name, way, self._limits.tool_s, self._ask)
                    await life.connect(stack)
                    greeted = anyio.current_time()
                    self._take(await life.listed())
                    clock.deadline = math.inf
                    self._hear(
                        SkillConnected(
                            skill=self._name,
                            server=life.server,
                            spawn_s=spawned - began if way.spawned else None,
                            handshake_s=greeted - spawned,
                            discovery_s=anyio.current_time() - greeted,
                        )
                    )
                    lived, self._life = True, life
                    connected()
                    self._turned()
                    await self._attend(life)
                    self._life = None  # closing takes a while, and a call now would be lost
                    reason = await way.ending()
        except (*_FAILURES, ExceptionGroup) as error:
            causes = _leaves(error)
            if not all(isinstance(each, _FAILURES) for each in causes):
                raise
            cause = causes[0]
            reason = reason or (
                await way.ending() if way and _is_closed(cause) else _reason_of(cause)
            )
        finally:
            self._life = None
            if lived:
                self._hear(SkillDisconnected(skill=self._name))
        if clock.cancelled_caught:
            reason = f"it did not answer within {self._limits.startup_s:g} s"
        self._failure = SkillUnavailable(self._name, reason, self._murmur.tail)
        self._failure.__cause__ = cause
        return lived

    async def _attend(self, life: _Life) -> None:
        """Keep the tools as the server has them, until the connection ends."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(life.listen)
            while not life.ended:
                await life.news.wait()
                life.news = anyio.Event()
                if life.stale and not life.ended:
                    life.stale = False
                    await self._refresh(life)
            tasks.cancel_scope.cancel()

    async def _refresh(self, life: _Life) -> None:
        listed = None
        try:
            with anyio.move_on_after(self._limits.tool_s):
                listed = await life.listed()
        except (MCPError, ValidationError) as error:
            text = f"its tools have changed, but could not be listed: {_reason_of(error)}"
            self._hear(SkillStderr(skill=self._name, text=text))
        if listed is not None:
            self._take(listed)

    def _take(self, listed: list[types.Tool]) -> None:
        before = self._tools
        self._tools, faults = tools_of(listed)
        for fault in faults[:FAULTS_TOLD]:
            self._hear(SkillStderr(skill=self._name, text=fault))
        if self._changed is not None and before is not None and before != self._tools:
            self._changed(before, self._tools)


class _Life:
    """One connection. news: set when it has ended or the tools have changed (stale); who waits replaces it."""

    def __init__(self, name: str, way: _Way, tool_s: float, ask: Ask | None) -> None:
        self.news = anyio.Event()
        self.ended = False
        self.stale = False
        self._name = name
        self._way = way
        self._tool_s = tool_s
        self._ask = ask
        self._clocks: set[_Clock] = set()
        self._client: Client

    async def connect(self, stack: AsyncExitStack) -> None:
        self._client = await self._way.dial(stack, self._dial)

    def _dial(self, transport: _Streams, mode: str) -> Client:
        return Client(
            cast("Any", _watched(transport, self._end)),
            mode=mode,
            cache=None,
            client_info=types.Implementation(name=f"{self._name}-mcp-client", version=version()),
            message_handler=self._heard,
            elicitation_callback=self._elicit if self._ask else None,
        )

    @property
    def server(self) -> tuple[str, str] | None:
        """Name and version, as the server has them."""
        info = self._client.server_info
        return info and (clean(info.name, 255), clean(info.version, 255))

    async def listed(self) -> list[types.Tool]:
        """All tools of the server, page by page."""
        found: list[types.Tool] = []
        cursor, seen = None, set[str]()
        for _ in range(PAGES_MAX):
            try:
                page = await self._client.list_tools(cursor=cursor)
            except MCPError as error:
                if (
                    error.code == types.METHOD_NOT_FOUND
                ):  # it has resources or prompts, and no tools
                    return []
                raise
            found += page.tools
            cursor = page.next_cursor
            if cursor is None or cursor in seen or len(found) >= TOOLS_MAX:
                break
            seen.add(cursor)
        return found[:TOOLS_MAX]

    async def listen(self) -> None:
        """Hear of changed tools in the newer era; in the older one they are told unasked."""
        offered = self._client.server_capabilities.tools
        if self._client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return
        if offered is None or not offered.list_changed:
            return
        try:
            async with self._client.listen(tools_list_changed=True) as subscription:
                async for _ in subscription:
                    self._change()
        except (MCPError, SubscriptionLost, TimeoutError):
            return  # the tools stay as they are known

    async def call(self, tool: str, args: dict[str, Json]) -> Outcome:
        """Use a tool. Failures come back as outcomes that say what is known of them."""
        clock = _Clock(self._tool_s)
        self._clocks.add(clock)
        try:
            with clock.scope:
                result = await self._client.call_tool(
                    tool, args, progress_callback=clock.progress
                )
                return outcome_of(tool, args, result)
        except MCPError as error:
            return _failed(tool, await self._words(error))
        except (ValidationError, RuntimeError) as error:
            # RuntimeError: a result that is not what the tool's output schema says.
            return _failed(tool, f"the result cannot be used: {_reason_of(error)}")
        finally:
            self._clocks.discard(clock)
        return _failed(tool, f"MCP error {types.REQUEST_TIMEOUT}: Request timed out: {clock.spent}")

    async def _words(self, error: MCPError) -> str:
        if _is_closed(error):
            why = await self._way.ending()
            return f"the server ended before it answered ({why}); outcome unknown"
        if error.code == types.INVALID_REQUEST and error.message == _SESSION_OVER:
            self._end()
            return (
                "the server had ended our session, so the call was not made; it can be made again"
            )
        if error.code == types.INVALID_REQUEST and error.message == _NO_ELICITATION:
            return "the tool wants to ask a person, and nobody can be asked here"
        return f"MCP error {error.code}: {clean(error.message, _MESSAGE_MAX)}"

    async def _elicit(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        if self._ask is None or not isinstance(params, types.ElicitRequestFormParams):
            return types.ElicitResult(action="decline")
        with self._patience():
            answer = await self._ask(clean(params.message, _MESSAGE_MAX), params.requested_schema)
        if answer is None:
            return types.ElicitResult(action="decline")
        return types.ElicitResult(action="accept", content=answer)

    @contextmanager
    def _patience(self) -> Generator[None]:
        """No call times out meanwhile: people take their time, and we cannot know which call it is for."""
        clocks = tuple(self._clocks)
        for clock in clocks:
            clock.stop()
        try:
            yield
        finally:
            for clock in clocks:
                clock.go_on()

    async def _heard(self, message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._change()

    def _change(self) -> None:
        self.stale = True
        self.news.set()

    def _end(self) -> None:
        self.ended = True
        self.news.set()


class _Clock:
    """The time limit of one call: `idle_s` between signs of life, LONGEST times that in all."""

    def __init__(self, idle_s: float) -> None:
        now = anyio.current_time()
        self.scope = anyio.CancelScope(deadline=now + idle_s)
        self._idle_s = idle_s
        self._latest = now + LONGEST * idle_s
        self._stopped: float | None = None
        self._stops = 0

    async def progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """A sign of life. The SDK calls it for each one the server reports."""
        if not self._stops:
            self.scope.deadline = min(anyio.current_time() + self._idle_s, self._latest)

    def stop(self) -> None:
        self._stops += 1
        if self._stops == 1:
            self._stopped = anyio.current_time()
            self.scope.deadline = math.inf

    def go_on(self) -> None:
        self._stops -= 1
        if not self._stops and self._stopped is not None:
            now = anyio.current_time()
            self._latest += now - self._stopped
            self.scope.deadline = min(now + self._idle_s, self._latest)

    @property
    def spent(self) -> str:
        if self.scope.deadline >= self._latest:
            return f"it took more than {LONGEST * self._idle_s:g} s"
        return f"no answer within {self._idle_s:g} s"


# Local servers -------------------------------------------------------------------------------------------


class _Local:
    """The way to a process of ours."""

    spawned = True

    def __init__(self, process: Process) -> None:
        self._process = process

    async def dial(self, stack: AsyncExitStack, dial: _Dial) -> Client:
        return await _dialled(stack, dial, lambda: _lines(self._process))

    async def ending(self) -> str:
        with anyio.move_on_after(GRACE_S):
            await self._process.ended.wait()
        return self._process.exit or "it closed its output"


@asynccontextmanager
async def _lines(process: Process) -> AsyncGenerator[tuple[Any, Any]]:
    """The SDK's two streams over the lines of a process. May be entered again when it was left."""
    arrived, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, leaving = anyio.create_memory_object_stream[SessionMessage](_WAITING_MESSAGES)

    async def read() -> None:
        with arrived:
            while (line := await process.line()) is not None:
                message = _parsed(line)
                if message is None:
                    process.babble(line)
                    continue
                try:
                    await arrived.send(message)
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    return

    async def write() -> None:
        async for message in leaving:
            text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            try:
                await process.write(f"{text}\n".encode())
            except OSError:  # it does not read any more, so no call will be answered
                arrived.close()
                return

    async def expire() -> None:
        await process.ended.wait()
        await anyio.sleep(
            GRACE_S
        )  # what it said last is in the pipe; a child may hold the pipe for ever
        arrived.close()

    with arrived, incoming, outgoing, leaving:
        async with anyio.create_task_group() as tasks:
            for task in (read, write, expire):
                tasks.start_soon(task)
            yield incoming, outgoing
            tasks.cancel_scope.cancel()


def _parsed(line: bytes) -> SessionMessage | None:
    """The message a line is, None if it is none."""
    if isinstance(line, OversizedLine):
        request = line.answers()
        if request is None:
            return None
        text = f"the answer had more than {LINE_MAX} bytes"
        fault = types.ErrorData(code=types.INTERNAL_ERROR, message=text)
        return SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=request, error=fault))
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        return None


# Any server ----------------------------------------------------------------------------------------------


async def _dialled(stack: AsyncExitStack, dial: _Dial, transport: Callable[[], _Streams]) -> Client:
    """A connected client, in the older era if the server knows it, else in the newer."""
    try:
        return await stack.enter_async_context(dial(transport(), "legacy"))
    except (MCPError, ExceptionGroup) as error:
        if not any(_is_newer(cause) for cause in _leaves(error)):
            raise
    return await stack.enter_async_context(dial(transport(), "auto"))


def _is_newer(error: BaseException) -> bool:
    return isinstance(error, MCPError) and error.code == types.UNSUPPORTED_PROTOCOL_VERSION


@asynccontextmanager
async def _watched(
    transport: _Streams, ended: Callable[[], None]
) -> AsyncGenerator[tuple[Any, Any]]:
    """The streams of `transport`. ended: called when nothing will come any more."""
    async with transport as (incoming, outgoing):
        yield _Watched(incoming, ended), outgoing


class _Watched:
    """A stream of messages that tells of its end, which the SDK keeps to itself."""

    def __init__(self, stream: Any, ended: Callable[[], None]) -> None:
        self._stream = stream
        self._ended = ended

    @property
    def last_context(self) -> object:
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        return await self._stream.receive()

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self._stream.__anext__()
        except (StopAsyncIteration, anyio.ClosedResourceError):
            self._ended()
            raise

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> _Watched:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _failed(tool: str, why: str) -> Outcome:
    return Outcome(parts=(Text(text=f"Error calling tool {tool}: {why}"),), is_error=True)


def _is_closed(error: BaseException) -> bool:
    return isinstance(error, MCPError) and error.code == types.CONNECTION_CLOSED


def _reason_of(error: BaseException) -> str:
    match error:
        case SkillUnavailable():
            return error.reason
        case MCPError():
            text = f"MCP error {error.code}: {error.message}"
        case ValidationError():
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            text = f"what it said is not MCP: {place}: {first['msg']}"
        case _:
            text = str(error) or type(error).__name__
    return clean(text, _MESSAGE_MAX)


def _leaves(error: BaseException) -> tuple[BaseException, ...]:
    """The errors inside nested groups."""
    if not isinstance(error, BaseExceptionGroup):
        return (error,)
    group = cast("BaseExceptionGroup[BaseException]", error)
    return tuple(leaf for each in group.exceptions for leaf in _leaves(each))
