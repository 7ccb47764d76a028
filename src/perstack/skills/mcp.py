"""MCP servers as skills: local ones over stdin and stdout, remote ones over HTTP.

Imports the MCP SDK, as only `oauth.py` and the base skill's own server do beside it. That takes a second, so it
is itself imported only when an Expert has such a skill.

Both eras of the protocol are spoken. `initialize` comes first, since almost every server knows it, and one that
does not says so at once; asking the newer way first costs ten seconds with servers that ignore what they do not
know.

A call is made once. When the connection ends before the answer has come, the outcome says that it is unknown.
When a call takes too long it is cancelled at the server. How a connection is kept is told in `keeper.py`.

A server may ask a person something during a call (elicitation). Unless somebody is there to answer (`Ask`), the
call is then cancelled at the server and says what was asked (`NeedsAnswer`), and is made again, from the start,
once there is an answer.

Not done here: which tools an Expert may use (`toolbox.py`), and whether arguments fit the schema.
"""

from __future__ import annotations

import logging
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Mapping,
    Sequence,
)
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import anyio
import httpx2
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.auth import OAuthFlowError
from mcp.client.session import ClientRequestContext, IncomingMessage
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.message import SessionMessage
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from perstack._version import version
from perstack.definition import RemoteSkill, StdioSkill
from perstack.errors import SkillUnavailable
from perstack.job import Answer, Json, Question, SkillStarting, SkillStderr, Text

from .base.shell import Wrap, unwrapped
from .keeper import Changed, Hear, Keeper, Life, Limits, opened
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
from .oauth import FileTokens, SignIn, SkillAuth
from .patience import LONGEST, Patience
from .public_http import CONNECT_S, PublicTransport, proxy_for
from .remote import endpoint_of, headers_of
from .skill import STARTUP_S, TOOL_S, NeedsAnswer, Outcome, Skill, Tool

PAGES_MAX = 100
TOOLS_MAX = 1000

_POLL_S = 0.02
_MESSAGE_MAX = 8192
_SESSION_OVER = "Session terminated"  # the SDK's words, which have no code of their own
_WAITING_MESSAGES = 64  # so that a call can be cancelled while the server does not read

Ask = Callable[[str, dict[str, Json]], Awaitable[dict[str, Json] | None]]
"""Asks a person who is there: (message, JSON Schema of the answer) → the answer, None if there will be none."""

_Streams = AbstractAsyncContextManager[Any]
"""A transport: the SDK's two streams, whose types it keeps private."""

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

    limits = Limits(startup_s=startup_s, tool_s=tool_s, again=1)
    connect = partial(_connected, name, way, tool_s, ask)
    keeper = Keeper(name, connect, limits, hear, changed, lambda: murmur.tail)
    async with opened(keeper):
        yield keeper


@asynccontextmanager
async def open_remote_skill(
    name: str,
    skill: RemoteSkill,
    env: Mapping[str, str],
    *,
    hear: Hear,
    startup_s: float = STARTUP_S,
    tool_s: float = TOOL_S,
    allow_loopback: bool = False,
    ask: Ask | None = None,
    changed: Changed | None = None,
    sign_in: SignIn | None = None,
) -> AsyncGenerator[Skill]:
    """The remote server `skill`, connected until the block is left.

    Must be entered and left in the same task. name: the skill's. env: where the variables of `headersEnv` and
    the proxy settings are looked up. allow_loopback: let the server be this machine, and then without TLS.
    sign_in: how a person signs in if the server wants it; without it a stored sign-in is used. A header
    `Authorization` makes both unnecessary.

    Raises UserError and MissingEnv for what the Definition or the environment lacks, SkillUnavailable if the
    server cannot be reached, may not be, or does not answer within `startup_s`.
    """
    endpoint = endpoint_of(name, skill, allow_loopback=allow_loopback)
    own_headers = headers_of(name, skill, env)
    headers = {"user-agent": f"perstack/{version()}", **own_headers}
    tokens, auth = FileTokens(endpoint, env), None
    has_header = any(header.lower() == "authorization" for header in own_headers)
    if not has_header and (sign_in is not None or tokens.exist()):
        auth = SkillAuth(endpoint, tokens, sign_in, allow_loopback=allow_loopback)
    advice = (
        "`headersEnv` says which variable has the value of its header Authorization"
        if has_header
        else f"`perstack skill login <expert> {name}` signs in, or `headersEnv` gives it a header from a variable"
    )
    # A call may be silent for as long as it may take; its own clock is the stricter one.
    silence = httpx2.Timeout(CONNECT_S, read=LONGEST * tool_s + CONNECT_S)
    transport = partial(
        PublicTransport, proxy=proxy_for(endpoint, env), allow_loopback=allow_loopback
    )

    @asynccontextmanager
    async def way() -> AsyncGenerator[_Way]:
        yield _Remote(endpoint, headers, silence, transport, auth, advice)

    limits = Limits(startup_s=startup_s, tool_s=tool_s, again=None)
    connect = partial(_connected, name, way, tool_s, ask)
    async with opened(Keeper(name, connect, limits, hear, changed)) as keeper:
        yield keeper


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
async def _connected(
    name: str,
    way: Callable[[], AbstractAsyncContextManager[_Way]],
    tool_s: float,
    ask: Ask | None,
) -> AsyncGenerator[Life]:
    """One connection, open until the block is left. Raises SkillUnavailable for all that goes wrong with it."""
    _hush()
    road: _Way | None = None
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


class _Calling:
    """A call under way. answers: those not given yet. question: the one it was called off for. over: set then."""

    def __init__(self, clock: Patience, answers: Sequence[Answer]) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.question: Question | None = None
        self.over = anyio.Event()

    def answer(self, message: str) -> Answer | None:
        """The first answer to `message` that was not given yet."""
        known = next((answer for answer in self.answers if answer.message == message), None)
        if known is not None:
            self.answers.remove(known)
        return known


_CURRENT: ContextVar[_Calling | None] = ContextVar("_CURRENT", default=None)
"""The call in whose context something is done, where that is known."""


class _Life:
    """One connection, as the keeper sees it."""

    def __init__(self, name: str, way: _Way, tool_s: float, ask: Ask | None) -> None:
        self.spawned = anyio.current_time() if way.spawned else None
        self.greeted = 0.0
        self.news = anyio.Event()
        self.ended = False
        self.stale = False
        self._name = name
        self._way = way
        self._tool_s = tool_s
        self._ask = ask
        self._calling: set[_Calling] = set()
        self._client: Client

    async def connect(self, stack: AsyncExitStack) -> None:
        self._client = await self._way.dial(stack, self._dial)
        self.greeted = anyio.current_time()

    def _dial(self, transport: _Streams, mode: str) -> Client:
        return Client(
            cast("Any", _watched(transport, self._end)),
            mode=mode,
            cache=None,
            client_info=types.Implementation(name=f"{self._name}-mcp-client", version=version()),
            message_handler=self._heard,
            elicitation_callback=self._elicit,
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
        calling = _Calling(clock, answers)
        self._calling.add(calling)
        current = _CURRENT.set(calling)
        try:
            with clock.scope:
                result = await self._client.call_tool(tool, args, progress_callback=clock.progress)
                return outcome_of(tool, args, result)
        except MCPError as error:
            return _failed(tool, await self._words(error))
        except (ValidationError, RuntimeError) as error:
            # RuntimeError: a result that is not what the tool's output schema says.
            return _failed(tool, f"the result cannot be used: {_reason_of(error)}")
        finally:
            _CURRENT.reset(current)
            self._calling.discard(calling)
            calling.over.set()
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
        return f"MCP error {error.code}: {clean(error.message, _MESSAGE_MAX)}"

    async def _elicit(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        if not isinstance(params, types.ElicitRequestFormParams):
            return types.ElicitResult(action="decline")
        question = Question(
            message=clean(params.message, _MESSAGE_MAX), schema=dict(params.requested_schema)
        )
        if self._ask is not None:
            with self._patience():
                return _elicited(await self._ask(question.message, question.schema))
        calling = self._asked_in()
        if calling is None:
            return types.ElicitResult(action="decline")
        answer = calling.answer(question.message)
        if answer is None:
            calling.question = calling.question or question
            calling.clock.scope.cancel()
            await calling.over.wait()  # so that the server hears of that first
            return types.ElicitResult(action="cancel")
        return _elicited(answer.content)

    def _asked_in(self) -> _Calling | None:
        """The call a question came up in, None if it cannot be told.

        In the newer era, and over HTTP, its context says so. Else it is the only one there is.
        """
        current = _CURRENT.get()
        if current in self._calling:
            return current
        return next(iter(self._calling)) if len(self._calling) == 1 else None

    @contextmanager
    def _patience(self) -> Generator[None]:
        """No call times out meanwhile: people take their time, and it may be for any of them."""
        clocks = tuple(calling.clock for calling in self._calling)
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
        # What it said last is still in the pipe; a child that holds the pipe would keep us for ever.
        with anyio.move_on_after(GRACE_S):
            while process.has_output():  # noqa: ASYNC110  # a pipe sets no event
                await anyio.sleep(_POLL_S)
        await anyio.sleep(_POLL_S)  # the reader hands on what it has read
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


# Remote servers ------------------------------------------------------------------------------------------

_KNOWS_NO_POST = frozenset({400, 404, 405, 406, 410, 415, 422, 501})
"""How servers that speak only the old way of HTTP answer the new one."""


class _Remote:
    """The way to a server elsewhere: Streamable HTTP, or Server-Sent Events on the same URL if it is older."""

    spawned = False

    def __init__(
        self,
        endpoint: str,
        headers: Mapping[str, str],
        silence: httpx2.Timeout,
        transport: Callable[[], PublicTransport],
        auth: SkillAuth | None,
        advice: str,
    ) -> None:
        self._endpoint = endpoint
        self._headers = headers
        self._silence = silence
        self._transport = transport
        self._auth = auth
        self._advice = advice

    async def dial(self, stack: AsyncExitStack, dial: _Dial) -> Client:
        transport = self._transport()
        http = await stack.enter_async_context(self._client(transport))
        stream = partial(
            streamable_http_client, self._endpoint, http_client=http, max_sse_event_size=LINE_MAX
        )
        try:
            return await _dialled(stack, dial, stream)
        except (MCPError, ExceptionGroup) as error:
            if transport.status not in _KNOWS_NO_POST or self._fault:
                if reason := self._reason(transport.status):
                    raise OSError(reason) from error
                raise
        posted, transport = transport.status, self._transport()
        events = sse_client(self._endpoint, httpx_client_factory=partial(self._again, transport))
        try:
            return await stack.enter_async_context(dial(events, "legacy"))
        except (MCPError, ExceptionGroup, httpx2.HTTPError) as error:
            raise OSError(
                self._reason(transport.status)
                or f"it speaks neither Streamable HTTP (HTTP {posted}) nor SSE (HTTP {transport.status})"
            ) from error

    def _client(self, transport: PublicTransport) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=transport,
            headers=dict(self._headers),
            timeout=self._silence,
            trust_env=False,
            auth=self._auth,
        )

    def _again(self, transport: PublicTransport, *_: object, **__: object) -> httpx2.AsyncClient:
        """A client, made where the SDK makes it; what the SDK would set is set already."""
        return self._client(transport)

    async def ending(self) -> str:
        return "the connection was lost"

    @property
    def _fault(self) -> str:
        return self._auth.fault if self._auth else ""

    def _reason(self, status: int) -> str:
        """What a status, or a sign-in that failed, says of why there is no connection; "" if nothing."""
        if self._fault:
            return self._fault
        if status in (401, 403, 407):
            return f"it wants authorization (HTTP {status}); {self._advice}"
        return f"it answered HTTP {status}" if status == 429 or status >= 500 else ""


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
    codes = (types.UNSUPPORTED_PROTOCOL_VERSION, types.METHOD_NOT_FOUND)
    return isinstance(error, MCPError) and error.code in codes


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


def _elicited(content: dict[str, Json] | None) -> types.ElicitResult:
    if content is None:
        return types.ElicitResult(action="decline")
    return types.ElicitResult(action="accept", content=content)


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
