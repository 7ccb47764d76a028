"""A real HTTP server on 127.0.0.1 whose every byte the test decides."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.abc


@dataclass
class Heard:
    """One request as it came in. headers: by lower-case name."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class Server:
    """Where it listens, and what it heard. closed: connections the client closed, by number."""

    port: int
    heard: list[Heard] = field(default_factory=list[Heard])
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


Handler = Callable[[anyio.abc.ByteStream, Heard], Awaitable[None]]
"""Answers one request. Returning keeps the connection open; closing the stream closes it."""


@asynccontextmanager
async def serving(handle: Handler) -> AsyncGenerator[Server]:
    """A server that answers every request with `handle`, one after the other on each connection."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server = Server(port=listener.extra(anyio.abc.SocketAttribute.local_port))

    async def converse(stream: anyio.abc.ByteStream) -> None:
        server.connections += 1
        number = server.connections
        async with stream:
            try:
                while True:
                    heard = await read_request(stream, number)
                    server.heard.append(heard)
                    await handle(stream, heard)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, converse)
        yield server
        tasks.cancel_scope.cancel()


async def read_request(stream: anyio.abc.ByteStream, connection: int = 0) -> Heard:
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive()
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += await stream.receive()
    return Heard(method, path, headers, body, connection)


def chunked(pieces: Iterable[bytes]) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def answer(
    body: bytes, *, status: str = "200 OK", kind: str = "text/event-stream", more: str = ""
) -> bytes:
    """A whole answer with a content length. more: header lines, each with CRLF."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{more}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def streamed(*pieces: bytes) -> bytes:
    """A whole chunked answer, one chunk a piece."""
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    return head + chunked(pieces)
