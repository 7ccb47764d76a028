"""A registry to test with: the real application on a real database, asked in-process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx

from perstack.registry import PREFIX
from perstack.server import App, Extension, Settings, make_app
from perstack.server.identity.keys import SCOPES, OrganizationType, Role, Scope
from perstack.server.queries import organizations as orgs
from perstack.server.queries.audit import Actor
from perstack.server.storage.repository import Repository, Session
from perstack.server.writes.holders import DEFAULT_DAYS, create_organization, days_ms, issue_key

BASE: dict[str, dict[str, Any]] = {
    "@perstack/base": {
        "type": "mcpStdioSkill",
        "description": "@perstack/base skill",
        "command": "npx",
        "packageName": "@perstack/base",
        "pick": ["attemptCompletion"],
    }
}
OPERATOR = Actor("local", subject="test")
START = 1_790_000_000_000
"""Where the clock of tests begins, ms."""

REFERENCE_HEADERS = {
    "content-type": "application/json",
    "accept": "*/*",
    "accept-language": "*",
    "sec-fetch-mode": "cors",
    "user-agent": "node",
    "accept-encoding": "gzip, deflate",
    "connection": "keep-alive",
}
"""What the reference's client sends with every request, with or without a body."""


def payload(name: str, version: str = "1.0.0", **more: Any) -> dict[str, Any]:
    """A publish request as the reference's client makes it."""
    return {
        "name": name,
        "version": version,
        "minRuntimeVersion": "v1.0",
        "description": f"What {name} is for",
        "instruction": "Do it well.",
        "skills": BASE,
        "delegates": [],
        "tags": ["latest"],
    } | more


def wire(text: str) -> str:
    """`encodeURIComponent` for the letters keys have."""
    return "".join(
        letter if letter.isalnum() or letter in "-_.!~*'()" else f"%{ord(letter):02X}"
        for letter in text
    )


@dataclass
class Registry:
    """app: within `running()`. http: asks it. now: its clock, ms; each look at it makes it a ms later."""

    app: App
    http: httpx.AsyncClient
    now: list[int] = field(default_factory=lambda: [START])

    @property
    def repository(self) -> Repository:
        return self.app.context.repository

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """path: below the prefix, unless it begins with it or is a whole URL; encoded by who asks."""
        whole = path if path.startswith(("http:", "/api", "/tlog")) else PREFIX + path
        sent = REFERENCE_HEADERS | ({"authorization": f"Bearer {key}"} if key else {})
        return await self.http.request(
            method,
            whole,
            json=body,
            headers=sent | dict(headers or {}),
            params=dict(query) if query else None,
        )

    async def get(self, path: str, *, key: str | None = None, **query: str) -> httpx.Response:
        return await self.ask("GET", path, key=key, query=query)

    async def post(
        self, path: str, body: Any = None, *, key: str | None = None, **query: str
    ) -> httpx.Response:
        return await self.ask("POST", path, body, key=key, query=query)

    async def publish(
        self, name: str, version: str = "1.0.0", *, key: str, **more: Any
    ) -> dict[str, Any]:
        """Publishes, which must succeed; gives the Expert as it was told."""
        answer = await self.post("/experts/", payload(name, version, **more), key=key)
        assert answer.status_code == 200, answer.text
        return cast("dict[str, Any]", answer.json()["data"]["expert"])

    async def organization(self, name: str, type: OrganizationType = "team") -> str:
        """Its id."""

        def write(session: Session) -> str:
            return create_organization(
                session, OPERATOR, self.app.context.now(), name=name, type=type
            ).id

        return await self.repository.write(write)

    async def key(
        self,
        organization: str,
        *scopes: Scope,
        account: str | None = None,
        role: Role = "owner",
        type: OrganizationType | None = None,
        days: int = DEFAULT_DAYS,
        **more: Any,
    ) -> str:
        """A key of an organization, which is made if there is none: a team, unless `type` says otherwise."""

        def write(session: Session) -> str:
            at = self.app.context.now()
            found = orgs.organization_named(session, organization)
            if found is None:
                found = create_organization(
                    session, OPERATOR, at, name=organization, type=type or "team"
                )
            holder = None
            if account is not None:
                holder = orgs.add_account(session, account, at)
                orgs.set_member(session, found.id, holder, role, at)
            made = issue_key(
                session,
                OPERATOR,
                found,
                at,
                name="test",
                scopes=scopes or SCOPES,
                account=holder,
                lasts_ms=days_ms(days),
                **more,
            )
            return made.secret

        return await self.repository.write(write)


@asynccontextmanager
async def open_registry(
    database: str, *, extensions: tuple[Extension, ...] | None = None, **settings: Any
) -> AsyncGenerator[Registry]:
    """A registry on the database at this URL."""
    now = [START]

    def clock() -> int:
        now[0] += 1
        return now[0]

    app = make_app(Settings(database_url=database, **settings), extensions=extensions, now=clock)
    transport = httpx.ASGITransport(app)
    async with (
        app.running(),
        httpx.AsyncClient(transport=transport, base_url="http://registry.test") as http,
    ):
        yield Registry(app, http, now)


def reason(answer: httpx.Response) -> tuple[int, Any]:
    """Status and reason of a refusal, whose envelope must be whole."""
    body = answer.json()
    assert body["code"] == answer.status_code, body
    assert body["error"], body
    return answer.status_code, body["reason"]
