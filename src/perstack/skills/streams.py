"""The two streams the MCP SDK speaks over: made of the lines of a process, or watched for their end.

The SDK itself is not imported here: what it puts a message in is given by who uses this (`mcp.py`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import anyio
import mcp_types as types

from .launch import GRACE_S, LINE_MAX, OversizedLine, Process

_POLL_S = 0.02
_WAITING_MESSAGES = 64  # so that a call can be cancelled while the server does not read

Streams = AbstractAsyncContextManager[Any]
"""A transport: the SDK's two streams, whose types it keeps private."""


class Envelope(Protocol):
    """What the SDK puts a message in."""

    @property
    def message(self) -> types.JSONRPCMessage: ...


@asynccontextmanager
async def lines(
    process: Process, seal: Callable[[types.JSONRPCMessage], Envelope]
) -> AsyncGenerator[tuple[Any, Any]]:
    """The SDK's two streams over the lines of a process. May be entered again when it was left.

    seal: puts a message in its envelope.
    """
    arrived, incoming = anyio.create_memory_object_stream[Envelope | Exception](0)
    outgoing, leaving = anyio.create_memory_object_stream[Envelope](_WAITING_MESSAGES)

    async def read() -> None:
        with arrived:
            while (line := await process.line()) is not None:
                message = _parsed(line)
                if message is None:
                    process.babble(line)
                    continue
                try:
                    await arrived.send(seal(message))
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    return

    async def write() -> None:
        async for envelope in leaving:
            text = envelope.message.model_dump_json(by_alias=True, exclude_unset=True)
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


def _parsed(line: bytes) -> types.JSONRPCMessage | None:
    """The message a line is, None if it is none."""
    if isinstance(line, OversizedLine):
        request = line.answers()
        if request is None:
            return None
        text = f"the answer had more than {LINE_MAX} bytes"
        fault = types.ErrorData(code=types.INTERNAL_ERROR, message=text)
        return types.JSONRPCError(jsonrpc="2.0", id=request, error=fault)
    try:
        return types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        return None


@asynccontextmanager
async def watched(transport: Streams, ended: Callable[[], None]) -> AsyncGenerator[tuple[Any, Any]]:
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

    async def receive(self) -> Envelope | Exception:
        return await self._stream.receive()

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> Envelope | Exception:
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
