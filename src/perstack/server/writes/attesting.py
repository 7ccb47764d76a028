"""Attestations: with which keys an organization signs, and what is kept of what it signed.

An envelope is kept with those of its signatures that were checked, in one spelling, and never changed. All but
`checked` is to be called within a write; all raise Refused.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from perstack.registry import BadAttestation, Envelope, key_id, open_attestation, render_envelope

from ..queries import attestations, audit
from ..queries.attestations import AttestationRow, SigningKey
from ..queries.audit import Actor
from ..queries.experts import Asked
from ..queries.organizations import Organization
from ..storage.repository import Session
from ..storage.rows import Found
from ..wire.http import bad_request, not_found
from .changes import Act, owned

MAX_GOOD = 16
"""Keys of one organization that are good at the same time."""

MAX_EVER = 128
"""Keys of one organization, revoked ones too."""

MAX_ATTESTATIONS = 32
"""Of one version."""


def add_key(
    session: Session, actor: Actor, organization: Organization, public: bytes, name: str, at: int
) -> SigningKey:
    """Lets an organization sign with a key, whose public half this is."""
    id = key_id(public)
    there = {one.id: one for one in attestations.keys(session, organization.id)}
    if id in there:
        told = "was revoked, and stays so" if there[id].revoked_at is not None else "is there"
        raise bad_request(f"The key {id[:12]} {told}")
    if sum(one.revoked_at is None for one in there.values()) >= MAX_GOOD:
        raise bad_request(f"An organization has at most {MAX_GOOD} keys to attest with")
    if len(there) >= MAX_EVER:
        raise bad_request(f"An organization has had at most {MAX_EVER} keys to attest with")
    attestations.add_key(session, organization.id, id, public, name, at)
    made = attestations.key(session, organization.id, id)
    assert made is not None  # it was just added
    said = {"name": name, "publicKey": base64.b64encode(public).decode()}
    _note(session, actor, organization, "attestation-key.add", id, at, after=said)
    return made


def revoke_key(
    session: Session, actor: Actor, organization: Organization, id: str, at: int
) -> None:
    """Nothing new that is signed with it is taken. What was taken before stays, and is shown as what it is."""
    found = attestations.key(session, organization.id, id)
    if found is None:
        raise not_found("Key not found")
    if found.revoked_at is not None:
        raise bad_request(f"The key {id[:12]} was revoked before")
    attestations.revoke_key(session, organization.id, id, at)
    _note(session, actor, organization, "attestation-key.revoke", id, at)


def _note(
    session: Session,
    actor: Actor,
    organization: Organization,
    action: str,
    id: str,
    at: int,
    after: Any = None,
) -> None:
    whose = actor._replace(organization=organization.id)
    audit.note(session, whose, action, id, at, after=after)


def checked(found: Found, envelope: Envelope, keys: Iterable[SigningKey]) -> tuple[str, Envelope]:
    """The predicate type, and the envelope with those signatures alone that good keys of the owner have made."""
    ours = {one.id: one for one in keys}
    try:
        statement, signatures = open_attestation(
            envelope,
            found.key,
            found.version.digest,
            {id: one.public_key for id, one in ours.items()},
        )
    except BadAttestation as error:
        raise bad_request(f"The attestation is not taken: {error}") from error
    good = tuple(each for each in signatures if ours[each.keyid].revoked_at is None)
    if not good:
        raise bad_request(
            f"The attestation is not taken: the key {signatures[0].keyid[:12]} was revoked"
        )
    return statement.predicate_type, msgspec.structs.replace(envelope, signatures=good)


def attest(session: Session, act: Act, what: Asked, envelope: Envelope) -> AttestationRow:
    """Keeps what `checked` has given, once."""
    found = owned(session, act, what)
    organization = act.caller.organization
    # a key may have been revoked since the signatures were looked at
    kind, envelope = checked(found, envelope, attestations.keys(session, organization))
    body = render_envelope(envelope)
    row = AttestationRow(
        version=found.version.n,
        id=hashlib.sha256(body).hexdigest(),
        organization=organization,
        predicate_type=kind,
        envelope=body,
        created_at=act.at,
        organization_name=act.who,
    )
    there = {one.id: one for one in attestations.attestations(session, row.version)}
    if row.id in there:
        return there[row.id]
    if len(there) >= MAX_ATTESTATIONS:
        raise bad_request(f"A version has at most {MAX_ATTESTATIONS} attestations")
    attestations.add(session, row)
    said = {
        "id": row.id,
        "predicateType": kind,
        "keys": [each.keyid for each in envelope.signatures],
    }
    audit.note(session, act.actor, "attest", found.key, act.at, after=said)
    return row
