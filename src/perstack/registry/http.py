"""HTTP for the registry's client, and the only module here that knows the HTTP library. Import it late.

A request is sent once. Redirects are followed with care: credentials stay with the origin they are for, and nobody
is led from https to http. An answer has a limit that holds for what it unpacks to.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from urllib.parse import urljoin, urlsplit

import anyio
import httpx2

from perstack._net import is_loopback
from perstack._version import version
from perstack.errors import RegistryError

from .asking import Answer, Send

REDIRECTS = 5
_CREDENTIALS = "authorization"
_KEEPS_METHOD = (307, 308)
_REDIRECTS = (301, 302, 303, *_KEEPS_METHOD)
_BROKEN = (httpx2.HTTPError, httpx2.StreamError, OSError)


@asynccontextmanager
async def open_http(*, connections: int, redirects: int = REDIRECTS) -> AsyncGenerator[Send]:
    """A way to send requests, closed at the end. connections: how many are open at once.

    redirects: how many are followed for one request; 0: the answer that redirects is the answer.
    """
    limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
    headers = {"user-agent": f"perstack/{version()}", "accept-encoding": "gzip"}
    async with httpx2.AsyncClient(limits=limits, timeout=None, headers=headers) as http:

        async def send(
            method: str, url: str, headers: Mapping[str, str], body: bytes | None, limit: int
        ) -> Answer:
            sent = dict(headers)
            for _ in range(redirects + 1):
                _check_url(url)
                answer = await _sent(http, method, url, sent, body, limit)
                place = answer.headers.get("location", "")
                if answer.status not in _REDIRECTS or not place or not redirects:
                    return answer
                if method not in ("GET", "HEAD") and answer.status not in _KEEPS_METHOD:
                    raise RegistryError(f"{url} sends us elsewhere, where we cannot {method}.")
                before, url = url, urljoin(url, place)
                if _origin(url) != _origin(before):
                    sent.pop(_CREDENTIALS, None)
            raise RegistryError(f"{url} was reached over too many redirects.")

        yield send


async def _sent(
    http: httpx2.AsyncClient,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    limit: int,
) -> Answer:
    try:
        async with http.stream(method, url, headers=headers, content=body) as response:
            whole = await _body(response, url, limit)
            told = {name.lower(): value for name, value in response.headers.items()}
            return Answer(status=response.status_code, headers=told, body=whole)
    except (*_BROKEN, httpx2.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise RegistryError(
            f"{url} cannot be reached: {reason}. Check the network, and the registry's address.",
            reason=reason,
        ) from error
    except anyio.BrokenResourceError as error:
        raise RegistryError(f"{url} broke off.", reason="the connection broke") from error


async def _body(response: httpx2.Response, url: str, limit: int) -> bytes:
    """Raises RegistryError if it has more than `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    try:
        async with aclosing(response.aiter_bytes()) as stream:
            async for part in stream:
                size += len(part)
                if size <= limit:
                    parts.append(part)
                else:  # what is read after this fails, which ends all generators that the library has below
                    await response.aclose()
    except _BROKEN:
        if size <= limit:
            raise
    if size > limit:
        raise RegistryError(
            f"The answer of {url} has more than {limit} bytes.", status=response.status_code
        )
    return b"".join(parts)


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        return
    raise RegistryError(f"{url} is not asked: registries are spoken to over https only.")


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
