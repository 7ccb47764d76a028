"""Who leads to an Expert, and what is known about it by day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from perstack.registry import Status

from ..identity.keys import Caller
from ..storage.repository import Session
from ..storage.rows import EXPERT, VERSION, ExpertRow, Found, VersionRow, found


class Leading(NamedTuple):
    """A version that delegates to another, and by which spec."""

    found: Found
    spec: str


def dependents(
    session: Session,
    target: ExpertRow,
    pin: VersionRow | None,
    caller: Caller | None,
    *,
    below: int | None,
    take: int,
) -> list[Leading]:
    """Versions that delegate to an Expert, the newest first. pin: only those that pin this version of it.

    below: only rows of versions before this one. Private ones only of the caller's organization.
    """
    where, values = ["g.target = ?"], list[object]([target.n])
    if pin is not None:
        where.append("g.pin = ?")
        values.append(pin.n)
    if below is not None:
        where.append("g.version < ?")
        values.append(below)
    if caller is not None and caller.may("read"):
        where.append("(e.visibility = 'public' OR e.organization = ?)")
        values.append(caller.organization)
    else:
        where.append("e.visibility = 'public'")
    rows = session.all(
        f"SELECT {EXPERT}, {VERSION}, g.spec FROM edges g JOIN versions v ON v.n = g.version"
        " JOIN experts e ON e.n = v.expert JOIN organizations o ON o.id = e.organization"
        f" WHERE {' AND '.join(where)} AND v.unpublished_at IS NULL AND v.quarantined_at IS NULL"
        " ORDER BY g.version DESC, g.position LIMIT ?",
        *values,
        take,
    )
    return [Leading(found(tuple(row[:-1])), row[-1]) for row in rows]


def fetches(session: Session, expert: int, at: int, days: int) -> list[tuple[str, int]]:
    """Fetches by day, of the last `days`; days without any are left out."""
    since = (datetime.fromtimestamp(at / 1000, UTC) - timedelta(days=days)).date().isoformat()
    rows = session.all(
        "SELECT day, count FROM fetches WHERE expert = ? AND day > ? ORDER BY day", expert, since
    )
    return [(row[0], row[1]) for row in rows]


def before(session: Session, version: VersionRow) -> VersionRow | None:
    """The version of the same Expert that was published before this one, and is still there."""
    row = session.one(
        f"SELECT {VERSION} FROM versions v WHERE v.expert = ? AND v.n < ? AND v.unpublished_at IS NULL"
        " ORDER BY v.n DESC LIMIT 1",
        version.expert,
        version.n,
    )
    return VersionRow(*row) if row else None


class Line(NamedTuple):
    """One version as the sparse index has it. published_at: ms."""

    version: str
    digest: str
    size: int
    status: Status
    published_at: int
    log_index: int
    delegates: Sequence[str]


def lines(session: Session, expert: ExpertRow) -> list[Line]:
    """The versions of an Expert in the order of publishing, without what nobody can get."""
    specs: dict[int, list[str]] = {}
    for n, spec in session.all(
        "SELECT g.version, g.spec FROM versions v JOIN edges g ON g.version = v.n WHERE v.expert = ?"
        " ORDER BY g.version, g.position",
        expert.n,
    ):
        specs.setdefault(n, []).append(spec)
    rows = session.all(
        "SELECT n, version, digest, size, status, published_at, log_index FROM versions WHERE expert = ?"
        " AND unpublished_at IS NULL AND quarantined_at IS NULL ORDER BY n",
        expert.n,
    )
    return [Line(*row[1:], delegates=specs.get(row[0], [])) for row in rows]


def parsed(document: bytes) -> dict[str, Any]:
    """A document as JSON."""
    return msgspec.json.decode(document, type=dict[str, Any])
