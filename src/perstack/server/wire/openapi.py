"""The API's own description: OpenAPI 3.1, made of the routes and of the structs that are really said.

A route says in `about` what cannot be read off it. Schemas come from the structs in `perstack.registry`; nothing
is written twice, so nothing can differ. The tests play requests made up from this document against the server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from perstack._version import version
from perstack.registry import ERRORS, Refusal

if TYPE_CHECKING:
    from .routing import Route

JSON = "application/json"
_REFS = "#/components/schemas/{name}"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of the query. kind: int, str, or a tuple of the texts that may be given."""

    name: str
    about: str = ""
    kind: type[int] | type[str] | tuple[str, ...] = str
    least: int | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What an endpoint does and says. answer: the `data` of its success.

    body: what is sent; raw: the answer is not in an envelope; kind: of an answer that is not JSON; auth: whether
    it needs a key; may: statuses of refusals besides those that every such endpoint has.
    """

    text: str
    answer: Any = None
    query: tuple[Parameter, ...] = ()
    body: Any = None
    raw: bool = False
    kind: str = JSON
    auth: bool = False
    may: tuple[int, ...] = ()


def document(routes: Iterable[Route], server: str) -> dict[str, Any]:
    """The description of those `routes` that say what they are about. server: URL."""
    told = [(route, route.about) for route in routes if isinstance(route.about, About)]
    types = [Refusal]
    for _, about in told:
        types += [kind for kind in (about.answer, about.body) if kind is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFS)
    schema_of = dict(zip(map(_name, types), schemas, strict=True))
    paths: dict[str, Any] = {}
    for route, about in told:
        paths.setdefault(route.pattern, {})[route.method.lower()] = _operation(
            route, about, schema_of
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Perstack registry",
            "version": version(),
            "description": "Keys of Experts are one segment of a path: encode the slash of a scope as %2F.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, about: About, schema_of: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": about.text,
        "parameters": [
            *(_in_path(name) for name in re.findall(r"{(\w+)}", route.pattern)),
            *(_in_query(parameter) for parameter in about.query),
        ],
        "responses": _answers(route, about, schema_of),
        "security": [{"key": []}] if about.auth else [{}, {"key": []}],
    }
    if about.body is not None:
        content = {JSON: {"schema": schema_of[_name(about.body)]}}
        said["requestBody"] = {"required": True, "content": content}
    return said


def _answers(route: Route, about: About, schema_of: dict[str, Any]) -> dict[str, Any]:
    if about.kind != JSON:
        binary = {"type": "string"} if about.answer is str else {}
        success: dict[str, Any] = {about.kind: {"schema": binary}}
    elif about.answer is None:
        success = {JSON: {"schema": {"type": "object"}}}
    else:
        inner = schema_of[_name(about.answer)]
        envelope = {
            "type": "object",
            "required": ["data"],
            "properties": {"data": inner, "meta": {"type": "object"}},
        }
        success = {JSON: {"schema": inner if about.raw else envelope}}
    statuses = {404, *about.may} if "{" in route.pattern else {*about.may}
    statuses |= {401, 403} if about.auth else {401}
    if about.body is not None:
        statuses |= {413, 415, 422}
    if about.query or "{" in route.pattern:
        statuses |= {422}
    refused = {JSON: {"schema": schema_of[_name(Refusal)]}}
    answers = {"200": {"description": "Success", "content": success}}
    if route.method == "GET":
        answers["304"] = {"description": "Not Modified"}
    for status in sorted({*statuses, 429, 500, 503}):
        answers[str(status)] = {"description": ERRORS[status], "content": refused}
    return answers


def _in_path(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
    }


def _in_query(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any]
    match parameter.kind:
        case tuple():
            schema = {"type": "string", "enum": list(parameter.kind)}
        case kind if kind is int:
            bounds = {"minimum": parameter.least, "maximum": parameter.most}
            schema = {"type": "integer"} | {k: v for k, v in bounds.items() if v is not None}
        case _:
            schema = {"type": "string"}
    said: dict[str, Any] = {
        "name": parameter.name,
        "in": "query",
        "required": False,
        "schema": schema,
    }
    return said | ({"description": parameter.about} if parameter.about else {})


def _operation_id(route: Route) -> str:
    words = re.findall(r"\w+", route.pattern.replace("/api/registry/v1", ""))
    return "_".join((route.method.lower(), *words))


def _name(kind: Any) -> str:
    return repr(kind)
