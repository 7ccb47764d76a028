"""Whose key came with a request, and whether it may do what is asked.

A missing key, a wrong one, an expired one, one from the wrong network and one whose organization is gone are
all told alike. On public reads a key that is no good counts as none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ..identity.keys import ALLOWED, SCOPES, Caller, Scope, comes_from, hash_of, is_key
from ..queries import audit, organizations
from ..queries.audit import Actor
from ..queries.organizations import Holder
from ..wire.http import Refused, Request, unauthorized

if TYPE_CHECKING:
    from ..app import Context

Auth = Literal["anonymous", "valid", "invalid"]
"""How a request's key was taken, in `X-Perstack-Auth`."""


async def caller_of(request: Request, context: Context) -> Caller | None:
    """Whose key came with the request; None without one, or with one that is no good. Asked once."""
    if "caller" not in request.kept:
        sent = request.header(b"authorization")
        caller = await _holder_of(sent, request, context) if sent else None
        auth: Auth = "valid" if caller else "invalid" if sent else "anonymous"
        request.kept |= {"caller": caller, "auth": auth}
    return request.kept["caller"]


async def _holder_of(sent: str, request: Request, context: Context) -> Caller | None:
    """sent: the header `Authorization`."""
    kind, _, key = sent.partition(" ")
    key = key.strip()
    if kind.lower() != "bearer" or not is_key(key):
        return None
    found = await context.repository.read(
        lambda session: organizations.holder(session, hash_of(key))
    )
    if found is None or not _is_good(found, request.address, context.now()):
        return None
    caller = _caller(found)
    context.note_use(caller.key)
    return caller


def _is_good(found: Holder, address: str, now: int) -> bool:
    return (
        found.revoked_at is None
        and found.expires_at > now
        and found.organization_status == "active"
        and (found.account is None or found.role is not None)
        and comes_from(found.networks.split(), address)
    )


def _caller(found: Holder) -> Caller:
    held = found.scopes.split()
    scopes: frozenset[Scope] = frozenset(scope for scope in SCOPES if scope in held)
    if found.role is not None:
        scopes &= ALLOWED[found.role]
    return Caller(
        key=found.key,
        organization=found.organization,
        organization_name=found.organization_name,
        organization_type=found.organization_type,
        account=found.account,
        account_name=found.account_name,
        role=found.role,
        scopes=scopes,
        patterns=tuple(found.patterns.split()),
    )


async def required(
    request: Request, context: Context, scope: Scope | None = None, name: str | None = None
) -> Caller:
    """The caller, who may do this. Raises Refused: 401, 403; both are noted in the audit log."""
    caller = await caller_of(request, context)
    if caller is None:
        note_failure(request, context, "unauthenticated")
        raise unauthorized()
    if scope is not None:
        demand(request, context, caller, scope, name)
    return caller


def demand(
    request: Request, context: Context, caller: Caller, scope: Scope, name: str | None = None
) -> None:
    """Raises Refused (403) unless the caller may do this."""
    if not caller.may(scope):
        note_failure(request, context, "forbidden")
        raise Refused(403, f"The key lacks the scope {scope}")
    if not caller.may(scope, name):
        note_failure(request, context, "forbidden")
        raise Refused(403, f"The key is not for {name}")


def actor_of(request: Request) -> Actor:
    """Who a request comes from, for the audit log."""
    caller: Caller | None = request.kept.get("caller")
    if caller is None:
        return Actor(request.address)
    return Actor(request.address, caller.organization, caller.account, caller.key)


def note_failure(request: Request, context: Context, what: str) -> None:
    """Writes a failed authorization into the audit log, without keeping the answer waiting."""
    context.failed(request)
    actor, target, at = actor_of(request), f"{request.method} {request.path}"[:1024], context.now()
    context.repository.write_later(lambda session: audit.note(session, actor, what, target, at))
