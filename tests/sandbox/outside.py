"""The world outside a sandbox, on this machine: hosts with certificates, a look-up that keeps count, a client."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream

from perstack._net import NotPublic, is_public
from perstack.job import ProxyAccess
from perstack.sandbox.egress import open_egress
from perstack.sandbox.listener import hand_over
from perstack.sandbox.names import Rule
from tests.fakes.certificate import certificate as certificate_for

NAMES = ("api.example", "other.example", "a.wild.example", "wild.example")


@cache
def certificate() -> tuple[bytes, bytes]:
    """A certificate for NAMES, and its key; both PEM."""
    return certificate_for(*NAMES)


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        file = Path(folder, "pem")
        file.write_bytes(b"".join(certificate()))
        context.load_cert_chain(file)
    return context


def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=certificate()[0].decode())


class LookUps:
    """A look-up that knows a few names, judges as the real one does, and notes what it was asked.

    `here` is the address of this machine, which counts as public for the name that is given it in `reachable`.
    """

    def __init__(self, **known: Sequence[str]) -> None:
        self.asked: list[str] = []
        self.known: dict[str, Sequence[str]] = {
            name.replace("_", "."): found for name, found in known.items()
        }
        self.reachable = {"api.example", "other.example", "a.wild.example", "wild.example"}

    async def __call__(self, name: str, port: int) -> Sequence[str]:
        self.asked.append(name)
        if name in self.known:
            for address in self.known[name]:
                if not is_public(address):
                    raise NotPublic(name, address)
            return self.known[name]
        if name in self.reachable:
            return ("127.0.0.1",)
        raise socket.gaierror(socket.EAI_NONAME, "not known")


class Way:
    """A way out under test. port: where its proxy is found on loopback. told: its decisions."""

    def __init__(self, port: int, told: list[ProxyAccess], look_ups: LookUps) -> None:
        self.port = port
        self.told = told
        self.look_ups = look_ups

    @property
    def decisions(self) -> list[tuple[str, str, int]]:
        return [(each.action, each.domain, each.port) for each in self.told]

    async def open(self) -> SocketStream:
        return await anyio.connect_tcp("127.0.0.1", self.port)

    async def say(self, data: bytes) -> bytes:
        """What is answered to `data`, to the end."""
        async with await self.open() as stream:
            await stream.send(data)
            return await rest_of(stream)

    async def connect(self, host: str, port: int) -> SocketStream:
        """A tunnel. Raises ConnectionError with the answer if there is none."""
        stream = await self.open()
        await stream.send(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        answer = await stream.receive()
        if not answer.startswith(b"HTTP/1.1 200 "):
            answer += await rest_of(stream)
            await stream.aclose()
            raise ConnectionError(answer.decode())
        return stream


async def rest_of(stream: ByteStream) -> bytes:
    data = b""
    while True:
        try:
            data += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return data


@asynccontextmanager
async def way_out(
    folder: Path, *rules: Rule, look_ups: LookUps | None = None
) -> AsyncGenerator[Way]:
    """A proxy for `rules`, whose listening socket is here and not in a sandbox."""
    told: list[ProxyAccess] = []
    look_up = LookUps() if look_ups is None else look_ups
    door = folder / "door"
    with anyio.fail_after(30):
        async with open_egress(rules, skill="geo", tell=told.append, look_up=look_up) as egress:
            egress.open_door(door)
            port = await anyio.to_thread.run_sync(hand_over, str(door), 0)
            yield Way(port, told, look_up)


class Host:
    """A server on loopback. received: what came, connection by connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.received: list[bytes] = []


@asynccontextmanager
async def _listening(
    talk: Callable[[SocketStream, Callable[[bytes], None]], Awaitable[None]],
) -> AsyncGenerator[Host]:
    """A server that lets `talk` have each connection, and a function that notes what came over it."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    host = Host(int(listener.extra(SocketAttribute.local_port)))

    async def serve(stream: SocketStream) -> None:
        at = len(host.received)
        host.received.append(b"")

        def note(data: bytes) -> None:
            host.received[at] += data

        async with stream:
            await talk(stream, note)

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield host
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def tls_host() -> AsyncGenerator[Host]:
    """A TLS server for NAMES that answers every connection with what it was sent, in capitals."""
    context = server_context()

    async def talk(stream: SocketStream, note: Callable[[bytes], None]) -> None:
        from anyio.streams.tls import TLSStream

        try:
            tls = await TLSStream.wrap(stream, server_side=True, ssl_context=context)
            while True:
                data = await tls.receive()
                note(data)
                await tls.send(data.upper())
        except (anyio.EndOfStream, anyio.BrokenResourceError, ssl.SSLError, OSError):
            pass

    async with _listening(talk) as host:
        yield host


@asynccontextmanager
async def plain_host() -> AsyncGenerator[Host]:
    """A server that notes what it is sent until the other side's end, then says how much it was, and closes."""

    async def talk(stream: SocketStream, note: Callable[[bytes], None]) -> None:
        size = 0
        try:
            while True:
                data = await stream.receive()
                note(data)
                size += len(data)
        except anyio.EndOfStream:
            await stream.send(b"%d bytes" % size)
        except anyio.BrokenResourceError:
            pass

    async with _listening(talk) as host:
        yield host


def hello(name: str = "api.example") -> bytes:
    """The first bytes that a TLS client for `name` sends; "" for none."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    client = context.wrap_bio(into, out, server_hostname=name or None)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()
