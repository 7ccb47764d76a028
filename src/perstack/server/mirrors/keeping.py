"""What one upstream answers, as it is kept: asked for again after a minute, shown for a day while it is away.

It is asked again with the validator that came with the answer. That something is not there is believed for ten
seconds. What fails a check is not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..queries import mirror
from ..queries.mirror import KeptAnswer
from ..storage.repository import Session
from ..wire.http import Refused, not_found
from .flights import Flights
from .remote import Remote

if TYPE_CHECKING:
    from ..app import Context

Freshness = Literal["hit", "miss", "stale"]

FRESH_MS = 60_000
STALE_MS = 24 * 3600_000
MISSING_MS = 10_000
MAX_MISSING = 10_000
MAX_KEPT = 100_000
PURGE_EVERY = 1000
"""Answers that are kept between two looks at what is too old."""


class Told(NamedTuple):
    """What an upstream says. is_private: only to who may read what is private here."""

    body: bytes
    is_private: bool
    freshness: Freshness


class Wanted(NamedTuple):
    """One thing that an upstream can be asked for. path: below the prefix. limit: bytes the answer may have.

    check: is shown what is new before it is kept; raises Refused for what is wrong.
    keep: called within the write that keeps it, with whether it is private; may refuse it likewise.
    gone: called, within a write, when there is nothing any more.
    """

    path: str
    limit: int
    check: Callable[[bytes], object] | None = None
    keep: Callable[[Session, bytes, bool], None] | None = None
    gone: Callable[[Session], None] | None = None


class Keeping:
    """The answers of one upstream, and what it is known to lack."""

    def __init__(self, context: Context, remote: Remote, flights: Flights) -> None:
        self._context = context
        self._remote = remote
        self._flights = flights
        self._missing: dict[str, int] = {}
        self._kept = 0

    async def answer(self, wanted: Wanted) -> Told:
        """What the upstream says. Raises Refused: 404, 502, 503."""
        kept, is_fresh = await self._at_hand(wanted.path)
        if kept is not None and is_fresh:
            return Told(kept.body, kept.is_private, "hit")
        if self.lacks(wanted.path):
            raise not_found()
        return await self._flights.once(wanted.path, partial(self._fetched, wanted))

    def lacks(self, what: str) -> bool:
        """Whether it was not there a moment ago. what: a path or a digest."""
        return self._missing.get(what, 0) > self._context.now()

    def note_missing(self, what: str, now: int) -> None:
        if len(self._missing) >= MAX_MISSING:
            self._missing = {each: until for each, until in self._missing.items() if until > now}
        if len(self._missing) < MAX_MISSING:
            self._missing[what] = now + MISSING_MS

    async def _at_hand(self, path: str) -> tuple[KeptAnswer | None, bool]:
        """What is kept, and whether it need not be asked for again."""
        kept = await self._context.repository.read(
            lambda session: mirror.answer(session, self._remote.url, path)
        )
        age = self._context.now() - kept.checked_at if kept else -1
        return kept, 0 <= age < FRESH_MS

    async def _fetched(self, wanted: Wanted) -> Told:
        repository, url, now = self._context.repository, self._remote.url, self._context.now()
        path = wanted.path
        kept, is_fresh = await self._at_hand(path)
        if kept is not None and is_fresh:
            # who looked before another was done comes too late to ask
            return Told(kept.body, kept.is_private, "hit")
        try:
            etag = kept.etag if kept else ""
            answer, is_private = await self._remote.ask(path, wanted.limit, etag)
        except Refused as refused:
            if refused.status != 503 or kept is None or now - kept.checked_at >= STALE_MS:
                raise
            return Told(kept.body, kept.is_private, "stale")
        if answer.status == 404:
            self.note_missing(path, now)
            await repository.write(partial(self._forget, wanted))
            raise not_found()
        if answer.status == 304 and kept is not None:
            same = kept._replace(is_private=is_private, checked_at=now)
            await repository.write(lambda session: mirror.confirm(session, url, path, same))
            return Told(kept.body, is_private, "hit")
        self._remote.check_success(path, answer)
        if wanted.check is not None:
            wanted.check(answer.body)
        # a tile's validator says its place only, so it cannot tell whether the tile is another now
        etag = "" if "/tile/" in path else answer.headers.get("etag", "")
        new = KeptAnswer(answer.body, etag, is_private, now)
        await repository.write(partial(self._keep, wanted, new))
        return Told(new.body, is_private, "miss")

    def _forget(self, wanted: Wanted, session: Session) -> None:
        mirror.forget_answer(session, self._remote.url, wanted.path)
        if wanted.gone is not None:
            wanted.gone(session)

    def _keep(self, wanted: Wanted, new: KeptAnswer, session: Session) -> None:
        if wanted.keep is not None:
            wanted.keep(session, new.body, new.is_private)
        mirror.keep_answer(session, self._remote.url, wanted.path, new)
        self._kept += 1
        if self._kept % PURGE_EVERY == 1:
            mirror.purge(session, new.checked_at - STALE_MS, MAX_KEPT)
