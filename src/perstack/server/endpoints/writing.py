"""R4 to R6: publish, update, unpublish. And an Expert's settings and owner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from perstack.definition import parse_key
from perstack.errors import UserError
from perstack.registry import PREFIX

from ..queries import experts, trusted
from ..queries import organizations as orgs
from ..queries.experts import Asked
from ..storage.repository import Session
from ..storage.rows import Found
from ..wire.http import Issue, Refused, Request, Response, answered, bad_request, invalid, told
from ..wire.intake import MAX_TAGS, a_tag, publish_request
from ..wire.reading import Reading
from ..wire.routing import Route
from ..wire.telling import answer_of
from ..writes.changes import Wishes, unpublish, update
from ..writes.ownership import accept, offer, settle, withdraw
from ..writes.publishing import check, publish
from .access import actor_of, demand, note_failure, required
from .asking import act_of, key_of, name_of

if TYPE_CHECKING:
    from ..app import Context


async def post(request: Request, context: Context) -> Response:
    """R4."""
    caller = await required(request, context)
    if not caller.may("publish-update"):
        demand(request, context, caller, "publish-new")
    wanted, warnings = publish_request(await request.json())
    dry = request.query.get("dryRun", "false")
    if dry not in ("true", "false"):
        raise invalid(Issue(("dryRun",), "invalid_value", "Expected true or false"))
    actor = actor_of(request)
    try:
        if dry == "true":
            checked = await context.repository.write(
                lambda session: check(session, context, wanted, caller, actor), keep=False
            )
            data = {"document": msgspec.Raw(checked.document), "digest": checked.digest}
            return answered({"data": data, "meta": _meta([*warnings, *checked.warnings])})
        known = await context.repository.read(lambda session: experts.expert(session, wanted.name))
        context.admit(request, "publish-update" if known else "publish-new", caller)
        made = await context.repository.write(
            lambda session: publish(session, context, wanted, caller, actor)
        )
    except Refused as refused:
        if refused.status == 403:
            note_failure(request, context, "forbidden")
        raise
    return _one(made.found, made.document, [*warnings, *made.warnings])


def _meta(warnings: list[str]) -> dict[str, Any]:
    return {"warnings": warnings} if warnings else {}


def _one(found: Found, document: bytes, warnings: list[str] | None = None) -> Response:
    return Response(answer_of(found, document, _meta(warnings or [])), cache="no-store")


def _versioned(request: Request) -> Asked:
    """The key in the path, which must name an exact version. Raises Refused."""
    what = key_of(request)
    if what.spec.kind != "version":
        raise bad_request("Version is required")
    return what


async def post_update(request: Request, context: Context) -> Response:
    """R5."""
    caller = await required(request, context)
    body = await request.json()
    what = key_of(request)
    wishes = _wishes(body)
    name = what.spec.name
    if wishes.status is not None or wishes.deprecation is not None:
        demand(request, context, caller, "status", name)
        context.admit(request, "status", caller)
    if wishes.tags is not None:
        demand(request, context, caller, "tag", name)
        context.admit(request, "tag", caller)
    if what.spec.kind == "latest":
        raise bad_request("Version is required")
    if wishes == Wishes():
        raise bad_request("At least one field is required")
    act = act_of(request, context, caller)

    def write(session: Session) -> tuple[Found, bytes]:
        found = update(session, act, what, wishes)
        return found, experts.document(session, found.version.digest) or b""

    return _one(*await context.repository.write(write))


def _wishes(body: dict[str, Any]) -> Wishes:
    """Raises Refused (422)."""
    read = Reading(body)
    status = None
    if "status" in body:
        status = read.one_of("status", ("available", "deprecated", "disabled"))
    tags = None
    if "tags" in body:
        tags = read.texts("tags", MAX_TAGS + 1, 255, a_tag)
        if len(set(tags) - {"latest"}) > MAX_TAGS:
            read.wrong("tags", "too_big", f"At most {MAX_TAGS} tags are allowed")
    deprecation = None
    if "deprecation" in body:
        note = Reading(read.object("deprecation"), ("deprecation",), read.issues)
        said = {
            "message": note.text("message", 2048),
            "replacement": note.text("replacement", 511, check=_key_fault),
        }
        kept = {name: text for name, text in said.items() if text}
        deprecation = told(kept).decode() if kept else ""
    read.end()
    return Wishes(status=cast("Any", status), tags=tags, deprecation=deprecation)


def _key_fault(text: str) -> str | None:
    try:
        parse_key(text or "x")
    except UserError as error:
        return str(error)
    return None


async def delete(request: Request, context: Context) -> Response:
    """R6."""
    caller = await required(request, context)
    demand(request, context, caller, "unpublish")
    what = _versioned(request)
    demand(request, context, caller, "unpublish", what.spec.name)
    context.admit(request, "unpublish", caller)
    act = act_of(request, context, caller)
    await context.repository.write(lambda session: unpublish(session, act, what))
    return answered({}, cache="no-store")


async def post_settings(request: Request, context: Context) -> Response:
    """`{visibility?, latestPolicy?, trustedOnly?}`."""
    caller = await required(request, context)
    name = name_of(request)
    demand(request, context, caller, "owners", name)
    body = await request.json()
    read = Reading(body)
    visibility = read.one_of("visibility", ("public", "private")) if "visibility" in body else None
    policy = (
        read.one_of("latestPolicy", ("published", "highest-stable"))
        if "latestPolicy" in body
        else None
    )
    trusted_only = read.flag("trustedOnly", False) if "trustedOnly" in body else None
    read.end()
    if visibility is None and policy is None and trusted_only is None:
        raise bad_request("At least one field is required")
    act = act_of(request, context, caller)

    def write(session: Session) -> dict[str, Any]:
        expert = settle(
            session, act, name, visibility=visibility, policy=policy, trusted_only=trusted_only
        )
        return {
            "name": name,
            "visibility": expert.visibility,
            "latestPolicy": expert.latest_policy,
            "trustedOnly": trusted.is_trusted_only(session, name),
        }

    said = await context.repository.write(write)
    return answered({"data": {"settings": said}}, cache="no-store")


async def post_transfer(request: Request, context: Context) -> Response:
    """`{to: organization}` offers, `{withdraw: true}` takes it back, `{accept: true}` takes over."""
    caller = await required(request, context)
    name = name_of(request)
    demand(request, context, caller, "owners", name)
    body = await request.json()
    act = act_of(request, context, caller)
    match body:
        case {"to": str(to)} if "\0" not in to:

            def write(session: Session) -> str:
                target = orgs.organization_named(session, to)
                if target is None or target.status != "active":
                    raise bad_request(f"Organization {to} not found")
                offer(session, act, name, target)
                return "offered"

        case {"withdraw": True}:

            def write(session: Session) -> str:
                withdraw(session, act, name)
                return "withdrawn"

        case {"accept": True}:

            def write(session: Session) -> str:
                accept(session, act, name)
                return "accepted"

        case _:
            raise invalid(Issue((), "invalid_value", "Expected to, withdraw or accept"))
    state = await context.repository.write(write)
    return answered({"data": {"transfer": {"name": name, "state": state}}}, cache="no-store")


_EXPERTS = f"{PREFIX}/experts"

ROUTES = (
    Route("POST", _EXPERTS, post),
    Route("POST", f"{_EXPERTS}/{{key}}", post_update),
    Route("DELETE", f"{_EXPERTS}/{{key}}", delete),
    Route("POST", f"{_EXPERTS}/{{key}}/settings", post_settings),
    Route("POST", f"{_EXPERTS}/{{key}}/transfer", post_transfer),
)
