"""Where the registry keeps what it knows: one interface, two databases behind it.

A `Repository` runs functions of a `Session`; a session runs SQL. The SQL is written by hand, once, in the words
that SQLite and PostgreSQL share, with `?` for a parameter; where they differ, ask `session.dialect`. Queries are
plain functions `(Session, ...) -> rows`, in `queries/` and wherever else one room of the server needs its own.

*Reads* see the last commit. `read` is for quick ones (by key or by index: microseconds), which SQLite serves on
the event loop itself; `read_slowly` leaves the loop, for searches and walks.

*Writes* happen one after the other, all processes together, each in a savepoint of a transaction that may carry
several: whoever waits while one commit is on its way to the disk shares the next. So a write sees all earlier
ones; it is kept whole or not at all; and its answer is given after it is durable. What a write raises undoes that
write alone and reaches its caller. At the end of each transaction `seal` is called once, within it: there the
transparency log covers all that was appended with one checkpoint.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus

from perstack.errors import WorldError

from ..extra import POSTGRES, need

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

T = TypeVar("T")
Row = Sequence[Any]
Dialect = Literal["sqlite", "postgres"]

MAX_BATCH = 256
"""Writes that share one transaction."""


class Session(Protocol):
    """One connection, in the hands of one function at a time."""

    @property
    def dialect(self) -> Dialect: ...

    def one(self, sql: str, *values: Any) -> Row | None:
        """The first row, None if there is none. Also for writes that return something."""
        ...

    def all(self, sql: str, *values: Any) -> list[Row]: ...

    def run(self, sql: str, *values: Any) -> int:
        """Rows changed."""
        ...

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None: ...


class DatabaseError(WorldError):
    """The database could not be opened, or gave up: disk full, gone, too busy."""


@dataclass(slots=True)
class _Write:
    work: Callable[[Session], Any]
    keep: bool
    done: anyio.Event = field(default_factory=anyio.Event)
    value: Any = None
    error: BaseException | None = None


Seal = Callable[[Session], None]


class Repository(ABC):
    """Reads and writes of one process. Get one from `open_repository`; it is closed by leaving that block."""

    faults: tuple[type[Exception], ...] = ()
    """What the driver raises when the database, not the work, is at fault."""

    def __init__(self) -> None:
        self.seal: Seal = _no_seal
        self._waiting: list[_Write] = []
        self._wake = anyio.Event()

    @property
    @abstractmethod
    def dialect(self) -> Dialect: ...

    @abstractmethod
    async def read(self, work: Callable[[Session], T]) -> T:
        """What `work` finds, quickly."""

    @abstractmethod
    async def read_slowly(self, work: Callable[[Session], T]) -> T:
        """What `work` finds, without holding up anything else."""

    @abstractmethod
    def _commit(self, writes: Sequence[_Write], seal: Seal) -> None:
        """One transaction, in a worker thread: fills in what each write gave or raised."""

    async def write(self, work: Callable[[Session], T], *, keep: bool = True) -> T:
        """What `work` gives, once it is durable. keep=False: undo it, having seen what it would give.

        Raises what `work` raises, and DatabaseError.
        """
        write = self._enqueue(work, keep)
        await write.done.wait()
        if isinstance(write.error, self.faults):
            raise DatabaseError(f"The database cannot be written: {write.error}.") from write.error
        if write.error is not None:
            raise write.error
        return write.value

    def write_later(self, work: Callable[[Session], object]) -> None:
        """Like `write`, but nobody waits. Such writes are dropped if the database does not keep up."""
        if len(self._waiting) < 4 * MAX_BATCH:
            self._enqueue(work, True)

    def _enqueue(self, work: Callable[[Session], Any], keep: bool) -> _Write:
        write = _Write(work, keep)
        self._waiting.append(write)
        self._wake.set()
        return write

    async def run_writer(
        self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Carries out writes until cancelled; `flush` before that, lest some be lost."""
        task_status.started()
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            await self.flush()

    async def flush(self) -> None:
        """Carries out what waits."""
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            try:
                # a commit that has begun is ended: its callers learn how
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(self._commit, batch, self.seal)
            except Exception as error:  # nothing of it was kept; each caller must know
                for write in batch:
                    write.error = error
            finally:
                for write in batch:
                    write.done.set()


def _no_seal(_: Session) -> None:
    pass


def carry_out(session: Session, writes: Sequence[_Write], seal: Seal) -> None:
    """All `writes` within the transaction that `session` has open, each in its savepoint, and the seal."""
    for write in writes:
        session.run("SAVEPOINT one_write")
        try:
            write.value = write.work(session)
        except Exception as error:
            write.error = error
        if write.error is not None or not write.keep:
            session.run("ROLLBACK TO SAVEPOINT one_write")
        session.run("RELEASE SAVEPOINT one_write")
    seal(session)


def sqlite_path(url: str) -> str | None:
    """The file of an SQLite database; None for PostgreSQL."""
    if url.startswith(("postgresql:", "postgres:")):
        return None
    return url.removeprefix("sqlite:")


@asynccontextmanager
async def open_repository(url: str) -> AsyncGenerator[Repository]:
    """The database at `url`: a path, `sqlite:path`, or `postgresql://…`. Made, or brought up to date, if needed.

    Its writer runs until the block is left; what was written by then is durable. Raises DatabaseError, and
    UserError where the driver is not installed.
    """
    async with AsyncExitStack() as stack:
        path = sqlite_path(url)
        if path is None:
            need(*POSTGRES)
            from .postgres import open_postgres

            repository: Repository = await stack.enter_async_context(open_postgres(url))
        else:
            from .sqlite import open_sqlite

            repository = await stack.enter_async_context(open_sqlite(path))
        async with anyio.create_task_group() as tasks:
            await tasks.start(repository.run_writer)
            try:
                yield repository
            finally:
                tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await repository.flush()
