"""One upstream as it is mirrored: what it says is asked for once, checked, kept, and shown while it is away.

A document is kept for ever, under its digest. Everything else is asked for again after a minute, with the
validator that came with it, and is shown for a day if the upstream is away; that something is not there is
believed for ten seconds. Many who want the same at once wait for one request. An upstream that was not reached is
left alone for some seconds.

*What is checked.* An index is about the name that was asked for, and no version in it was ever listed with another
digest; a document has its digest, and is the version whose digest that is in the index; what R1 says is the
document. What fails a check is a 502, and nothing of it is kept. What is gone from the index (unpublished,
quarantined) is gone here with it, whatever else is kept of it. The log is passed on as it is: whether it is the
one that everybody sees, only its readers can tell, and they do.

*Who is asked as whom.* Nobody's key is passed on. The upstream is asked without a key, and if that says no, with
the mirror's own for this upstream, if it has one; what only the key was given is private.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar
from urllib.parse import quote

import anyio
import msgspec
from anyio.abc import TaskGroup

from perstack.definition import Expert
from perstack.errors import RegistryError
from perstack.lock import Listing, digest_of
from perstack.registry import (
    PREFIX,
    Fetch,
    Fetched,
    IndexConfig,
    expert_of,
    index_path,
    parse_index,
)

from ..extensions.operations import metrics_of
from ..queries import mirror
from ..queries.mirror import KeptAnswer
from ..storage.repository import Session
from ..wire.http import Refused, not_found
from .upstreams import Upstream

if TYPE_CHECKING:
    from ..app import Context

T = TypeVar("T")
Freshness = Literal["hit", "miss", "stale"]

log = logging.getLogger("perstack.server")

TIMEOUT_S = 10.0
FRESH_MS = 60_000
STALE_MS = 24 * 3600_000
MISSING_MS = 10_000
AWAY_MS = 5_000
"""For how long an upstream that was not reached is not asked."""

MAX_INDEX = 16 << 20
MAX_DOCUMENT = 2 << 20
MAX_OTHER = 4 << 20
MAX_MISSING = 10_000
MAX_KEPT = 100_000
PURGE_EVERY = 1000
"""Answers that are kept between two looks at what is too old."""


class Told(NamedTuple):
    """What an upstream says. is_private: only to who may read what is private here."""

    body: bytes
    is_private: bool
    freshness: Freshness


def wrong(what: str) -> Refused:
    return Refused(502, what)


def away(what: str) -> Refused:
    return Refused(503, what, headers={"Retry-After": str(AWAY_MS // 1000)})


@dataclass(slots=True)
class _Flight:
    """One piece of work that several wait for."""

    done: anyio.Event = field(default_factory=anyio.Event)
    value: Any = None
    error: Exception | None = None


class Mirror:
    """What is known of one upstream. tasks: where requests run on, also if who wanted them has left.

    key: of this server at the upstream; empty without one.
    """

    def __init__(
        self, context: Context, upstream: Upstream, fetch: Fetch, tasks: TaskGroup, key: str = ""
    ) -> None:
        self.upstream = upstream
        self._context = context
        self._fetch = fetch
        self._tasks = tasks
        self._key = key
        self._flights: dict[str, _Flight] = {}
        self._missing: dict[str, int] = {}
        self._away_until = 0
        self._kept = 0

    # What can be asked for

    async def index(self, name: str) -> Told:
        """The index file of `name`. Raises Refused: 404, 502, 503."""

        def check(body: bytes) -> Listing:
            return self._listing(body, name)

        def keep(session: Session, body: bytes, is_private: bool) -> None:
            versions = [(each.version, each.digest) for each in check(body).versions]
            other = mirror.list_versions(
                session, self.upstream.url, name, versions, is_private=is_private
            )
            if other is not None:
                version, before = other
                raise wrong(
                    f"{self.upstream.url} lists another document for {name}@{version} than before ({before})"
                )

        def gone(session: Session) -> None:
            mirror.list_versions(session, self.upstream.url, name, (), is_private=True)

        return await self._known(index_path(name), MAX_INDEX, keep=keep, gone=gone)

    async def listing(self, name: str) -> tuple[Listing, Told]:
        """All versions of `name`. Raises Refused."""
        told = await self.index(name)
        return self._listing(told.body, name), told

    def _listing(self, body: bytes, name: str) -> Listing:
        try:
            return parse_index(body, name)
        except RegistryError as error:
            raise wrong(f"{self.upstream.url}: {error}") from error

    async def document(self, name: str, version: str, digest: str) -> Told:
        """The document of a version that is or was listed. Raises Refused; 404 if it is not listed any more.

        One that is kept is shown also when nobody can say whether it is still listed.
        """
        kept = await self._context.repository.read(lambda session: mirror.document(session, digest))
        try:
            listing, told = await self.listing(name)
        except Refused as refused:
            if kept is None or refused.status != 503:
                raise
            is_private = await self._was_private(name, digest)
            return self._counted(Told(kept, is_private, "stale"))
        if (version, digest) not in ((each.version, each.digest) for each in listing.versions):
            raise not_found("Document not found")
        if kept is not None:
            freshness = "stale" if told.freshness == "stale" else "hit"
            return self._counted(Told(kept, told.is_private, freshness))
        fetch = partial(self._fetch_document, name, version, digest)
        return self._counted(Told(await self._once(digest, fetch), told.is_private, "miss"))

    async def _was_private(self, name: str, digest: str) -> bool:
        known = await self._context.repository.read(
            lambda session: mirror.versions_of_digest(session, digest)
        )
        ours = [each for each in known if (each.upstream, each.name) == (self.upstream.url, name)]
        if not any(each.is_listed for each in ours):
            raise not_found("Document not found")
        return any(each.is_private for each in ours)

    async def unknown(self, digest: str, is_ours: Callable[[str], bool]) -> tuple[str, Told]:
        """The name in a document that was not listed here so far, and the document. Raises Refused.

        is_ours: whether names like this are the upstream's to say.
        """
        if self._missing.get(digest, 0) > self._context.now():
            raise not_found("Document not found")
        fetch = partial(self._find_document, digest, is_ours)
        name, version = await self._once(f"unknown {digest}", fetch)
        told = await self.document(name, version, digest)
        return name, told._replace(freshness="miss")

    async def _find_document(self, digest: str, is_ours: Callable[[str], bool]) -> tuple[str, str]:
        try:
            body, expert = await self._documented(digest)
            listed = is_ours(expert.name) and any(
                (each.version, each.digest) == (expert.version, digest)
                for each in (await self.listing(expert.name))[0].versions
            )
            if not listed:
                raise not_found("Document not found")
        except Refused as refused:
            if refused.status == 404:
                self._note_missing(digest, self._context.now())
            raise
        await self._keep_document(digest, body)
        return expert.name, expert.version or ""

    async def _fetch_document(self, name: str, version: str, digest: str) -> bytes:
        kept = await self._context.repository.read(lambda session: mirror.document(session, digest))
        if kept is not None:  # since who wanted it looked
            return kept
        body, expert = await self._documented(digest)
        if (expert.name, expert.version) != (name, version):
            raise wrong(
                f"{self.upstream.url} gives a document of {expert.key} for {name}@{version}"
            )
        await self._keep_document(digest, body)
        return body

    async def _documented(self, digest: str) -> tuple[bytes, Expert]:
        """What the upstream has under this digest, checked."""
        path = f"/documents/sha256/{digest.removeprefix('sha256:')}"
        answer, _ = await self._ask(path, "", MAX_DOCUMENT)
        if answer.status == 404:
            raise not_found("Document not found")
        self._check_success(path, answer)
        if digest_of(answer.body) != digest:
            raise wrong(f"{self.upstream.url} gives a document that is not {digest}")
        try:
            return answer.body, expert_of(answer.body)
        except RegistryError as error:
            raise wrong(f"{self.upstream.url}: {error}") from error

    async def _keep_document(self, digest: str, body: bytes) -> None:
        await self._context.repository.write(
            lambda session: mirror.keep_document(session, digest, body)
        )

    async def expert(self, name: str, version: str, digest: str) -> Told:
        """R1 of a version that is listed. Raises Refused."""
        document = msgspec.json.decode(
            (await self.document(name, version, digest)).body, type=dict[str, Any]
        )
        key = f"{name}@{version}"

        def keep(session: Session, body: bytes, is_private: bool) -> None:
            del session, is_private
            try:
                said = msgspec.json.decode(body, type=_OneExpert).data.expert
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise wrong(f"{self.upstream.url} says of {key} what cannot be read") from error
            members = {*document, *_RARE} - {"schema"}
            if said.get("key") != key or any(
                (said.get(member) or None) != (document.get(member) or None) for member in members
            ):
                raise wrong(f"{self.upstream.url} says of {key} what its document does not say")

        return await self._known(f"/experts/{quote(key, safe='')}", MAX_OTHER, keep=keep)

    async def versions(self, name: str) -> Told:
        """R2, whole. Raises Refused."""
        listing, _ = await self.listing(name)
        known = {each.version: each.digest for each in listing.versions}

        def keep(session: Session, body: bytes, is_private: bool) -> None:
            del session, is_private
            try:
                said = msgspec.json.decode(body, type=_Versions).data.versions
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise wrong(f"{self.upstream.url} says of {name} what cannot be read") from error
            for one in said:
                if one.name != name or one.digest not in ("", known.get(one.version, one.digest)):
                    raise wrong(f"{self.upstream.url} says of {name} what its index does not say")

        return await self._known(f"/experts/{quote(name, safe='')}/versions", MAX_INDEX, keep=keep)

    async def proof(self, name: str, version: str) -> Told:
        """What the upstream's log proves of a version that is listed. Raises Refused."""
        return await self._known(f"/tlog/proof/{quote(f'{name}@{version}', safe='')}", MAX_OTHER)

    async def log(self, path: str) -> Told:
        """A part of the upstream's log, or what it says of itself. path: below the prefix. Raises Refused."""
        return await self._known(path, MAX_OTHER)

    async def config(self) -> Told:
        """What the upstream says of its index and its log. Raises Refused."""

        def keep(session: Session, body: bytes, is_private: bool) -> None:
            del session, is_private
            try:
                msgspec.json.decode(body, type=IndexConfig)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise wrong(f"{self.upstream.url} says of itself what cannot be read") from error

        return await self._known("/index/config.json", MAX_OTHER, keep=keep)

    async def changes(self, query: str) -> Told:
        """The feed of the upstream, which is not kept. Raises Refused."""

        async def fetch() -> Told:
            answer, is_private = await self._ask(f"/changes?{query}", "", MAX_OTHER)
            self._check_success("/changes", answer)
            return Told(answer.body, is_private, "miss")

        return self._counted(await self._once(f"/changes?{query}", fetch))

    # How it is kept

    async def _known(
        self,
        path: str,
        limit: int,
        *,
        keep: Callable[[Session, bytes, bool], None] | None = None,
        gone: Callable[[Session], None] | None = None,
    ) -> Told:
        """What the upstream says at `path`.

        keep: is called with what is new before it is kept, within the write; raises Refused for what is wrong.
        gone: is called, within a write, when there is nothing any more.
        """
        kept, is_fresh = await self._at_hand(path)
        if kept is not None and is_fresh:
            return self._counted(Told(kept.body, kept.is_private, "hit"))
        if self._missing.get(path, 0) > self._context.now():
            raise not_found()
        work = partial(self._fetched, path, limit, keep, gone)
        return self._counted(await self._once(path, work))

    async def _at_hand(self, path: str) -> tuple[KeptAnswer | None, bool]:
        """What is kept, and whether it need not be asked for again."""
        kept = await self._context.repository.read(
            lambda session: mirror.answer(session, self.upstream.url, path)
        )
        age = self._context.now() - kept.checked_at if kept else -1
        return kept, 0 <= age < FRESH_MS

    async def _fetched(
        self,
        path: str,
        limit: int,
        keep: Callable[[Session, bytes, bool], None] | None,
        gone: Callable[[Session], None] | None,
    ) -> Told:
        repository, url, now = self._context.repository, self.upstream.url, self._context.now()
        kept, is_fresh = await self._at_hand(path)
        if (
            kept is not None and is_fresh
        ):  # who looked before another was done comes too late to ask
            return Told(kept.body, kept.is_private, "hit")
        try:
            answer, is_private = await self._ask(path, kept.etag if kept else "", limit)
        except Refused as refused:
            if refused.status != 503 or kept is None or now - kept.checked_at >= STALE_MS:
                raise
            return Told(kept.body, kept.is_private, "stale")
        if answer.status == 404:
            self._note_missing(path, now)

            def forget(session: Session) -> None:
                mirror.forget_answer(session, url, path)
                if gone is not None:
                    gone(session)

            await repository.write(forget)
            raise not_found()
        if answer.status == 304 and kept is not None:
            same = kept._replace(is_private=is_private, checked_at=now)
            await repository.write(lambda session: mirror.confirm(session, url, path, same))
            return Told(kept.body, is_private, "hit")
        self._check_success(path, answer)
        # a tile's validator says its place only, so it cannot tell whether the tile is another now
        etag = "" if "/tile/" in path else answer.headers.get("etag", "")
        new = KeptAnswer(answer.body, etag, is_private, now)
        self._kept += 1
        is_time = self._kept % PURGE_EVERY == 1

        def write(session: Session) -> None:
            if keep is not None:
                keep(session, new.body, is_private)
            mirror.keep_answer(session, url, path, new)
            if is_time:
                mirror.purge(session, now - STALE_MS, MAX_KEPT)

        await repository.write(write)
        return Told(new.body, is_private, "miss")

    def _note_missing(self, path: str, now: int) -> None:
        if len(self._missing) >= MAX_MISSING:
            self._missing = {each: until for each, until in self._missing.items() if until > now}
        if len(self._missing) < MAX_MISSING:
            self._missing[path] = now + MISSING_MS

    async def _once(self, what: str, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` gives, done once for all who want it at the same time."""
        flight = self._flights.get(what)
        if flight is None:
            self._flights[what] = flight = _Flight()
            self._tasks.start_soon(self._fly, what, flight, work)
        await flight.done.wait()
        if flight.error is not None:
            if isinstance(
                flight.error, Refused
            ):  # one for each who waits: it gets a traceback of its own
                refused = flight.error
                raise Refused(refused.status, refused.reason, headers=refused.headers) from refused
            raise flight.error
        return flight.value

    async def _fly(self, what: str, flight: _Flight, work: Callable[[], Awaitable[Any]]) -> None:
        try:
            flight.value = await work()
        except Exception as error:  # whoever waits must know, whatever it is
            flight.error = error
        finally:
            if flight.value is None and flight.error is None:
                flight.error = away("The server is stopping")
            del self._flights[what]
            flight.done.set()

    # How it is asked

    async def _ask(self, path: str, etag: str, limit: int) -> tuple[Fetched, bool]:
        """What the upstream answers, and whether it did so only to our key. Raises Refused: 502, 503."""
        answer = await self._asked(path, etag, limit, "")
        if not self._key or answer.status not in (401, 403, 404):
            return answer, False
        return await self._asked(path, etag, limit, self._key), True

    async def _asked(self, path: str, etag: str, limit: int, key: str) -> Fetched:
        url = self.upstream.url
        if self._away_until > self._context.now():
            raise away(f"{url} cannot be reached")
        headers = {"if-none-match": etag} if etag else {}
        if key:
            headers["authorization"] = f"Bearer {key}"
        try:
            answer = await self._fetch(f"{url}{PREFIX}{path}", headers, limit)
        except RegistryError as error:
            log.warning("%s", error)
            if error.status:
                raise wrong(f"{url} gives an answer that is too long") from error
            self._away_until = self._context.now() + AWAY_MS
            raise away(f"{url} cannot be reached") from error
        if answer.status >= 500 or answer.status == 429:
            log.warning("%s%s%s was answered with status %d", url, PREFIX, path, answer.status)
            raise away(f"{url} does not answer now (status {answer.status})")
        return answer

    def _check_success(self, path: str, answer: Fetched) -> None:
        if answer.status != 200:
            log.warning("%s%s: status %d", self.upstream.url, path, answer.status)
            raise wrong(f"{self.upstream.url} answers with status {answer.status}")

    def _counted(self, told: Told) -> Told:
        metrics_of(self._context).count("mirror_answers", cache=told.freshness)
        return told


_RARE = ("delegateSpecs", "providerTools", "providerSkills", "providerToolOptions")
"""Members of a document that are left out when they are empty."""


class _Expert(msgspec.Struct, frozen=True):
    expert: dict[str, Any]


class _OneExpert(msgspec.Struct, frozen=True):
    data: _Expert


class _Digest(msgspec.Struct, frozen=True):
    name: str
    version: str = ""
    digest: str = ""


class _Digests(msgspec.Struct, frozen=True):
    versions: tuple[_Digest, ...]


class _Versions(msgspec.Struct, frozen=True):
    data: _Digests
