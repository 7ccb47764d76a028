"""The document of a locked version: where it has to be, what its registry has, and what the copies here say."""

from __future__ import annotations

from perstack.errors import LockError, LockTampered, RegistryError
from perstack.lock import Pin, check_published
from perstack.registry import Place, RegistryClient, expert_of

from .shelf import Shelf

NOT_FOUND = 404


def check_place(pin: Pin, place: Place) -> None:
    """Pass if a locked version is of this registry, and its document where that has it.

    Raises LockError if its name has another registry now, LockTampered for another address.
    """
    assert pin.origin is not None  # only published ones are of a registry
    key = pin.expert.key
    if pin.origin.registry != place.url:
        raise LockError(
            f"The lock has {key} from {pin.origin.registry}, and {place.url} is the registry of its name now. If "
            "the move is meant, take its tables out of the lock and run `perstack install`."
        )
    if pin.origin.resolved not in (place.document_url(pin.integrity), place.expert_url(key)):
        raise LockTampered(
            f"perstack.lock was changed: it has the document of {key} at {pin.origin.resolved}, which is not "
            f"where its registry, {place.url}, has it. Look at what changed it, then take the tables of this "
            "Expert out and run `perstack install`."
        )


def check_copies(pin: Pin, shelf: Shelf) -> bool:
    """Pass if all copies that are here are what the lock says; whether there is one.

    Raises LockTampered, RegistryTampered.
    """
    copies = shelf.copies(pin.integrity)
    for document in copies:
        check_published(pin, document, expert_of(document), "perstack.lock")
    return bool(copies)


async def fetched(pin: Pin, client: RegistryClient) -> bytes:
    """The document, which has the digest of the pin. client: of the registry of a published Expert's pin.

    Raises LockTampered if the registry has this version with another digest, RegistryTampered for a document that
    has another; RegistryError, with status 404 if the version is not there any more.
    """
    assert pin.origin is not None  # only published ones have a document elsewhere
    key = pin.expert.key
    try:
        return await client.fetch(pin.origin.resolved, pin.integrity)
    except RegistryError as error:
        if error.status != NOT_FOUND:
            raise
        digest = await _digest_of(key, client)
        if digest not in (None, "", pin.integrity):
            raise LockTampered(another(key, pin.integrity, digest)) from error
        raise RegistryError(
            f"{pin.origin.registry} does not have the document of {key} any more, and there is no copy of it "
            f"here. `perstack update {pin.expert.name}` locks another version.",
            status=error.status,
            reason=error.reason,
        ) from error


def another(key: str, locked: str, told: str) -> str:
    """What is said of a version that the lock and its registry have with different digests."""
    return (
        f"The lock has {key} as {locked}, its registry has it as {told}. What was published never changes: find "
        "out which of them is wrong. Nothing of it was used."
    )


async def _digest_of(key: str, client: RegistryClient) -> str | None:
    """The digest that the registry says now; None if it does not have the version, "" if it knows no digests."""
    try:
        return (await client.get(key)).digest
    except RegistryError as error:
        if error.status != NOT_FOUND:
            raise
        return None
