"""Attestations: what an organization says about a version of its Experts, signed with keys of its own.

The server takes only what is signed with a key of the owner and is about the very document; it shows all it has
taken for ever, with the keys, so that clients can check it themselves.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import msgspec

from perstack._value import Value
from perstack.registry import (
    PREFIX,
    Attestation,
    AttestationKey,
    AttestationKeys,
    Attestations,
    BadAttestation,
    Envelope,
    public_key_in,
)

from ..app import Extension
from ..endpoints.access import actor_of, demand, required
from ..endpoints.asking import act_of, key_of, reader
from ..identity.keys import Caller
from ..queries import attestations as kept
from ..queries import organizations as orgs
from ..queries.attestations import AttestationRow, SigningKey
from ..queries.experts import Asked
from ..queries.organizations import Organization
from ..storage.repository import Session
from ..storage.rows import Found
from ..wire.http import (
    PUBLIC_LIST,
    Issue,
    Request,
    Response,
    answered,
    invalid,
    not_found,
    validated,
)
from ..wire.openapi import About
from ..wire.reading import Reading, printable
from ..wire.routing import Route
from ..wire.telling import date
from ..writes.attesting import add_key, attest, checked, revoke_key
from ..writes.changes import owned
from .seeing import cache_of, seen_version

if TYPE_CHECKING:
    from ..app import Context

NEVER = "no-store"
MAX_KEY_TEXT = 64


class OneAttestation(Value, frozen=True):
    attestation: Attestation


class OneAttestationKey(Value, frozen=True):
    key: AttestationKey


class NewAttestationKey(Value, frozen=True):
    """public_key: the 32 bytes of an Ed25519 key, in base64."""

    name: str
    public_key: str


def attestation_said(row: AttestationRow) -> Attestation:
    return Attestation(
        id=row.id,
        organization=row.organization_name,
        predicate_type=row.predicate_type,
        envelope=row.opened,
        created_at=date(row.created_at),
    )


def key_said(key: SigningKey) -> AttestationKey:
    return AttestationKey(
        id=key.id,
        organization=key.organization_name,
        name=key.name,
        public_key=base64.b64encode(key.public_key).decode(),
        created_at=date(key.created_at),
        revoked_at=date(key.revoked_at) if key.revoked_at is not None else "",
    )


def attestations_said(session: Session, found: Found) -> Attestations:
    """All there is of a version, with all keys of those who sign for it."""
    rows = kept.attestations(session, found.version.n)
    whose = dict.fromkeys((found.expert.organization, *(row.organization for row in rows)))
    return Attestations(
        key=found.key,
        digest=found.version.digest,
        attestations=tuple(map(attestation_said, rows)),
        keys=tuple(key_said(key) for each in whose for key in kept.keys(session, each)),
    )


async def list_attestations(request: Request, context: Context) -> Response:
    what = _exact(request)
    caller = await reader(request, context)

    def look(session: Session) -> tuple[Found, Attestations]:
        found = seen_version(session, what, caller)
        return found, attestations_said(session, found)

    found, said = await context.repository.read_slowly(look)
    cache = cache_of(request, context, PUBLIC_LIST, found.expert)
    return validated(request, answered({"data": said}, cache=cache))


async def post_attestation(request: Request, context: Context) -> Response:
    """The body is the envelope."""
    caller = await required(request, context, "publish-update")
    what = _exact(request)
    demand(request, context, caller, "publish-update", what.spec.name)
    try:
        envelope = msgspec.convert(await request.json(), Envelope)
    except msgspec.ValidationError as error:
        raise invalid(Issue((), "invalid_envelope", f"The body is no envelope: {error}")) from error
    act = act_of(request, context, caller)

    def look(session: Session) -> Envelope:
        """Looked through here first, since nobody else can write meanwhile there."""
        keys = kept.keys(session, caller.organization)
        return checked(owned(session, act, what), envelope, keys)[1]

    good = await context.repository.read_slowly(look)
    made = await context.repository.write(lambda session: attest(session, act, what, good))
    return answered({"data": OneAttestation(attestation=attestation_said(made))}, cache=NEVER)


def _exact(request: Request) -> Asked:
    """The version in the path. Raises Refused."""
    what = key_of(request)
    if what.spec.kind != "version":
        raise invalid(Issue(("key",), "invalid_string", "Name an exact version"))
    return what


async def list_keys(request: Request, context: Context) -> Response:
    caller = await required(request, context, "keys")
    name = request.params["org"]

    def look(session: Session) -> AttestationKeys:
        found = kept.keys(session, _organization(session, caller, name).id)
        return AttestationKeys(keys=tuple(map(key_said, found)))

    return answered({"data": await context.repository.read(look)})


async def post_key(request: Request, context: Context) -> Response:
    caller = await required(request, context, "keys")
    read = Reading(await request.json())
    name = read.text("name", 255, least=1, required=True, check=printable)
    text = read.text("publicKey", MAX_KEY_TEXT, least=1, required=True, check=_key_fault)
    read.end()
    organization, actor, at = request.params["org"], actor_of(request), context.now()

    def write(session: Session) -> SigningKey:
        whose = _organization(session, caller, organization)
        return add_key(session, actor, whose, public_key_in(text), name, at)

    made = await context.repository.write(write)
    return answered({"data": OneAttestationKey(key=key_said(made))}, cache=NEVER)


async def delete_key(request: Request, context: Context) -> Response:
    caller = await required(request, context, "keys")
    params, actor, at = request.params, actor_of(request), context.now()

    def write(session: Session) -> None:
        whose = _organization(session, caller, params["org"])
        revoke_key(session, actor, whose, params["id"], at)

    await context.repository.write(write)
    return answered({}, cache=NEVER)


def _organization(session: Session, caller: Caller, name: str) -> Organization:
    """The organization in the path, by name or id, which must be the caller's. Raises Refused (404)."""
    found = orgs.organization_named(session, name) or orgs.organization(session, name)
    if found is None or (found.id != caller.organization and not caller.is_admin):
        raise not_found("Organization not found")
    return found


def _key_fault(text: str) -> str | None:
    try:
        public_key_in(text)
    except BadAttestation as error:
        return f"Must be a public key: {error}"
    return None


_KEYS = f"{PREFIX}/orgs/{{org}}/attestation-keys"
_ATTESTATIONS = f"{PREFIX}/experts/{{key}}/attestations"

EXTENSION = Extension(
    routes=(
        Route(
            "GET",
            _ATTESTATIONS,
            list_attestations,
            About(
                text="What is said of an exact version, signed, and with which keys it can be checked.",
                answer=Attestations,
            ),
        ),
        Route(
            "POST",
            _ATTESTATIONS,
            post_attestation,
            About(
                text="Keeps an in-toto statement about an exact version, in a DSSE envelope.",
                body=Envelope,
                answer=OneAttestation,
                auth=True,
                may=(400,),
            ),
        ),
        Route(
            "GET",
            _KEYS,
            list_keys,
            About(
                text="The keys an organization attests with, revoked ones too.",
                answer=AttestationKeys,
                auth=True,
            ),
        ),
        Route(
            "POST",
            _KEYS,
            post_key,
            About(
                text="Lets an organization attest with a key.",
                body=NewAttestationKey,
                answer=OneAttestationKey,
                auth=True,
                may=(400,),
            ),
        ),
        Route(
            "DELETE",
            f"{_KEYS}/{{id}}",
            delete_key,
            About(text="Takes a key back; what it signed stays.", auth=True, may=(400,)),
        ),
    )
)
