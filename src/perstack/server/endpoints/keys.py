"""Keys: whose is this, which are there, make one, take one back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from perstack.registry import PREFIX

from ..identity.keys import SCOPES, Caller, Scope
from ..queries import organizations as orgs
from ..queries.organizations import Key, Organization
from ..storage.repository import Session
from ..wire.http import Refused, Request, Response, answered, bad_request, not_found
from ..wire.reading import Reading
from ..wire.routing import Route
from ..wire.telling import date
from ..writes.holders import (
    DEFAULT_DAYS,
    NewKey,
    check_grant,
    days_ms,
    issue_key,
    network_fault,
    pattern_fault,
    revoke_key,
)
from .access import actor_of, demand, required

if TYPE_CHECKING:
    from ..app import Context


def key_said(key: Key) -> dict[str, Any]:
    """A key as others may see it."""
    said: dict[str, Any] = {
        "id": key.id,
        "prefix": key.prefix,
        "name": key.name,
        "organizationId": key.organization,
        "scopes": key.scopes.split(),
        "patterns": key.patterns.split(),
        "networks": key.networks.split(),
        "createdAt": date(key.created_at),
        "expiresAt": date(key.expires_at),
    }
    if key.account is not None:
        said["accountId"] = key.account
    if key.revoked_at is not None:
        said["revokedAt"] = date(key.revoked_at)
    if key.used_at is not None:
        said["usedAt"] = date(key.used_at)
    return said


def organization_said(organization: Organization) -> dict[str, Any]:
    said: dict[str, Any] = {
        "type": "organization",
        "id": organization.id,
        "organizationType": organization.type,
        "status": organization.status,
        "createdAt": date(organization.created_at),
    }
    return said | ({"name": organization.name} if organization.name else {})


async def whoami(request: Request, context: Context) -> Response:
    caller = await required(request, context)

    def look(session: Session) -> dict[str, Any]:
        key = orgs.key(session, caller.key)
        organization = orgs.organization(session, caller.organization)
        assert key is not None  # the caller has it
        assert organization is not None  # and belongs to it
        said: dict[str, Any] = {
            "key": key_said(key),
            "organization": organization_said(organization),
            "scopes": [scope for scope in SCOPES if scope in caller.scopes],
            "admin": caller.is_admin,
        }
        if caller.account is not None:
            said["account"] = {"id": caller.account, "name": caller.account_name}
            said["role"] = caller.role
        return said

    return answered({"data": await context.repository.read(look)})


async def list_keys(request: Request, context: Context) -> Response:
    caller = await required(request, context, "keys")

    def look(session: Session) -> list[dict[str, Any]]:
        organization = _organization(session, caller, request.query.get("organization"))
        return [key_said(key) for key in orgs.keys(session, organization.id)]

    return answered({"data": {"keys": await context.repository.read(look)}})


def _organization(session: Session, caller: Caller, name: str | None) -> Organization:
    """The caller's, or for administrators the one with this name. Raises Refused (404)."""
    own = orgs.organization(session, caller.organization)
    assert own is not None  # the caller belongs to it
    if name is None or name == own.name:
        return own
    other = orgs.organization_named(session, name) if caller.is_admin else None
    if other is None:
        raise not_found("Organization not found")
    return other


async def create_key(request: Request, context: Context) -> Response:
    """`{name, scopes?, patterns?, networks?, expiresInDays?, account?, organization?}`.

    account: name of a member; left out: the caller's own. Empty: a machine's own key.
    """
    caller = await required(request, context, "keys")
    body = await request.json()
    read = Reading(body)
    name = read.text("name", 255, least=1, required=True)
    chosen = cast("tuple[Scope, ...]", read.texts("scopes", len(SCOPES), 64, _scope_fault))
    patterns = read.texts("patterns", 64, 255, pattern_fault)
    networks = read.texts("networks", 64, 64, network_fault)
    account = read.text("account", 128) if "account" in body else None
    organization = read.text("organization", 128, least=1) if "organization" in body else None
    days = body.get("expiresInDays", DEFAULT_DAYS)
    if not isinstance(days, int) or isinstance(days, bool):
        read.wrong("expiresInDays", "invalid_type", "Expected a number")
        days = DEFAULT_DAYS
    read.end()
    own: tuple[Scope, ...] = tuple(scope for scope in SCOPES if scope in caller.scopes)
    scopes = chosen if "scopes" in body else own
    actor, at = actor_of(request), context.now()
    check_grant(caller, scopes, patterns)

    def write(session: Session) -> NewKey:
        where = _organization(session, caller, organization)
        return issue_key(
            session,
            actor,
            where,
            at,
            name=name,
            scopes=scopes,
            patterns=patterns,
            networks=networks,
            account=_holder(session, caller, where, account),
            lasts_ms=days_ms(days),
        )

    made = await context.repository.write(write)
    said = key_said(made.key) | {"key": made.secret}
    return answered({"data": {"key": said}}, cache="no-store")


def _scope_fault(text: str) -> str | None:
    return None if text in SCOPES else f"Expected one of {', '.join(SCOPES)}"


def _holder(
    session: Session, caller: Caller, organization: Organization, account: str | None
) -> str | None:
    """Whose the new key is: the id of an account, None for a machine. Raises Refused."""
    if account is None:
        return caller.account if organization.id == caller.organization else None
    if account == "":
        if "owners" not in caller.scopes and caller.account is not None:
            raise Refused(403, "The key lacks the scope owners")  # it would outlive a role
        return None
    id = orgs.account_named(session, account)
    members = {member.account for member in orgs.members(session, organization.id)}
    if id is None or id not in members:
        raise bad_request(f"{account} is not a member of the organization")
    if id != caller.account and "owners" not in caller.scopes:
        raise Refused(403, "The key lacks the scope owners")
    return id


async def delete_key(request: Request, context: Context) -> Response:
    """Also without the scope `keys` for the key itself: who signs out takes it back."""
    caller = await required(request, context)
    id = request.params["id"]
    if id != caller.key:
        demand(request, context, caller, "keys")
    actor, at = actor_of(request), context.now()

    def write(session: Session) -> None:
        key = orgs.key(session, id)
        if key is None or (key.organization != caller.organization and not caller.is_admin):
            raise not_found("Key not found")
        revoke_key(session, actor, id, at)

    await context.repository.write(write)
    return answered({}, cache="no-store")


ROUTES = (
    Route("GET", f"{PREFIX}/whoami", whoami),
    Route("GET", f"{PREFIX}/keys", list_keys),
    Route("POST", f"{PREFIX}/keys", create_key),
    Route("DELETE", f"{PREFIX}/keys/{{id}}", delete_key),
)
