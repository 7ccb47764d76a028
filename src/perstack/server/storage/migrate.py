"""Numbered migrations: `migrations/<dialect>/NNNN_*.sql`, each carried out once, in order, whole or not at all."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import NamedTuple

from .repository import DatabaseError, Dialect, Session

APPLIED = """
CREATE TABLE IF NOT EXISTS migrations (
  number BIGINT PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL
)
"""


class Migration(NamedTuple):
    number: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations(dialect: Dialect) -> list[Migration]:
    """All that there are, in order."""
    folder = files("perstack.server") / "migrations" / dialect
    found = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    return sorted(
        Migration(int(file.name[:4]), file.name, file.read_text(encoding="utf-8")) for file in found
    )


def pending(session: Session) -> list[Migration]:
    """Those that the database has not seen yet. Raises DatabaseError if it is newer than this program."""
    session.run(APPLIED)
    known = migrations(session.dialect)
    applied: dict[int, str] = {
        row[0]: row[1] for row in session.all("SELECT number, name FROM migrations")
    }
    if unknown := sorted(applied.keys() - {migration.number for migration in known}):
        raise DatabaseError(
            "The database was made by a newer version of perstack "
            f"(migration {applied[unknown[-1]]}); update perstack."
        )
    return [migration for migration in known if migration.number not in applied]


def carry_out_pending(session: Session) -> None:
    """Brings the tables up to date. Within a transaction. Raises DatabaseError as `pending` does."""
    for migration in pending(session):
        for statement in statements(migration.text):
            session.run(statement)
        session.run(
            "INSERT INTO migrations (number, name, digest) VALUES (?, ?, ?)",
            migration.number,
            migration.name,
            migration.digest,
        )


def statements(text: str) -> list[str]:
    """The statements of a migration. Comments go; no statement has a semicolon inside."""
    lines = (line.partition("--")[0] for line in text.splitlines())
    return [part.strip() for part in "\n".join(lines).split(";") if part.strip()]
