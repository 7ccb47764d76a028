"""Organizations, who belongs to them, and what they did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from perstack.registry import PREFIX

from ..identity.keys import ROLES, Caller, OrganizationType, Role, Scope
from ..queries import audit
from ..queries import organizations as orgs
from ..queries.audit import AuditRow
from ..queries.organizations import Member, Organization
from ..storage.repository import Session
from ..wire.http import Issue, Refused, Request, Response, answered, bad_request, invalid, not_found
from ..wire.reading import Reading
from ..wire.routing import Route
from ..wire.telling import date
from ..writes.holders import (
    MAX_ORGANIZATIONS,
    account_fault,
    create_organization,
    organization_fault,
    remove_member,
    set_member,
)
from .access import actor_of, note_failure, required
from .keys import organization_said

if TYPE_CHECKING:
    from ..app import Context

TYPES = ("team", "personal", "personalPlus", "serviceAdmin")


async def list_organizations(request: Request, context: Context) -> Response:
    """The caller's own, and those its account belongs to; for administrators all."""
    caller = await required(request, context)

    def look(session: Session) -> list[Organization]:
        if caller.is_admin:
            return orgs.organizations(session)
        own = orgs.organization(session, caller.organization)
        found = orgs.organizations_of(session, caller.account) if caller.account else []
        return found if own is None or own in found else [own, *found]

    found = await context.repository.read(look)
    return answered({"data": {"organizations": [organization_said(one) for one in found]}})


async def create(request: Request, context: Context) -> Response:
    """`{name, type?, owner?}`. owner: name of an account; left out: the caller's."""
    caller = await required(request, context, "owners")
    if not caller.is_admin and not (context.settings.open_signup and caller.account):
        note_failure(request, context, "forbidden")
        raise Refused(403, "Only administrators make organizations here")
    body = await request.json()
    read = Reading(body)
    kind = cast("OrganizationType", read.one_of("type", TYPES))
    name = read.text(
        "name", 128, least=1, required=True, check=lambda text: organization_fault(text, kind)
    )
    owner = read.text("owner", 128, least=1, check=account_fault) or caller.account_name
    read.end()
    if not caller.is_admin and (kind == "serviceAdmin" or owner != caller.account_name):
        note_failure(request, context, "forbidden")
        raise Refused(403, "Only administrators may do this")
    actor, at = actor_of(request), context.now()

    def write(session: Session) -> Organization:
        if not caller.is_admin and caller.account is not None:
            if len(orgs.organizations_of(session, caller.account)) >= MAX_ORGANIZATIONS:
                raise bad_request(f"An account has at most {MAX_ORGANIZATIONS} organizations")
        return create_organization(session, actor, at, name=name, type=kind, owner=owner)

    made = await context.repository.write(write)
    return answered({"data": {"organization": organization_said(made)}}, cache="no-store")


def _organization(session: Session, caller: Caller, name: str) -> Organization:
    """The organization in the path, which must be the caller's. Raises Refused (404)."""
    found = orgs.organization_named(session, name)
    if found is None or (found.id != caller.organization and not caller.is_admin):
        raise not_found("Organization not found")
    return found


async def _mine(request: Request, context: Context, scope: Scope) -> tuple[Caller, str]:
    return await required(request, context, scope), request.params["org"]


def member_said(member: Member) -> dict[str, Any]:
    return {
        "accountId": member.account,
        "account": member.name,
        "role": member.role,
        "since": date(member.since),
    }


async def list_members(request: Request, context: Context) -> Response:
    caller, name = await _mine(request, context, "read")

    def look(session: Session) -> list[Member]:
        return orgs.members(session, _organization(session, caller, name).id)

    found = await context.repository.read(look)
    return answered({"data": {"members": [member_said(member) for member in found]}})


async def get_member(request: Request, context: Context) -> Response:
    caller, name = await _mine(request, context, "read")

    def look(session: Session) -> Member:
        organization = _organization(session, caller, name)
        return _member(session, organization, request.params["account"])

    return answered({"data": {"member": member_said(await context.repository.read(look))}})


def _member(session: Session, organization: Organization, account: str) -> Member:
    for member in orgs.members(session, organization.id):
        if member.name == account:
            return member
    raise not_found("Member not found")


async def put_member(request: Request, context: Context) -> Response:
    """`{role}`."""
    caller, name = await _mine(request, context, "owners")
    account = request.params["account"]
    read = Reading(await request.json())
    role = cast("Role", read.one_of("role", ROLES, required=True))
    if fault := account_fault(account):
        read.wrong("account", "invalid_string", fault)
    read.end()
    actor, at = actor_of(request), context.now()

    def write(session: Session) -> Member:
        organization = _organization(session, caller, name)
        set_member(session, actor, organization, account, role, at)
        return _member(session, organization, account)

    made = await context.repository.write(write)
    return answered({"data": {"member": member_said(made)}}, cache="no-store")


async def delete_member(request: Request, context: Context) -> Response:
    caller, name = await _mine(request, context, "owners")
    actor, at = actor_of(request), context.now()

    def write(session: Session) -> None:
        organization = _organization(session, caller, name)
        remove_member(session, actor, organization, request.params["account"], at)

    await context.repository.write(write)
    return answered({}, cache="no-store")


def audit_said(row: AuditRow) -> dict[str, Any]:
    said: dict[str, Any] = {
        "seq": row.seq,
        "at": date(row.at),
        "accountId": row.account,
        "keyId": row.key,
        "subject": row.subject,
        "address": row.address,
        "action": row.action,
        "target": row.target,
        "before": msgspec.Raw(row.before.encode()) if row.before else None,
        "after": msgspec.Raw(row.after.encode()) if row.after else None,
        "previous": bytes(row.previous).hex(),
        "hash": bytes(row.hash).hex(),
    }
    return {name: value for name, value in said.items() if value is not None}


async def list_audit(request: Request, context: Context) -> Response:
    """`?since=<seq>&actor=&action=&take=`: oldest first."""
    caller, name = await _mine(request, context, "audit")
    query = request.query
    numbers = {"since": query.get("since", "0"), "take": query.get("take", "100")}
    for member, text in numbers.items():
        if not text.isascii() or not text.isdigit() or len(text) > 15:
            raise invalid(Issue((member,), "invalid_number", "Expected a number"))
    take = int(numbers["take"])
    if not 1 <= take <= 1000:
        raise invalid(Issue(("take",), "invalid_number", "Expected 1 to 1000"))

    def look(session: Session) -> list[AuditRow]:
        return audit.rows(
            session,
            since=int(numbers["since"]),
            organization=_organization(session, caller, name).id,
            actor=query.get("actor", ""),
            action=query.get("action", ""),
            limit=take,
        )

    found = await context.repository.read_slowly(look)
    return answered({"data": {"audit": [audit_said(row) for row in found]}})


_ORG = f"{PREFIX}/orgs/{{org}}"

ROUTES = (
    Route("GET", f"{PREFIX}/orgs", list_organizations),
    Route("POST", f"{PREFIX}/orgs", create),
    Route("GET", f"{_ORG}/members", list_members),
    Route("GET", f"{_ORG}/members/{{account}}", get_member),
    Route("POST", f"{_ORG}/members/{{account}}", put_member),
    Route("DELETE", f"{_ORG}/members/{{account}}", delete_member),
    Route("GET", f"{_ORG}/audit", list_audit),
)
