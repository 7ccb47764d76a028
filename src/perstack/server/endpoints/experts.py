"""R1 to R3: one version, all of an Expert, all Experts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from perstack.errors import UserError
from perstack.registry import PREFIX

from ..queries import experts
from ..queries.experts import SORTED_BY
from ..storage.repository import Session
from ..storage.rows import Found
from ..wire.http import (
    PRIVATE,
    PUBLIC_EXACT,
    PUBLIC_INDEX,
    PUBLIC_LIST,
    PUBLIC_MOVING,
    Issue,
    Request,
    Response,
    answered,
    invalid,
    not_found,
    not_modified,
    told,
    unchanged,
    validated,
)
from ..wire.routing import Route
from ..wire.telling import answer_of, digest_said, etag, expert_json
from .asking import key_of, may_get, may_see, name_of, not_a_key, owns, reader

if TYPE_CHECKING:
    from ..app import Context

MAX_TAKE = 100
QUICK_SKIP = 500
"""What is skipped is walked over; a long walk is not for the event loop."""


async def get(request: Request, context: Context) -> Response:
    """R1."""
    what = key_of(request, specs=True)
    caller = await reader(request, context)

    def look(session: Session) -> Found:
        found = experts.find(session, what)
        if found is None or not may_get(caller, found):
            raise not_found()
        return found

    try:
        found = await context.repository.read(look)
    except UserError as error:
        raise not_a_key(request.params["key"], error) from error
    private = found.expert.is_private or not found.version.is_there
    exact = what.spec.kind in ("version", "digest")
    cache = PRIVATE if private else PUBLIC_EXACT if exact else PUBLIC_MOVING
    headers = {} if exact else {"content-location": path_of(found)}
    validator = etag(found)
    if unchanged(request, validator):
        return not_modified(validator, cache, headers)
    body = context.answers.get(found)
    if body is None:
        digest = found.version.digest
        document = await context.repository.read(lambda session: experts.document(session, digest))
        if document is None:
            raise not_found()
        body = answer_of(found, document)
        context.answers.keep(found, body)
    return Response(body, cache=cache, etag=validator, headers=headers)


def path_of(found: Found) -> str:
    """Where this exact version is."""
    return f"{PREFIX}/experts/{quote(found.key, safe='')}"


async def versions(request: Request, context: Context) -> Response:
    """R2."""
    name = name_of(request)
    take, skip = _page(request, None)
    caller = await reader(request, context)

    def look(session: Session) -> tuple[dict[str, Any], bool]:
        expert = experts.expert(session, name)
        if expert is None or expert.vacated or not may_see(caller, expert):
            raise not_found()
        hidden = owns(caller, expert)
        rows = experts.versions(session, expert, take=take, skip=skip, hidden=hidden)
        if expert.latest is None:
            raise not_found("Latest version not found")
        latest = experts.by_n(session, expert.latest).version
        if not hidden and not latest.is_there:
            raise not_found("Latest version not found")
        total = (
            len(rows)
            if take is None and not skip
            else experts.count_versions(session, expert, hidden=hidden)
        )
        private = expert.is_private or any(row.quarantined_at is not None for row in rows)
        said = {
            "data": {
                "versions": [digest_said(expert, row) for row in rows],
                "latest": latest.version,
            },
            "meta": {"total": total},
        }
        return said, private

    said, private = await context.repository.read(look)
    return validated(request, answered(said, cache=PRIVATE if private else PUBLIC_INDEX))


def _page(request: Request, default: int | None) -> tuple[int | None, int]:
    """take and skip. Raises Refused (422)."""
    issues: list[Issue] = []
    take = _number(request, "take", 1, MAX_TAKE, issues)
    skip = _number(request, "skip", 0, 10**9, issues)
    if issues:
        raise invalid(*issues)
    return (default if take is None else take), skip or 0


def _number(request: Request, name: str, least: int, most: int, issues: list[Issue]) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 10 or not least <= int(text) <= most:
        issues.append(Issue((name,), "invalid_number", f"Expected {least} to {most}"))
        return None
    return int(text)


async def list_experts(request: Request, context: Context) -> Response:
    """R3."""
    query = request.query
    take, skip = _page(request, MAX_TAKE)
    issues: list[Issue] = []
    prefix = query.get("filter", "")
    if "filter" in query and not 1 <= len(prefix) <= 256:
        issues.append(Issue(("filter",), "invalid_string", "Expected 1 to 256 characters"))
    organization = query.get("organizationId", "")
    if "organizationId" in query and not (
        len(organization) == 24 and organization.isascii() and organization.isalnum()
    ):
        issues.append(Issue(("organizationId",), "invalid_string", "Expected an id"))
    sort = query.get("sort", "updatedAt")
    if sort not in SORTED_BY:
        issues.append(Issue(("sort",), "invalid_value", f"Expected one of {', '.join(SORTED_BY)}"))
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        issues.append(Issue(("order",), "invalid_value", "Expected asc or desc"))
    if issues:
        raise invalid(*issues)
    caller = await reader(request, context)
    whole = (
        caller is not None
        and caller.organization == organization
        and "read" in caller.scopes
        and not caller.patterns
    )
    prefix = prefix.lower()
    if not prefix.isascii() or "\0" in prefix:
        page, total = [], 0
    else:
        quick = not prefix and not organization and skip <= QUICK_SKIP
        read = context.repository.read if quick else context.repository.read_slowly
        page, total = await read(
            lambda session: experts.listed(
                session,
                organization=organization,
                whole=whole,
                prefix=prefix,
                sort=sort,
                descending=order == "desc",
                take=take or MAX_TAKE,
                skip=skip,
            )
        )
    body = b"".join(
        (
            b'{"data":{"experts":[',
            b",".join(expert_json(found, document) for found, document in page),
            b']},"meta":',
            told({"total": total, "take": take, "skip": skip}),
            b"}",
        )
    )
    cache = PRIVATE if whole else PUBLIC_LIST
    return validated(request, Response(body, cache=cache))


_EXPERTS = f"{PREFIX}/experts"

ROUTES = (
    Route("GET", f"{_EXPERTS}/{{key}}", get),
    Route("GET", f"{_EXPERTS}/{{key}}/versions", versions),
    Route("GET", _EXPERTS, list_experts),
)
