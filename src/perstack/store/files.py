"""One append-only file per job.

Theory of operation
-------------------
1. *The log is the truth.* `jobs/<jobId>/log.jsonl` holds one event a line, each line with a sum over itself and
   the sum before it (`job/wire.py`). Its order is the order of what happened, its size grows with the work, and
   nothing in it is ever changed. All other files are about it and can be deleted.
2. *One writer.* Whoever holds the kernel's lock on the log may append. A killed process lets go of it.
3. *A line is in the log once its newline is.* `append` writes a line with one call and returns when the kernel
   has it all; what it returned survives the end of the process, and of the machine if it was synced. A line that
   could not be written whole is cut off again before the error is raised.
4. *A tail*, bytes after the last newline, is what a process or machine left that ended in the middle of rule 3.
   If just the newline is missing, the event counts; else nobody was told of it, and the next writer cuts it off.
   A follower waits for the newline, so what it was given never goes away. A line that is whole and wrong is
   never skipped or repaired: reading ends in CorruptLog with its place.
5. *A failed sync ends the writing.* It says that earlier writes may be lost, and asking again would not say so;
   the log takes no more, and whoever opens it anew finds what is there.

It does not fold events beyond what a list of jobs needs, and does not judge whether an event may follow.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio import to_thread

from perstack.errors import CorruptLog, JobBusy, PerstackError, StoreError, UserError
from perstack.job import Event, IllegalEvent, fold, utc

from .chain import End, event_of_tail, events_in, line_after
from .folder import (
    HEAD,
    LOG,
    OWNER,
    Folder,
    flush,
    flush_names,
    linked,
    lock,
    open_file,
    open_folder,
    owner_of,
    read_file,
    read_from,
    replace_file,
    said_owner,
    sign,
    why,
)
from .following import Following
from .head import parse_head, render_head
from .store import Log, checked_id
from .summary import Summary, summary_of, summary_or_fault
from .threads import OwnThreads

LOOK_AGAIN_S = (0.005, 0.01, 0.02, 0.04)
"""A list of jobs holds each log for an instant; before it calls a job busy, a writer looks again."""

FOLLOW_S = (0.005, 0.2)
"""A follower looks for news this soon after the last, and at least this often; in between it slows down."""

SYNCS = OwnThreads("perstack.store.syncs", 16)
"""Disks take syncs of several files together."""


class FileStore:
    """The logs of one workspace. root: its `perstack/` directory, made when the first job begins."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def root(self) -> Path:
        return self._root

    @asynccontextmanager
    async def open(self, job: str) -> AsyncGenerator[tuple[Log, tuple[Event, ...]]]:
        log = FileLog(self._root, checked_id(job))
        try:
            events = await to_thread.run_sync(log.take)
            for wait_s in LOOK_AGAIN_S:
                if events is not None:
                    break
                await anyio.sleep(wait_s)
                events = await to_thread.run_sync(log.take)
            if events is None:
                raise JobBusy(job, await to_thread.run_sync(log.owner))
            yield log, events
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(log.close, limiter=SYNCS.limiter)

    async def read(self, job: str, after: int = 0) -> tuple[Event, ...]:
        events = await to_thread.run_sync(self._load, checked_id(job))
        return tuple(events[after:])

    def follow(self, job: str, after: int = 0) -> AsyncIterator[Event]:
        return Following(_Growth(self._root, checked_id(job)).more, after)

    async def jobs(self) -> tuple[str, ...]:
        return tuple(await to_thread.run_sync(self._list))

    async def summaries(self) -> tuple[Summary, ...]:
        return tuple(await to_thread.run_sync(self._summaries))

    def _path(self, job: str) -> Path:
        return self._root / "jobs" / job / LOG

    def _load(self, job: str) -> list[Event]:
        path = self._path(job)
        with open_folder(self._root, job) as folder:
            fd = None if folder is None else _open_log(folder, path)
        if fd is None:
            return []
        try:
            events, _, _ = _read_all(fd, job, path)
        finally:
            os.close(fd)
        return events

    def _list(self) -> list[str]:
        path = self._root / "jobs"
        try:
            if path.is_symlink():
                raise linked(path)
            with os.scandir(path) as entries:
                found = [(_written_ns(entry), entry.name) for entry in entries]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise why(error, path) from error
        return [job for written_ns, job in sorted(found, reverse=True) if written_ns >= 0]

    def _summaries(self) -> list[Summary]:
        found = [self._summary(job) for job in self._list()]
        return [summary for summary in found if summary is not None]

    def _summary(self, job: str) -> Summary | None:
        path = str(self._path(job))
        return summary_or_fault(job, path, lambda: load_summary(self._root, job))


class _Growth:
    """What is new in one log, again and again."""

    def __init__(self, root: Path, job: str) -> None:
        self._root = root
        self._job = job
        self._path = root / "jobs" / job / LOG
        self._end = End()

    async def more(self) -> list[Event]:
        wait_s, longest_s = FOLLOW_S
        while True:
            if self._size() != self._end.offset:
                events, self._end = await to_thread.run_sync(self._load)
                if events:
                    return events
            await anyio.sleep(wait_s)
            wait_s = min(2 * wait_s, longest_s)

    def _size(self) -> int:
        try:
            size = os.stat(self._path, follow_symlinks=False).st_size
        except FileNotFoundError as error:
            if self._end.seq:
                raise StoreError(f"{self._path}: the log was deleted.") from error
            return 0
        except OSError as error:
            raise why(error, self._path) from error
        if size < self._end.offset:
            raise CorruptLog(str(self._path), self._end.seq, "it was cut off after it was read")
        return size

    def _load(self) -> tuple[list[Event], End]:
        with open_folder(self._root, self._job) as folder:
            fd = None if folder is None else _open_log(folder, self._path)
        if fd is None:
            return [], self._end
        try:
            data = read_from(fd, self._end.offset)
        except OSError as error:
            raise why(error, self._path) from error
        finally:
            os.close(fd)
        events, end, _ = events_in(data, self._end, job=self._job, path=str(self._path))
        return events, end


class FileLog:
    """The open end of one log. `take` and `close` block; they are called in a worker thread."""

    def __init__(self, root: Path, job: str) -> None:
        self._root = root
        self._job = job
        self._path = root / "jobs" / job / LOG
        self._fd = -1
        self._events: list[Event] = []
        self._end = End()
        self._named = False  # the way to the file is on stable storage too
        self._shut = f"{self._path} is not open for writing."

    def take(self) -> tuple[Event, ...] | None:
        """Becomes the writer, and gives what the log holds. None if another is. Raises as `Store.open`."""
        with open_folder(self._root, self._job, create=True) as folder:
            assert folder is not None  # it was to be made
            try:
                fd = open_file(folder, LOG, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            except OSError as error:
                raise why(error, self._path) from error
            try:
                if not lock(fd):
                    os.close(fd)
                    return None
                events, end, tail = _read_all(fd, self._job, self._path)
                if end.offset > os.fstat(fd).st_size:
                    os.write(fd, b"\n")
                elif tail:
                    os.ftruncate(fd, end.offset)
            except OSError as error:
                os.close(fd)
                raise why(error, self._path, self._job) from error
            except BaseException:
                os.close(fd)
                raise
            self._fd, self._events, self._end, self._shut = fd, events, end, ""
            sign(folder, since=utc(time.time()))
            return tuple(events)

    def owner(self) -> str:
        """What the writer said about itself."""
        with open_folder(self._root, self._job) as folder:
            return said_owner(folder) if folder is not None else ""

    async def append(self, event: Event, *, sync: bool = False) -> Event:
        placed = self._write(event)
        if sync:
            await to_thread.run_sync(self._sync, limiter=SYNCS.limiter)
        return placed

    def _write(self, event: Event) -> Event:
        if self._shut:
            raise StoreError(self._shut)
        end = self._end
        placed, line, after = line_after(end, event, time.time())
        try:
            written = os.write(self._fd, line)
            while written < len(line):
                written += os.write(self._fd, line[written:])
            # One assignment: an interrupt finds the log before this event or after it.
            self._end = after
            self._events.append(placed)
        except OSError as error:
            raise self._why(error) from error
        finally:
            if self._end is end:
                self._cut_back()
        return placed

    def _why(self, error: OSError) -> StoreError:
        """What went wrong in the midst of the work; a job of which nothing is kept is none to go on with."""
        return why(error, self._path, self._job if self._end.seq else "")

    def _cut_back(self) -> None:
        """Takes out what was written of a line that could not be finished."""
        try:
            os.ftruncate(self._fd, self._end.offset)
        except OSError as error:
            self._shut = (
                f"{self._why(error)} (Half an event was left at its end; "
                "it is cut off when the job goes on.)"
            )

    def _sync(self) -> None:
        try:
            if os.fstat(self._fd).st_nlink == 0:
                self._shut = f"{self._path}: the log was deleted while the job was running."
                raise StoreError(self._shut)
            flush(self._fd)
            if not self._named:
                flush_names(self._root, self._job)
                self._named = True
        except OSError as error:
            trouble = self._why(error)
            self._shut = str(trouble)
            raise trouble from error

    def close(self) -> None:
        """Lets go of the log and leaves a summary of it. Again: nothing."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        self._shut = f"{self._path} is not open for writing."
        try:
            # What is left beside the log is for convenience; its faults are told by whoever reads the log.
            with (
                suppress(PerstackError, OSError),
                open_folder(self._root, self._job) as folder,
            ):
                if folder is not None:
                    with suppress(PerstackError, OSError, IllegalEvent):
                        self._leave_summary(folder)
                    os.unlink(OWNER, dir_fd=folder.fd)
        finally:
            os.close(fd)

    def _leave_summary(self, folder: Folder) -> None:
        """Says what the log amounts to. Nothing, if it is empty or an interrupt kept an event from our list."""
        if self._events and len(self._events) == self._end.seq:
            summary = summary_of(fold(self._events))
            replace_file(folder, HEAD, render_head(summary, self._end))


def load_summary(root: Path, job: str) -> Summary | None:
    """One job in short, from its cache if that is about its log, else from the log; None if it has no events.

    Leaves a cache for the next. Raises CorruptLog, IllegalEvent, StoreError, UserError.
    """
    path = root / "jobs" / job / LOG
    with open_folder(root, job) as folder:
        fd = None if folder is None else _open_log(folder, path)
        if folder is None or fd is None:
            return None
        try:
            size = os.fstat(fd).st_size
            cache = read_file(folder, HEAD) or b""
            last = os.pread(fd, 128, max(0, size - 128))
            summary = parse_head(cache, job=job, size_bytes=size, last_bytes=last)
            if summary is None:
                events, end, tail = _read_all(fd, job, path)
                if not events:
                    return None
                summary = summary_of(fold(events))
                if not tail:
                    with suppress(OSError, UserError):
                        replace_file(folder, HEAD, render_head(summary, end))
            if summary.status in ("completed", "failed", "cancelled"):
                return summary
            return summary.written_by(owner_of(folder, fd))
        except OSError as error:
            raise why(error, path) from error
        finally:
            os.close(fd)


def _written_ns(entry: os.DirEntry[str]) -> int:
    """When the log in a job's directory was written to last, in ns; -1 if it is no such directory."""
    try:
        checked_id(entry.name)
        if not entry.is_dir(follow_symlinks=False):
            return -1
        log = os.stat(f"{entry.path}/{LOG}", follow_symlinks=False)
    except (UserError, FileNotFoundError):
        return -1
    except PermissionError:  # somebody else's job is in the list all the same
        return entry.stat(follow_symlinks=False).st_mtime_ns
    return log.st_mtime_ns if stat.S_ISREG(log.st_mode) and log.st_size else -1


def _open_log(folder: Folder, path: Path) -> int | None:
    try:
        return open_file(folder, LOG, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise why(error, path) from error


def _read_all(fd: int, job: str, path: Path) -> tuple[list[Event], End, bytes]:
    """All events of a log, the place after them, and its tail, complete or torn."""
    try:
        data = read_from(fd, 0)
    except OSError as error:
        raise why(error, path) from error
    events, end, tail = events_in(data, End(), job=job, path=str(path))
    whole = event_of_tail(tail, end, job=job, path=str(path)) if tail else None
    if whole is not None:
        events.append(whole[0])
        end = whole[1]
    return events, end, tail
