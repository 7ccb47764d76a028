"""The audit chain: who did what, each row sealed with the hash of the one before.

The hash covers the canonical JSON of all other columns, so a row that is changed, dropped or put in between breaks
the chain from there on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from perstack.lock import canonical_json

from ..storage.repository import Session
from .trusted import subject_of

ROOT = bytes(32)
"""What comes before the first row."""


class Actor(NamedTuple):
    """Who does something, as far as it is known. organization: whose log it belongs to.

    subject: of the token that `key` was given for; found by `note` itself.
    """

    address: str
    organization: str | None = None
    account: str | None = None
    key: str | None = None
    subject: str | None = None

    @property
    def name(self) -> str:
        """For the transparency log, which everyone can read: no address in it."""
        return self.subject or (
            f"account:{self.account}" if self.account else f"key:{self.key or '-'}"
        )


class AuditRow(NamedTuple):
    """One row. at: ms. before, after: JSON."""

    seq: int
    at: int
    organization: str | None
    account: str | None
    key: str | None
    subject: str | None
    address: str
    action: str
    target: str
    before: str | None
    after: str | None
    previous: bytes
    hash: bytes


_COLUMNS = "seq, at, organization, account, key, subject, address, action, target, before, after, previous, hash"


def note(
    session: Session,
    actor: Actor,
    action: str,
    target: str,
    at: int,
    *,
    before: Any = None,
    after: Any = None,
) -> None:
    """Appends a row. To be called within a write, in which no other process writes."""
    if actor.key is not None and actor.subject is None:
        actor = actor._replace(subject=subject_of(session, actor.key))
    last = session.one("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
    seq, previous = (last[0] + 1, bytes(last[1])) if last else (1, ROOT)
    row = AuditRow(
        seq=seq,
        at=at,
        organization=actor.organization,
        account=actor.account,
        key=actor.key,
        subject=actor.subject,
        address=actor.address,
        action=action,
        target=target,
        before=None if before is None else canonical_json(before).decode(),
        after=None if after is None else canonical_json(after).decode(),
        previous=previous,
        hash=b"",
    )
    session.run(
        f"INSERT INTO audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        *row[:-1],
        hash_of_row(row),
    )


def hash_of_row(row: AuditRow) -> bytes:
    said: dict[str, Any] = row._asdict()
    del said["hash"]
    said["previous"] = bytes(row.previous).hex()
    return hashlib.sha256(canonical_json(said)).digest()


def rows(
    session: Session,
    *,
    since: int = 0,
    organization: str | None = None,
    actor: str = "",
    action: str = "",
    limit: int = 100,
) -> list[AuditRow]:
    """Rows after `since` (a seq), oldest first. actor: id of an account or key."""
    where, values = ["seq > ?"], list[Any]([since])
    if organization is not None:
        where.append("organization = ?")
        values.append(organization)
    if actor:
        where.append("(account = ? OR key = ? OR subject = ?)")
        values += [actor] * 3
    if action:
        where.append("action = ?")
        values.append(action)
    sql = f"SELECT {_COLUMNS} FROM audit WHERE {' AND '.join(where)} ORDER BY seq LIMIT ?"
    return [AuditRow(*row) for row in session.all(sql, *values, limit)]


def breaks(session: Session) -> Iterator[str]:
    """Where the chain is not what was written, in words; nothing if it is whole."""
    previous, seq = ROOT, 0
    while page := rows(session, since=seq, limit=1000):
        for row in page:
            if row.seq != seq + 1:
                yield f"audit row {seq + 1} is missing"
            elif bytes(row.previous) != previous:
                yield f"audit row {row.seq} does not follow the row before it"
            if hash_of_row(row) != bytes(row.hash):
                yield f"audit row {row.seq} was changed"
            previous, seq = bytes(row.hash), row.seq
