"""Experts, their versions, tags and edges: how they are found. How they are written is in `writing`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from perstack.definition import (
    EXPERT_KEY,
    DelegateSpec,
    parse_delegate,
    parse_key,
    parse_range,
    parse_version,
)
from perstack.errors import UserError

from ..storage.precedence import precedence
from ..storage.repository import Session
from ..storage.rows import EXPERT, VERSION, ExpertRow, Found, VersionRow, found

_FROM = "FROM experts e JOIN organizations o ON o.id = e.organization"
_BOTH = f"SELECT {EXPERT}, {VERSION} {_FROM} JOIN versions v ON v.expert = e.n"

LIVE = "v.status = 'available' AND v.quarantined_at IS NULL AND v.unpublished_at IS NULL"


class Asked(NamedTuple):
    """A key or a spec, as it is looked up. precedence: of an exact version."""

    spec: DelegateSpec
    precedence: bytes


@lru_cache(maxsize=16384)  # about as many as there are answers kept
def asked(text: str) -> Asked:
    """What `text` asks for. Raises UserError if it is neither a key nor a spec."""
    try:
        spec = parse_delegate(text)
    except UserError:
        if EXPERT_KEY.fullmatch(text):
            parse_key(text)  # says it of a key
        raise
    return Asked(spec, _place(spec.selector or "") if spec.kind == "version" else b"")


@lru_cache(maxsize=1024)  # many versions are called alike
def _place(version: str) -> bytes:
    return precedence(parse_version(version))


def expert(session: Session, name: str) -> ExpertRow | None:
    row = session.one(f"SELECT {EXPERT} {_FROM} WHERE e.name = ?", name)
    return ExpertRow(*row) if row else None


def expert_by_n(session: Session, n: int) -> ExpertRow:
    row = session.one(f"SELECT {EXPERT} {_FROM} WHERE e.n = ?", n)
    assert row is not None  # rows of experts are never deleted
    return ExpertRow(*row)


def by_n(session: Session, n: int) -> Found:
    row = session.one(f"{_BOTH} WHERE v.n = ?", n)
    assert row is not None  # nor rows of versions
    return found(tuple(row))


def by_digest(session: Session, digest: str) -> Found | None:
    row = session.one(f"{_BOTH} WHERE v.digest = ?", digest)
    return found(tuple(row)) if row else None


def by_precedence(session: Session, name: str, place: bytes) -> Found | None:
    """The version of this precedence, whatever has become of it."""
    row = session.one(f"{_BOTH} WHERE e.name = ? AND v.precedence = ?", name, place)
    return found(tuple(row)) if row else None


def by_tag(session: Session, name: str, tag: str) -> Found | None:
    if tag == "latest":
        row = session.one(
            f"SELECT {EXPERT}, {VERSION} {_FROM} JOIN versions v ON v.n = e.latest WHERE e.name = ?",
            name,
        )
    else:
        row = session.one(
            f"SELECT {EXPERT}, {VERSION} {_FROM} JOIN tags t ON t.expert = e.n"
            " JOIN versions v ON v.n = t.version WHERE e.name = ? AND t.tag = ?",
            name,
            tag,
        )
    return found(tuple(row)) if row else None


def find(session: Session, what: Asked) -> Found | None:
    """The version that a key or spec means now, whatever its state. A range means only what may be chosen."""
    spec = what.spec
    selector = spec.selector or "latest"
    match spec.kind:
        case "version":
            return by_precedence(session, spec.name, what.precedence)
        case "latest" | "tag":
            return by_tag(session, spec.name, selector)
        case "digest":
            hit = by_digest(session, selector)
            return hit if hit is not None and hit.expert.name == spec.name else None
        case "number":
            return by_tag(session, spec.name, selector) or in_range(session, spec.name, selector)
        case "range":
            return in_range(session, spec.name, selector)


def in_range(session: Session, name: str, text: str, *, without: int = 0) -> Found | None:
    """The highest available version in a range, else the highest deprecated one.

    without: row of a version to leave aside. Raises UserError if `text` is no range.
    """
    selected = parse_range(text)
    deprecated: int | None = None
    for n, version, status in _candidates(session, name):
        if n == without or not selected.selects(parse_version(version)):
            continue
        if status == "available":
            return by_n(session, n)
        deprecated = deprecated or n
    return by_n(session, deprecated) if deprecated is not None else None


def _candidates(session: Session, name: str) -> Iterator[tuple[int, str, str]]:
    """Row, version and status of what may be chosen, highest first; read in pages, since the first often fits."""
    below, page = None, 16
    while True:
        bound, values = ("", ()) if below is None else (" AND v.precedence < ?", (below,))
        rows = session.all(
            "SELECT v.n, v.version, v.status, v.precedence FROM versions v JOIN experts e ON e.n = v.expert"
            " WHERE e.name = ? AND v.quarantined_at IS NULL AND v.unpublished_at IS NULL"
            f" AND v.status <> 'disabled'{bound} ORDER BY v.precedence DESC LIMIT ?",
            name,
            *values,
            page,
        )
        for n, version, status, _ in rows:
            yield n, version, status
        if len(rows) < page:
            return
        below, page = rows[-1][3], 256


def document(session: Session, digest: str) -> bytes | None:
    row = session.one("SELECT body FROM documents WHERE digest = ?", digest)
    return bytes(row[0]) if row else None


def versions(
    session: Session,
    expert: ExpertRow,
    *,
    take: int | None = None,
    skip: int = 0,
    hidden: bool = False,
) -> list[VersionRow]:
    """Newest precedence first, without the unpublished. hidden: with the quarantined, which owners see."""
    seen = "" if hidden else " AND v.quarantined_at IS NULL"
    page = "" if take is None else f" LIMIT {take} OFFSET {skip}"
    rows = session.all(
        f"SELECT {VERSION} FROM versions v WHERE v.expert = ? AND v.unpublished_at IS NULL{seen}"
        f" ORDER BY v.precedence DESC{page}",
        expert.n,
    )
    return [VersionRow(*row) for row in rows]


def count_versions(session: Session, expert: ExpertRow, *, hidden: bool = False) -> int:
    seen = "" if hidden else " AND quarantined_at IS NULL"
    row = session.one(
        f"SELECT count(*) FROM versions WHERE expert = ? AND unpublished_at IS NULL{seen}", expert.n
    )
    return row[0] if row else 0


def holder_of_tag(session: Session, expert: int, tag: str) -> int | None:
    row = session.one("SELECT version FROM tags WHERE expert = ? AND tag = ?", expert, tag)
    return row[0] if row else None


def tags(session: Session, expert: ExpertRow) -> dict[str, str]:
    """Version by tag, `latest` too."""
    rows = session.all(
        "SELECT t.tag, v.version FROM tags t JOIN versions v ON v.n = t.version WHERE t.expert = ?"
        " ORDER BY t.tag",
        expert.n,
    )
    told: dict[str, str] = {}
    if expert.latest is not None:
        told["latest"] = by_n(session, expert.latest).version.version
    return told | {row[0]: row[1] for row in rows}


# Lists ----------------------------------------------------------------------------------------------------

SORTED_BY: dict[str, str] = {
    "name": "e.name",
    "version": "e.latest_precedence",
    "createdAt": "e.latest_published_at",
    "updatedAt": "e.latest_updated_at",
}


class Listed(NamedTuple):
    found: Found
    document: bytes


def listed(
    session: Session,
    *,
    organization: str = "",
    whole: bool = False,
    prefix: str = "",
    sort: str = "updatedAt",
    descending: bool = True,
    take: int = 100,
    skip: int = 0,
) -> tuple[list[Listed], int]:
    """One page of Experts, each in its latest version with its document, and how many there are in all.

    whole: also those that only their owner sees.
    """
    where, values = ["1 = 1" if whole else "e.listed = 1"], list[Any]()
    if whole:
        where.append("e.latest IS NOT NULL")
    if organization:
        where.append("e.organization = ?")
        values.append(organization)
    if prefix:
        where.append("e.name >= ? AND e.name < ?")
        values += [prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)]
    filtered = " AND ".join(where)
    if values or whole:
        total = session.one(f"SELECT count(*) FROM experts e WHERE {filtered}", *values)
    else:
        total = session.one("SELECT value FROM counters WHERE name = 'listed'")
    assert total is not None  # a count is always a row, and the counter is there
    way = "DESC" if descending else "ASC"
    order = f"e.name {way}" if sort == "name" else f"{SORTED_BY[sort]} {way}, e.name {way}"
    rows = session.all(
        f"SELECT {EXPERT}, {VERSION}, d.body FROM"
        f" (SELECT n AS page FROM experts e WHERE {filtered} ORDER BY {order} LIMIT {take} OFFSET {skip}) p"
        " JOIN experts e ON e.n = p.page JOIN organizations o ON o.id = e.organization"
        " JOIN versions v ON v.n = e.latest JOIN documents d ON d.digest = v.digest"
        f" ORDER BY {order}",
        *values,
    )
    return [Listed(found(tuple(row[:-1])), bytes(row[-1])) for row in rows], total[0]


def newest(session: Session, expert: int) -> int | None:
    """The most recently published version that is not unpublished."""
    row = session.one(
        "SELECT n FROM versions WHERE expert = ? AND unpublished_at IS NULL ORDER BY n DESC LIMIT 1",
        expert,
    )
    return row[0] if row else None


def highest(session: Session, expert: int, *, stable: bool) -> int | None:
    """The highest available version, of releases or of pre-releases."""
    row = session.one(
        f"SELECT n FROM versions v WHERE expert = ? AND stable = ? AND {LIVE}"
        " ORDER BY precedence DESC LIMIT 1",
        expert,
        int(stable),
    )
    return row[0] if row else None


# Dependents -----------------------------------------------------------------------------------------------


def has_dependent(session: Session, version: int) -> bool:
    """Whether another version that is still there pins this one."""
    row = session.one(
        "SELECT 1 FROM edges e JOIN versions v ON v.n = e.version"
        " WHERE e.pin = ? AND v.unpublished_at IS NULL AND v.n <> ? LIMIT 1",
        version,
        version,
    )
    return row is not None


def floating_specs(session: Session, expert: int, *, besides: int) -> list[str]:
    """Specs by which versions that are still there lead to this Expert; not those of version `besides`."""
    rows = session.all(
        "SELECT DISTINCT e.spec FROM edges e JOIN versions v ON v.n = e.version"
        " WHERE e.target = ? AND v.unpublished_at IS NULL AND v.n <> ?",
        expert,
        besides,
    )
    return [row[0] for row in rows]


def visible_spec(text: str) -> Asked | None:
    """As `asked`; None instead of an error."""
    try:
        return asked(text)
    except UserError:
        return None
