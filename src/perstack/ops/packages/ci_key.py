"""A key for one job of CI: the token that says which job it is, exchanged for a key that lasts minutes.

GitHub Actions gives a token to a job that asks with what its environment holds; GitLab CI puts one into a
variable. Each is made for one registry, and can be used once. The key is kept in memory only, and taken back at
the end.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlencode, urlsplit

import anyio
import msgspec
from msgspec.structs import replace

from perstack._net import is_loopback
from perstack.errors import RegistryError, UserError
from perstack.registry import Place, RegistryClient

from .access import Access, open_registry
from .account import Key
from .registries import Registries

REQUEST_URL = "ACTIONS_ID_TOKEN_REQUEST_URL"
REQUEST_TOKEN = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
ID_TOKEN = "PERSTACK_ID_TOKEN"
TIMEOUT_S = 30.0
END_S = 5.0


class _Told(msgspec.Struct, frozen=True):
    value: str


class _Made(msgspec.Struct, frozen=True):
    key: Key


def has_token(env: Mapping[str, str]) -> bool:
    """Whether this is a job that can say which it is."""
    return bool(env.get(ID_TOKEN) or (env.get(REQUEST_URL) and env.get(REQUEST_TOKEN)))


@asynccontextmanager
async def open_for_publishing(
    access: Access, name: str, made: Callable[[Key], None]
) -> AsyncGenerator[RegistryClient]:
    """The registry of the Expert `name`, with the key that is stored for it, else with one for this job.

    made: hears of a key for this job. Raises UserError where there is neither, RegistryError.
    """
    place = access.place(name)
    if place.key or not has_token(access.env):
        if not place.key and access.env.get("GITHUB_ACTIONS") == "true":
            raise UserError(
                f"There is no key for {place.url}, and this job may not ask for a token. Give it "
                "`permissions: id-token: write`, or set PERSTACK_API_KEY."
            )
        async with open_registry(access, name, needs_key=True) as client:
            yield client
        return
    # the registry itself, not its mirror: that gets neither token nor key
    async with open_registry(_at(access, Place(url=place.url))) as client:
        key = await _exchanged(client, name, access.env)
    made(key)
    async with open_registry(_at(access, Place(url=place.url, key=key.secret))) as client:
        try:
            yield client
        finally:
            with anyio.move_on_after(END_S, shield=True), suppress(RegistryError):
                await client.request("DELETE", f"/keys/{key.id}")  # else it ends by itself


def _at(access: Access, place: Place) -> Access:
    return replace(access, registries=Registries(default=place, scopes={}))


async def _exchanged(client: RegistryClient, name: str, env: Mapping[str, str]) -> Key:
    url = client.place.url
    token = env.get(ID_TOKEN) or await _asked(env[REQUEST_URL], env[REQUEST_TOKEN], url)
    body = msgspec.json.encode({"token": token, "name": name[:1] + name[1:].partition("@")[0]})
    try:
        return (await client.data("POST", "/oidc/exchange", _Made, body=body)).key
    except RegistryError as error:
        if error.status not in (401, 403, 404):
            raise
        raise UserError(
            f"There is no key for {url}, and it gives this job none: {error.reason or error}. "
            "`perstack trust list` shows an owner which jobs an Expert trusts."
        ) from error


async def _asked(url: str, bearer: str, audience: str) -> str:
    """A token of GitHub Actions for this audience. Raises RegistryError."""
    import httpx2  # only a job pays for it

    parts = urlsplit(url)
    if parts.scheme != "https" and not (
        parts.scheme == "http" and is_loopback(parts.hostname or "")
    ):
        raise UserError(f"{REQUEST_URL} is no https address.")
    whole = f"{url}{'&' if parts.query else '?'}{urlencode({'audience': audience})}"
    try:
        async with httpx2.AsyncClient(timeout=TIMEOUT_S) as http:
            answer = await http.get(whole, headers={"authorization": f"Bearer {bearer}"})
        if answer.status_code == 200:
            return msgspec.json.decode(answer.content, type=_Told).value
        reason = f"status {answer.status_code}"
    except (httpx2.HTTPError, msgspec.MsgspecError) as error:
        reason = str(error) or type(error).__name__
    raise RegistryError(f"The runner gave this job no token: {reason}.", reason=reason)
