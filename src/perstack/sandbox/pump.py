"""Bytes from one socket to another and back, in big pieces, without passing through this program's memory.

Sockets are non-blocking. Each direction ends by itself: where one side has said its last word, the other is told
so and may still answer. A side that does not take what it is sent is not read for.
"""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import ExitStack, suppress

import anyio
from anyio.lowlevel import checkpoint

PIECE = 1024 * 1024
"""Bytes moved at once, at most; also what a pipe holds, if the system lets us."""

TURN = 16
"""Pieces after which others have their turn."""

_SPLICE = hasattr(os, "splice")
_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", None)


async def pump(one: socket.socket, other: socket.socket, *, idle_s: float, life_s: float) -> None:
    """Copy in both directions until both have ended.

    Returns also when one side breaks, after `idle_s` in which nothing was moved, and after `life_s`.
    """
    with anyio.move_on_after(life_s):
        async with anyio.create_task_group() as tasks:
            both = _Both(one, other)

            async def way(source: socket.socket, sink: socket.socket) -> None:
                try:
                    await both.copy(source, sink)
                except OSError:
                    tasks.cancel_scope.cancel()
                    return
                both.open_ways -= 1
                if not both.open_ways:
                    tasks.cancel_scope.cancel()

            tasks.start_soon(way, one, other)
            tasks.start_soon(way, other, one)
            while (left := both.moved_at + idle_s - anyio.current_time()) > 0:  # noqa: ASYNC110
                # Not for an event: for the time at which too long nothing moved
                await anyio.sleep(left)
            tasks.cancel_scope.cancel()


class _Both:
    """Both directions of one connection. moved_at: when something last moved."""

    def __init__(self, one: socket.socket, other: socket.socket) -> None:
        self.moved_at = anyio.current_time()
        self.open_ways = 2

    async def copy(self, source: socket.socket, sink: socket.socket) -> None:
        """One direction, to its end."""
        if _SPLICE:
            await self._splice(source, sink)
        else:
            await self._copy(source, sink)
        with suppress(OSError):  # it is gone altogether
            sink.shutdown(socket.SHUT_WR)

    async def _splice(self, source: socket.socket, sink: socket.socket) -> None:
        with ExitStack() as pipe:
            out, into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            pipe.callback(os.close, out)
            pipe.callback(os.close, into)
            if _PIPE_SIZE is not None:
                with suppress(OSError):  # the user has many pipes; a small one does, too
                    fcntl.fcntl(into, _PIPE_SIZE, PIECE)
            count = 0
            while True:
                try:
                    held = os.splice(source.fileno(), into, PIECE, flags=os.SPLICE_F_NONBLOCK)
                except BlockingIOError:
                    await anyio.wait_readable(source)
                    continue
                if not held:
                    return
                while held:
                    try:
                        held -= os.splice(out, sink.fileno(), held, flags=os.SPLICE_F_NONBLOCK)
                    except BlockingIOError:
                        await anyio.wait_writable(sink)
                self.moved_at = anyio.current_time()
                count += 1
                if count % TURN == 0:
                    await checkpoint()

    async def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        buffer = memoryview(bytearray(PIECE // 4))
        count = 0
        while True:
            try:
                size = source.recv_into(buffer)
            except BlockingIOError:
                await anyio.wait_readable(source)
                continue
            if not size:
                return
            await send(sink, buffer[:size])
            self.moved_at = anyio.current_time()
            count += 1
            if count % TURN == 0:
                await checkpoint()


async def send(sink: socket.socket, data: bytes | memoryview) -> None:
    """All of `data`. Raises OSError."""
    left = memoryview(data)
    while left:
        try:
            left = left[sink.send(left) :]
        except BlockingIOError:
            await anyio.wait_writable(sink)


async def receive(source: socket.socket, most: int) -> bytes:
    """Some bytes, at most so many; none at the end. Raises OSError."""
    while True:
        try:
            return source.recv(most)
        except BlockingIOError:
            await anyio.wait_readable(source)
