"""Where logs live.

A store keeps one log per job. A log is appended to by one writer at a time and read by anybody. What was appended
with `sync=True` is on stable storage, with all before it, once `append` returns. What was appended without is as
safe as the store says: in a file it is the operating system's, and a killed process loses nothing; in object
storage it waits, a second at most, to be put with what follows.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from perstack.errors import UserError
from perstack.job import Event

from .summary import Summary

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Log(Protocol):
    """The open end of one job's log. Its holder is the only writer."""

    async def append(self, event: Event, *, sync: bool = False) -> Event:
        """Write one fact down and give it back with its `seq`, and its `at` if it does not bring one.

        sync: do not return before it is on stable storage, together with all before it.
        Raises StoreError: then the fact is not in the log, or, if only the sync failed, the log takes no more
        facts until it is opened anew. Cancelled during a sync, the fact is in the log.
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
        """The ids of all jobs that have begun, the one written to last first."""
        ...

    async def summaries(self) -> tuple[Summary, ...]:
        """Each of `jobs()`, in short, in that order. A log that cannot be read is in it, saying why."""
        ...


def checked_id(job: str) -> str:
    """`job`, if it can be the id of a job: a letter or digit, then up to 127 of letters, digits, ".", "_", "-".

    Raises UserError.
    """
    if _JOB_ID.fullmatch(job) is None or ".." in job:
        raise UserError(
            f"{job!r} cannot be a job id. Use up to 128 letters, digits, dots, dashes and underscores, "
            "beginning with a letter or a digit, without two dots in a row."
        )
    return job
