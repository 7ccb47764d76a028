"""Whether a registry says to us what it says to everybody: its transparency log, held to what it said before.

The first key a log signs with is remembered, and so is the newest state of the log that was seen. From then on
each state must be signed by that key and be the old one, grown; and each document that is newly relied upon must
be in the log, as what was published under its name and version. Whoever lies to one user has to lie to that user
for ever, and can be shown both states of the log as a proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from urllib.parse import urlsplit

import anyio

from perstack._value import Value
from perstack.definition import scope_of
from perstack.errors import RegistryError, RegistryTampered, UserError

from .cache import Cache
from .client import IndexConfig, RegistryClient
from .merkle import BadProof, consistency_proof
from .note import (
    Checkpoint,
    VerifierKey,
    open_checkpoint,
    parse_verifier_key,
    render_verifier_key,
)
from .proof import Proof, parse_proof, verify_follows, verify_published
from .side_by_side import side_by_side
from .tiles import Tile, reader, tile_path, tiles_for_consistency

_KEY, _STATE = "key", "checkpoint"


class Claim(Value, frozen=True):
    """That this document was published under this name and version."""

    name: str
    version: str
    digest: str

    @property
    def note(self) -> str:
        """What its proof is remembered under."""
        return f"proofs/{self.digest.partition(':')[2]}"


async def check_claims(
    client: RegistryClient,
    cache: Cache,
    claims: Iterable[Claim],
    told: Mapping[str, str] | None = None,
) -> dict[str, Proof]:
    """The proofs, by digest, that the log of this registry holds `claims`. Empty if it keeps no log.

    What was proved before is not asked for again, nor is what `told` has, proofs by digest. Raises
    RegistryTampered, with both states of the log if one does not follow the other; RegistryError if the registry
    cannot be asked; UserError for what another registry has in its log. What is remembered changes only if
    everything is as it should be.
    """
    url = client.place.url
    claims = tuple(claims)
    config = await client.config()
    if config is not None:
        _check_whose(client, config, claims)
    try:
        key = _key(client, cache, config)
        if key is None:
            return {}
        proofs = {
            claim.digest: proof for claim in claims if (proof := kept_proof(cache, url, claim, key))
        }
        fresh = [claim for claim in claims if claim.digest not in proofs]
        if not fresh:
            return proofs
        texts = await _fetched(client, fresh, told or {})
        states = [
            verify_published(parse_proof(text), claim.name, claim.version, claim.digest, key)
            for claim, text in zip(fresh, texts, strict=True)
        ]
        newest = await _grown(client, _remembered(cache, url, key), states)
    except BadProof as error:
        raise RegistryTampered(
            f"{url} does not say to us what its log says to everybody: {error}\nNothing of it was used."
        ) from error
    cache.keep_note(url, _KEY, f"{render_verifier_key(key)}\n")
    cache.keep_note(url, _STATE, newest.note)

    async def keep(proved: tuple[Claim, str]) -> None:
        claim, text = proved
        proofs[claim.digest] = parse_proof(text)
        await anyio.to_thread.run_sync(cache.keep_note, url, claim.note, text)

    await side_by_side(keep, zip(fresh, texts, strict=True))
    return proofs


def kept_proof(cache: Cache, url: str, claim: Claim, key: VerifierKey) -> Proof | None:
    """The proof of `claim` that is remembered, checked anew. Raises BadProof if it does not hold."""
    text = cache.note(url, claim.note)
    if text is None:
        return None
    proof = parse_proof(text)
    verify_published(proof, claim.name, claim.version, claim.digest, key)
    return proof


def remembered_key(cache: Cache, url: str) -> VerifierKey | None:
    """The key that the log of a registry was first seen to sign with."""
    text = cache.note(url, _KEY)
    try:
        return None if text is None else parse_verifier_key(text.strip())
    except ValueError as error:
        raise RegistryTampered(
            f"{cache.note_path(url, _KEY)} is no key of a log any more: {error}. Delete it and try again."
        ) from error


def _check_whose(client: RegistryClient, config: IndexConfig, claims: Iterable[Claim]) -> None:
    """Pass if `claims` are about what the registry publishes itself. What it mirrors is in the log of its origin.

    Which log that is, the user must say and not the mirror, or it could name one of its own. Raises UserError.
    """
    for claim in claims:
        scope = scope_of(claim.name)
        origin = config.mirrored.get(scope or "_", config.mirrored.get("*"))
        if not origin:
            continue
        asked = client.place.asked
        mirror = f'mirror = "{asked}/upstream/{urlsplit(origin).netloc}"'
        lines = (
            f'[registries."{scope}"]\nurl = "{origin}"\n{mirror}'
            if scope
            else f'perstackApiBaseUrl = "{origin}"\n\n[registry]\n{mirror}'
        )
        raise UserError(
            f"{asked} only mirrors {claim.name}: it is in the log of {origin}. Name that registry in "
            f"perstack.toml, so that its log is the one that is checked:\n\n{lines}"
        )


def _key(client: RegistryClient, cache: Cache, config: IndexConfig | None) -> VerifierKey | None:
    """The key of the log: the one that is remembered, which the registry must still name. None without a log."""
    url = client.place.url
    known = remembered_key(cache, url)
    told = config.log_key if config else ""
    if not told and known is None:
        return None
    try:
        key = parse_verifier_key(told)
    except ValueError:
        key = None
    if key is None or known not in (None, key):
        raise RegistryTampered(
            f"{url} had a log with another key before. Ask its operator; if the change is meant, delete "
            f"{cache.note_path(url, _KEY).parent} and try again."
        )
    return key


def _remembered(cache: Cache, url: str, key: VerifierKey) -> Checkpoint | None:
    note = cache.note(url, _STATE)
    return None if note is None else open_checkpoint(note, key)


async def _fetched(
    client: RegistryClient, claims: Sequence[Claim], told: Mapping[str, str]
) -> list[str]:
    """The proof of each claim, as text."""
    texts = [told.get(claim.digest, "") for claim in claims]

    async def fetch(place: int) -> None:
        claim = claims[place]
        try:
            texts[place] = await client.proof(claim.name, claim.version)
        except RegistryError as error:
            if error.status != 404:
                raise
            raise BadProof(f"the log does not hold {claim.name}@{claim.version}") from error

    await side_by_side(fetch, [place for place, text in enumerate(texts) if not text])
    return texts


async def _grown(
    client: RegistryClient, known: Checkpoint | None, states: Sequence[Checkpoint]
) -> Checkpoint:
    """The newest of `states`, once each of them is known to be the one before it, grown. Raises BadProof."""
    newest = max(states, key=lambda state: state.size)
    if known is not None and newest.size < known.size and client.place.mirror is None:
        raise BadProof(
            f"its log had {known.size} entries before and has {newest.size} now\n\n{known.note}\n{newest.note}"
        )
    if known is not None:
        states = [known, *states]
    for old, new in pairwise(sorted(states, key=lambda state: state.size)):
        if (old.size, old.root) != (new.size, new.root):
            verify_follows(old, new, await _consistency(client, old.size, new.size))
    return newest if known is None or newest.size >= known.size else known


async def _consistency(client: RegistryClient, old: int, new: int) -> tuple[bytes, ...]:
    """What the registry has to show that its log of `new` entries begins with that of `old`."""
    if old == new:
        return ()
    tiles: dict[Tile, bytes] = {}

    async def fetch(tile: Tile) -> None:
        try:
            tiles[tile] = await client.tile(tile_path(tile))
        except RegistryError as error:
            if error.status != 404:
                raise
            raise BadProof(f"the log has no {tile_path(tile)}") from error

    await side_by_side(fetch, tiles_for_consistency(old, new))
    return consistency_proof(old, new, reader(new, tiles))
