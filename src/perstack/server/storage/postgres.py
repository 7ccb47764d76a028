"""The registry in PostgreSQL, for several servers at once.

Every query runs in a worker thread with a connection of its own. A write transaction takes one advisory lock, so
that all servers of one database write one after the other, as the log and the audit chain need it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio
import anyio.to_thread
import psycopg

from .migrate import carry_out_pending
from .repository import DatabaseError, Dialect, Repository, Row, Seal, Session, carry_out

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from .repository import _Write  # pyright: ignore[reportPrivateUsage]  # of this room

T = TypeVar("T")

ONE_WRITER = 0x7065727374
"""The advisory lock of whoever writes."""

LOCK_S = 30
"""Seconds to wait for another server that writes."""

READERS = 8
"""Connections for reading, of one process."""


@cache
def spelled(sql: str) -> str:
    """`sql` with the driver's sign for a parameter."""
    return sql.replace("%", "%%").replace("?", "%s")


class PostgresSession:
    @property
    def dialect(self) -> Dialect:
        return "postgres"

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self._cursor = connection.cursor()

    def _execute(self, sql: str, values: Sequence[Any]) -> psycopg.Cursor[Any]:
        if not values:
            return self._cursor.execute(cast("Any", sql))  # then a % is just that
        return self._cursor.execute(cast("Any", spelled(sql)), values)

    def one(self, sql: str, *values: Any) -> Row | None:
        return self._execute(sql, values).fetchone()

    def all(self, sql: str, *values: Any) -> list[Row]:
        return self._execute(sql, values).fetchall()

    def run(self, sql: str, *values: Any) -> int:
        return self._execute(sql, values).rowcount

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self._cursor.executemany(cast("Any", spelled(sql)), rows)


def connect(url: str) -> psycopg.Connection[Any]:
    """A connection that commits only what it is told to. Raises psycopg.Error."""
    return psycopg.connect(url, autocommit=True, connect_timeout=10, application_name="perstack")


def prepare(url: str) -> None:
    """Brings the tables up to date, one process at a time."""
    try:
        with connect(url) as connection, connection.transaction():
            session = PostgresSession(connection)
            session.run(f"SELECT pg_advisory_xact_lock({ONE_WRITER})")
            carry_out_pending(session)
    except psycopg.Error as error:
        raise DatabaseError(f"The database cannot be used: {told(error)}.") from error


def told(error: psycopg.Error) -> str:
    """What went wrong, on one line; the driver never says the password."""
    return " ".join(str(error).split()) or type(error).__name__


class PostgresRepository(Repository):
    faults = (psycopg.Error,)

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._limit = anyio.CapacityLimiter(READERS)
        self._idle: list[PostgresSession] = []
        self._writer: PostgresSession | None = None

    @property
    def dialect(self) -> Dialect:
        return "postgres"

    async def read(self, work: Callable[[Session], T]) -> T:
        return await anyio.to_thread.run_sync(self._read, work, limiter=self._limit)

    async def read_slowly(self, work: Callable[[Session], T]) -> T:
        return await self.read(work)

    def _read(self, work: Callable[[Session], T]) -> T:
        try:
            try:
                with self._borrowed() as session:
                    return work(session)
            except psycopg.OperationalError:
                self._forget_idle()  # it was restarted, perhaps; none of our connections lives on
                with self._borrowed() as session:
                    return work(session)
        except psycopg.Error as error:
            raise DatabaseError(f"The database cannot be read: {told(error)}.") from error

    def _forget_idle(self) -> None:
        while self._idle:
            self._idle.pop().connection.close()

    @contextmanager
    def _borrowed(self) -> Generator[PostgresSession]:
        session = self._idle.pop() if self._idle else PostgresSession(connect(self._url))
        try:
            yield session
        except psycopg.Error:
            session.connection.close()
            raise
        finally:
            if not session.connection.closed:
                self._idle.append(session)

    def _commit(self, writes: Sequence[_Write], seal: Seal) -> None:
        try:
            session = self._writing()
            try:
                with session.connection.transaction():
                    session.run(f"SELECT pg_advisory_xact_lock({ONE_WRITER})")
                    carry_out(session, writes, seal)
            except psycopg.Error:
                session.connection.close()
                raise
        except psycopg.Error as error:
            raise DatabaseError(f"The database cannot be written: {told(error)}.") from error

    def _writing(self) -> PostgresSession:
        """The connection for writes, a new one if the database was restarted since. Raises psycopg.Error."""
        if self._writer is not None and not self._writer.connection.closed:
            try:
                self._writer.run("SELECT 1")
                return self._writer
            except psycopg.OperationalError:
                self._writer.connection.close()
        self._writer = PostgresSession(connect(self._url))
        self._writer.run(f"SET lock_timeout = '{LOCK_S}s'")
        return self._writer

    def close(self) -> None:
        for session in (*self._idle, self._writer):
            if session is not None:
                session.connection.close()


@asynccontextmanager
async def open_postgres(url: str) -> AsyncGenerator[PostgresRepository]:
    await anyio.to_thread.run_sync(prepare, url)
    repository = PostgresRepository(url)
    try:
        yield repository
    finally:
        repository.close()
