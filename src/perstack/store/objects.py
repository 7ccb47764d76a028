"""The logs of many machines, as objects on S3-compatible storage.

    jobs/<jobId>/log/<seq>.jsonl     a segment of the log: the events from <seq> on, 12 digits, never changed
    heads/<jobId>.json               who may write it now, until when, and the summary cache

Theory of operation
-------------------
1. *The segments are the truth.* Put one after the other they are the very bytes of a log in a file
   (`files.py`): an event a line, each with a sum over itself and the sum before it. Each event is stored once,
   so a log grows with the work. A segment is whole or not there.
2. *A segment can be created and not replaced.* Its name is the number of its first event, and the next begins
   where it ends. So two writers who both believe the log is theirs want to create the same object; the storage
   lets one of them, and the other learns that it is no longer the writer. This alone keeps a log in one piece.
   It needs no clock, but a storage that keeps to `If-None-Match`; one that does not is refused at opening.
3. *A lease tells others not to try.* The head names the writer and when its lease runs out; the writer renews
   it by replacing the version it wrote last and no other (`If-Match`). A writer that died is succeeded when its
   lease has run out. A writer that finds its own run out (its machine slept) renews it before it acknowledges
   anything; if somebody was quicker, it fails with StoreError and writes no more. The clocks of the machines
   should agree to some seconds: where they do not, a writer may be put out of its job, but by rule 2 nothing is
   mixed up.
4. *What was appended without `sync` is acknowledged to the process, and stored a little later*: with the next
   event that is synced, when `MANY` events or `LARGE` bytes wait, after `store_s`, when somebody reads the job
   through this very `ObjectStore`, and when the log is closed. Until then only this process has it, and a
   process that is killed takes it along: at most what came after the last sync, and of that what is younger
   than `store_s` and the time of a request. Readers are given what is stored, so what they were given never
   goes away.
5. *A put that failed is tried again with the same bytes*, for it may have been done: then it is known by what
   it left. A failed put that somebody waits for (a sync, a full buffer) ends the writing with StoreError;
   whoever opens the log anew goes on from what is stored.
6. *The summary in a head is believed* only while the log ends in the segment it names; else the log is read.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import anyio
from anyio import to_thread
from msgspec.structs import replace

from perstack.errors import StoreError, UserError
from perstack.job import Event, IllegalEvent, Job, Rewound, fold

from .chain import End, line_after
from .following import Following
from .lease import Head, Lease, load_head
from .segments import (
    AT_ONCE,
    NONE,
    Segment,
    events_of,
    folder_of,
    load_bytes,
    load_log,
    load_segment,
    name_of,
    segments_of,
)
from .store import Log, checked_id
from .summary import Summary, summary_of, summary_or_fault
from .threads import OwnThreads

if TYPE_CHECKING:
    from .bucket import Bucket

LEASE_S = 30.0
STORE_S = 1.0

MANY = 64
LARGE = 512 * 1024
"""A segment has at most so many bytes, or one event."""

FOLLOW_S = (0.1, 2.0)
"""A follower looks for news this soon after the last, and at least this often; in between it slows down."""

_REQUESTS = OwnThreads("perstack.store.requests", AT_ONCE)
T = TypeVar("T")


class ObjectStore:
    """The logs of one place in a bucket, for as many machines as there are.

    lease_s: how long a writer is waited for that was not heard of. store_s: how long an event waits, at most,
    until it is on its way.
    """

    def __init__(
        self, bucket: Bucket, *, lease_s: float = LEASE_S, store_s: float = STORE_S
    ) -> None:
        self._bucket = bucket
        self._lease_s = lease_s
        self._store_s = store_s
        self._written: dict[str, ObjectLog] = {}

    @asynccontextmanager
    async def open(self, job: str) -> AsyncGenerator[tuple[Log, tuple[Event, ...]]]:
        log = ObjectLog(self._bucket, checked_id(job), self._lease_s)
        failure: BaseException | None = None
        try:
            events = await _asked(log.take)
            self._written[job] = log
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(log.keep_storing, self._store_s)
                tasks.start_soon(log.keep_renewing, self._lease_s / 3)
                try:
                    yield log, events
                except (anyio.get_cancelled_exc_class(), GeneratorExit):
                    raise
                except BaseException as error:  # it is to leave the task group as itself
                    failure = error
                tasks.cancel_scope.cancel()
            if failure is not None:
                raise failure
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await self._close(log, error)
            raise
        with anyio.CancelScope(shield=True):
            await self._close(log)

    async def _close(self, log: ObjectLog, cause: BaseException | None = None) -> None:
        if self._written.get(log.job) is log:
            del self._written[log.job]
        try:
            await log.close()
        except StoreError as error:
            if cause is None:
                raise
            cause.add_note(str(error))

    async def read(self, job: str, after: int = 0) -> tuple[Event, ...]:
        if (log := self._written.get(checked_id(job))) is not None:
            await log.settle()
        stored = await _asked(lambda: load_log(self._bucket, job))
        return tuple(stored.events[after:])

    async def lines(self, job: str) -> bytes:
        """The stored bytes of a log: its segments, one after the other, whatever is in them. Raises StoreError."""
        return await _asked(lambda: load_bytes(self._bucket, checked_id(job)))

    def follow(self, job: str, after: int = 0) -> AsyncIterator[Event]:
        return Following(_Growth(self._bucket, checked_id(job)).more, after)

    async def jobs(self) -> tuple[str, ...]:
        await self._settle()
        return tuple(await _asked(self._list))

    async def summaries(self) -> tuple[Summary, ...]:
        await self._settle()
        return tuple(await _asked(self._summaries))

    async def _settle(self) -> None:
        for log in tuple(self._written.values()):
            await log.settle(told=True)

    def _list(self) -> list[str]:
        heads = {head.name: head.modified for head in self._bucket.listed("heads/")}
        found: list[tuple[float, str]] = []
        for job in self._bucket.folders("jobs/"):
            modified = heads.get(f"{job}.json")
            if modified is None:
                segments = self._bucket.listed(folder_of(job))
                modified = segments[-1].modified if segments else None
            if modified is not None and _can_be_id(job):
                found.append((modified.timestamp(), job))
        return [job for _, job in sorted(found, reverse=True)]

    def _summaries(self) -> list[Summary]:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            found = list(threads.map(self._summary, self._list()))
        return [summary for summary in found if summary is not None]

    def _summary(self, job: str) -> Summary | None:
        path = f"{self._bucket.url}/{folder_of(job)}"
        return summary_or_fault(job, path, lambda: load_summary(self._bucket, job))


class _Growth:
    """What is new in one log, again and again."""

    def __init__(self, bucket: Bucket, job: str) -> None:
        self._bucket = bucket
        self._job = job
        self._end: End | None = None

    async def more(self) -> list[Event]:
        wait_s, longest_s = FOLLOW_S
        while True:
            events = await _asked(self._load)
            if events:
                return events
            await anyio.sleep(wait_s)
            wait_s = min(2 * wait_s, longest_s)

    def _load(self) -> list[Event]:
        if self._end is None:
            events, self._end, _ = load_log(self._bucket, self._job)
            return events
        # The name of the next segment is known, and asking for it costs less than listing.
        data = load_segment(self._bucket, self._job, self._end.seq + 1)
        if data is None:
            return []
        events, self._end = events_of(self._bucket, self._job, data, self._end)
        return events


class _Sealed(NamedTuple):
    """A segment on its way. first, last: `seq` of its events."""

    first: int
    last: int
    data: bytes


class ObjectLog:
    """The open end of one log. `take` blocks and is called in a worker thread."""

    def __init__(self, bucket: Bucket, job: str, lease_s: float) -> None:
        self.job = job
        self._bucket = bucket
        self._path = f"{bucket.url}/jobs/{job}"
        self._shut = f"{self._path} is not open for writing."
        self._lease = Lease(bucket, job, lease_s)
        self._renewing = anyio.Lock()
        self._lost = False
        self._events: list[Event] = []
        self._end = End()  # of what was appended
        self._stored = 0  # `seq` of the last event that is stored
        self._last: Segment | None = None  # the last that is stored, None if we do not know yet
        self._lines: deque[bytes] = deque()  # what waits, after what is sealed
        self._waiting_bytes = 0
        self._sealed: _Sealed | None = None
        self._storing = anyio.Lock()
        self._folded: tuple[int, Job | None] = (0, None)  # so many events, and what they amount to

    def take(self) -> tuple[Event, ...]:
        """Becomes the writer, and gives what the log holds. Raises as `Store.open`."""
        self._lease.take()
        self._events, self._end, self._last = load_log(self._bucket, self.job)
        self._stored = self._end.seq
        self._shut = ""
        return tuple(self._events)

    async def append(self, event: Event, *, sync: bool = False) -> Event:
        if not self._shut and not self._lease.holds():
            await self._renew()
        if self._shut:
            raise StoreError(self._shut)
        placed = self._place(event)
        if sync or len(self._lines) >= MANY or self._waiting_bytes >= LARGE:
            try:
                await self._store(placed.seq)
            except StoreError as error:
                self._shut = self._shut or f"{error} {self._kept()}"
                raise StoreError(self._shut) from error
        return placed

    def _kept(self) -> str:
        """What is left of the job, and what can be done with it."""
        if not self._stored:
            return "Nothing of the job is kept; run it anew."
        return (
            f"Everything up to event {self._stored} is kept; go on from there with "
            f"`perstack run ... --continue-job {self.job}`."
        )

    def _place(self, event: Event) -> Event:
        placed, line, self._end = line_after(self._end, event, time.time())
        self._events.append(placed)
        self._lines.append(line)
        self._waiting_bytes += len(line)
        return placed

    async def _store(self, seq: int) -> None:
        """Returns when event `seq` is stored, together with all before it. Raises StoreError."""
        async with self._storing:
            while self._stored < seq:
                if not self._lease.holds():
                    await self._renew()
                if self._shut:
                    raise StoreError(self._shut)
                self._sealed = self._sealed or self._seal()
                await self._put(self._sealed)

    async def _put(self, segment: _Sealed) -> None:
        key = folder_of(self.job) + name_of(segment.first)
        if await _asked(lambda: self._bucket.create(key, segment.data)) is None:
            raise self._given_up()
        self._sealed = None
        self._stored = segment.last
        self._last = Segment(segment.first, len(segment.data))
        self._waiting_bytes -= len(segment.data)

    def _seal(self) -> _Sealed:
        """What waits, or as much of it as fits. Its bytes are fixed: a put that failed may have been done."""
        lines = [self._lines.popleft()]
        size = len(lines[0])
        while self._lines and size + len(self._lines[0]) <= LARGE:
            lines.append(self._lines.popleft())
            size += len(lines[-1])
        return _Sealed(self._stored + 1, self._stored + len(lines), b"".join(lines))

    async def _renew(self) -> None:
        """Holds the log for a while more, and tells what is in it. Raises StoreError."""
        async with self._renewing:
            head = self._told()
            if not self._lost and not await _asked(lambda: self._lease.renew(head)):
                raise self._given_up()

    def _given_up(self) -> StoreError:
        self._lost = True
        self._shut = (
            f"{self._path}: another process took the job over, since this one was not heard of in time. "
            f"Everything up to event {self._stored} is kept; `perstack log --job {self.job}` tells what "
            "happened after it."
        )
        return StoreError(self._shut)

    def _told(self) -> Head:
        """The head, with a summary of what is stored."""
        head, last = self._lease.head, self._last
        if last is None or last == (head.first, head.size_bytes):
            return head
        summary = None
        with suppress(IllegalEvent):  # whoever reads the log will be told
            summary = self._summary() if last != NONE else None
        return replace(head, first=last.first, size_bytes=last.size_bytes, summary=summary)

    def _summary(self) -> Summary:
        count, job = self._folded
        new = self._events[count : self._stored]
        if any(isinstance(event, Rewound) for event in new):  # then not all that was folded counts
            new, job = self._events[: self._stored], None
        job = fold(new, job)
        self._folded = (self._stored, job)
        return summary_of(job)

    async def settle(self, *, told: bool = False) -> None:
        """Stores what waits; told: and says in the head what it amounts to. Nothing, if the writing has ended."""
        if not self._shut:
            await self._store(self._end.seq)
            if told and self._told() is not self._lease.head:
                await self._renew()

    async def keep_storing(self, every_s: float) -> None:
        """Stores what waits, again and again; what fails is tried again."""
        while not self._shut:
            await anyio.sleep(every_s)
            with suppress(StoreError):
                await self._store(self._end.seq)

    async def keep_renewing(self, every_s: float) -> None:
        """Renews the lease, again and again; what fails is tried again."""
        while not self._shut:
            await anyio.sleep(every_s)
            with suppress(StoreError):
                await self._renew()

    async def close(self) -> None:
        """Stores what waits and lets go of the log. Raises StoreError if something could not be stored."""
        was_shut, shut = self._shut, f"{self._path} is not open for writing."
        try:
            if not was_shut:
                await self._store(self._end.seq)
        finally:
            self._shut = was_shut or shut
        async with self._renewing:
            head = self._told()
            with suppress(StoreError):  # then the lease runs out
                await _asked(lambda: self._lease.release(head))


def load_summary(bucket: Bucket, job: str) -> Summary | None:
    """One job in short, from its head if that knows how its log ends, else from the log.

    None if it has no events. Raises CorruptLog, IllegalEvent, StoreError.
    """
    head, _ = load_head(bucket, job)
    summary = head.summary
    known = Segment(head.first, head.size_bytes)
    if summary is None or summary.job != job or segments_of(bucket, job, head.first) != [known]:
        events = load_log(bucket, job).events
        if not events:
            return None
        summary = summary_of(fold(events))
    if summary.status in ("completed", "failed", "cancelled"):
        return summary
    return summary.written_by(head.held_by(time.time()))


def _can_be_id(job: str) -> bool:
    with suppress(UserError):
        return checked_id(job) == job
    return False


async def _asked(request: Callable[[], T]) -> T:
    """What the storage answers. Not abandoned when cancelled: of a write under way we know how it ended."""
    return await to_thread.run_sync(request, limiter=_REQUESTS.limiter)
