"""Which handler answers which path.

Paths are matched as they were sent, still encoded: `%2F` in a key does not part it. So
`/experts/%40acme%2Freader` is one key; for people, `/experts/@acme/reader` is the same. Slashes at the front
count as one, those at the end as none.

    Route("GET", "/api/registry/v1/experts/{key}/versions", handler)

`{key}` takes one segment, or two if the first is a scope on its own, so `/experts/@acme/versions` is the Expert
`@acme/versions`. A literal segment wins over a parameter. HEAD is answered as GET.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from .http import Issue, Refused, Request, Response, invalid, not_found

if TYPE_CHECKING:
    from ..app import Context

Handler = Callable[[Request, "Context"], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """method: in capitals. pattern: from the root, e.g. `/healthz`, `/api/registry/v1/orgs/{org}`.

    about: what the list of endpoints says, beside what the documentation derives from it.
    """

    method: str
    pattern: str
    handler: Handler
    about: Any = None


@dataclass(slots=True)
class _Node:
    literals: dict[str, _Node] = field(default_factory=dict[str, "_Node"])
    parameter: _Node | None = None
    routes: dict[str, tuple[Route, tuple[str, ...]]] = field(
        default_factory=dict[str, "tuple[Route, tuple[str, ...]]"]
    )


class Router:
    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._root = _Node()
        for route in self.routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        names: list[str] = []
        for segment in _segments(route.pattern):
            if segment.startswith("{"):
                names.append(segment[1:-1])
                node.parameter = node = node.parameter or _Node()
            else:
                node = node.literals.setdefault(segment, _Node())
        if route.method in node.routes:
            raise ValueError(f"two routes for {route.method} {route.pattern}")
        node.routes[route.method] = (route, tuple(names))

    def find(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]]:
        """The route, and its parameters decoded. Raises Refused: 404, 405, 422 for what is not UTF-8."""
        node = self._root
        values: list[str] = []
        segments = iter(_segments(raw_path))
        for segment in segments:
            if (below := node.literals.get(segment)) is not None:
                node = below
                continue
            if node.parameter is None:
                raise not_found("No such path")
            node = node.parameter
            value = _decoded(segment)
            if (
                value.startswith("@")
                and "/" not in value
                and (name := next(segments, None)) is not None
            ):
                value = f"{value}/{_decoded(name)}"
            values.append(value)
        if not node.routes:
            raise not_found("No such path")
        found = node.routes.get("GET" if method == "HEAD" else method)
        if found is None:
            allowed = sorted({*node.routes, *(("HEAD",) if "GET" in node.routes else ())})
            raise Refused(
                405, f"{method} is not allowed here", headers={"Allow": ", ".join(allowed)}
            )
        route, names = found
        return route, dict(zip(names, values, strict=True))


def _segments(path: str) -> list[str]:
    path = path.strip("/")
    return path.split("/") if path else []


def _decoded(segment: str) -> str:
    if "%" not in segment:
        return segment
    try:
        text = unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError as error:
        raise invalid(Issue(("path",), "invalid_encoding", "The path is not UTF-8")) from error
    if "\0" in text:  # which no database keeps
        raise invalid(Issue(("path",), "invalid_encoding", "The path has a NUL in it"))
    return text
