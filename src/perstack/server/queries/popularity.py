"""How much an Expert is used: by how many others, and how often it is fetched.

Its *weight* is the number of Experts that delegate, or did, to it, and its fetches in a day: the mean of the last
30 days that had any. Searches sort by it; names that many rely on are protected by it.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..storage.repository import Session

DAYS = 30


def note_dependent(session: Session, expert: int, version: int) -> None:
    """`version` of `expert` was published: whom it delegates to has one more dependent, if it is the first."""
    rows = session.all(
        "SELECT DISTINCT e.target FROM edges e WHERE e.version = ? AND e.target <> ? AND NOT EXISTS"
        " (SELECT 1 FROM versions v JOIN edges o ON o.version = v.n"
        "  WHERE v.expert = ? AND v.n < ? AND o.target = e.target)",
        version,
        expert,
        expert,
        version,
    )
    session.run_many(
        "UPDATE experts SET dependents = dependents + 1, weight = weight + 1 WHERE n = ?", rows
    )


def weigh(session: Session, numbers: Iterable[int]) -> None:
    """Brings the weights of Experts that were fetched up to date."""
    session.run_many(
        "UPDATE experts SET weight = dependents + (SELECT coalesce(sum(f.count), 0) FROM"
        " (SELECT count FROM fetches WHERE expert = ? ORDER BY day DESC LIMIT ?) f) / ? WHERE n = ?",
        [(n, DAYS, DAYS, n) for n in sorted(numbers)],
    )
