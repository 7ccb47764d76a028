"""Trusted publishers, tokens that were exchanged for keys, and what was published by these."""

from __future__ import annotations

from typing import NamedTuple

from ..identity.issuers import Identity
from ..storage.repository import Session


class Publisher(NamedTuple):
    """Who may publish an Expert without a stored key. environment: empty for any, or none; times: ms.

    owner_id: of the repository, empty until a token said it.
    """

    id: str
    name: str
    organization: str
    issuer: str
    repository: str
    workflow: str
    environment: str
    owner_id: str
    created_at: int
    used_at: int | None


class Provenance(NamedTuple):
    """Which job published a version."""

    issuer: str
    subject: str
    repository: str
    workflow: str
    environment: str
    ref: str
    commit_id: str


_PUBLISHER = ", ".join(f"p.{field}" for field in Publisher._fields)
_PROVENANCE = ", ".join(Provenance._fields)


def publishers(session: Session, organization: str, name: str) -> list[Publisher]:
    """Those of an Expert, oldest first."""
    rows = session.all(
        f"SELECT {_PUBLISHER} FROM trusted_publishers p WHERE p.name = ? AND p.organization = ?"
        " ORDER BY p.created_at, p.id",
        name,
        organization,
    )
    return [Publisher(*row) for row in rows]


def add(session: Session, publisher: Publisher) -> bool:
    """Whether it was not there yet."""
    marks = ", ".join("?" * len(publisher))
    return bool(
        session.run(
            f"INSERT INTO trusted_publishers ({', '.join(Publisher._fields)}) VALUES ({marks})"
            " ON CONFLICT DO NOTHING",
            *publisher,
        )
    )


def remove(session: Session, id: str) -> None:
    session.run("DELETE FROM trusted_publishers WHERE id = ?", id)


def remove_others(session: Session, expert: int) -> None:
    """Takes away what others than its owner have said about an Expert: nothing of it shall come to life again."""
    session.run(
        "DELETE FROM trusted_publishers WHERE name = (SELECT name FROM experts WHERE n = ?)"
        " AND organization <> (SELECT organization FROM experts WHERE n = ?)",
        expert,
        expert,
    )


def trusting(session: Session, issuer: str, repository: str) -> list[Publisher]:
    """All that are of this repository, as far as they have a say about their name."""
    rows = session.all(
        f"SELECT {_PUBLISHER} FROM trusted_publishers p JOIN organizations o ON o.id = p.organization"
        " LEFT JOIN experts e ON e.name = p.name"
        " WHERE p.issuer = ? AND p.repository = ? AND o.status = 'active'"
        " AND (e.n IS NULL OR e.organization = p.organization) ORDER BY p.name, p.id",
        issuer,
        repository,
    )
    return [Publisher(*row) for row in rows]


def note_use(session: Session, id: str, owner: str, at: int) -> None:
    """Keeps that a token fitted, and, the first time, whose the repository is."""
    session.run(
        "UPDATE trusted_publishers SET used_at = ?,"
        " owner_id = CASE WHEN owner_id = '' THEN ? ELSE owner_id END WHERE id = ?",
        at,
        owner,
        id,
    )


# Exchanges ------------------------------------------------------------------------------------------------


def note_exchange(session: Session, identity: Identity, key: str, forget_at: int) -> bool:
    """Keeps that a token was exchanged for this key. Whether it was the first time; else nothing is kept."""
    return bool(
        session.run(
            "INSERT INTO exchanges (issuer, jti, key, subject, repository, workflow, environment, ref,"
            " commit_id, forget_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (issuer, jti) DO NOTHING",
            identity.issuer,
            identity.jti,
            key,
            identity.subject,
            identity.repository,
            identity.workflow,
            identity.environment,
            identity.ref,
            identity.commit,
            forget_at,
        )
    )


def forget_exchanges(session: Session, now: int) -> None:
    """Deletes exchanges whose token and key are good for nothing any more, with these keys."""
    session.run(
        "DELETE FROM keys WHERE id IN (SELECT key FROM exchanges WHERE forget_at <= ?)", now
    )
    session.run("DELETE FROM exchanges WHERE forget_at <= ?", now)


def subject_of(session: Session, key: str) -> str | None:
    """Whose token a key was given for; None if it is a stored one."""
    row = session.one("SELECT subject FROM exchanges WHERE key = ?", key)
    return row[0] if row else None


# Versions and Experts -------------------------------------------------------------------------------------


def note_provenance(session: Session, version: int, key: str) -> None:
    """Keeps which job published a version, if a job did."""
    session.run(
        f"INSERT INTO provenance (version, {_PROVENANCE})"
        f" SELECT CAST(? AS BIGINT), {_PROVENANCE} FROM exchanges WHERE key = ?",
        version,
        key,
    )


def provenance(session: Session, version: int) -> Provenance | None:
    row = session.one(f"SELECT {_PROVENANCE} FROM provenance WHERE version = ?", version)
    return Provenance(*row) if row else None


def is_trusted_only(session: Session, name: str) -> bool:
    """Whether stored keys may not publish an Expert."""
    row = session.one("SELECT trusted_only FROM experts WHERE name = ?", name)
    return bool(row and row[0])


def set_trusted_only(session: Session, expert: int, on: bool) -> None:
    session.run("UPDATE experts SET trusted_only = ? WHERE n = ?", int(on), expert)
