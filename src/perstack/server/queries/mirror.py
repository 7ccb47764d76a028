"""What other registries said, as it is kept. Each row is held against its digest when it is read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from perstack.lock import digest_of

from ..storage.repository import Session


class KeptAnswer(NamedTuple):
    """checked_at: when the upstream last said so, ms. is_private: whether it says so only to our key."""

    body: bytes
    etag: str
    is_private: bool
    checked_at: int


class KnownVersion(NamedTuple):
    """A version that an upstream lists, or listed once."""

    upstream: str
    name: str
    version: str
    is_private: bool
    is_listed: bool


def answer(session: Session, upstream: str, path: str) -> KeptAnswer | None:
    """What is kept; None for nothing, and for what was changed since it was kept."""
    row = session.one(
        "SELECT body, etag, private, checked_at, digest FROM mirror_answers"
        " WHERE upstream = ? AND path = ?",
        upstream,
        path,
    )
    if row is None or digest_of(body := bytes(row[0])) != row[4]:
        return None
    return KeptAnswer(body, row[1], bool(row[2]), row[3])


def keep_answer(session: Session, upstream: str, path: str, kept: KeptAnswer) -> None:
    session.run(
        "INSERT INTO mirror_answers (upstream, path, etag, body, digest, private, checked_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (upstream, path) DO UPDATE SET etag = excluded.etag,"
        " body = excluded.body, digest = excluded.digest, private = excluded.private,"
        " checked_at = excluded.checked_at",
        upstream,
        path,
        kept.etag,
        kept.body,
        digest_of(kept.body),
        int(kept.is_private),
        kept.checked_at,
    )


def confirm(session: Session, upstream: str, path: str, kept: KeptAnswer) -> None:
    """Notes that the upstream still says so."""
    session.run(
        "UPDATE mirror_answers SET checked_at = ?, private = ? WHERE upstream = ? AND path = ?",
        kept.checked_at,
        int(kept.is_private),
        upstream,
        path,
    )


def forget_answer(session: Session, upstream: str, path: str) -> None:
    session.run("DELETE FROM mirror_answers WHERE upstream = ? AND path = ?", upstream, path)


def purge(session: Session, before: int, most: int) -> None:
    """Forgets answers that were last confirmed before `before` (ms), and the oldest of more than `most`."""
    session.run("DELETE FROM mirror_answers WHERE checked_at < ?", before)
    session.run(
        "DELETE FROM mirror_answers WHERE checked_at < (SELECT checked_at FROM mirror_answers"
        " ORDER BY checked_at DESC LIMIT 1 OFFSET ?)",
        most,
    )


def list_versions(
    session: Session,
    upstream: str,
    name: str,
    versions: Iterable[tuple[str, str]],
    *,
    is_private: bool,
) -> tuple[str, str] | None:
    """Notes (version, digest) of all that is listed under `name`.

    A version that had another digest before is not noted, nor anything else: it is given back, with that digest.
    """
    told = dict(versions)
    known: dict[str, str] = {
        row[0]: row[1]
        for row in session.all(
            "SELECT version, digest FROM mirror_versions WHERE upstream = ? AND name = ?",
            upstream,
            name,
        )
    }
    for version, digest in told.items():
        if (before := known.get(version, digest)) != digest:
            return version, before
    session.run(
        "UPDATE mirror_versions SET listed = 0 WHERE upstream = ? AND name = ?", upstream, name
    )
    session.run_many(
        "INSERT INTO mirror_versions (upstream, name, version, digest, private, listed)"
        " VALUES (?, ?, ?, ?, ?, 1) ON CONFLICT (upstream, name, version)"
        " DO UPDATE SET private = excluded.private, listed = 1",
        [(upstream, name, version, digest, int(is_private)) for version, digest in told.items()],
    )
    return None


def versions_of_digest(session: Session, digest: str) -> list[KnownVersion]:
    rows = session.all(
        "SELECT upstream, name, version, private, listed FROM mirror_versions WHERE digest = ?"
        " ORDER BY upstream, name, version",
        digest,
    )
    return [KnownVersion(row[0], row[1], row[2], bool(row[3]), bool(row[4])) for row in rows]


def document(session: Session, digest: str) -> bytes | None:
    """The document; None if it was never fetched, and for one that was changed since."""
    row = session.one("SELECT body FROM mirror_documents WHERE digest = ?", digest)
    return None if row is None or digest_of(body := bytes(row[0])) != digest else body


def keep_document(session: Session, digest: str, body: bytes) -> None:
    session.run(
        "INSERT INTO mirror_documents (digest, body) VALUES (?, ?)"
        " ON CONFLICT (digest) DO UPDATE SET body = excluded.body",
        digest,
        body,
    )
