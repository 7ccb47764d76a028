"""Published Definitions for a lock: out of the vendor directory, the cache, or their registries.

What the lock has is taken from wherever it lies nearest, and is held against the lock: no request is made for what
is at hand. What is new is chosen from what its registry says of it, all at once where the registry can do that,
else from the index files of each name; and in the end the log of each registry must hold what was chosen.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
from msgspec.structs import replace

from perstack.definition import DelegateSpec, parse_delegate, parse_version
from perstack.errors import (
    LockTampered,
    RegistryError,
    RegistryTampered,
    UnknownExpert,
    UserError,
)
from perstack.lock import (
    Candidate,
    Choosing,
    Listing,
    LockFile,
    NoVersion,
    Origin,
    Pin,
    check_published,
    digest_of,
    may_mean,
    published,
    select,
    standing,
)
from perstack.registry import (
    Cache,
    Claim,
    Place,
    Proof,
    RegistryClient,
    cache_place,
    check_claims,
    expert_of,
    open_client,
    parse_index,
    side_by_side,
)

from ..project import LoadedProject
from .answers import Answers
from .attested import require_attestations
from .documents import another, check_place, fetched
from .listings import listing_from
from .registries import Registries, registries_of
from .shelf import VENDOR, Shelf
from .sources import Sources

_DIRECTION = "Run `perstack install` once with a connection, or `perstack install --vendor`."


@asynccontextmanager
async def open_finder(
    loaded: LoadedProject | None,
    known: LockFile | None,
    env: Mapping[str, str],
    sources: Sources,
) -> AsyncGenerator[Finder]:
    """A finder for a project; what it opens is closed at the end. known: the lock there is.

    env: process and dotenv files together. Raises UserError for registries that cannot be.
    """
    project = loaded.project if loaded else None
    rules = project.registry if project else None
    choosing = Choosing(
        now_s=time.time(),
        min_age_s=rules.min_release_age_s if rules else 0.0,
        exempt=rules.min_release_age_exclude if rules else (),
        allow_disabled=sources.allow_disabled,
    )
    async with AsyncExitStack() as stack:
        yield Finder(
            stack,
            registries_of(project, env, sources),
            Cache(cache_place(env)),
            known=known,
            vendor=loaded.directory / VENDOR if loaded else None,
            choosing=choosing,
            offline=sources.is_offline(env),
            prefer_offline=sources.prefer_offline,
            required=rules.require_attestations if rules else (),
        )


class Finder:
    """Finds published Definitions. warnings: what the user should know of those it found, a sentence each.

    fresh: pins that were made anew, by delegate string; they count only once `prove` has passed.
    """

    def __init__(
        self,
        stack: AsyncExitStack,
        registries: Registries,
        cache: Cache,
        *,
        known: LockFile | None,
        vendor: Path | None,
        choosing: Choosing,
        offline: bool,
        prefer_offline: bool,
        required: tuple[str, ...] = (),
    ) -> None:
        self.registries = registries
        self.cache = cache
        self.warnings: list[str] = []
        self.fresh: dict[str, Pin] = {}
        self._stack = stack
        self._known = known
        self._shelf = Shelf(cache, vendor)
        self._choosing = choosing
        self._offline = offline
        self._prefer_offline = prefer_offline
        self._required = required
        self._clients: dict[Place, RegistryClient] = {}
        self._answers = Answers(registries, choosing, self._shelf)
        self._listings: dict[str, Listing | None] = {}

    async def find(
        self, specs: Iterable[str], needed_by: Callable[[str], str] = lambda spec: ""
    ) -> dict[str, Pin]:
        """The pins that these delegate strings stand for.

        needed_by: who asks for one, such as " (needed by lead)". Raises UnknownExpert, NoVersion, RegistryError,
        RegistryTampered, LockTampered.
        """
        found: dict[str, Pin] = {}
        missing: list[str] = []
        for spec in specs:
            pin = self._pinned(spec)
            if pin is None:
                missing.append(spec)
            else:
                found[spec] = pin
        await self._open(
            {self.registries.of(s) for s in missing}
            | {place for pin in found.values() if (place := self._place_of(pin)) is not None}
        )
        if not (self._offline or self._prefer_offline):
            await self._answers.ask(self._clients, missing)

        async def look(spec: str) -> None:
            if spec in found:
                await self._check(found[spec])
            else:
                self.fresh[spec] = found[spec] = await self._choose(spec, needed_by(spec))

        await side_by_side(look, (*found, *missing))
        return found

    async def prove(self) -> None:
        """Pass if the logs of the registries hold all that is fresh, and it is attested as the project asks.

        Raises RegistryTampered, RegistryError, UserError.
        """
        claims: dict[Place, list[Claim]] = {}
        for pin in self.fresh.values():
            expert = pin.expert
            claim = Claim(name=expert.name, version=expert.version, digest=pin.integrity)
            claims.setdefault(self.registries.of(expert.name), []).append(claim)
        for place, made in claims.items():
            if self._offline and self._required:
                raise UserError(
                    f"Offline, {place.url} cannot be asked what is attested of {made[0].name}, which "
                    "requireAttestations is about. Run `perstack install` once with a connection."
                )
            if self._offline:
                self.warnings.append(
                    f"Offline: whether the log of {place.url} holds what was chosen was not checked."
                )
                continue
            proofs = await check_claims(
                self._clients[place], self.cache, made, self._answers.proofs
            )
            for spec, pin in self.fresh.items():
                if (proof := proofs.get(pin.integrity)) is not None:
                    self.fresh[spec] = self._logged(pin, proof)
            if self._required:
                client = self._clients[place]
                await require_attestations(client, self.cache, made, self._required)

    def _logged(self, pin: Pin, proof: Proof) -> Pin:
        """`pin` with what the log says of it; warns if somebody else published what is locked of this name."""
        assert pin.origin is not None  # it is fresh
        publisher, name = proof.entry.actor, pin.expert.name
        for known in self._known.lock.experts.values() if self._known else ():
            before = known.origin.publisher if known.origin and known.expert.name == name else ""
            if before and before != publisher:
                self.warnings.append(
                    f"{pin.expert.key} was published by {publisher}; {known.expert.key}, which the lock has, "
                    f"by {before}."
                )
        return replace(pin, origin=replace(pin.origin, log_index=proof.index, publisher=publisher))

    # What the lock has

    def _pinned(self, spec: str) -> Pin | None:
        """What the lock has for this string, if it was published where it would be looked for now."""
        if self._known is None:
            return None
        lock = self._known.lock
        pin = lock.experts.get(lock.key_of(spec))
        if pin is None or pin.origin is None:
            return None
        asked, expert = parse_delegate(spec), pin.expert
        if asked.name != expert.name or not may_mean(asked, expert.version, pin.integrity):
            raise LockTampered(
                f'perstack.lock was changed: "{spec}" cannot stand for {expert.key}. Look at what changed it, '
                "then take the table out and run `perstack install`."
            )
        check_place(pin, self.registries.of(expert.name))
        return pin

    def _place_of(self, pin: Pin) -> Place | None:
        """The registry to ask for the document of a pin; None if it is at hand."""
        if self._shelf.at_hand(pin.integrity) is not None:
            return None
        return self.registries.of(pin.expert.name)

    async def _check(self, pin: Pin) -> None:
        """Pass if the document of a locked pin is what the lock says."""
        document = self._shelf.at_hand(pin.integrity)
        if document is None:
            if self._offline:
                raise RegistryError(
                    f"Offline, and the document of {pin.expert.key} is not in the cache. {_DIRECTION}"
                )
            client = self._clients[self.registries.of(pin.expert.name)]
            document = await fetched(pin, client)
            self._shelf.keep(pin.integrity, document)
        check_published(pin, document, expert_of(document), "perstack.lock")
        self.warnings += self._since(pin)

    def _since(self, pin: Pin) -> tuple[str, ...]:
        """What its owner did to a locked version later, as far as that is known here; nobody is asked."""
        place = self.registries.of(pin.expert.name)
        kept = self.cache.answer(place.url, pin.expert.name)
        if kept is None:
            return ()
        seen = parse_index(kept.body, pin.expert.name).versions
        version = parse_version(pin.expert.version)
        return tuple(
            warning
            for candidate in seen
            if parse_version(candidate.version) == version
            for warning in standing(pin.expert.name, candidate)
        )

    # What is new

    async def _open(self, places: Iterable[Place]) -> None:
        """Clients for `places`, one after the other, so that they are closed in order."""
        if self._offline:
            return
        for place in places:
            if place not in self._clients:
                client = await self._stack.enter_async_context(open_client(place, self.cache))
                self._clients[place] = client

    async def _choose(self, text: str, needed_by: str) -> Pin:
        """The pin of the version that a delegate string selects."""
        spec = parse_delegate(text)
        place = self.registries.of(text)
        try:
            choice = self._answers.choice(spec)
            if choice is None:
                choice = select(spec, await self._listing(place, spec, needed_by), self._choosing)
        except NoVersion as error:
            raise NoVersion(f"{text}{needed_by}", error.why, error.refused) from error
        self.warnings += (f"{warning.removesuffix('.')}{needed_by}." for warning in choice.warnings)
        chosen = choice.candidate
        document, resolved = await self._document(place, spec.name, chosen)
        expert = expert_of(document)
        if (expert.name, expert.version) != (spec.name, chosen.version):
            raise RegistryTampered(
                f"{place.url} gives a document of {expert.key} for {spec.name}@{chosen.version}. "
                "Nothing of it was used."
            )
        digest = digest_of(document)
        self._refuse_other(expert.key, digest)
        await anyio.to_thread.run_sync(self._shelf.keep, digest, document)
        origin = Origin(
            registry=place.url,
            resolved=resolved,
            published_at=chosen.published_at,
            log_index=chosen.log,
        )
        return published(document, expert, origin)

    async def _document(self, place: Place, name: str, chosen: Candidate) -> tuple[bytes, str]:
        """The document of a version, and where its registry has it."""
        key = f"{name}@{chosen.version}"
        if chosen.digest:
            document = self._shelf.at_hand(chosen.digest)
            if document is not None:
                return document, place.document_url(chosen.digest)
        if self._offline:
            raise RegistryError(
                f"Offline, and the document of {key} is not in the cache. {_DIRECTION}"
            )
        client = self._clients[place]
        if not chosen.digest:
            return await client.document_by_key(key), place.expert_url(key)
        return await client.document(chosen.digest), place.document_url(chosen.digest)

    async def _listing(self, place: Place, spec: DelegateSpec, needed_by: str) -> Listing:
        """All versions of a name, as its registry has them, or as they were last seen."""
        if spec.name not in self._listings:
            self._listings[spec.name] = await self._looked_up(place, spec.name)
        listing = self._listings[spec.name]
        if listing is None:
            where = f"the cache of {place.url} (offline)" if self._offline else place.url
            raise UnknownExpert(spec.text, looked_in=f"{where}{needed_by}")
        return listing

    async def _looked_up(self, place: Place, name: str) -> Listing | None:
        if self._offline or self._prefer_offline:
            kept = self.cache.answer(place.url, name)
            if kept is not None:
                return parse_index(kept.body, name)
        if self._offline:
            return None
        return await listing_from(self._clients[place], name)

    def _refuse_other(self, key: str, digest: str) -> None:
        """A version that the lock has with another document was not published twice."""
        known = self._known.lock.experts.get(key) if self._known else None
        if known is not None and known.origin is not None and known.integrity != digest:
            raise LockTampered(another(key, known.integrity, digest))
