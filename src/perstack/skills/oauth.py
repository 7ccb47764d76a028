"""Signing in to remote skills with OAuth: the MCP SDK's flow, and the file in which its outcome is kept.

A run never signs in: it uses what `perstack skill login` has stored, and renews it. Where there is nothing
stored, or it is no longer accepted, the answer 401 stands.

All requests are made by the client of the skill, so every host is judged (`public_http.py`); here it is seen to
that what they carry is encrypted. A token goes to the endpoint it was given for, and nowhere else.

Imports the MCP SDK, so it is itself imported only when needed.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.client.auth.oauth2 import OAuthContext
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    OAuthToken,
    ProtectedResourceMetadata,
)
from pydantic import AnyUrl, BaseModel, ValidationError

from perstack._net import is_loopback
from perstack.errors import UserError

_REFUSED = 401
_FORBIDDEN = 403
_PAST = 1.0


@dataclass(frozen=True)
class SignIn:
    """How a person signs in. redirect_uri: where the browser is sent back to.

    show: takes the person to a URL. wait: the query with which the browser came back.
    """

    redirect_uri: str
    show: Callable[[str], Awaitable[None]]
    wait: Callable[[], Awaitable[Mapping[str, str]]]


class _Stored(BaseModel):
    """What a file holds. expires_at: of the token, seconds since 1970."""

    endpoint: str
    tokens: OAuthToken
    client: OAuthClientInformationFull | None = None
    server: OAuthMetadata | None = None
    resource: ProtectedResourceMetadata | None = None
    expires_at: float | None = None


class FileTokens:
    """The sign-in at one endpoint, kept in a file that only its owner can read. The SDK's `TokenStorage`."""

    def __init__(self, endpoint: str, env: Mapping[str, str]) -> None:
        url = urlsplit(endpoint)
        self._endpoint = f"{url.scheme}://{url.netloc}{url.path}"
        name = hashlib.sha256(self._endpoint.encode()).hexdigest()[:32]
        self.path = _config_home(env) / "perstack" / "oauth" / f"{name}.json"
        self._tokens: OAuthToken | None = None
        self._client: OAuthClientInformationFull | None = None
        self._context: OAuthContext | None = None

    def exist(self) -> bool:
        return self.path.is_file()

    def forget(self) -> bool:
        """Delete the file. Whether there was one."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        return True

    def join(self, context: OAuthContext, *, afresh: bool) -> None:
        """Serve the flow of `context`. afresh: as if nothing were stored.

        The SDK forgets when a token expires and where it is renewed; both are stored beside it.
        Raises UserError if the file cannot be used.
        """
        self._context = context
        if afresh or (stored := self._read()) is None:
            return
        context.oauth_metadata = stored.server
        context.protected_resource_metadata = stored.resource
        context.token_expiry_time = stored.expires_at

    async def get_tokens(self) -> OAuthToken | None:
        return self._tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self._client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        # Written with the tokens it gets: one is of no use without the other
        self._client = client_info

    async def set_tokens(self, tokens: OAuthToken) -> None:
        assert self._context is not None
        self._tokens = tokens
        stored = _Stored(
            endpoint=self._endpoint,
            tokens=tokens,
            client=self._client,
            server=self._context.oauth_metadata,
            resource=self._context.protected_resource_metadata,
            expires_at=self._context.token_expiry_time,
        )
        self._write(stored.model_dump_json(exclude_none=True).encode())

    def _read(self) -> _Stored | None:
        try:
            stored = _Stored.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError, json.JSONDecodeError) as error:
            raise UserError(
                f"{self.path} cannot be used: `perstack skill login` makes it anew"
            ) from error
        self._tokens, self._client = stored.tokens, stored.client
        return stored

    def _write(self, data: bytes) -> None:
        home = self.path.parent
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
        draft = home / f".{self.path.stem}.{secrets.token_hex(8)}"
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(file, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            draft.replace(self.path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def _config_home(env: Mapping[str, str]) -> Path:
    given = env.get("XDG_CONFIG_HOME", "")
    return (
        Path(given) if given.startswith("/") else Path(env.get("HOME") or Path.home()) / ".config"
    )


class SkillAuth(OAuthClientProvider):
    """Puts the token of a skill on its requests. fault: why there is none, "" if nothing went wrong.

    sign_in: how to get one; a new one then, since a browser comes back to another port each time. None: use and
    renew the stored one.
    """

    def __init__(
        self, endpoint: str, tokens: FileTokens, sign_in: SignIn | None, *, allow_loopback: bool
    ) -> None:
        back = sign_in.redirect_uri if sign_in else "http://127.0.0.1/callback"
        super().__init__(
            endpoint,
            OAuthClientMetadata(redirect_uris=[AnyUrl(back)], client_name="Perstack"),
            tokens,
            redirect_handler=self._show,
            callback_handler=self._come_back,
        )
        tokens.join(self.context, afresh=sign_in is not None)
        self.fault = ""
        self._sign_in = sign_in
        self._allow_loopback = allow_loopback

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        # The SDK lets one request pass at a time; with a good token there is nothing to wait for.
        used = self.context.current_tokens
        if used is not None and self.context.is_token_valid():
            request.headers["Authorization"] = f"Bearer {used.access_token}"
            response = yield request
            if not self._is_refused(response):
                return
            if response.status_code == _REFUSED and self.context.current_tokens is used:
                self.context.token_expiry_time = _PAST  # has it renewed
        flow = super().async_auth_flow(request)
        try:
            outgoing = await anext(flow)
            while True:
                if outgoing is not request:
                    self._judge(str(outgoing.url))
                response = yield outgoing
                if outgoing is request and self._sign_in is None:
                    return
                outgoing = await flow.asend(response)
        except StopAsyncIteration:
            return
        except (OAuthFlowError, ValidationError) as error:
            self.fault = f"signing in failed: {_first_line(error)}"
            raise
        finally:
            await flow.aclose()

    def _is_refused(self, response: httpx2.Response) -> bool:
        if response.status_code == _FORBIDDEN:
            return self._sign_in is not None
        return response.status_code == _REFUSED

    def _judge(self, url: str) -> None:
        """Raise OAuthFlowError if what goes to `url` could be read on the way."""
        parts = urlsplit(url)
        if parts.scheme == "https":
            return
        if parts.scheme == "http" and self._allow_loopback and is_loopback(parts.hostname or ""):
            return
        raise OAuthFlowError(f"{parts.scheme}://{parts.netloc} is not HTTPS")

    async def _show(self, url: str) -> None:
        assert self._sign_in is not None  # else the flow has ended before
        self._judge(url)
        await self._sign_in.show(url)

    async def _come_back(self) -> AuthorizationCodeResult:
        assert self._sign_in is not None
        query = await self._sign_in.wait()
        if "error" in query:
            words = " ".join(filter(None, (query["error"], query.get("error_description"))))
            raise OAuthFlowError(f"the server refused: {words}")
        found = {name: query.get(name) for name in ("code", "state", "iss")}
        return AuthorizationCodeResult(**cast("Any", {**found, "code": found["code"] or ""}))


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return f"the server's {error.title} is not as it has to be"
    return (str(error).splitlines() or [type(error).__name__])[0][:500]
