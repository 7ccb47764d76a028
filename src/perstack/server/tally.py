"""Counts that reading leaves behind, kept in memory and written now and then: no read waits for a write.

A server that is killed loses the counts of a few seconds.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from .queries import organizations, popularity
from .storage.repository import Repository, Session


class Tally:
    """uses: when each key was last used, ms. fetches: of documents, by row of the Expert and day."""

    def __init__(self) -> None:
        self.uses: dict[str, int] = {}
        self.fetches: Counter[tuple[int, str]] = Counter()

    def fetched(self, expert: int, at: int) -> None:
        self.fetches[expert, datetime.fromtimestamp(at / 1000, UTC).date().isoformat()] += 1

    async def write(self, repository: Repository) -> None:
        """Raises DatabaseError."""
        uses, fetches = self.uses, self.fetches
        if not uses and not fetches:
            return
        self.uses, self.fetches = {}, Counter()

        def note(session: Session) -> None:
            organizations.note_uses(session, uses)
            session.run_many(
                "INSERT INTO fetches (expert, day, count) VALUES (?, ?, ?)"
                " ON CONFLICT (expert, day) DO UPDATE SET count = fetches.count + excluded.count",
                [(expert, day, count) for (expert, day), count in fetches.items()],
            )
            popularity.weigh(session, {expert for expert, _ in fetches})

        await repository.write(note)
