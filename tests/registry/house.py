"""A registry of one's own to talk to: the real server on a free port of this machine, in a thread.

What it is asked is written down. Its answers can be twisted on their way, to see what becomes of lies.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Awaitable, Callable, Generator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import anyio
import msgspec
import uvicorn

from perstack.registry import PREFIX, Place, PublishRequest, open_client
from perstack.server import Settings, make_app
from perstack.server.queries.audit import Actor
from perstack.server.storage.repository import Session, open_repository
from perstack.server.writes.holders import create_organization, issue_key

BASE: dict[str, dict[str, Any]] = {
    "@perstack/base": {
        "type": "mcpStdioSkill",
        "description": "@perstack/base skill",
        "command": "npx",
        "packageName": "@perstack/base",
    }
}
OPERATOR = Actor("local", subject="test")

Message = MutableMapping[str, Any]
Twist = Callable[[str, int, bytes], tuple[int, bytes] | None]
"""(path, status, body) as the server has them → what is said instead, None to leave it."""


def request(name: str, version: str = "1.0.0", *delegates: str, **more: Any) -> PublishRequest:
    """A publish request for an Expert that delegates to `delegates`."""
    plain = PublishRequest(
        name=name,
        version=version,
        min_runtime_version="v1.0",
        description=f"What {name} is for",
        instruction=f"Be {name} {version}.",
        skills=BASE,
        delegates=delegates,
    )
    return msgspec.structs.replace(plain, **more)


@dataclass
class House:
    """url: of the registry. asked: methods and paths below the prefix, in order. keys: by organization."""

    url: str
    asked: list[str] = field(default_factory=list[str])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    keys: dict[str, str] = field(default_factory=dict[str, str])
    twist: Twist | None = None
    shift_ms: int = 0

    async def publish(self, *requests: PublishRequest) -> None:
        """Publish as the organization that each scope names, or as `person`."""
        for each in requests:
            organization = each.name[1:].partition("/")[0] if each.name[0] == "@" else "person"
            async with open_client(Place(url=self.url, key=self.keys[organization])) as client:
                await client.publish(each)

    async def update(self, key: str, **change: Any) -> None:
        organization = key[1:].partition("/")[0] if key[0] == "@" else "person"
        async with open_client(Place(url=self.url, key=self.keys[organization])) as client:
            await client.update(key, change)

    async def unpublish(self, key: str) -> None:
        organization = key[1:].partition("/")[0] if key[0] == "@" else "person"
        async with open_client(Place(url=self.url, key=self.keys[organization])) as client:
            await client.unpublish(key)

    def forget(self) -> None:
        """From here on, count anew what is asked."""
        self.asked.clear()
        self.headers.clear()


@contextmanager
def open_house(
    place: Path,
    *organizations: str,
    keys: Mapping[str, str] | None = None,
    database: str = "",
    port: int = 0,
    **more: Any,
) -> Generator[House]:
    """A running registry with its database in `place`, and with these teams and the organization `person`.

    keys: of a database that is there already. database: another than the one in `place`. port: 0 for any.
    more: further settings.
    """
    database = database or str(place / "registry.db")
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    house = House(url=f"http://127.0.0.1:{listening.getsockname()[1]}")
    founding = threading.Thread(  # of its own: who asks for the house may be in a loop
        target=lambda: house.keys.update(anyio.run(_founded, database, organizations))
    )
    if keys is None:
        founding.start()
        founding.join()
    else:
        house.keys.update(keys)
    settings = Settings(database_url=database, public_url=house.url, **more)
    app = _Witnessed(make_app(settings, now=lambda: _now_ms() + house.shift_ms), house)
    server = _Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        assert server.is_up.wait(30), "the registry did not start"
        yield house
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def _now_ms() -> int:
    from time import time

    return int(time() * 1000)


async def _founded(database: str, organizations: tuple[str, ...]) -> dict[str, str]:
    def write(session: Session) -> dict[str, str]:
        keys: dict[str, str] = {}
        for name in ("person", *organizations):
            kind = "personal" if name == "person" else "team"
            made = create_organization(session, OPERATOR, _now_ms(), name=name, type=kind)
            keys[name] = issue_key(session, OPERATOR, made, _now_ms(), name="test").secret
        return keys

    async with open_repository(database) as repository:
        return await repository.write(write)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()


class _Witnessed:
    """An application between us and the server, which writes down what is asked and can twist the answers."""

    def __init__(self, app: Any, house: House) -> None:
        self._app = app
        self._house = house

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        house = self._house
        path = unquote(scope["raw_path"].decode()).removeprefix(PREFIX)
        house.asked.append(f"{scope['method']} {path}")
        house.headers.append({k.decode(): v.decode() for k, v in scope["headers"]})
        if house.twist is None:
            await self._app(scope, receive, send)
            return
        kept = [pair for pair in scope["headers"] if pair[0] not in (b"accept-encoding",)]
        start: Message = {}
        parts: list[bytes] = []

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                parts.append(message.get("body", b""))

        await self._app({**scope, "headers": kept}, receive, collect)
        body = b"".join(parts)
        status, body = house.twist(path, start["status"], body) or (start["status"], body)
        headers = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        await send({**start, "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def refused(status: int, reason: str) -> tuple[int, bytes]:
    """The body of a refusal."""
    return status, msgspec.json.encode({"code": status, "error": "No", "reason": reason})
