"""Batch resolve of names that are mirrored: what their upstreams list, and what is published here below it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
from msgspec.structs import replace

from perstack.lock import Choosing, NoVersion, select
from perstack.registry import IndexLine, Resolution, Resolved, ResolveRequest, Unresolved

from ..endpoints.asking import reader
from ..extensions.resolving import MAX_DEPTH, MAX_EDGES, MAX_NODES, request_in, resolved
from ..identity.keys import Caller
from ..queries.experts import visible_spec
from ..wire.http import PRIVATE, Refused, Request, Response, answered, bad_request, not_found
from .mirroring import Mirror
from .relaying import check_read, mirrors_of
from .upstreams import Rules, Upstream

if TYPE_CHECKING:
    from ..app import Context

CONNECTIONS = 16


class Walk:
    """One walk through what is mirrored, level by level. only: the one mirror whose names there are.

    elsewhere: specs of names that are local, with who needs each.
    """

    def __init__(
        self,
        rules: Rules,
        context: Context,
        caller: Caller | None,
        wanted: ResolveRequest,
        only: Mirror | None,
    ) -> None:
        self.elsewhere: dict[str, str] = {}
        self.resolutions: dict[str, Resolution] = {}
        self.documents: dict[str, msgspec.Raw] = {}
        self.errors: list[Unresolved] = []
        self.warnings: list[str] = []
        self.nodes: set[str] = set()
        self.edges = 0
        self._rules = rules
        self._context = context
        self._caller = caller
        self._wanted = wanted
        self._only = only
        self._choosing = Choosing(
            now_s=context.now() / 1000,
            min_age_s=wanted.min_release_age_seconds,
            allow_disabled=True,
        )
        self._turns = anyio.CapacityLimiter(CONNECTIONS)

    async def run(self) -> None:
        """Resolves the roots and all below them. Raises Refused: 400 for too much, 502, 503."""
        level, seen = dict.fromkeys(self._wanted.roots, ""), set[str]()
        for _ in range(MAX_DEPTH + 1):
            seen |= level.keys()
            below = await self._level(level)
            if len(self.nodes) > MAX_NODES or self.edges > MAX_EDGES:
                raise bad_request(
                    f"The graph has more than {MAX_NODES} Experts, or too many delegates"
                )
            level = {spec: key for spec, key in below.items() if spec not in seen}
            if not level:
                return
        raise bad_request(f"The graph is deeper than {MAX_DEPTH} delegates")

    async def _level(self, level: Mapping[str, str]) -> dict[str, str]:
        """Resolves some specs, given with who needs each; their delegates, likewise."""
        below: dict[str, str] = {}
        failed: list[Refused] = []

        async def look(spec: str, needed_by: str) -> None:
            try:
                async with self._turns:
                    below.update(await self._resolve(spec, needed_by))
            except Refused as refused:
                failed.append(refused)

        async with anyio.create_task_group() as tasks:
            for spec, needed_by in level.items():
                tasks.start_soon(look, spec, needed_by)
        if failed:
            raise failed[0]
        return below

    async def _resolve(self, text: str, needed_by: str) -> dict[str, str]:
        """Notes what one spec means; its delegates, each with who needs it."""
        spec = visible_spec(text)
        where = self._rules.of(text)
        if spec is None or where == "local":
            self.elsewhere[text] = needed_by
            return {}
        try:
            found = mirrors_of(self._context)[where.url] if isinstance(where, Upstream) else None
            if found is None or self._only not in (None, found):
                raise not_found()
            listing, told = await found.listing(spec.spec.name)
            check_read(self._caller, told, spec.spec.name)
            locked = self._wanted.locked.get(text) if self._wanted.prefer == "locked" else None
            choice = select(spec.spec, listing, self._choosing, locked)
        except (Refused, NoVersion) as error:
            if isinstance(error, Refused) and error.status != 404:
                raise
            reason = str(error.reason) if isinstance(error, Refused) else str(error)
            self.errors.append(Unresolved(spec=text, reason=reason, required_by=needed_by))
            return {}
        chosen = choice.candidate
        key = f"{listing.name}@{chosen.version}"
        self.resolutions[text] = Resolution(
            key=key, digest=chosen.digest, status=chosen.status, published_at=chosen.published_at
        )
        self.warnings += choice.warnings
        if key in self.nodes:
            return {}
        self.nodes.add(key)
        if self._wanted.include == "documents":
            body = (await found.document(listing.name, chosen.version, chosen.digest)).body
            self.documents[chosen.digest] = msgspec.Raw(body)
        delegates = _delegates_in(told.body, chosen.version)
        self.edges += len(delegates)
        return dict.fromkeys(delegates, key)


def _delegates_in(index: bytes, version: str) -> tuple[str, ...]:
    """The delegates of a version, as their author wrote them, as an index that was checked says."""
    for line in index.splitlines():
        if line.strip() and msgspec.json.decode(line, type=_Line).vers == version:
            return msgspec.json.decode(line, type=IndexLine).delegates
    return ()


class _Line(msgspec.Struct, frozen=True):
    vers: str = ""


async def resolve_mirrored(
    rules: Rules, request: Request, context: Context, *, only: Mirror | None
) -> Response:
    caller = await reader(request, context)
    wanted = request_in(await request.json())
    walk = Walk(rules, context, caller, wanted, only)
    await walk.run()
    local, meta = Resolved(resolutions={}), dict[str, Any](nodes=0, edges=0, warnings=[])
    if walk.elsewhere and only is None:
        here = replace(wanted, roots=tuple(walk.elsewhere))
        local, meta = await resolved(context, caller, here)
    else:
        walk.errors += (
            Unresolved(spec=spec, reason="Expert not found", required_by=needed_by)
            for spec, needed_by in walk.elsewhere.items()
        )
    errors = [
        replace(each, required_by=each.required_by or walk.elsewhere.get(each.spec, ""))
        for each in local.errors
    ]
    found = replace(
        local,
        resolutions=walk.resolutions | local.resolutions,
        errors=(*walk.errors, *errors),
        documents=walk.documents | local.documents,
    )
    meta = {
        "nodes": len(walk.nodes) + meta["nodes"],
        "edges": walk.edges + meta["edges"],
        "warnings": list(dict.fromkeys((*walk.warnings, *meta["warnings"]))),
    }
    return answered({"data": found, "meta": meta}, cache=PRIVATE)
