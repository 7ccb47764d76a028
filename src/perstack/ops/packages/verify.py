"""Whether what is locked is still what was published, asked anew: documents, and the logs that must hold them.

The lock file itself was checked when it was read. What its registry gives for each published Expert is fetched
again, past all caches, and must be the locked document, byte for byte; the copies of it in the vendor directory
and the cache must be that, too; and the registry's transparency log must hold it, where the lock says and as
published by whom the lock says. What is attested of it must be signed with keys of those who attest. Offline, the
copies at hand and the proofs kept of them are checked.
"""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from perstack._value import Value
from perstack.errors import LockTampered, RegistryError, RegistryTampered
from perstack.lock import Pin, check_published
from perstack.registry import (
    Attested,
    BadProof,
    Cache,
    Proof,
    RegistryClient,
    cache_place,
    check_claims,
    expert_of,
    kept_proof,
    remembered_key,
    side_by_side,
)

from .access import Access
from .attested import attested, claim_of, line_of
from .documents import NOT_FOUND, check_copies, check_place, fetched
from .listings import open_registries
from .locked import locked_project
from .shelf import VENDOR, Shelf
from .tree import matching

Outcome = Literal["verified", "notAtHand", "failed"]


class Verified(Value, frozen=True):
    """One published Expert. log: its place in the log, None if that was not proved. what: why it failed.

    attested: what is attested of it, as far as its registry was asked.
    """

    key: str
    digest: str
    outcome: Outcome
    log: int | None = None
    what: str = ""
    attested: tuple[Attested, ...] = ()


async def verify(access: Access, name: str | None = None) -> tuple[Verified, ...]:
    """All published Experts of the lock, or all versions of one. Failures are outcomes.

    Raises LockTampered for a lock that is not whole, UnknownExpert, RegistryError if a registry cannot be asked.
    """
    project = locked_project(str(access.project.path), access.env, access.cwd)
    lock = project.file.lock
    keys = matching(lock, name) if name is not None else tuple(lock.experts)
    pins = [lock.experts[key] for key in keys if lock.experts[key].origin is not None]
    for pin in pins:
        check_place(pin, access.place(pin.expert.name))
    cache = Cache(cache_place(access.env))
    shelf = shelf_of(access, cache)
    if access.sources.is_offline(access.env):
        return tuple(_at_hand(pin, shelf, cache) for pin in pins)
    return await _asked(pins, access, shelf, cache)


def shelf_of(access: Access, cache: Cache) -> Shelf:
    """The copies that commands of this project use."""
    return Shelf(cache, access.project.directory / VENDOR)


async def _asked(
    pins: list[Pin], access: Access, shelf: Shelf, cache: Cache
) -> tuple[Verified, ...]:
    found: dict[str, Verified] = {}
    names = [pin.expert.name for pin in pins]
    async with open_registries(access, names) as clients:

        async def look(pin: Pin) -> None:
            found[pin.expert.key] = await _fetched(pin, clients[pin.expert.name], shelf)

        await side_by_side(look, pins)
        for client in {id(client): client for client in clients.values()}.values():
            own = [
                pin
                for pin in pins
                if clients[pin.expert.name] is client
                and found[pin.expert.key].outcome == "verified"
            ]
            found |= await _proved(own, client, cache)

        async def attest(pin: Pin) -> None:
            before = found[pin.expert.key]
            found[pin.expert.key] = await _attested(before, pin, clients[pin.expert.name], cache)

        await side_by_side(attest, [p for p in pins if found[p.expert.key].outcome == "verified"])
    return tuple(found[pin.expert.key] for pin in pins)


async def _fetched(pin: Pin, client: RegistryClient, shelf: Shelf) -> Verified:
    assert pin.origin is not None  # only published ones get here
    try:
        document = await fetched(pin, client)
        check_published(pin, document, expert_of(document), "perstack.lock")
        check_copies(pin, shelf)
    except (LockTampered, RegistryTampered) as error:
        return _failed(pin, str(error))
    except RegistryError as error:
        if error.status != NOT_FOUND:
            raise
        return _failed(pin, f"{pin.origin.registry} does not have it any more")
    return _verified(pin, None)


async def _proved(pins: list[Pin], client: RegistryClient, cache: Cache) -> dict[str, Verified]:
    """By key, what the log of one registry says of them; one by one, if it does not hold all."""
    try:
        proofs = await check_claims(client, cache, [claim_of(pin) for pin in pins])
    except (RegistryTampered, RegistryError) as error:
        if isinstance(error, RegistryError) and error.status != NOT_FOUND:
            raise
        if len(pins) == 1:
            return {pins[0].expert.key: _failed(pins[0], str(error))}
        return {
            key: each for pin in pins for key, each in (await _proved([pin], client, cache)).items()
        }
    return {pin.expert.key: _by_log(pin, proofs.get(pin.integrity)) for pin in pins}


async def _attested(before: Verified, pin: Pin, client: RegistryClient, cache: Cache) -> Verified:
    """What was verified, with what is attested of it; failed if something of that does not hold."""
    assert pin.origin is not None  # only published ones get here
    found = await attested(client, cache, claim_of(pin), pin.origin.publisher)
    for each in found:
        if each.outcome == "failed":
            return _failed(pin, f"its registry shows an attestation: {line_of(each)}")
    return replace(before, attested=found)


def _by_log(pin: Pin, proof: Proof | None) -> Verified:
    """`pin`, held against the entry of the log that proves it."""
    assert pin.origin is not None  # only published ones get here
    index, publisher = pin.origin.log_index, pin.origin.publisher
    if proof is None:
        if index is not None and publisher:
            return _failed(
                pin, f"the lock has it as entry {index} of a log, and its registry has none"
            )
        return _verified(pin, None)
    if index not in (None, proof.index):
        return _failed(pin, f"it is entry {proof.index} of the log, and {index} by the lock")
    if publisher not in ("", proof.entry.actor):
        return _failed(pin, f"{proof.entry.actor} published it by the log, {publisher} by the lock")
    return _verified(pin, proof.index)


def _at_hand(pin: Pin, shelf: Shelf, cache: Cache) -> Verified:
    assert pin.origin is not None  # only published ones get here
    try:
        if not check_copies(pin, shelf):
            return Verified(key=pin.expert.key, digest=pin.integrity, outcome="notAtHand")
        url = pin.origin.registry
        key = remembered_key(cache, url)
        proof = None if key is None else kept_proof(cache, url, claim_of(pin), key)
    except (LockTampered, RegistryTampered, BadProof) as error:
        return _failed(pin, str(error))
    return _verified(pin, None) if proof is None else _by_log(pin, proof)


def _verified(pin: Pin, log: int | None) -> Verified:
    return Verified(key=pin.expert.key, digest=pin.integrity, outcome="verified", log=log)


def _failed(pin: Pin, what: str) -> Verified:
    return Verified(key=pin.expert.key, digest=pin.integrity, outcome="failed", what=what)


def failures(found: tuple[Verified, ...]) -> tuple[Verified, ...]:
    return tuple(each for each in found if each.outcome == "failed")
