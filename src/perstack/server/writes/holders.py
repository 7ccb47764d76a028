"""Organizations, members and keys: what may be made, changed and taken away. Within a write; raises Refused."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import NamedTuple

from perstack import _ids
from perstack.definition import MAX_ORGANIZATION, ORGANIZATION, URL_SAFE

from ..identity.keys import (
    SCOPES,
    SHOWN,
    Caller,
    OrganizationType,
    Role,
    Scope,
    covers,
    hash_of,
    new_key,
)
from ..queries import audit
from ..queries import organizations as orgs
from ..queries.audit import Actor
from ..queries.organizations import Key, Organization
from ..storage.repository import Session
from ..wire.http import Issue, Refused, bad_request, invalid, not_found

DAY_MS = 24 * 3600 * 1000
DEFAULT_DAYS = 90
MAX_DAYS = 365
MAX_ORGANIZATIONS = 3
"""That one account may make by itself."""


class NewKey(NamedTuple):
    """secret: to be shown once."""

    key: Key
    secret: str


def days_ms(days: int) -> int:
    """For how long a key lasts that is to last for `days`. Raises Refused (422)."""
    if not 1 <= days <= MAX_DAYS:
        raise invalid(Issue(("expiresInDays",), "invalid_number", f"Expected 1 to {MAX_DAYS}"))
    return days * DAY_MS


def issue_key(
    session: Session,
    actor: Actor,
    organization: Organization,
    at: int,
    *,
    name: str,
    scopes: tuple[Scope, ...] = SCOPES,
    patterns: tuple[str, ...] = (),
    networks: tuple[str, ...] = (),
    account: str | None = None,
    lasts_ms: int = DEFAULT_DAYS * DAY_MS,
) -> NewKey:
    """A new key. account: its id; None for a machine's own."""
    secret = new_key()
    key = Key(
        id=_ids.drawn(),
        prefix=secret[:SHOWN],
        name=name,
        organization=organization.id,
        account=account,
        scopes=" ".join(scope for scope in SCOPES if scope in scopes),
        patterns=" ".join(patterns),
        networks=" ".join(networks),
        created_at=at,
        expires_at=at + lasts_ms,
        revoked_at=None,
        used_at=None,
    )
    orgs.add_key(session, key, hash_of(secret))
    audit.note(
        session,
        actor._replace(organization=organization.id),
        "key.create",
        key.id,
        at,
        after={
            "name": name,
            "scopes": key.scopes,
            "patterns": key.patterns,
            "expiresAt": key.expires_at,
        },
    )
    return NewKey(key, secret)


def check_grant(caller: Caller, scopes: tuple[Scope, ...], patterns: tuple[str, ...]) -> None:
    """Nobody gives more than they have. Raises Refused (403)."""
    if caller.is_admin:
        return
    if more := [scope for scope in scopes if scope not in caller.scopes]:
        raise Refused(403, f"The key lacks the scope {more[0]}")
    if caller.patterns:
        within = patterns and all(
            covers(caller.patterns, pattern.rstrip("*")) for pattern in patterns
        )
        wider = [
            pattern
            for pattern in patterns
            if pattern.endswith("*") and not any(_holds(own, pattern) for own in caller.patterns)
        ]
        if not within or wider:
            raise Refused(403, "The key is not for all of these names")


def _holds(own: str, pattern: str) -> bool:
    """Whether every name that fits `pattern`, which ends in *, fits `own`."""
    return own.endswith("*") and pattern[:-1].startswith(own[:-1])


def pattern_fault(text: str) -> str | None:
    name = text[:-1] if text.endswith("*") else text
    fine = all(letter.isascii() and (letter.isalnum() or letter in "@/_-") for letter in name)
    return None if fine else "Expected the name of an Expert, or its beginning and *"


def network_fault(text: str) -> str | None:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return "Expected an address or a network such as 192.0.2.0/24"
    return None


def revoke_key(session: Session, actor: Actor, id: str, at: int) -> None:
    key = orgs.key(session, id)
    if key is None or not orgs.revoke_key(session, id, at):
        raise not_found("Key not found")
    audit.note(session, actor._replace(organization=key.organization), "key.revoke", id, at)


def create_organization(
    session: Session,
    actor: Actor,
    at: int,
    *,
    name: str,
    type: OrganizationType,
    owner: str | None = None,
) -> Organization:
    """A new organization. owner: name of the account that owns it; made if there is none. Raises Refused."""
    if orgs.organization_named(session, name) is not None:
        raise bad_request(f"Organization {name} already exists")
    made = orgs.add_organization(session, name, type, at)
    after = {"name": name, "type": type}
    if owner is not None:
        orgs.set_member(session, made.id, orgs.add_account(session, owner, at), "owner", at)
        after["owner"] = owner
    audit.note(
        session, actor._replace(organization=made.id), "organization.create", name, at, after=after
    )
    return made


def organization_fault(name: str, type: OrganizationType) -> str | None:
    """Why no organization can be called so."""
    if not ORGANIZATION.fullmatch(name) or len(name) > MAX_ORGANIZATION:
        return "Expected lower-case letters, digits, dashes and underscores"
    if type == "team" and not URL_SAFE.fullmatch(name):
        return "A dot in its name would keep a team from publishing"
    return None


def account_fault(name: str) -> str | None:
    fine = ORGANIZATION.fullmatch(name) and len(name) <= MAX_ORGANIZATION
    return None if fine else "Expected lower-case letters, digits, dots, dashes and underscores"


def set_member(
    session: Session, actor: Actor, organization: Organization, account: str, role: Role, at: int
) -> None:
    """Gives an account, made if there is none, a role. Raises Refused where no owner would be left."""
    id = orgs.add_account(session, account, at)
    before = {member.account: member.role for member in orgs.members(session, organization.id)}
    if role != "owner":
        _keep_an_owner(before, id)
    orgs.set_member(session, organization.id, id, role, at)
    audit.note(
        session,
        actor._replace(organization=organization.id),
        "member.set",
        f"{organization.name or organization.id}/{account}",
        at,
        before={"role": before[id]} if id in before else None,
        after={"role": role},
    )


def remove_member(
    session: Session, actor: Actor, organization: Organization, account: str, at: int
) -> None:
    """Takes an account out; its keys for this organization are no good any more."""
    id = orgs.account_named(session, account)
    before = {member.account: member.role for member in orgs.members(session, organization.id)}
    if id is None or id not in before:
        raise not_found("Member not found")
    _keep_an_owner(before, id)
    orgs.remove_member(session, organization.id, id)
    audit.note(
        session,
        actor._replace(organization=organization.id),
        "member.remove",
        f"{organization.name or organization.id}/{account}",
        at,
        before={"role": before[id]},
    )


def _keep_an_owner(before: Mapping[str, str], account: str) -> None:
    if [id for id, role in before.items() if role == "owner"] == [account]:
        raise bad_request("The last owner cannot be removed")
