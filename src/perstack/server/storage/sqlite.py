"""The registry in one SQLite file: WAL, one writer, durable when committed.

Reads on the event loop use one connection; a quick one takes 10 to 90 µs, less than handing it to a thread.
Slow reads have connections of their own, in threads. Several processes may share the file: SQLite lets one write
at a time.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from .migrate import carry_out_pending
from .repository import DatabaseError, Dialect, Repository, Row, Seal, Session, carry_out

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .repository import _Write  # pyright: ignore[reportPrivateUsage]  # of this room

T = TypeVar("T")

BUSY_S = 30.0
"""Seconds to wait for another process that writes."""

SLOW_READERS = 2


class SqliteSession:
    @property
    def dialect(self) -> Dialect:
        return "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.execute = connection.execute

    def one(self, sql: str, *values: Any) -> Row | None:
        return self.execute(sql, values).fetchone()

    def all(self, sql: str, *values: Any) -> list[Row]:
        return self.execute(sql, values).fetchall()

    def run(self, sql: str, *values: Any) -> int:
        return self.execute(sql, values).rowcount

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self.connection.executemany(sql, rows)


def connect(path: str, *, readonly: bool = False) -> sqlite3.Connection:
    """A connection that any thread may use, one at a time. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        path, timeout=BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    # no mapping of the file: each connection would have its own, and reads are no quicker by it
    connection.execute("PRAGMA cache_size = -12000")
    if readonly:
        connection.execute("PRAGMA query_only = ON")
    return connection


def prepare(path: str) -> None:
    """Makes the file if it is not there, for its owner only, and brings its tables up to date."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with closing(connect(path)) as connection:
            if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                raise DatabaseError(
                    f"{path}: its file system does not support what SQLite needs (WAL)."
                )
            session = SqliteSession(connection)
            with transaction(connection):
                carry_out_pending(session)
    except (sqlite3.Error, OSError) as error:
        raise DatabaseError(f"The database {path} cannot be used: {error}.") from error


class transaction:
    """`BEGIN IMMEDIATE`, and the commit or the rollback."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def __enter__(self) -> None:
        self.connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            try:
                self.connection.execute("COMMIT")
                return
            except sqlite3.Error:
                self._undo()
                raise
        self._undo()

    def _undo(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")


class SqliteRepository(Repository):
    faults = (sqlite3.Error,)

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self._reader = connect(path, readonly=True)
        self._reading: Session = SqliteSession(self._reader)
        self._writer = connect(path)
        self._slow = threading.local()
        self._slow_ones: list[sqlite3.Connection] = []
        self._slow_limit = anyio.CapacityLimiter(SLOW_READERS)

    @property
    def dialect(self) -> Dialect:
        return "sqlite"

    async def read(self, work: Callable[[Session], T]) -> T:
        try:
            return work(self._reading)
        except sqlite3.Error as error:
            raise DatabaseError(f"The database cannot be read: {error}.") from error

    async def read_slowly(self, work: Callable[[Session], T]) -> T:
        return await anyio.to_thread.run_sync(self._read_slowly, work, limiter=self._slow_limit)

    def _read_slowly(self, work: Callable[[Session], T]) -> T:
        try:
            if not hasattr(self._slow, "session"):
                connection = connect(self.path, readonly=True)
                self._slow_ones.append(connection)
                self._slow.session = SqliteSession(connection)
            session: SqliteSession = self._slow.session
            session.run("BEGIN")
            try:
                return work(session)
            finally:
                session.run("ROLLBACK")
        except sqlite3.Error as error:
            raise DatabaseError(f"The database cannot be read: {error}.") from error

    def _commit(self, writes: Sequence[_Write], seal: Seal) -> None:
        try:
            with transaction(self._writer):
                carry_out(SqliteSession(self._writer), writes, seal)
        except sqlite3.Error as error:
            raise DatabaseError(f"The database cannot be written: {error}.") from error

    def close(self) -> None:
        for connection in (self._reader, self._writer, *self._slow_ones):
            connection.close()


@asynccontextmanager
async def open_sqlite(path: str) -> AsyncGenerator[SqliteRepository]:
    await anyio.to_thread.run_sync(prepare, path)
    repository = SqliteRepository(path)
    try:
        yield repository
    finally:
        repository.close()
