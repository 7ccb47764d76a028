"""A registry for programs under test: its address, and keys of organizations, made as they are asked for."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from perstack.server.identity.keys import SCOPES, OrganizationType, Scope
from perstack.server.queries.organizations import organization_named
from perstack.server.storage.repository import Session, open_repository
from perstack.server.writes.holders import create_organization, issue_key
from tests.registry.house import OPERATOR, open_house


@dataclass(frozen=True)
class RunningRegistry:
    """url: without a path. database: its file."""

    url: str
    database: str

    def key_of(
        self,
        organization: str,
        *,
        type: OrganizationType = "team",
        scopes: tuple[Scope, ...] = SCOPES,
    ) -> str:
        """A new key of an organization, which is made if there is none."""
        now = time.time_ns() // 1_000_000

        def make(session: Session) -> str:
            where = organization_named(session, organization) or create_organization(
                session, OPERATOR, now, name=organization, type=type, owner=None
            )
            return issue_key(session, OPERATOR, where, now, name="test", scopes=scopes).secret

        async def write() -> str:
            async with open_repository(self.database) as repository:
                return await repository.write(make)

        return anyio.run(write)

    def use(self, name: str, weight: int) -> None:
        """Have an Expert be used as much as `weight` says."""

        def write(session: Session) -> None:
            session.run("UPDATE experts SET weight = ? WHERE name = ?", weight, name)

        async def change() -> None:
            async with open_repository(self.database) as repository:
                await repository.write(write)

        anyio.run(change)

    def env(self, organization: str = "") -> dict[str, str]:
        """What a program needs to use it, with a key of `organization` if that is named."""
        told = {"PERSTACK_API_BASE_URL": self.url}
        return told | ({"PERSTACK_API_KEY": self.key_of(organization)} if organization else {})


@contextmanager
def running_registry(place: Path) -> Generator[RunningRegistry]:
    """A server, stopped at the end. place: an empty directory for its database."""
    with open_house(place) as house:
        yield RunningRegistry(house.url, str(place / "registry.db"))
