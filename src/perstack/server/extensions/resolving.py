"""Batch resolve: all that some specs need, in one round trip, and the graph below one version.

Every edge is resolved on its own; no edge restricts another. So a walk is enough: specs in the order in which they
are reached, each looked up once, and one that means nothing does not stop the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from perstack.definition import parse_range, parse_version
from perstack.errors import UserError
from perstack.registry import (
    PREFIX,
    Dependencies,
    Dependency,
    DependencyEdge,
    Resolution,
    Resolved,
    ResolveRequest,
    Unresolved,
)

from ..app import Extension
from ..endpoints.asking import key_of, may_see, reader
from ..identity.keys import Caller
from ..queries import experts
from ..queries.experts import Asked, asked
from ..storage.repository import Session
from ..storage.rows import Found
from ..wire.http import (
    PRIVATE,
    PUBLIC_LIST,
    Issue,
    Request,
    Response,
    answered,
    bad_request,
    invalid,
    validated,
)
from ..wire.openapi import About, Parameter
from ..wire.routing import Route
from ..wire.telling import date
from .log import proof_of
from .seeing import cache_of, number_in, seen_version

if TYPE_CHECKING:
    from ..app import Context

MAX_NODES = 2000
MAX_EDGES = 20_000
MAX_DEPTH = 64
MAX_ROOTS = 1000


@dataclass(slots=True)
class Walk:
    """One walk through the graph. locked: version by spec. mature_at: ms; what is younger is passed over."""

    session: Session
    caller: Caller | None
    locked: dict[str, str] = field(default_factory=dict[str, str])
    mature_at: int | None = None
    found: dict[str, Found] = field(default_factory=dict[str, Found])
    errors: list[Unresolved] = field(default_factory=list[Unresolved])
    warnings: list[str] = field(default_factory=list[str])
    nodes: dict[int, tuple[Found, int]] = field(default_factory=dict[int, tuple[Found, int]])
    edges: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def from_specs(self, specs: tuple[str, ...]) -> None:
        """Resolves `specs` and all below them. Raises Refused (400) if that is too much."""
        self._follow(((spec, "", 0) for spec in dict.fromkeys(specs)), MAX_DEPTH + 1)

    def from_version(self, root: Found, depth: int) -> None:
        """Resolves the delegates of `root`, theirs, and so on, as far as `depth`."""
        self._follow(self._enter(root, 0), depth)

    def _follow(self, edges: Iterable[tuple[str, str, int]], depth: int) -> None:
        """Resolves what `edges` lead to, and what these lead to, as far as `depth`.

        edges: spec, key of who needs it, and how deep it is.
        """
        todo = deque(edges)
        while todo:
            spec, required_by, level = todo.popleft()
            if spec not in self.found:
                found = self._resolved(spec, required_by)
                if found is None:
                    continue
                self.found[spec] = found
                if level < depth:
                    todo.extend(self._enter(found, level))
                elif found.version.n not in self.nodes:
                    self._note(found, level)

    def _enter(self, found: Found, depth: int) -> Iterator[tuple[str, str, int]]:
        """Notes a version; its delegates, if it is new."""
        if found.version.n in self.nodes:
            return
        self._note(found, depth)
        specs = self.session.all(
            "SELECT spec FROM edges WHERE version = ? ORDER BY position", found.version.n
        )
        if depth >= MAX_DEPTH and specs:
            raise bad_request(f"The graph is deeper than {MAX_DEPTH} delegates")
        for (spec,) in specs:
            self.edges.append((found.key, spec))
            yield spec, found.key, depth + 1
        if len(self.edges) > MAX_EDGES:
            raise bad_request(f"The graph has more than {MAX_EDGES} delegates")

    def _note(self, found: Found, depth: int) -> None:
        self.nodes[found.version.n] = (found, depth)
        if len(self.nodes) > MAX_NODES:
            raise bad_request(f"The graph has more than {MAX_NODES} Experts")

    def _resolved(self, spec: str, required_by: str) -> Found | None:
        reason = "Expert not found"
        try:
            found = self._selected(asked(spec), spec)
        except UserError as error:
            found, reason = None, str(error)
        if found is None or not found.version.is_there or not may_see(self.caller, found.expert):
            self.errors.append(Unresolved(spec=spec, reason=reason, required_by=required_by))
            return None
        if found.version.status != "available":
            self.warnings.append(f"{found.key} is {found.version.status}")
        return found

    def _selected(self, what: Asked, spec: str) -> Found | None:
        """The version to use. Raises UserError, saying which there are."""
        name, kind = what.spec.name, what.spec.kind
        if (version := self.locked.get(spec)) is not None:
            kept = self._kept(what, version)
            if kept is not None:
                return kept
        if kind in ("version", "digest"):
            found = experts.find(self.session, what)
            if found and self._is_young(found.version.published_at):
                self.warnings.append(f"{found.key} is younger than the minimum age")
            return found
        if kind == "range":
            return self._in_range(name, what.spec.selector or "")
        found = experts.find(self.session, what)
        if found is None or not self._is_young(found.version.published_at):
            return found
        return self._in_range(name, what.spec.selector if kind == "number" else "*")

    def _kept(self, what: Asked, version: str) -> Found | None:
        """The locked version, if it is there and still what the spec asks for."""
        exact = asked(f"{what.spec.name}@{version}")
        found = experts.find(self.session, exact) if exact.spec.kind == "version" else None
        if found is None or not found.version.is_there:
            return None
        selector = what.spec.selector or ""
        match what.spec.kind:
            case "range" | "number":
                fits = parse_range(selector).selects(parse_version(found.version.version))
            case "version":
                fits = exact.precedence == what.precedence
            case "digest":
                fits = found.version.digest == selector
            case "latest" | "tag":
                fits = True
        return found if fits else None

    def _in_range(self, name: str, text: str | None) -> Found | None:
        if self.mature_at is None:
            return experts.in_range(self.session, name, text or "*")
        selected = parse_range(text or "*")
        deprecated: int | None = None
        for n, version, status, published_at in self.session.all(
            "SELECT v.n, v.version, v.status, v.published_at FROM versions v JOIN experts e ON e.n = v.expert"
            " WHERE e.name = ? AND v.quarantined_at IS NULL AND v.unpublished_at IS NULL"
            " AND v.status <> 'disabled' ORDER BY v.precedence DESC",
            name,
        ):
            if self._is_young(published_at) or not selected.selects(parse_version(version)):
                continue
            if status == "available":
                return experts.by_n(self.session, n)
            deprecated = deprecated or n
        if deprecated is not None:
            return experts.by_n(self.session, deprecated)
        if experts.expert(self.session, name) is not None:
            raise UserError("No version that fits is older than the minimum age")
        return None

    def _is_young(self, published_at: int) -> bool:
        return self.mature_at is not None and published_at > self.mature_at


def request_in(body: dict[str, Any]) -> ResolveRequest:
    """The request that `body` says. Raises Refused (422)."""
    try:
        request = msgspec.convert(body, ResolveRequest)
    except msgspec.ValidationError as error:
        raise invalid(Issue((), "invalid_type", str(error))) from error
    if not 1 <= len(request.roots) <= MAX_ROOTS or len(request.locked) > MAX_EDGES:
        raise invalid(Issue(("roots",), "invalid_length", f"Give 1 to {MAX_ROOTS} roots"))
    if request.min_release_age_seconds < 0:
        raise invalid(Issue(("minReleaseAgeSeconds",), "too_small", "Must not be negative"))
    return request


async def resolve(request: Request, context: Context) -> Response:
    caller = await reader(request, context)
    found, meta = await resolved(context, caller, request_in(await request.json()))
    return answered({"data": found, "meta": meta}, cache=PRIVATE)


async def resolved(
    context: Context, caller: Caller | None, wanted: ResolveRequest
) -> tuple[Resolved, dict[str, Any]]:
    """What is published here of all that `wanted` needs, and the answer's `meta`. Raises Refused (400)."""
    age_ms = wanted.min_release_age_seconds * 1000
    mature_at = context.now() - age_ms if age_ms else None

    def find(session: Session) -> tuple[Walk, dict[str, msgspec.Raw], dict[str, str]]:
        locked = wanted.locked if wanted.prefer == "locked" else {}
        walk = Walk(session, caller, locked, mature_at)
        walk.from_specs(wanted.roots)
        documents: dict[str, msgspec.Raw] = {}
        if wanted.include == "documents":
            for found, _ in walk.nodes.values():
                body = experts.document(session, found.version.digest)
                if body is not None:
                    documents[found.version.digest] = msgspec.Raw(body)
        proofs: dict[str, str] = {}
        if wanted.proofs:
            for found, _ in walk.nodes.values():
                if (text := proof_of(session, found)) is not None:
                    proofs[found.version.digest] = text
        return walk, documents, proofs

    walk, documents, proofs = await context.repository.read_slowly(find)
    for found, _ in walk.nodes.values() if documents else ():
        context.tally.fetched(found.expert.n, context.now())
    found = Resolved(
        resolutions={
            spec: Resolution(
                key=found.key,
                digest=found.version.digest,
                status=found.version.status,
                published_at=date(found.version.published_at),
            )
            for spec, found in walk.found.items()
        },
        errors=tuple(walk.errors),
        documents=documents,
        proofs=proofs,
    )
    meta = {
        "nodes": len(walk.nodes),
        "edges": len(walk.edges),
        "warnings": list(dict.fromkeys(walk.warnings)),
    }
    return found, meta


async def dependencies(request: Request, context: Context) -> Response:
    what = key_of(request)
    caller = await reader(request, context)
    depth = number_in(request, "depth", 1, 1, MAX_DEPTH)

    def find(session: Session) -> tuple[Found, Walk]:
        root = seen_version(session, what, caller)
        walk = Walk(session, caller)
        walk.from_version(root, depth)
        return root, walk

    root, walk = await context.repository.read_slowly(find)
    said = Dependencies(
        experts=tuple(
            Dependency(
                key=found.key, digest=found.version.digest, status=found.version.status, depth=level
            )
            for found, level in walk.nodes.values()
        ),
        edges=tuple(
            DependencyEdge(
                key=key, spec=spec, to=walk.found[spec].key if spec in walk.found else ""
            )
            for key, spec in walk.edges
        ),
        errors=tuple(walk.errors),
    )
    cache = cache_of(request, context, PUBLIC_LIST, root.expert)
    return validated(request, answered({"data": said}, cache=cache))


EXTENSION = Extension(
    routes=(
        Route(
            "POST",
            f"{PREFIX}/resolve",
            resolve,
            About(
                text="All that some specs need, resolved edge by edge. What means nothing is among `errors`.",
                body=ResolveRequest,
                answer=Resolved,
                may=(400,),
            ),
        ),
        Route(
            "GET",
            f"{PREFIX}/experts/{{key}}/dependencies",
            dependencies,
            About(
                text="What a version delegates to, and what that delegates to, as far as `depth`.",
                query=(Parameter("depth", "Default 1.", int, 1, MAX_DEPTH),),
                answer=Dependencies,
                may=(400,),
            ),
        ),
    )
)
