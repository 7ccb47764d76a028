"""Bytes in both directions: all of them, no faster than they are taken, and not for ever."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager

import anyio
import pytest

from perstack.sandbox import pump as module
from perstack.sandbox.pump import pump, receive, send

pytestmark = pytest.mark.anyio

LONG_S = 60.0


@contextmanager
def two_links() -> Generator[tuple[socket.socket, ...]]:
    """A client, the pump's two sockets, and a server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made: list[socket.socket] = []
        for _ in range(2):
            near = socket.create_connection(listener.getsockname())
            made += [near, listener.accept()[0]]
    for each in made:
        each.setblocking(False)
    try:
        yield tuple(made)
    finally:
        for each in made:
            each.close()


@pytest.fixture(params=["splice", "copy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to move bytes: the one of Linux, and that of all others."""
    if request.param == "splice" and not hasattr(os, "splice"):
        pytest.skip("this system has no splice")
    monkeypatch.setattr(module, "_SPLICE", request.param == "splice")


async def taken(source: socket.socket) -> bytes:
    data = bytearray()
    while piece := await receive(source, 1 << 20):
        data += piece
    return bytes(data)


@pytest.mark.usefixtures("way")
async def test_all_bytes_arrive_in_both_directions_at_once():
    there, back = os.urandom(5_000_000), os.urandom(3_000_001)
    got: dict[str, bytes] = {}

    async def say(end: socket.socket, data: bytes) -> None:
        await send(end, data)
        end.shutdown(socket.SHUT_WR)

    async def keep(name: str, end: socket.socket) -> None:
        got[name] = await taken(end)

    with two_links() as (client, one, other, server), anyio.fail_after(LONG_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say, client, there)
            tasks.start_soon(say, server, back)
            tasks.start_soon(keep, "there", server)
            tasks.start_soon(keep, "back", client)
            await pump(one, other, idle_s=LONG_S, life_s=LONG_S)
    assert (got["there"], got["back"]) == (there, back)


@pytest.mark.usefixtures("way")
async def test_who_takes_nothing_is_sent_no_more_than_buffers_hold():
    sent = 0
    with two_links() as (client, one, other, _), anyio.fail_after(LONG_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: pump(one, other, idle_s=LONG_S, life_s=LONG_S))
            while sent < 1 << 30:
                try:
                    sent += client.send(b"x" * (1 << 20))
                except BlockingIOError:
                    with anyio.move_on_after(1) as patience:
                        await anyio.wait_writable(client)
                    if patience.cancelled_caught:
                        break
            tasks.cancel_scope.cancel()
    assert sent < 1 << 30


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    "limits", [{"idle_s": 0.01, "life_s": LONG_S}, {"idle_s": LONG_S, "life_s": 0.01}]
)
async def test_a_connection_on_which_nothing_moves_is_given_up(limits: dict[str, float]):
    with two_links() as (_, one, other, _), anyio.fail_after(LONG_S / 2):
        await pump(one, other, **limits)


def broken_off(end: socket.socket) -> None:
    """Close with a reset."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    end.close()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("leave", [broken_off, socket.socket.close])
async def test_when_one_side_breaks_off_the_other_is_not_kept(
    leave: Callable[[socket.socket], None],
):
    with two_links() as (client, one, other, server), anyio.fail_after(LONG_S):

        async def between() -> None:
            with one, other:
                await pump(one, other, idle_s=LONG_S, life_s=LONG_S)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(between)
            leave(client)
            assert await receive(server, 10) == b""
            server.close()
