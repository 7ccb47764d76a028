"""The keys that issuers sign with, asked for at the address the issuer itself gives, and kept for an hour.

Who sends a token decides when we ask, so asking is bounded: in time, in bytes, in how often. No redirect is
followed. An issuer that the settings name is asked where it is; all else only at public addresses, and at the very
address that was judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
import httpx2
import msgspec

from perstack._net import public_addresses

from .issuers import Issuer

Jwk = dict[str, Any]

KEPT_MS = 3600 * 1000
AGAIN_MS = 10 * 1000
"""An issuer is not asked again so soon, whatever key a token names, and also if it did not answer."""

TIMEOUT_S = 10.0
MAX_ANSWER = 256 * 1024


class IssuerUnreachable(Exception):
    """The keys of an issuer cannot be had."""


class _Kept:
    def __init__(self) -> None:
        self.keys: list[Jwk] = []
        self.told_at = self.asked_at = -KEPT_MS
        self.fault = ""
        self.asking = anyio.Lock()


class IssuerKeys:
    """The keys of issuers, as one process knows them. timeout_s: for all it takes to get those of one."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self.timeout_s = timeout_s
        self._kept: dict[str, _Kept] = {}

    async def find(self, issuer: Issuer, kid: str, now: int) -> list[Jwk]:
        """The keys of this name; several if the issuer gave one name twice. now: ms. Raises IssuerUnreachable."""
        kept = self._kept.setdefault(issuer.url, _Kept())
        if found := _named(kept, kid, now):
            return found
        async with kept.asking:
            if now - kept.asked_at >= AGAIN_MS and not _named(kept, kid, now):
                await self._ask(issuer, kept, now)
        found = _named(kept, kid, now)
        if not found and kept.fault:
            raise IssuerUnreachable(kept.fault)
        return found

    async def _ask(self, issuer: Issuer, kept: _Kept, now: int) -> None:
        kept.asked_at, kept.fault = now, "it was not asked to the end"
        try:
            with anyio.fail_after(self.timeout_s):
                kept.keys = await _fetched(issuer)
            kept.told_at, kept.fault = now, ""
        except TimeoutError:
            kept.fault = f"no answer in {self.timeout_s:g} s"
        except IssuerUnreachable as error:
            kept.fault = str(error)


def _named(kept: _Kept, kid: str, now: int) -> list[Jwk]:
    if now - kept.told_at >= KEPT_MS:
        return []
    return [key for key in kept.keys if key.get("kid") == kid]


async def _fetched(issuer: Issuer) -> list[Jwk]:
    told = await _json(issuer, issuer.url.rstrip("/") + "/.well-known/openid-configuration")
    where = told.get("jwks_uri")
    if told.get("issuer") != issuer.url or not isinstance(where, str):
        raise IssuerUnreachable("its configuration is another issuer's")
    keys = (await _json(issuer, where)).get("keys")
    if not isinstance(keys, list):
        raise IssuerUnreachable("it gives no keys")
    return [cast("Jwk", key) for key in cast("list[Any]", keys) if isinstance(key, dict)]


async def _json(issuer: Issuer, url: str) -> Mapping[str, Any]:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise IssuerUnreachable("it names an address that is none") from error
    host = parts.hostname or ""
    if "@" in parts.netloc:
        raise IssuerUnreachable("it names an address with a name and a password")
    if issuer.is_at(url):
        addresses: tuple[str, ...] = (host,)
    elif parts.scheme != "https" or not host:
        raise IssuerUnreachable("it is not spoken to over https")
    else:
        try:
            addresses = await public_addresses(host, port)
        except (OSError, UnicodeError) as error:
            raise IssuerUnreachable(str(error)) from error
    async with httpx2.AsyncClient(timeout=None, trust_env=False) as http:
        body = b""
        for address in addresses:
            place = f"[{address}]" if ":" in address else address
            at = parts._replace(netloc=f"{place}:{port}", fragment="").geturl()
            try:
                body = await answer_at(http, at, host, parts.netloc)
                break
            except httpx2.ConnectError as error:
                if address == addresses[-1]:
                    raise IssuerUnreachable("it cannot be connected to") from error
            except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, OSError) as error:
                raise IssuerUnreachable(str(error) or type(error).__name__) from error
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise IssuerUnreachable("it gives no JSON") from error


async def answer_at(http: httpx2.AsyncClient, url: str, name: str, host: str) -> bytes:
    """The body of an answer. url: with an address in place of a name. host: of the header.

    name: whom the certificate must be for. Raises IssuerUnreachable, and what httpx2 raises.
    """
    headers = {"host": host, "accept": "application/json", "accept-encoding": "identity"}
    asked = http.stream("GET", url, headers=headers, extensions={"sni_hostname": name})
    async with asked as answer:
        if answer.status_code != 200:
            raise IssuerUnreachable(f"it answers with {answer.status_code}")
        body = b""
        async for part in answer.aiter_raw():
            body += part
            if len(body) > MAX_ANSWER:
                raise IssuerUnreachable(f"its answer has more than {MAX_ANSWER} bytes")
        return body
