"""What publishers attest of the versions that are locked, and whether it is what the project asks for.

What a registry shows is checked here as if it were a stranger's; see `perstack.registry.attested`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from perstack.definition import short_predicate_type
from perstack.errors import RegistryTampered, UserError
from perstack.lock import Pin
from perstack.registry import (
    Attested,
    BadProof,
    Cache,
    Claim,
    RegistryClient,
    attestations_of,
    cache_place,
    judged,
    kept_proof,
    lacking,
    place_of_known,
    publisher_of,
    remembered_key,
    side_by_side,
)

from .access import Access
from .listings import open_registries


async def attested(
    client: RegistryClient, cache: Cache, claim: Claim, publisher: str = ""
) -> tuple[Attested, ...]:
    """What is attested of a published version, the proof of which may be in the cache.

    publisher: by the lock, or by the registry where there is none. Raises RegistryError, RegistryTampered.
    """
    url = client.place.url
    try:
        key = remembered_key(cache, url)
        proof = None if key is None else kept_proof(cache, url, claim, key)
    except BadProof as error:
        raise RegistryTampered(f"{cache.note_path(url, claim.note)}: {error}") from error
    # without a proof nobody can say whom a salted name is of
    otherwise = "" if publisher.startswith("sha256:") else publisher
    whose = publisher_of(proof, otherwise)
    version = f"{claim.name}@{claim.version}"
    told = await attestations_of(client, version)
    return judged(told, version, claim.digest, whose, cache, url)


def claim_of(pin: Pin) -> Claim:
    """What is claimed by a pin of a published version."""
    return Claim(name=pin.expert.name, version=pin.expert.version, digest=pin.integrity)


async def require_attestations(
    client: RegistryClient, cache: Cache, claims: Iterable[Claim], wanted: tuple[str, ...]
) -> None:
    """Pass if of each of these versions there is all that is wanted: types of predicates, or their short names.

    Raises UserError where something is lacking; RegistryTampered if that is since the registry shows what does not
    hold; RegistryError.
    """

    async def look(claim: Claim) -> None:
        found = await attested(client, cache, claim)
        if missing := lacking(wanted, found):
            key, url = f"{claim.name}@{claim.version}", client.place.url
            told = f"{sentence_of(key, missing, found)}. Nothing of it was used."
            if any(each.outcome == "failed" for each in found):
                raise RegistryTampered(told)
            raise UserError(f"{told} {advice_of(cache, url, found)}")

    await side_by_side(look, claims)


async def unattested(access: Access, pins: Iterable[Pin]) -> Mapping[str, str]:
    """By key, what the project asks for and a locked version lacks, in a sentence without its full stop."""
    wanted = access.project.project.registry.require_attestations
    found: dict[str, str] = {}
    if not wanted:
        return found
    asked = tuple(pins)
    cache = Cache(cache_place(access.env))
    async with open_registries(access, {pin.expert.name for pin in asked}) as clients:

        async def look(pin: Pin) -> None:
            publisher = pin.origin.publisher if pin.origin else ""
            there = await attested(clients[pin.expert.name], cache, claim_of(pin), publisher)
            if missing := lacking(wanted, there):
                found[pin.expert.key] = sentence_of(pin.expert.key, missing, there)

        await side_by_side(look, asked)
    return found


def sentence_of(key: str, missing: Iterable[str], found: Iterable[Attested]) -> str:
    """What a version lacks, and what is there that does not count; without a full stop."""
    told = f"{key} lacks what requireAttestations asks for: {', '.join(missing)}"
    rest = [line_of(each) for each in found if each.outcome != "signed"]
    return f"{told}; what does not count: {'; '.join(rest)}" if rest else told


def line_of(each: Attested) -> str:
    """An attestation in a few words."""
    kind = short_predicate_type(each.predicate_type)
    keys = ", ".join(id[:12] for id in each.signed_by)
    match each.outcome:
        case "signed":
            return f"{kind} by {each.organization} (key {keys})"
        case "revoked":
            return f"{kind} by {each.organization} (key {keys}, revoked)"
        case "newKey":
            return f"{kind} by {each.organization} (key {keys}, not among those first seen)"
        case "stranger":
            return f"{kind} by {each.organization} (key {keys}), which did not publish it"
        case "failed":
            return f"one of {each.organization} that does not hold: {each.what}"


def advice_of(cache: Cache, url: str, found: Iterable[Attested]) -> str:
    """What can be done where something is lacking."""
    changed = {each.organization for each in found if each.outcome == "newKey"}
    if changed:
        places = " and ".join(place_of_known(cache, url, each) for each in sorted(changed))
        return (
            f"Ask {' and '.join(sorted(changed))} whether the key is theirs; if it is, delete {places} and "
            "try again."
        )
    return "Choose another version, or ask its publisher to attest it."
