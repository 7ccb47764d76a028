"""Connections to providers: opened, kept open for the next request, closed.

TLS is verified, always. Through an HTTP proxy, plain requests name their whole URL; TLS goes through a tunnel.
"""

from __future__ import annotations

import os
import re
import select
import socket
import ssl
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.util import find_spec
from types import TracebackType
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import anyio
from anyio.abc import ByteStream, SocketAttribute

from perstack._net import is_loopback
from perstack.errors import ModelError, UserError

from .answer import MAX_HEAD, Answer, broken

CONNECT_TIMEOUT_S = 15.0
IDLE_S = 55.0
"""How long an unused connection is kept: less than the usual minute of load balancers."""

_CHUNK = 64 * 1024
_HOST = re.compile(r"[A-Za-z0-9._~%:-]+")
_SENDABLE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Target(NamedTuple):
    """Where a request goes to."""

    tls: bool
    host: str
    port: int
    path: str
    authority: str


class Proxy(NamedTuple):
    """An HTTP proxy. authorization: the header value, empty if it wants none."""

    tls: bool
    host: str
    port: int
    authorization: str


class _Connection(NamedTuple):
    stream: ByteStream
    poll: select.poll
    idle_since: float


class Connections:
    """Connections that are kept open for the next request, of any number of models.

    An async context manager; leaving it closes the idle ones. There is no upper limit: each request under way
    has one connection, and the newest idle one is used first, so that the others grow old and are closed.
    """

    def __init__(self) -> None:
        self._idle: dict[tuple[bool, str, int, Proxy | None], deque[_Connection]] = {}

    async def __aenter__(self) -> Connections:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        idle = [connection for kept in self._idle.values() for connection in kept]
        self._idle.clear()
        for connection in idle:
            await anyio.aclose_forcefully(connection.stream)

    async def post(
        self, url: str, head: bytes, body: bytes, answer: Answer, proxy: Proxy | None = None
    ) -> None:
        """Send one request and feed `answer` until it is complete. head: header lines, each with its CRLF.

        Raises ModelError, UserError for a URL that is none. Cancelling closes the connection.
        """
        target = _parsed(url)
        key = (target.tls, target.host, target.port, proxy)
        path, extra = target.path, ""
        if proxy is not None and not target.tls:
            path = f"http://{target.authority}{target.path}"
            extra = _proxy_line(proxy)
        request = b"POST %s HTTP/1.1\r\nhost: %s\r\n%s%scontent-length: %d\r\n\r\n%s" % (
            path.encode("ascii"),
            target.authority.encode("ascii"),
            extra.encode("latin-1"),
            head,
            len(body),
            body,
        )
        kept = self._idle.setdefault(key, deque())
        now = anyio.current_time()
        await _close_old(kept, now)
        while kept:
            connection = kept.pop()
            if connection.poll.poll(0):  # closed by the server, or it speaks unasked
                await anyio.aclose_forcefully(connection.stream)
                continue
            try:
                await self._exchange(kept, connection, request, answer)
            except ModelError:
                if answer.begun:
                    raise
                continue
            return
        stream = await _connect(target, proxy)
        await self._exchange(kept, _kept(stream), request, answer)

    async def _exchange(
        self, kept: deque[_Connection], connection: _Connection, request: bytes, answer: Answer
    ) -> None:
        """One request and its answer. Afterwards the connection is kept if it can be, else closed."""
        stream = connection.stream
        unsent: Exception | None = None
        try:
            try:
                await stream.send(request)
            except (anyio.BrokenResourceError, OSError) as error:
                unsent = error  # it may have answered before it closed: too large, not allowed
            while not answer.complete:
                try:
                    data = await stream.receive(_CHUNK)
                except anyio.EndOfStream:
                    answer.end()
                    break
                except (anyio.BrokenResourceError, OSError) as error:
                    raise broken(f"the connection broke: {error or unsent or ''}") from error
                answer.feed(data)
        except BaseException:
            await anyio.aclose_forcefully(stream)
            raise
        if answer.reusable and unsent is None:
            kept.append(connection._replace(idle_since=anyio.current_time()))
        else:
            await anyio.aclose_forcefully(stream)


async def _close_old(kept: deque[_Connection], now: float) -> None:
    """Close those that were idle too long; the oldest are on the left."""
    while kept and now - kept[0].idle_since > IDLE_S:
        await anyio.aclose_forcefully(kept.popleft().stream)


def _kept(stream: ByteStream) -> _Connection:
    poll = select.poll()
    poll.register(stream.extra(SocketAttribute.raw_socket).fileno(), select.POLLIN)
    return _Connection(stream, poll, 0.0)


async def _connect(target: Target, proxy: Proxy | None) -> ByteStream:
    """A connection ready for the request. Raises ModelError."""
    way = target if proxy is None else proxy
    host, port = way.host, way.port
    _check_allowed(host)
    try:
        with anyio.fail_after(CONNECT_TIMEOUT_S):
            stream = await _open(host, port, tls=way.tls)
            if proxy is None or not target.tls:
                return stream
            try:
                await _tunnel(stream, target, proxy)
                from anyio.streams.tls import TLSStream

                return await TLSStream.wrap(
                    stream,
                    hostname=target.host,
                    ssl_context=_tls(),
                    standard_compatible=False,
                )
            except BaseException:
                await anyio.aclose_forcefully(stream)
                raise
    except TimeoutError as error:
        what = f"no connection to {host}:{port} within {CONNECT_TIMEOUT_S:g} s"
        raise ModelError(what, name="ConnectionFailed", retryable=True) from error
    except ssl.SSLCertVerificationError as error:
        what = f"the certificate of {target.host} is not trusted: {error.verify_message}"
        raise ModelError(what, name="CertificateRejected") from error
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
        what = f"cannot connect to {host}:{port}: {_reason(error)}"
        raise ModelError(what, name="ConnectionFailed", retryable=True) from error


async def _open(host: str, port: int, *, tls: bool) -> ByteStream:
    if tls:
        stream = await anyio.connect_tcp(
            host, port, tls=True, ssl_context=_tls(), tls_standard_compatible=False
        )
    else:
        stream = await anyio.connect_tcp(host, port)
    # A model may think for minutes without a word; without this a dead peer would go unnoticed.
    stream.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return stream


async def _tunnel(stream: ByteStream, target: Target, proxy: Proxy) -> None:
    """Ask the proxy for a way through to the target."""
    place = f"{_bracketed(target.host)}:{target.port}"
    lines = f"CONNECT {place} HTTP/1.1\r\nhost: {place}\r\n{_proxy_line(proxy)}\r\n"
    await stream.send(lines.encode("ascii"))
    said = b""
    while b"\r\n\r\n" not in said:
        if len(said) > MAX_HEAD:
            raise OSError("the proxy's answer does not end")
        said += await stream.receive(4096)
    status = said.split(b"\r\n", 1)[0].split(b" ")[1:2]
    if not status or not status[0].startswith(b"2"):
        line = said.split(b"\r\n", 1)[0].decode("latin-1")
        raise ModelError(
            f"the proxy {proxy.host}:{proxy.port} refused: {line}",
            name="ProxyRefused",
            retryable=bool(status) and status[0].startswith(b"5"),
        )


def _check_allowed(host: str) -> None:
    import perstack.models as room

    if not room.ALLOW_REQUESTS and not is_loopback(host):
        raise ModelError(
            f"requests to models are switched off, so {host} was not asked",
            name="RequestsForbidden",
        )


@cache
def _tls() -> ssl.SSLContext:
    """The system's certificates; those of certifi where the system has none."""
    context = ssl.create_default_context()
    places = ssl.get_default_verify_paths()
    if not (places.cafile or places.capath or context.get_ca_certs()) and find_spec("certifi"):
        import certifi

        context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


def _reason(error: BaseException) -> str:
    """What is at the bottom of a failed connection; anyio wraps the attempts it made."""
    inner: BaseException = error
    while inner.__cause__ is not None:
        inner = inner.__cause__
    if isinstance(inner, BaseExceptionGroup):
        return "; ".join({_reason(one) for one in inner.exceptions})  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType, reportUnknownMemberType]  # what is in the group is any error
    if isinstance(inner, socket.gaierror):
        return inner.strerror or "the name is not known"
    if isinstance(inner, OSError) and inner.errno:
        return os.strerror(inner.errno)
    return str(inner) or type(inner).__name__


# --- what is written on the request


def head_lines(headers: Mapping[str, str]) -> bytes:
    """Header lines for every request of one provider. Raises UserError for what cannot be a header."""
    ours = {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "user-agent": "perstack",
    }
    given = {name.lower(): (name, value) for name, value in headers.items()}
    lines = [f"{name}: {value}\r\n" for name, value in ours.items() if name not in given]
    for lower, (name, value) in given.items():
        if not name or not _TOKEN.issuperset(name):
            raise UserError(f"{name!r} cannot be the name of a header.")
        if lower in ("host", "content-length", "transfer-encoding", "connection"):
            raise UserError(f'The header "{name}" belongs to the connection and cannot be set.')
        value = value.strip(" \t")
        if not _SENDABLE.fullmatch(value):
            raise UserError(
                f'The value of the header "{name}" holds a line break or another character that cannot be '
                "sent. If it comes from a key or a variable, look for a stray newline in it."
            )
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("latin-1")


@lru_cache(maxsize=256)
def _parsed(url: str) -> Target:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    shown = _shown(url)
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host):
        raise UserError(f'The base URL "{shown}" is not an http or https URL.')
    if parts.username is not None:
        raise UserError(
            f'The base URL "{shown}" names a user. Put credentials into a header instead.'
        )
    tls = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii() or not path.isprintable() or " " in path:
        raise UserError(f'The base URL "{shown}" has characters that cannot be sent.')
    port = port or (443 if tls else 80)
    authority = _bracketed(host) if port == (443 if tls else 80) else f"{_bracketed(host)}:{port}"
    return Target(tls, host, port, path, authority)


def _shown(url: str) -> str:
    """`url` without what may be secret in it."""
    return re.sub(r"//[^/]*@", "//…@", url.partition("?")[0])


def parsed_proxy(url: str) -> Proxy:
    """The proxy at `url`. Raises UserError if it is none."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host):
        # Not the URL itself: it may hold a password.
        raise UserError(
            "The proxy is not an http or https URL, such as http://user:password@host:3128."
        )
    tls = parts.scheme == "https"
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + b64encode(pair.encode()).decode("ascii")
    return Proxy(tls, host, port or (443 if tls else 80), authorization)


def _proxy_line(proxy: Proxy) -> str:
    return f"proxy-authorization: {proxy.authorization}\r\n" if proxy.authorization else ""


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
