"""What a registry says of a version's attestations, and what that is worth to us.

The signatures are checked here anew, under the keys of the organization that published the version by the log.
Whose keys these are only the registry can say, so those an organization has when it is first seen are remembered.
From then on another key is not taken for its own until the user says so, and a key that was once revoked stays
revoked. That a registry shows too few attestations is seen only where certain ones are asked for: see `lacking`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal
from urllib.parse import quote

import msgspec

from perstack._value import Value
from perstack.definition import predicate_type_of
from perstack.errors import RegistryError, RegistryTampered

from .attestation import open_attestation
from .cache import Cache
from .client import RegistryClient
from .dsse import BadAttestation, Envelope, key_id, public_key_in
from .place import segment
from .proof import Proof, salted

_NO_SUCH = (404, 405, 501)


class AttestationKey(Value, frozen=True):
    """A key that may attest for an organization. id: SHA-256 of its public half, in hex; public_key: base64.

    organization: its name, or its id if it has none. revoked_at: empty while it is good.
    """

    id: str
    organization: str
    name: str
    public_key: str
    created_at: str
    revoked_at: str = ""


class AttestationKeys(Value, frozen=True):
    """`GET /orgs/{org}/attestation-keys`, the oldest first."""

    keys: tuple[AttestationKey, ...]


class Attestation(Value, frozen=True):
    """An envelope. id: SHA-256 over it, in hex. organization: whose keys signed it, when it was posted."""

    id: str
    organization: str
    predicate_type: str
    envelope: Envelope
    created_at: str


class Attestations(Value, frozen=True):
    """`GET /experts/{key}/attestations`, the oldest first.

    keys: all of the owner, and of each organization that an attestation is of.
    """

    key: str
    digest: str
    attestations: tuple[Attestation, ...] = ()
    keys: tuple[AttestationKey, ...] = ()


Outcome = Literal["signed", "revoked", "newKey", "stranger", "failed"]


class Attested(Value, frozen=True):
    """An attestation as it was found.

    outcome: `signed` by a key of the publisher's; by a `revoked` one; by a `newKey`, which the publisher did not
    have before; by a `stranger`, that is another organization; or `failed`, which no honest registry shows.
    signed_by: ids of keys. what: why it failed. predicate_type: empty if it failed.
    """

    outcome: Outcome
    organization: str
    predicate_type: str = ""
    signed_by: tuple[str, ...] = ()
    what: str = ""


class _Known(Value, frozen=True):
    """What is remembered of an organization: ids of its keys."""

    keys: tuple[str, ...]
    revoked: tuple[str, ...] = ()


Publisher = Callable[[str], bool]
"""Whether an organization is the one that published a version."""


def publisher_of(proof: Proof | None, otherwise: str = "") -> Publisher:
    """Who published a version, by the proof that the log holds it.

    otherwise: the organization where there is no proof; empty if nobody knows, and the registry's word must do.
    """
    if proof is None:
        return lambda organization: otherwise in ("", organization)
    actor, salt = proof.entry.actor, proof.salt
    return lambda organization: (
        actor == organization or (bool(salt) and actor == salted(salt, organization))
    )


async def attestations_of(client: RegistryClient, key: str) -> Attestations:
    """What the registry has for an exact key; nothing, where it keeps none. Raises RegistryError."""
    try:
        return await client.data("GET", f"/experts/{segment(key)}/attestations", Attestations)
    except RegistryError as error:
        if error.status not in _NO_SUCH:
            raise
        return Attestations(key=key, digest="")


def judged(
    told: Attestations, key: str, digest: str, publisher: Publisher, cache: Cache, url: str
) -> tuple[Attested, ...]:
    """The attestations of the version `key`, each held against what is known. digest: of its document.

    The keys of an organization that is seen for the first time are remembered. Raises RegistryTampered if what was
    remembered is damaged.
    """
    known: dict[str, _Known] = {}
    for organization in dict.fromkeys(each.organization for each in told.keys):
        if publisher(organization):
            known[organization] = _met(told, organization, cache, url)
    return tuple(_judged(each, told, key, digest, known) for each in told.attestations)


def lacking(wanted: Iterable[str], found: Iterable[Attested]) -> tuple[str, ...]:
    """The types, of those that are wanted (short names count), which nothing that is found is good for."""
    there = {each.predicate_type for each in found if each.outcome == "signed"}
    return tuple(each for each in wanted if predicate_type_of(each) not in there)


def place_of_known(cache: Cache, url: str, organization: str) -> str:
    """The file in which the keys of an organization are remembered."""
    return str(cache.note_path(url, _note(organization)))


def _judged(
    one: Attestation, told: Attestations, key: str, digest: str, known: dict[str, _Known]
) -> Attested:
    failed = Attested(outcome="failed", organization=one.organization)
    try:
        keys = {
            each.id: public_key_in(each.public_key)
            for each in told.keys
            if each.organization == one.organization
        }
        if any(key_id(public) != id for id, public in keys.items()):
            raise BadAttestation("a key is not the one it is called")
        statement, signatures = open_attestation(one.envelope, key, digest, keys)
    except BadAttestation as error:
        return msgspec.structs.replace(failed, what=str(error))
    signers = tuple(each.keyid for each in signatures)
    return Attested(
        outcome=_outcome(signers, known.get(one.organization)),
        organization=one.organization,
        predicate_type=statement.predicate_type,
        signed_by=signers,
    )


def _outcome(signers: Iterable[str], known: _Known | None) -> Outcome:
    if known is None:
        return "stranger"
    ours = [id for id in signers if id in known.keys]
    if any(id not in known.revoked for id in ours):
        return "signed"
    return "revoked" if ours else "newKey"


def _met(told: Attestations, organization: str, cache: Cache, url: str) -> _Known:
    """What is known of an organization, now that the registry has told of its keys."""
    keys = [each for each in told.keys if each.organization == organization]
    before = _remembered(cache, url, organization)
    now = before or _Known(keys=tuple(each.id for each in keys))
    revoked = {each.id for each in keys if each.revoked_at} | set(now.revoked)
    now = msgspec.structs.replace(now, revoked=tuple(sorted(revoked & set(now.keys))))
    if now != before:
        cache.keep_note(url, _note(organization), msgspec.json.encode(now).decode())
    return now


def _remembered(cache: Cache, url: str, organization: str) -> _Known | None:
    text = cache.note(url, _note(organization))
    try:
        return None if text is None else msgspec.json.decode(text, type=_Known)
    except msgspec.MsgspecError as error:
        place = place_of_known(cache, url, organization)
        raise RegistryTampered(
            f"{place} does not say which keys {organization} had any more: {error}. Delete it and try again."
        ) from error


def _note(organization: str) -> str:
    return f"attesters/{quote(organization, safe='')}"
