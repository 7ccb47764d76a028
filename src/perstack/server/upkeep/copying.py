"""What is read at one moment, also while others write: a snapshot, a copy; and files for their owner only."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from perstack.errors import UserError

from ..storage.repository import DatabaseError, Session, sqlite_path

PAGES = 1024
"""Copied at a time, between which others may write."""


@contextmanager
def new_file(path: Path) -> Generator[IO[bytes]]:
    """A file that was not there before, for its owner only; whole and on the disk at the end, or not there.

    Raises UserError.
    """
    part = part_of(path)
    if path.exists():
        raise UserError(f"{path} is there already; name another file.")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def snapshot(session: Session) -> Generator[None]:
    """All that is read within the block is of one moment. For a session of `read_slowly`."""
    if session.dialect == "sqlite":  # there it is so anyway
        yield
        return
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        session.run("ROLLBACK")


def part_of(path: Path) -> Path:
    """Where a file is while it is written."""
    return path.with_name(f".{path.name}.part")


def copy_database(url: str, to: Path) -> int:
    """Copies the database at `url` as it is at one moment; its size in bytes. Raises UserError, DatabaseError."""
    path = sqlite_path(url)
    if path is None:
        raise UserError("This is for SQLite. Of PostgreSQL, pg_dump makes a backup.")
    if not Path(path).is_file():
        raise UserError(f"There is no database {path}.")
    with new_file(to):
        part = part_of(to)
        try:
            with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(part)) as copy:
                source.backup(copy, pages=PAGES)
                copy.execute("PRAGMA journal_mode = DELETE")
                if (found := copy.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
                    raise DatabaseError(f"The copy of {path} is damaged: {found}.")
        except sqlite3.Error as error:
            raise DatabaseError(f"{path} cannot be copied: {error}.") from error
        return part.stat().st_size
