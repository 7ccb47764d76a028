"""HTTP for skills: to public hosts only, with answers of bounded size.

Every connection is made to an address that was judged when it was opened (`_net.py`), under the name that was
asked for: TLS and the Host header see the name, the socket sees the address. So it does not help a server to
redirect us, nor to have its name lead elsewhere the second time.

Behind an HTTP proxy (HTTPS_PROXY and NO_PROXY, as in other programs) the proxy connects, and is believed to know
where it may. A name that can be looked up here is judged all the same.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, cast

import anyio
import httpcore2
import httpx2

from perstack._net import public_addresses

CONNECT_S = 30.0
BODY_MAX = 32 * 1024 * 1024
"""Bytes in one answer that is not a stream of events."""


class PublicTransport(httpx2.AsyncBaseTransport):
    """Sends requests to public hosts. status: of the newest answer, 0 before the first.

    proxy: URL of an HTTP proxy. allow_loopback: let this machine pass as well.
    """

    def __init__(self, *, proxy: str | None = None, allow_loopback: bool = False) -> None:
        self.status = 0
        self._allow_loopback = allow_loopback
        self._judge_names = proxy is not None
        tls = httpx2.create_ssl_context()
        if proxy is None:
            backend = _PublicBackend(allow_loopback=allow_loopback)
            self._pool = httpcore2.AsyncConnectionPool(ssl_context=tls, network_backend=backend)
        else:
            url = httpx2.Proxy(proxy)
            self._pool = httpcore2.AsyncHTTPProxy(
                str(url.url), proxy_auth=url.raw_auth, ssl_context=tls
            )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if self._judge_names:
            try:
                await public_addresses(
                    request.url.host, _port_of(request.url), allow_loopback=self._allow_loopback
                )
            except socket.gaierror:
                pass  # only the proxy can look it up
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        with _as_httpx2():
            answer = await self._pool.handle_async_request(
                httpcore2.Request(
                    method=request.method,
                    url=httpcore2.URL(
                        scheme=request.url.raw_scheme,
                        host=request.url.raw_host,
                        port=request.url.port,
                        target=request.url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        self.status = answer.status
        headers = httpx2.Headers(answer.headers)
        bounded = "event-stream" not in headers.get("content-type", "")
        return httpx2.Response(
            answer.status,
            headers=headers,
            stream=_Body(answer.stream, bounded=bounded),
            extensions=dict(cast("Any", answer).extensions),
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx2.AsyncByteStream):
    """The body of an answer, of BODY_MAX bytes at most if it is bounded."""

    def __init__(self, stream: Any, *, bounded: bool) -> None:
        self._stream = stream
        self._bounded = bounded

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        with _as_httpx2():
            async for piece in self._stream:
                size += len(piece)
                if self._bounded and size > BODY_MAX:
                    raise httpx2.StreamError(f"the answer has more than {BODY_MAX} bytes")
                yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


class _PublicBackend(httpcore2.AsyncNetworkBackend):
    """Opens sockets to judged addresses."""

    def __init__(self, *, allow_loopback: bool) -> None:
        self._allow_loopback = allow_loopback
        self._sockets = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the library's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            addresses = await public_addresses(host, port, allow_loopback=self._allow_loopback)
        except socket.gaierror as error:
            raise httpcore2.ConnectError(f"{host}: {error.strerror}") from error
        failure: Exception | None = None
        for address in addresses:
            try:
                return await self._sockets.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise httpcore2.ConnectError(f"{host}, port {port}: no connection") from failure

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


@contextmanager
def _as_httpx2() -> Generator[None]:
    """What goes wrong below, as the errors that users of httpx2 know."""
    try:
        yield
    except httpcore2.TimeoutException as error:
        raise httpx2.ReadTimeout(str(error)) from error
    except (httpcore2.NetworkError, httpcore2.ProxyError, httpcore2.ProtocolError) as error:
        raise httpx2.TransportError(str(error) or type(error).__name__) from error


def proxy_for(url: str, env: Mapping[str, str]) -> str | None:
    """The proxy that `env` names for `url`, None if it is to be reached directly."""
    target = httpx2.URL(url)
    proxy = env.get(f"{target.scheme}_proxy") or env.get(f"{target.scheme.upper()}_PROXY")
    exempt = env.get("no_proxy") or env.get("NO_PROXY") or ""
    if not proxy or _is_exempt(target, exempt):
        return None
    return proxy


def _is_exempt(target: httpx2.URL, exempt: str) -> bool:
    """Whether NO_PROXY names the host, a domain above it, or everything."""
    for entry in exempt.lower().split(","):
        name = (
            entry.strip().removeprefix("*").removeprefix(".").removesuffix(f":{_port_of(target)}")
        )
        if entry.strip() == "*" or (name and f".{target.host}".endswith(f".{name}")):
            return True
    return False


def _port_of(url: httpx2.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)
