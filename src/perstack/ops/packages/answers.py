"""What registries say at once of all that is needed: versions, documents, and proofs of their logs.

It is taken as advice. A version counts only if it could have been chosen from among all versions; a document is
held against its digest; a proof is checked where it is used. What a registry says of names that are not its own is
not heard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from perstack.definition import EXPERT_VERSION, DelegateSpec
from perstack.lock import Candidate, Choice, Choosing, Listing, NoVersion, select
from perstack.registry import Place, RegistryClient, Resolution, ResolveRequest

from .registries import Registries
from .shelf import Shelf

AT_ONCE = 500
"""Delegate strings that a registry is asked for in one request."""


class Answers:
    """The answers so far. proofs: by digest, as text."""

    def __init__(self, registries: Registries, choosing: Choosing, shelf: Shelf) -> None:
        self.proofs: dict[str, str] = {}
        self._registries = registries
        self._choosing = choosing
        self._shelf = shelf
        self._said: dict[str, Resolution] = {}

    async def ask(self, clients: Mapping[Place, RegistryClient], specs: Iterable[str]) -> None:
        """Let each registry say what those of `specs` stand for that are its own, and all that these need."""
        asked: dict[Place, list[str]] = {}
        for spec in specs:
            if spec not in self._said:
                asked.setdefault(self._registries.of(spec), []).append(spec)
        for place, roots in asked.items():
            for at in range(0, len(roots), AT_ONCE):
                await self._ask(clients[place], tuple(roots[at : at + AT_ONCE]))

    async def _ask(self, client: RegistryClient, roots: tuple[str, ...]) -> None:
        # where some names need no age, what is too young is sorted out here
        age_s = 0 if self._choosing.exempt else self._choosing.min_age_s
        found = await client.resolve(
            ResolveRequest(
                roots=roots, include="documents", proofs=True, min_release_age_seconds=int(age_s)
            )
        )
        if found is None:
            return
        for spec, resolution in found.resolutions.items():
            if self._registries.of(spec) == client.place:
                self._said[spec] = resolution
        for digest, document in found.documents.items():
            self._shelf.lay(digest, bytes(document))
        self.proofs |= found.proofs

    def choice(self, spec: DelegateSpec) -> Choice | None:
        """What was said of `spec`, if it may be chosen; None if it is better to look at all versions."""
        said = self._said.get(spec.text)
        if said is None:
            return None
        name, _, version = said.key[1:].partition("@")
        if said.key[:1] + name != spec.name or not EXPERT_VERSION.fullmatch(version):
            return None
        candidate = Candidate(
            version=version,
            digest=said.digest,
            status=said.status,
            published_at=said.published_at,
        )
        tags = {spec.selector or "latest": version} if spec.kind in ("tag", "latest") else {}
        listing = Listing(name=spec.name, versions=(candidate,), tags=tags)
        try:
            return select(spec, listing, self._choosing)
        except NoVersion:
            return None
