"""Experts, their versions, tags and edges: how they are written. To be called within a write."""

from __future__ import annotations

from typing import NamedTuple

from ..storage.repository import Session
from ..storage.rows import VersionRow
from .experts import holder_of_tag


def add_expert(
    session: Session, name: str, organization: str, visibility: str, at: int, salt: bytes
) -> int:
    row = session.one(
        "INSERT INTO experts (name, organization, visibility, created_at, salt) VALUES (?, ?, ?, ?, ?)"
        " RETURNING n",
        name,
        organization,
        visibility,
        at,
        salt,
    )
    assert row is not None  # RETURNING
    return row[0]


class Edge(NamedTuple):
    """Where one delegate leads. kind: of the stored entry; pin: row of the version, if the document pins it."""

    spec: str
    kind: str
    target: int
    pin: int | None


def add_version(session: Session, row: VersionRow, body: bytes, edges: list[Edge]) -> int:
    """Writes a version with its document and edges; `row.n` is not looked at. Gives its number."""
    columns = VersionRow._fields[1:]
    marks = ", ".join("?" * len(columns))
    made = session.one(
        f"INSERT INTO versions ({', '.join(columns)}) VALUES ({marks}) RETURNING n", *row[1:]
    )
    assert made is not None  # RETURNING
    n: int = made[0]
    session.run(
        "INSERT INTO documents (digest, body) VALUES (?, ?)"
        " ON CONFLICT (digest) DO UPDATE SET delete_after = NULL",
        row.digest,
        body,
    )
    session.run_many(
        "INSERT INTO edges (version, position, spec, kind, target, pin) VALUES (?, ?, ?, ?, ?, ?)",
        [(n, at, *edge) for at, edge in enumerate(edges)],
    )
    return n


def put_tag(session: Session, expert: int, tag: str, version: int, at: int) -> None:
    """Moves a tag to a version; both that one and the one that had it change."""
    before = holder_of_tag(session, expert, tag)
    session.run(
        "INSERT INTO tags (expert, tag, version) VALUES (?, ?, ?)"
        " ON CONFLICT (expert, tag) DO UPDATE SET version = excluded.version",
        expert,
        tag,
        version,
    )
    for n in {before, version} - {None}:
        _retell_tags(session, n, at)


def drop_tag(session: Session, expert: int, tag: str, at: int) -> None:
    before = holder_of_tag(session, expert, tag)
    session.run("DELETE FROM tags WHERE expert = ? AND tag = ?", expert, tag)
    if before is not None:
        _retell_tags(session, before, at)


def _retell_tags(session: Session, version: int | None, at: int) -> None:
    rows = session.all("SELECT tag FROM tags WHERE version = ?", version)
    session.run(
        "UPDATE versions SET tags = ?, updated_at = ?, revision = revision + 1 WHERE n = ?",
        " ".join(sorted(row[0] for row in rows)),
        at,
        version,
    )


def touch_version(session: Session, n: int, at: int) -> None:
    session.run("UPDATE versions SET updated_at = ?, revision = revision + 1 WHERE n = ?", at, n)


def set_latest(session: Session, expert: int, n: int | None, at: int) -> None:
    """Moves `latest`; both versions change."""
    row = session.one("SELECT latest FROM experts WHERE n = ?", expert)
    before = row[0] if row else None
    if before == n:
        return
    session.run("UPDATE experts SET latest = ? WHERE n = ?", n, expert)
    for changed in (before, n):
        if changed is not None:
            touch_version(session, changed, at)


def refresh(session: Session, expert: int) -> None:
    """Tells the row of an Expert what its `latest` and its owner's wishes mean for lists. After every change."""
    before = session.one("SELECT listed FROM experts WHERE n = ?", expert)
    after = session.one(
        "UPDATE experts SET revision = revision + 1,"
        " latest_precedence = (SELECT precedence FROM versions v WHERE v.n = experts.latest),"
        " latest_published_at = (SELECT published_at FROM versions v WHERE v.n = experts.latest),"
        " latest_updated_at = (SELECT updated_at FROM versions v WHERE v.n = experts.latest),"
        " vacated = CASE WHEN EXISTS (SELECT 1 FROM versions v WHERE v.expert = experts.n"
        " AND v.unpublished_at IS NULL) THEN 0 ELSE 1 END,"
        " listed = CASE WHEN visibility = 'public' AND EXISTS (SELECT 1 FROM versions v"
        " WHERE v.n = experts.latest AND v.status <> 'disabled' AND v.quarantined_at IS NULL"
        " AND v.unpublished_at IS NULL) THEN 1 ELSE 0 END"
        " WHERE n = ? RETURNING listed",
        expert,
    )
    if before is not None and after is not None and before[0] != after[0]:
        more = after[0] - before[0]
        session.run("UPDATE counters SET value = value + ? WHERE name = 'listed'", more)


def recount(session: Session) -> None:
    """Counts anew what is listed, in case rows came from elsewhere."""
    session.run(
        "UPDATE counters SET value = (SELECT count(*) FROM experts WHERE listed = 1) WHERE name = 'listed'"
    )


def purge(session: Session, now: int) -> int:
    """Deletes the documents whose time is up; how many there were."""
    return session.run("DELETE FROM documents WHERE delete_after <= ?", now)
