"""What a registry answers, for who passes it on: asked once, within a time, and never led elsewhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import anyio

from perstack._value import Value
from perstack.errors import RegistryError

CONNECTIONS = 16


class Fetched(Value, frozen=True):
    """An answer of any kind. headers: by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes


class Fetch(Protocol):
    """Gets what is at `url`. limit: bytes the answer may have.

    Raises RegistryError: with status 0 if there is no answer, else with that of an answer which is too long.
    """

    async def __call__(self, url: str, headers: Mapping[str, str], limit: int) -> Fetched: ...


@asynccontextmanager
async def open_fetching(*, timeout_s: float) -> AsyncGenerator[Fetch]:
    """A way to get answers, closed at the end. timeout_s: for one of them, as a whole."""
    from .http import open_http  # who mirrors nothing does not pay for it

    async with open_http(connections=CONNECTIONS, redirects=0) as send:

        async def fetch(url: str, headers: Mapping[str, str], limit: int) -> Fetched:
            try:
                with anyio.fail_after(timeout_s):
                    answer = await send("GET", url, headers, None, limit)
            except TimeoutError as error:
                raise RegistryError(
                    f"{url} gave no answer within {timeout_s:g} s.", aborted=True
                ) from error
            return Fetched(status=answer.status, headers=answer.headers, body=answer.body)

        yield fetch
