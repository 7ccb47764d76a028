"""Names of other registries, answered here: what `PERSTACK_REGISTRY_UPSTREAMS` maps to an upstream, or blocks.

Below the usual paths a name is answered by what its rule says: from this database, from its upstream, or not at
all. Below `/upstream/{host}` there is each upstream on its own, as its clients know it, with its own log: this is
what clients name as their `mirror`, and there are no names but those that are mirrored from it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anyio
import msgspec
from msgspec.structs import replace as replaced

from perstack.errors import UserError
from perstack.registry import PREFIX, IndexConfig, open_fetching

from ..app import Extension, Publication
from ..endpoints.asking import reader
from ..extensions.log import TLOG
from ..queries import experts
from ..settings import Settings
from ..storage.repository import Session
from ..wire.http import Request, Response, answered, bad_request, not_found, validated
from ..wire.routing import Handler, Route
from . import relaying
from .mirroring import Mirror
from .relaying import Answer, mirrors_of
from .through import resolve_mirrored
from .upstreams import Rules, Upstream, keys_of, rules_of

if TYPE_CHECKING:
    from ..app import Context

ORIGINS = "/upstream/{upstream}"
TIMEOUT_S = 10.0
"""For one answer of an upstream."""


@asynccontextmanager
async def _running(rules: Rules, context: Context) -> AsyncGenerator[None]:
    """Connections to the upstreams, closed at the end."""
    keys = keys_of(rules, os.environ)
    async with open_fetching(timeout_s=TIMEOUT_S) as fetch, anyio.create_task_group() as tasks:
        mirrors_of(context).update(
            (each.url, Mirror(context, each, fetch, tasks, keys.get(each.url, "")))
            for each in rules.upstreams
        )
        try:
            yield
        finally:
            mirrors_of(context).clear()
            tasks.cancel_scope.cancel()


def _opened(rules: Rules, session: Session, settings: Settings) -> None:
    """Raises UserError if names that are mirrored were published here."""
    del settings
    for (name,) in session.all("SELECT name FROM experts ORDER BY name"):
        where = rules.of(name)
        if isinstance(where, Upstream):
            raise UserError(
                f"{name} was published here, and its scope is mirrored from {where.url}. A scope is one or the "
                f"other: add {name.partition('/')[0] if '/' in name else '_'}=local to the upstreams."
            )


def _checks(rules: Rules, session: Session, publication: Publication) -> Iterable[str]:
    """Raises Refused (400) for names that are not local."""
    del session
    name = publication.request.name
    match rules.of(name):
        case "local":
            return ()
        case "blocked":
            raise bad_request(f"The scope of {name} is blocked on this registry")
        case Upstream(url=url):
            raise bad_request(
                f"The scope of {name} is mirrored from {url} and cannot be published to here"
            )


def mirrored(
    settings: Settings, routes: Iterable[Route]
) -> tuple[list[Route], tuple[Extension, ...]]:
    """The routes of a server, and what it does besides, once its rules for names are kept. Raises UserError."""
    rules = rules_of(settings.upstreams)
    if rules == Rules(by_scope={}):
        return list(routes), ()
    mine: dict[str, Answer] = {
        f"{PREFIX}/experts/{{key}}": relaying.expert,
        f"{PREFIX}/experts/{{key}}/versions": relaying.versions,
        f"{PREFIX}/experts/{{key}}/attestations": relaying.attestations,
        f"{PREFIX}/index/{{key}}": relaying.index,
        f"{PREFIX}/index/_/{{key}}": relaying.index,
        f"{TLOG}/proof/{{key}}": relaying.proof,
    }
    found = [_ruled(rules, route, mine) for route in routes]
    extension = Extension(
        routes=_origins(rules, mine, found),
        opened=partial(_opened, rules),
        checks=partial(_checks, rules),
        running=partial(_running, rules),
    )
    return [*found, *extension.routes], (extension,)


def _ruled(rules: Rules, route: Route, mine: Mapping[str, Answer]) -> Route:
    """`route`, answered by the rule of the name it is about."""
    local = route.handler
    if route.pattern == f"{PREFIX}/resolve":
        return replace(route, handler=partial(resolve_mirrored, rules, only=None))
    if route.pattern == f"{PREFIX}/documents/sha256/{{hex}}":
        return replace(route, handler=partial(_either_document, rules, local))
    if route.pattern == f"{PREFIX}/index/config.json":
        return replace(route, handler=partial(_own_config, rules, local))
    if route.method != "GET" or "{key}" not in route.pattern:
        return route
    answer = mine.get(route.pattern)

    async def handler(request: Request, context: Context) -> Response:
        where = rules.of(request.params["key"])
        if where == "blocked":
            await reader(request, context)
            raise not_found()
        if where == "local" or answer is None:
            return await local(request, context)
        return await answer(request, context, mirrors_of(context)[where.url])

    return replace(route, handler=handler)


async def _either_document(
    rules: Rules, local: Handler, request: Request, context: Context
) -> Response:
    """What is published here first: it needs nobody else."""
    digest = f"sha256:{request.params['hex']}"
    here = await context.repository.read(lambda session: experts.by_digest(session, digest))
    if here is not None and rules.of(here.expert.name) == "local":
        return await local(request, context)
    found = await relaying.document(rules, request, context, None)
    if found is None:
        raise not_found("Document not found")
    return found


async def _own_config(rules: Rules, local: Handler, request: Request, context: Context) -> Response:
    """With the names whose log is another."""
    told = await local(request, context)
    if told.status != 200:
        return told
    said = replaced(msgspec.json.decode(told.body, type=IndexConfig), mirrored=rules.mirrored)
    return validated(request, answered(said, cache=told.headers["cache-control"]))


def _origins(
    rules: Rules, mine: Mapping[str, Answer], routes: Iterable[Route]
) -> tuple[Route, ...]:
    """The routes of each upstream on its own."""
    by_name = {each.name: each for each in rules.upstreams}

    def only(request: Request, context: Context) -> Mirror:
        each = by_name.get(request.params["upstream"].lower())
        if each is None:
            raise not_found("No such upstream")
        return mirrors_of(context)[each.url]

    def route(method: str, pattern: str, answer: Answer) -> Route:
        async def handler(request: Request, context: Context) -> Response:
            found = only(request, context)
            if "key" in request.params and rules.of(request.params["key"]) != found.upstream:
                await reader(request, context)
                raise not_found()
            return await answer(request, context, found)

        return Route(method, f"{ORIGINS}{pattern}", handler)

    async def document(request: Request, context: Context, mirror: Mirror) -> Response:
        found = await relaying.document(rules, request, context, mirror)
        if found is None:
            raise not_found("Document not found")
        return found

    async def resolve(request: Request, context: Context, mirror: Mirror) -> Response:
        return await resolve_mirrored(rules, request, context, only=mirror)

    tiles = [each.pattern for each in routes if each.pattern.startswith(f"{TLOG}/tile/")]
    return (
        *(route("GET", pattern, answer) for pattern, answer in mine.items()),
        *(route("GET", pattern, relaying.tile) for pattern in tiles),
        route("GET", f"{PREFIX}/documents/sha256/{{hex}}", document),
        route("GET", f"{TLOG}/checkpoint", relaying.checkpoint),
        route("GET", f"{PREFIX}/changes", relaying.changes),
        route("GET", f"{PREFIX}/index/config.json", relaying.config),
        route("POST", f"{PREFIX}/resolve", resolve),
    )
