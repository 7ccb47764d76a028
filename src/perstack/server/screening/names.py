"""Which names nobody may take: reserved ones, and those that could be mistaken for another owner's.

Two names are *confusable* if they are the same once `-`, `_` and `.` are left out and `0`, `1` and `i` are read as
`o`, `l` and `l`. One letter more, less, other or swapped is too near only to names that many rely on.
"""

from __future__ import annotations

from ..storage.repository import Session
from ..storage.rows import ExpertRow

POPULAR = 50
"""From this weight on (dependents, or fetches in a day) a name is protected against near misses."""

RESERVED = frozenset(
    """
    about account accounts admin administrator api assets audit auth base blog config contact docs documents
    download downloads expert experts explore favicon feed health healthz help home index install key keys latest
    log login logout me metrics new none null official oidc org organizations orgs owner perstack policy privacy
    profile publish readyz register registry resolve robots root search security server settings signin signup
    sitemap stable static status studio support system tag tags team terms tlog undefined update user users
    verify version versions whoami www
    """.split()
)
OURS = "perstack"
"""The scope, and the beginning of unscoped names, that belong to whoever makes this program."""

FOLD_SQL = (
    "replace(replace(replace(replace(replace(replace(name, '-', ''), '_', ''), '.', ''), '0', 'o'), '1', 'l'),"
    " 'i', 'l')"
)
"""`folded(name)` in the words of both databases. Migration 0002 has an index over exactly this."""


def folded(name: str) -> str:
    """What is left of a name when all that is easily mistaken is made alike."""
    return name.translate(str.maketrans({"-": "", "_": "", ".": "", "0": "o", "1": "l", "i": "l"}))


def reserved(name: str) -> bool:
    """Whether an unscoped name, or the scope of a scoped one, is nobody's to take."""
    scope, slash, _ = name.removeprefix("@").partition("/")
    if slash:
        return folded(scope) == folded(OURS) and scope != OURS
    return name in RESERVED or folded(name).startswith(folded(OURS))


def near(one: str, other: str) -> bool:
    """Whether at most one letter is added, missing, another, or swapped with its neighbour.

    The Damerau-Levenshtein distance, as far as 1.
    """
    if len(one) > len(other):
        one, other = other, one
    if len(other) - len(one) > 1:
        return False
    at = next(
        (n for n, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one)
    )
    rest, other_rest = one[at:], other[at:]
    return (
        rest[1:] == other_rest[1:]
        or rest == other_rest[1:]
        or (rest[:2] == other_rest[1::-1] and len(rest) >= 2 and rest[2:] == other_rest[2:])
    )


def name_fault(session: Session, name: str, organization: str) -> str:
    """Why `organization` may not publish the new name `name`; empty if it may. Quick, within a write."""
    if reserved(name):
        return f"Expert name is reserved: {name}"
    alike = session.one(
        f"SELECT name FROM experts WHERE {FOLD_SQL} = ? AND organization <> ? AND name <> ?",
        folded(name),
        organization,
        name,
    )
    taken = alike[0] if alike else _popular_near(session, name, organization, POPULAR)
    return f"Expert name is too similar to {taken}" if taken else ""


def more_used_alike(session: Session, expert: ExpertRow) -> str:
    """The name of another owner that this one can be mistaken for and that is used more; empty if there is none.

    Of two such names there are both if the other was not popular yet when the later of them was new.
    """
    row = session.one("SELECT weight FROM experts WHERE n = ?", expert.n)
    weight = row[0] if row else 0
    alike = session.one(
        f"SELECT name FROM experts WHERE {FOLD_SQL} = ? AND listed = 1 AND organization <> ? AND n <> ?"
        " AND weight > ? ORDER BY weight DESC LIMIT 1",
        folded(expert.name),
        expert.organization,
        expert.n,
        weight,
    )
    if alike is not None:
        return alike[0]
    return _popular_near(session, expert.name, expert.organization, max(POPULAR, weight + 1))


def _popular_near(session: Session, name: str, organization: str, least: int) -> str:
    """A name of another owner, with at least this weight, that is one letter off; empty if there is none."""
    popular = session.all(
        "SELECT name FROM experts WHERE listed = 1 AND weight >= ? AND organization <> ?"
        " AND length(name) BETWEEN ? AND ? ORDER BY weight DESC",
        least,
        organization,
        len(name) - 1,
        len(name) + 1,
    )
    return next((row[0] for row in popular if row[0] != name and near(row[0], name)), "")
