"""TLS, and the way through a proxy to it: with a certificate of our own, in processes of their own."""

from __future__ import annotations

import contextlib
import os
import ssl
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener, TLSStream

from perstack.definition import ProviderAccess
from perstack.errors import ModelError
from perstack.job import History, said
from perstack.models import Request, open_model
from tests.fakes.certificate import certificate as certificate_for

from .anthropic_streams import SPEAKS, sse
from .serving import read_request, streamed

pytestmark = pytest.mark.anyio

ASK = """
import sys, anyio
from perstack.definition import ProviderAccess
from perstack.job import History, said
from perstack.models import Request, open_model

async def main(url, proxy):
    access = ProviderAccess(provider="anthropic", base_url=url)
    async with open_model(access, proxy=proxy or None) as model:
        for _ in range(2):
            request = Request(model="m", instruction="", history=History([said("hi")]))
            print((await model.reply(request, lambda delta: None)).message.text)

anyio.run(main, *sys.argv[2:], backend=sys.argv[1])
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a key and a certificate for localhost that only itself vouches for."""
    file = tmp_path_factory.mktemp("tls") / "localhost.pem"
    file.write_bytes(b"".join(certificate_for("localhost")))
    return file


@asynccontextmanager
async def serving_tls(certificate: Path) -> AsyncGenerator[tuple[int, list[int]]]:
    """A TLS server that speaks. Yields its port, and how many requests each connection brought."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    requests: list[int] = []

    async def converse(stream: ByteStream) -> None:
        number = len(requests)
        requests.append(0)
        async with stream:
            try:
                while True:
                    await read_request(stream)
                    requests[number] += 1
                    await stream.send(streamed(*(sse([event]) for event in SPEAKS)))
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return

    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = plain.extra(SocketAttribute.local_port)
    async with TLSListener(plain, context, False) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, converse)
            yield port, requests
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def tunnelling(to: int) -> AsyncGenerator[tuple[int, list[str]]]:
    """A proxy that leads everybody to one port. Yields its port, and the ways it was asked for."""
    asked: list[str] = []

    async def pump(source: ByteStream, sink: ByteStream) -> None:
        try:
            async for data in source:
                await sink.send(data)
            await sink.send_eof()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    async def converse(stream: ByteStream) -> None:
        async with stream:
            heard = await read_request(stream)
            asked.append(f"{heard.method} {heard.path} {heard.headers['proxy-authorization']}")
            async with await anyio.connect_tcp("127.0.0.1", to) as target:
                await stream.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(pump, stream, target)
                    tasks.start_soon(pump, target, stream)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, converse)
            yield listener.extra(SocketAttribute.local_port), asked
            tasks.cancel_scope.cancel()


async def ask(backend: str, certificate: Path, url: str, proxy: str = "") -> str:
    """What a process says that trusts `certificate` and asks twice."""
    done = await anyio.run_process(
        [sys.executable, "-c", ASK, backend, url, proxy],
        env={**os.environ, "SSL_CERT_FILE": str(certificate)},
        stderr=sys.stderr,
    )
    return done.stdout.decode()


async def test_a_trusted_server_is_asked_over_tls_on_one_connection(
    certificate: Path, anyio_backend: str
):
    async with serving_tls(certificate) as (port, requests):
        said = await ask(anyio_backend, certificate, f"https://localhost:{port}")
    assert said == "Hello, wörld ✓\n" * 2
    assert requests == [2]


async def test_tls_goes_through_a_tunnel_of_the_proxy(certificate: Path, anyio_backend: str):
    async with serving_tls(certificate) as (port, requests), tunnelling(port) as (way, asked):
        url, proxy = "https://localhost:7", f"http://user:pass@127.0.0.1:{way}"
        said = await ask(anyio_backend, certificate, url, proxy)
    assert said == "Hello, wörld ✓\n" * 2
    assert requests == [2]
    assert asked == ["CONNECT localhost:7 Basic dXNlcjpwYXNz"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_server_nobody_vouches_for_is_not_asked(certificate: Path, host: str):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def shake_hands(stream: ByteStream) -> None:
        async with stream:
            with contextlib.suppress(ssl.SSLError, anyio.EndOfStream, anyio.BrokenResourceError):
                await TLSStream.wrap(stream, server_side=True, ssl_context=context)

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        port = listener.extra(SocketAttribute.local_port)
        tasks.start_soon(listener.serve, shake_hands)
        access = ProviderAccess(provider="anthropic", base_url=f"https://{host}:{port}")
        async with open_model(access) as model:
            request = Request(model="m", instruction="", history=History([said("hi")]))
            with pytest.raises(ModelError) as raised:
                await model.reply(request, lambda delta: None)
        assert (raised.value.name, raised.value.retryable) == ("CertificateRejected", False)
        tasks.cancel_scope.cancel()
