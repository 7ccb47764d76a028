"""Attestations, and the keys they are signed with."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from perstack.registry import Envelope

from ..storage.repository import Session


class SigningKey(NamedTuple):
    """organization_name: its id where it has no name. Times: ms; None for never."""

    organization: str
    id: str
    public_key: bytes
    name: str
    created_at: int
    revoked_at: int | None
    organization_name: str


class AttestationRow(NamedTuple):
    """organization_name: as of a SigningKey. envelope: JSON."""

    version: int
    id: str
    organization: str
    predicate_type: str
    envelope: bytes
    created_at: int
    organization_name: str

    @property
    def opened(self) -> Envelope:
        return msgspec.json.decode(self.envelope, type=Envelope)


_KEY = (
    "k.organization, k.id, k.public_key, k.name, k.created_at, k.revoked_at, coalesce(o.name, o.id)"
    " FROM attestation_keys k JOIN organizations o ON o.id = k.organization"
)
_ATTESTATION = (
    "a.version, a.id, a.organization, a.predicate_type, a.envelope, a.created_at,"
    " coalesce(o.name, o.id) FROM attestations a JOIN organizations o ON o.id = a.organization"
)


def keys(session: Session, organization: str) -> list[SigningKey]:
    """All that an organization ever had, the oldest first."""
    rows = session.all(
        f"SELECT {_KEY} WHERE k.organization = ? ORDER BY k.created_at, k.id", organization
    )
    return [SigningKey(*row) for row in rows]


def key(session: Session, organization: str, id: str) -> SigningKey | None:
    return next((one for one in keys(session, organization) if one.id == id), None)


def add_key(
    session: Session, organization: str, id: str, public_key: bytes, name: str, at: int
) -> None:
    session.run(
        "INSERT INTO attestation_keys (organization, id, public_key, name, created_at)"
        " VALUES (?, ?, ?, ?, ?)",
        organization,
        id,
        public_key,
        name,
        at,
    )


def revoke_key(session: Session, organization: str, id: str, at: int) -> None:
    session.run(
        "UPDATE attestation_keys SET revoked_at = ? WHERE organization = ? AND id = ?",
        at,
        organization,
        id,
    )


def attestations(session: Session, version: int) -> list[AttestationRow]:
    """Those of a version, the oldest first."""
    rows = session.all(
        f"SELECT {_ATTESTATION} WHERE a.version = ? ORDER BY a.created_at, a.id", version
    )
    return [AttestationRow(*row) for row in rows]


def add(session: Session, row: AttestationRow) -> None:
    session.run(
        "INSERT INTO attestations (version, id, organization, predicate_type, envelope, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        *row[:-1],
    )
