"""Organizations, accounts, members and keys."""

from __future__ import annotations

from typing import NamedTuple

from perstack import _ids

from ..identity.keys import OrganizationType, Role
from ..storage.repository import Session


class Organization(NamedTuple):
    """created_at: ms."""

    id: str
    name: str | None
    type: OrganizationType
    status: str
    created_at: int


class Key(NamedTuple):
    """Times: ms; None for never."""

    id: str
    prefix: str
    name: str
    organization: str
    account: str | None
    scopes: str
    patterns: str
    networks: str
    created_at: int
    expires_at: int
    revoked_at: int | None
    used_at: int | None


class Member(NamedTuple):
    account: str
    name: str
    role: Role
    since: int


class Holder(NamedTuple):
    """A key with all that decides what it may do."""

    key: str
    expires_at: int
    revoked_at: int | None
    scopes: str
    patterns: str
    networks: str
    organization: str
    organization_name: str | None
    organization_type: OrganizationType
    organization_status: str
    account: str | None
    account_name: str | None
    role: Role | None


_ORGANIZATION = "SELECT id, name, type, status, created_at FROM organizations"
_KEY = (
    "SELECT id, prefix, name, organization, account, scopes, patterns, networks, created_at,"
    " expires_at, revoked_at, used_at FROM keys"
)


def holder(session: Session, hash: bytes) -> Holder | None:
    """The key with this hash, whatever has become of it."""
    row = session.one(
        "SELECT k.id, k.expires_at, k.revoked_at, k.scopes, k.patterns, k.networks, o.id, o.name, o.type,"
        " o.status, k.account, a.name, m.role FROM keys k JOIN organizations o ON o.id = k.organization"
        " LEFT JOIN accounts a ON a.id = k.account"
        " LEFT JOIN members m ON m.organization = k.organization AND m.account = k.account"
        " WHERE k.hash = ?",
        hash,
    )
    return Holder(*row) if row else None


def organization(session: Session, id: str) -> Organization | None:
    row = session.one(f"{_ORGANIZATION} WHERE id = ?", id)
    return Organization(*row) if row else None


def organization_named(session: Session, name: str) -> Organization | None:
    row = session.one(f"{_ORGANIZATION} WHERE name = ?", name)
    return Organization(*row) if row else None


def organizations(session: Session) -> list[Organization]:
    return [Organization(*row) for row in session.all(f"{_ORGANIZATION} ORDER BY name")]


def organizations_of(session: Session, account: str) -> list[Organization]:
    rows = session.all(
        f"{_ORGANIZATION} WHERE id IN (SELECT organization FROM members WHERE account = ?) ORDER BY name",
        account,
    )
    return [Organization(*row) for row in rows]


def add_organization(
    session: Session, name: str | None, type: OrganizationType, at: int
) -> Organization:
    """A new one. Its name must be free."""
    made = Organization(_ids.drawn(), name, type, "active", at)
    session.run(
        "INSERT INTO organizations (id, name, type, status, created_at) VALUES (?, ?, ?, ?, ?)",
        *made,
    )
    return made


def account_named(session: Session, name: str) -> str | None:
    row = session.one("SELECT id FROM accounts WHERE name = ?", name)
    return row[0] if row else None


def add_account(session: Session, name: str, at: int) -> str:
    """The id of a new account, or of the one that has this name."""
    if (known := account_named(session, name)) is not None:
        return known
    id = _ids.drawn()
    session.run("INSERT INTO accounts (id, name, created_at) VALUES (?, ?, ?)", id, name, at)
    return id


def members(session: Session, organization: str) -> list[Member]:
    rows = session.all(
        "SELECT m.account, a.name, m.role, m.since FROM members m JOIN accounts a ON a.id = m.account"
        " WHERE m.organization = ? ORDER BY a.name",
        organization,
    )
    return [Member(*row) for row in rows]


def set_member(session: Session, organization: str, account: str, role: Role, at: int) -> None:
    session.run(
        "INSERT INTO members (organization, account, role, since) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (organization, account) DO UPDATE SET role = excluded.role",
        organization,
        account,
        role,
        at,
    )


def remove_member(session: Session, organization: str, account: str) -> bool:
    return bool(
        session.run(
            "DELETE FROM members WHERE organization = ? AND account = ?", organization, account
        )
    )


def add_key(session: Session, key: Key, hash: bytes) -> None:
    session.run(
        "INSERT INTO keys (id, prefix, name, organization, account, scopes, patterns, networks, created_at,"
        " expires_at, revoked_at, used_at, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        *key,
        hash,
    )


def keys(session: Session, organization: str) -> list[Key]:
    rows = session.all(f"{_KEY} WHERE organization = ? ORDER BY created_at, id", organization)
    return [Key(*row) for row in rows]


def all_keys(session: Session) -> list[Key]:
    return [Key(*row) for row in session.all(f"{_KEY} ORDER BY created_at, id")]


def key(session: Session, id: str) -> Key | None:
    row = session.one(f"{_KEY} WHERE id = ?", id)
    return Key(*row) if row else None


def revoke_key(session: Session, id: str, at: int) -> bool:
    """Whether it was in force until now."""
    return bool(
        session.run("UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", at, id)
    )


def note_uses(session: Session, uses: dict[str, int]) -> None:
    """Keeps when keys were last used. uses: by id of the key, ms."""
    session.run_many(
        "UPDATE keys SET used_at = ? WHERE id = ?", [(at, id) for id, at in uses.items()]
    )
