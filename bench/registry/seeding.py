"""Fills a registry's database, through the server's own publishing: rows, index, edges, log and audit log.

Only the transactions are larger than those of a server, so that a hundred thousand take minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import anyio

from perstack.registry import PublishRequest
from perstack.server import Settings, make_app
from perstack.server.app import Context
from perstack.server.identity.keys import SCOPES as MAY
from perstack.server.identity.keys import Caller
from perstack.server.queries.audit import Actor
from perstack.server.storage.repository import Session
from perstack.server.writes.holders import create_organization, issue_key
from perstack.server.writes.publishing import publish

from .experts import GRAPH_SCOPE, SCOPES, expert, graph, scope_of

BATCH = 500
ACTOR = Actor("127.0.0.1", subject="bench")


def seed(path: Path, count: int) -> None:
    """A registry of `count` Experts and the graph, at `path`, which is not there yet."""
    anyio.run(_seed, path, count)


def key_for_writing(path: Path) -> tuple[str, str]:
    """The scope of a new owner, and its key."""

    async def make() -> tuple[str, str]:
        async with make_app(Settings(database_url=str(path))).running() as context:
            return await context.repository.write(lambda session: _owner(session, context))

    def _owner(session: Session, context: Context) -> tuple[str, str]:
        now = context.now()
        owner = create_organization(session, ACTOR, now, name="writers", type="team")
        return "@writers", issue_key(session, ACTOR, owner, now, name="bench").secret

    return anyio.run(make)


async def _seed(path: Path, count: int) -> None:
    async with make_app(Settings(database_url=str(path))).running() as context:
        names = [GRAPH_SCOPE, *(scope_of(n) for n in range(SCOPES))]
        owners = await context.repository.write(_owners(context, names))
        everyone = (expert(n, below=n) for n in range(count))
        for requests, told in ((graph(), 0), (everyone, count)):
            done = 0
            while batch := list(islice(requests, BATCH)):
                await context.repository.write(_published(context, owners, batch))
                done += len(batch)
                if told and done % 10_000 == 0:
                    print(f"{done:,} of {count:,} Experts", file=sys.stderr, flush=True)


def _owners(context: Context, names: Iterable[str]) -> Callable[[Session], dict[str, Caller]]:
    def make(session: Session) -> dict[str, Caller]:
        return {name: _owner(session, context.now(), name.removeprefix("@")) for name in names}

    return make


def _owner(session: Session, at: int, name: str) -> Caller:
    made = create_organization(session, ACTOR, at, name=name, type="team")
    return Caller(
        key="",
        organization=made.id,
        organization_name=name,
        organization_type="team",
        account=None,
        account_name=None,
        role=None,
        scopes=frozenset(MAY),
    )


def _published(
    context: Context, owners: dict[str, Caller], requests: list[PublishRequest]
) -> Callable[[Session], None]:
    def write(session: Session) -> None:
        for request in requests:
            caller = owners[request.name.partition("/")[0]]
            publish(
                session, context, request, caller, ACTOR._replace(organization=caller.organization)
            )

    return write
