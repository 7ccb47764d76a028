"""One upstream as it is mirrored: what can be asked for, and what must be true of the answer.

A document is kept for ever, under its digest; how everything else is kept is told in `keeping.py`. Many who want
the same at once wait for one request.

*What is checked.* An index is about the name that was asked for, and no version in it was ever listed with another
digest; a document has its digest, and is the version whose digest that is in the index; what R1 says is the
document. What fails a check is a 502, and nothing of it is kept. What is gone from the index (unpublished,
quarantined) is gone here with it, whatever else is kept of it. The log is passed on as it is: whether it is the
one that everybody sees, only its readers can tell, and they do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from anyio.abc import TaskGroup

from perstack.definition import Expert
from perstack.lock import Listing
from perstack.registry import Fetch, index_path

from ..extensions.operations import metrics_of
from ..queries import mirror
from ..storage.repository import Session
from ..wire.http import Refused, not_found
from .checking import check_config, check_expert, check_versions, expert_in, listing_in
from .faults import wrong
from .flights import Flights
from .keeping import Keeping, Told, Wanted
from .remote import Remote
from .upstreams import Upstream

if TYPE_CHECKING:
    from ..app import Context

MAX_INDEX = 16 << 20
MAX_DOCUMENT = 2 << 20
MAX_OTHER = 4 << 20


class Mirror:
    """What is known of one upstream. tasks: where requests run on, also if who wanted them has left.

    key: of this server at the upstream; empty without one.
    """

    def __init__(
        self, context: Context, upstream: Upstream, fetch: Fetch, tasks: TaskGroup, key: str = ""
    ) -> None:
        self.upstream = upstream
        self._context = context
        self._remote = Remote(upstream.url, fetch, key, context.now)
        self._flights = Flights(tasks)
        self._keeping = Keeping(context, self._remote, self._flights)

    # Versions and documents

    async def index(self, name: str) -> Told:
        """The index file of `name`. Raises Refused: 404, 502, 503."""
        url = self.upstream.url

        def keep(session: Session, body: bytes, is_private: bool) -> None:
            listed = listing_in(body, name, url).versions
            versions = [(each.version, each.digest) for each in listed]
            other = mirror.list_versions(session, url, name, versions, is_private=is_private)
            if other is not None:
                version, before = other
                raise wrong(
                    f"{url} lists another document for {name}@{version} than before ({before})"
                )

        def gone(session: Session) -> None:
            mirror.list_versions(session, url, name, (), is_private=True)

        return await self._known(Wanted(index_path(name), MAX_INDEX, keep=keep, gone=gone))

    async def listing(self, name: str) -> tuple[Listing, Told]:
        """All versions of `name`. Raises Refused."""
        told = await self.index(name)
        return listing_in(told.body, name, self.upstream.url), told

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
        body = await self._flights.once(digest, fetch)
        return self._counted(Told(body, told.is_private, "miss"))

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
        if self._keeping.lacks(digest):
            raise not_found("Document not found")
        fetch = partial(self._find_document, digest, is_ours)
        name, version = await self._flights.once(f"unknown {digest}", fetch)
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
                self._keeping.note_missing(digest, self._context.now())
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
        answer, _ = await self._remote.ask(path, MAX_DOCUMENT)
        if answer.status == 404:
            raise not_found("Document not found")
        self._remote.check_success(path, answer)
        return answer.body, expert_in(answer.body, digest, self.upstream.url)

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
        check = partial(check_expert, key=key, document=document, url=self.upstream.url)
        return await self._known(Wanted(f"/experts/{quote(key, safe='')}", MAX_OTHER, check))

    async def versions(self, name: str) -> Told:
        """R2, whole. Raises Refused."""
        listing, _ = await self.listing(name)
        check = partial(check_versions, listing=listing, url=self.upstream.url)
        path = f"/experts/{quote(name, safe='')}/versions"
        return await self._known(Wanted(path, MAX_INDEX, check))

    async def proof(self, name: str, version: str) -> Told:
        """What the upstream's log proves of a version that is listed. Raises Refused."""
        key = quote(f"{name}@{version}", safe="")
        return await self._known(Wanted(f"/tlog/proof/{key}", MAX_OTHER))

    async def attestations(self, name: str, version: str) -> Told:
        """What is said of a version that is listed, with the keys to check it. Raises Refused."""
        key = quote(f"{name}@{version}", safe="")
        return await self._known(Wanted(f"/experts/{key}/attestations", MAX_INDEX))

    # The upstream as a whole

    async def log(self, path: str) -> Told:
        """A part of the upstream's log. path: below the prefix. Raises Refused."""
        return await self._known(Wanted(path, MAX_OTHER))

    async def config(self) -> Told:
        """What the upstream says of its index and its log. Raises Refused."""
        check = partial(check_config, url=self.upstream.url)
        return await self._known(Wanted("/index/config.json", MAX_OTHER, check))

    async def changes(self, query: str) -> Told:
        """The feed of the upstream, which is not kept. Raises Refused."""

        async def fetch() -> Told:
            answer, is_private = await self._remote.ask(f"/changes?{query}", MAX_OTHER)
            self._remote.check_success("/changes", answer)
            return Told(answer.body, is_private, "miss")

        return self._counted(await self._flights.once(f"/changes?{query}", fetch))

    async def _known(self, wanted: Wanted) -> Told:
        return self._counted(await self._keeping.answer(wanted))

    def _counted(self, told: Told) -> Told:
        metrics_of(self._context).count("mirror_answers", cache=told.freshness)
        return told
