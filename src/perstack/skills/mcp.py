"""One connection to an MCP server, made with the MCP SDK.

Imports the SDK, as only `oauth.py` and the base skill's own server do beside it. That takes a second, so it is
itself imported only when an Expert has such a skill.

Both eras of the protocol are spoken. `initialize` comes first, since almost every server knows it, and one that
does not says so at once; asking the newer way first costs ten seconds with servers that ignore what they do not
know.

A call is made once. When the connection ends before the answer has come, the outcome says that it is unknown.
When a call takes too long it is cancelled at the server. How a connection is kept is told in `keeper.py`, what a
server may ask during a call in `questions.py`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Protocol, cast

import anyio
import httpx2
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.auth import OAuthFlowError
from mcp.client.session import IncomingMessage
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.message import SessionMessage
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from perstack._version import version
from perstack.errors import SkillUnavailable
from perstack.job import Answer, Json, Text

from .access import Access
from .keeper import Life
from .launch import GRACE_S, LINE_MAX, Process
from .mcp_results import MESSAGE_MAX, clean, outcome_of, tools_of
from .patience import Patience
from .public_http import PublicTransport
from .questions import Ask, Questions
from .skill import NeedsAnswer, Outcome, Tool
from .streams import Streams, lines, watched

PAGES_MAX = 100
TOOLS_MAX = 1000

_SESSION_OVER = "Session terminated"  # the SDK's words, which have no code of their own

_FAILURES = (
    SkillUnavailable,
    MCPError,
    ValueError,  # pydantic's ValidationError is one
    RuntimeError,
    OSError,
    httpx2.HTTPError,
    OAuthFlowError,
    anyio.ClosedResourceError,
    anyio.BrokenResourceError,
)
"""How a connection fails: the SDK, and what is below it."""


class _Dial(Protocol):
    """A client over a transport, not connected yet. mode: "legacy" or "auto"."""

    def __call__(self, transport: Streams, mode: str) -> Client: ...


class Way(Protocol):
    """How to reach one server. spawned: whether it is a process of ours."""

    spawned: bool

    async def dial(self, stack: AsyncExitStack, dial: _Dial) -> Client:
        """A connected client, which belongs to `stack`."""
        ...

    async def ending(self) -> str:
        """Why there is no connection any more, in words."""
        ...


@asynccontextmanager
async def connected(
    name: str,
    way: Callable[[], AbstractAsyncContextManager[Way]],
    tool_s: float,
    ask: Ask | None,
) -> AsyncGenerator[Life]:
    """One connection, open until the block is left. Raises SkillUnavailable for all that goes wrong with it."""
    _hush()
    road: Way | None = None
    try:
        async with way() as road, AsyncExitStack() as stack:
            life = _Life(name, road, tool_s, ask)
            await life.connect(stack)
            yield life
    except (*_FAILURES, ExceptionGroup) as error:
        causes = _leaves(error)
        if not all(isinstance(each, _FAILURES) for each in causes):
            raise
        why = await road.ending() if road and _is_closed(causes[0]) else _reason_of(causes[0])
        raise SkillUnavailable(name, why) from causes[0]


def _hush() -> None:
    """Keep the SDK's log lines off our standard error; who configures logging still gets them."""
    for name in ("mcp", "client"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


class _Life:
    """One connection, as the keeper sees it."""

    def __init__(self, name: str, way: Way, tool_s: float, ask: Ask | None) -> None:
        self.spawned = anyio.current_time() if way.spawned else None
        self.greeted = 0.0
        self.news = anyio.Event()
        self.ended = False
        self.stale = False
        self._name = name
        self._way = way
        self._tool_s = tool_s
        self._questions = Questions(ask)
        self._client: Client

    async def connect(self, stack: AsyncExitStack) -> None:
        self._client = await self._way.dial(stack, self._dial)
        self.greeted = anyio.current_time()

    def _dial(self, transport: Streams, mode: str) -> Client:
        return Client(
            cast("Any", watched(transport, self._end)),
            mode=mode,
            cache=None,
            client_info=types.Implementation(name=f"{self._name}-mcp-client", version=version()),
            message_handler=self._heard,
            elicitation_callback=self._questions.elicit,
        )

    @property
    def server(self) -> tuple[str, str] | None:
        """Name and version, as the server has them."""
        info = self._client.server_info
        return info and (clean(info.name, 255), clean(info.version, 255))

    async def listed(self) -> tuple[tuple[Tool, ...], tuple[str, ...]]:
        try:
            return tools_of(await self._pages())
        except (MCPError, ValidationError) as error:
            why = await self.ending() if _is_closed(error) else _reason_of(error)
            raise SkillUnavailable(self._name, why) from error

    async def _pages(self) -> list[types.Tool]:
        """All tools of the server, page by page."""
        found: list[types.Tool] = []
        cursor, seen = None, set[str]()
        for _ in range(PAGES_MAX):
            try:
                page = await self._client.list_tools(cursor=cursor)
            except MCPError as error:
                # It has resources or prompts, and no tools
                if error.code == types.METHOD_NOT_FOUND:
                    return []
                raise
            found += page.tools
            cursor = page.next_cursor
            if cursor is None or cursor in seen or len(found) >= TOOLS_MAX:
                break
            seen.add(cursor)
        return found[:TOOLS_MAX]

    async def listen(self) -> None:
        """In the newer era changed tools are told to who asks; in the older one to everybody."""
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

    async def call(self, tool: str, args: dict[str, Json], answers: Sequence[Answer]) -> Outcome:
        clock = Patience(self._tool_s)
        with self._questions.calling(clock, answers) as calling:
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
        if calling.question is not None:
            raise NeedsAnswer(calling.question)
        return _failed(tool, f"MCP error {types.REQUEST_TIMEOUT}: Request timed out: {clock.spent}")

    async def ending(self) -> str:
        return await self._way.ending()

    async def _words(self, error: MCPError) -> str:
        if _is_closed(error):
            why = await self.ending()
            return f"the server ended before it answered ({why}); outcome unknown"
        if error.code == types.INVALID_REQUEST and error.message == _SESSION_OVER:
            self._end()
            return (
                "the server had ended our session, so the call was not made; it can be made again"
            )
        return f"MCP error {error.code}: {clean(error.message, MESSAGE_MAX)}"

    async def _heard(self, message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._change()

    def _change(self) -> None:
        self.stale = True
        self.news.set()

    def _end(self) -> None:
        self.ended = True
        self.news.set()


# Local servers -------------------------------------------------------------------------------------------


class Local:
    """The way to a process of ours."""

    spawned = True

    def __init__(self, process: Process) -> None:
        self._process = process

    async def dial(self, stack: AsyncExitStack, dial: _Dial) -> Client:
        return await _dialled(stack, dial, lambda: lines(self._process, SessionMessage))

    async def ending(self) -> str:
        with anyio.move_on_after(GRACE_S):
            await self._process.ended.wait()
        return self._process.exit or "it closed its output"


# Remote servers ------------------------------------------------------------------------------------------

_KNOWS_NO_POST = frozenset({400, 404, 405, 406, 410, 415, 422, 501})
"""How servers that speak only the old way of HTTP answer the new one."""


class Remote:
    """The way to a server elsewhere: Streamable HTTP, or Server-Sent Events on the same URL if it is older."""

    spawned = False

    def __init__(self, access: Access) -> None:
        self._access = access

    async def dial(self, stack: AsyncExitStack, dial: _Dial) -> Client:
        access = self._access
        transport = access.transport()
        http = await stack.enter_async_context(access.client(transport))
        stream = partial(
            streamable_http_client, access.endpoint, http_client=http, max_sse_event_size=LINE_MAX
        )
        try:
            return await _dialled(stack, dial, stream)
        except (MCPError, ExceptionGroup) as error:
            if transport.status not in _KNOWS_NO_POST or access.fault:
                if reason := access.refusal(transport.status):
                    raise OSError(reason) from error
                raise
        posted, transport = transport.status, access.transport()
        events = sse_client(access.endpoint, httpx_client_factory=partial(self._again, transport))
        try:
            return await stack.enter_async_context(dial(events, "legacy"))
        except (MCPError, ExceptionGroup, httpx2.HTTPError) as error:
            raise OSError(
                access.refusal(transport.status)
                or f"it speaks neither Streamable HTTP (HTTP {posted}) nor SSE (HTTP {transport.status})"
            ) from error

    def _again(self, transport: PublicTransport, *_: object, **__: object) -> httpx2.AsyncClient:
        """A client, made where the SDK makes it; what the SDK would set is set already."""
        return self._access.client(transport)

    async def ending(self) -> str:
        return "the connection was lost"


# Any server ----------------------------------------------------------------------------------------------


async def _dialled(stack: AsyncExitStack, dial: _Dial, transport: Callable[[], Streams]) -> Client:
    """A connected client, in the older era if the server knows it, else in the newer."""
    try:
        return await stack.enter_async_context(dial(transport(), "legacy"))
    except (MCPError, ExceptionGroup) as error:
        if not any(_is_newer(cause) for cause in _leaves(error)):
            raise
    return await stack.enter_async_context(dial(transport(), "auto"))


def _is_newer(error: BaseException) -> bool:
    codes = (types.UNSUPPORTED_PROTOCOL_VERSION, types.METHOD_NOT_FOUND)
    return isinstance(error, MCPError) and error.code in codes


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
    return clean(text, MESSAGE_MAX)


def _leaves(error: BaseException) -> tuple[BaseException, ...]:
    """The errors inside nested groups."""
    if not isinstance(error, BaseExceptionGroup):
        return (error,)
    group = cast("BaseExceptionGroup[BaseException]", error)
    return tuple(leaf for each in group.exceptions for leaf in _leaves(each))
