"""Where logs live.

A store keeps one log per job. A log is appended to by one writer at a time and read by anybody. What
`append` has returned is on disk as far as the operating system is concerned (a killed process loses nothing);
what was appended with `sync=True` also survives a power cut.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from perstack.job import Event


class Log(Protocol):
    """The open end of one job's log. Its holder is the only writer."""

    async def append(self, event: Event, *, sync: bool = False) -> Event:
        """Write one fact down and give it back with its `seq` and `at`.

        sync: do not return before it is on stable storage, together with all before it.
        Raises StoreError; then the log is as it was before.
        """
        ...


class Store(Protocol):
    """A place for logs."""

    def open(self, job: str) -> AbstractAsyncContextManager[tuple[Log, tuple[Event, ...]]]:
        """The log of `job` and the events it already holds; a new, empty log if there is none.

        Raises JobBusy while another writer has it, UserError for an id that cannot be one, CorruptLog,
        StoreError.
        """
        ...

    async def read(self, job: str, after: int = 0) -> tuple[Event, ...]:
        """The events with `seq` > `after`, without becoming the writer. () if there is no such job."""
        ...

    def follow(self, job: str, after: int = 0) -> AsyncIterator[Event]:
        """The same, and then each further event as it is written, without end."""
        ...

    async def jobs(self) -> tuple[str, ...]:
        """The ids of all jobs, the one written to last first."""
        ...
