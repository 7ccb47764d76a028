"""The sparse index: for each Expert one small file with all its versions, of which a client reads what it needs.

A line says one version, in the order of publishing; the last line says the tags. Lines only change in their
status, and go when a version is unpublished or quarantined. Readers skip lines whose `v` they do not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from perstack.definition import EXPERT_NAME, MAX_NAME
from perstack.registry import PREFIX, IndexLine

from ..app import Extension
from ..endpoints.asking import reader
from ..queries import experts, graph
from ..storage.repository import Session
from ..wire.http import PUBLIC_INDEX, Request, Response, not_found, not_modified, unchanged
from ..wire.openapi import About
from ..wire.routing import Route
from ..wire.telling import date
from .seeing import cache_of, seen_expert

if TYPE_CHECKING:
    from ..app import Context

LINES = "application/x-ndjson"

_encode = msgspec.json.Encoder().encode


async def index(request: Request, context: Context) -> Response:
    name = request.params["key"]
    caller = await reader(request, context)
    if not EXPERT_NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise not_found()

    def revision(session: Session) -> tuple[bool, str]:
        expert = seen_expert(session, name, caller)
        if expert.vacated:
            raise not_found()
        return expert.is_private, f'"{expert.n}-{expert.revision}"'

    def body(session: Session) -> bytes:
        expert = seen_expert(session, name, caller)
        lines = graph.lines(session, expert)
        there = {line.version for line in lines}
        tags = {
            tag: version
            for tag, version in experts.tags(session, expert).items()
            if version in there
        }
        said = [_encode(_line(expert.name, line)) for line in lines]
        return b"\n".join((*said, _encode({"tags": tags}), b""))

    private, etag = await context.repository.read(revision)
    cache = cache_of(request, context, PUBLIC_INDEX)
    cache = "private, no-cache" if private else cache
    if unchanged(request, etag):
        return not_modified(etag, cache)
    return Response(await context.repository.read(body), kind=LINES, cache=cache, etag=etag)


def _line(name: str, line: graph.Line) -> IndexLine:
    return IndexLine(
        v=1,
        name=name,
        vers=line.version,
        digest=line.digest,
        size=line.size,
        delegates=tuple(line.delegates),
        status=line.status,
        published_at=date(line.published_at),
        log=line.log_index,
    )


_ABOUT = About(text="All versions of an Expert, one a line, and its tags.", answer=str, kind=LINES)

EXTENSION = Extension(
    routes=(
        Route("GET", f"{PREFIX}/index/_/{{key}}", index, _ABOUT),
        Route("GET", f"{PREFIX}/index/{{key}}", index, _ABOUT),
    )
)
