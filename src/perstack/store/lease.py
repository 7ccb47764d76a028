"""The right to write a log on storage that has no locks: who has it, and until when. See objects.py."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from perstack._ids import drawn
from perstack._value import Value
from perstack.errors import JobBusy
from perstack.job import utc

from .folder import Owner
from .summary import Summary

if TYPE_CHECKING:
    from .bucket import Bucket

FORMAT = 1


class Head(Value, frozen=True):
    """`heads/<jobId>.json`: who writes a job, and what its log amounts to.

    token: drawn by the writer for itself, empty for nobody. expires_at: when its lease runs out, seconds since
    1970 UTC. renewed: how often it was, so that no two versions are alike. first, size_bytes: the last segment
    the summary knows of, 0 for none.
    """

    format: int = FORMAT
    token: str = ""
    writer: Owner | None = None
    expires_at: float = 0.0
    renewed: int = 0
    first: int = 0
    size_bytes: int = 0
    summary: Summary | None = None

    def held_by(self, now: float) -> str:
        """Who may write at this time, "" for nobody."""
        return str(self.writer) if self.token and now < self.expires_at else ""


def key_of(job: str) -> str:
    """Where the head of a job is."""
    return f"heads/{job}.json"


def load_head(bucket: Bucket, job: str) -> tuple[Head, str]:
    """The head of a job and the tag of this version; nobody's, and "" if there is none. Raises StoreError."""
    there = bucket.get(key_of(job))
    if there is None:
        return Head(), ""
    try:
        head = msgspec.json.decode(there.data, type=Head)
    except msgspec.DecodeError:
        return Head(), there.tag  # it is about a log, so nothing is lost with it
    if head.format != FORMAT:
        head = Head(token=head.token, writer=head.writer, expires_at=head.expires_at)
    return head, there.tag


class Lease:
    """A writer's hold on a job. All but `holds` block, and are called in worker threads one after the other.

    head: the version that was written last.
    """

    def __init__(self, bucket: Bucket, job: str, length_s: float) -> None:
        self.head = Head()
        self._bucket = bucket
        self._job = job
        self._length_s = length_s
        self._tag = ""
        self._until = (0.0, 0.0)

    def take(self) -> None:
        """Becomes the writer. Raises JobBusy, StoreError."""
        for _ in range(3):
            before, tag = load_head(self._bucket, self._job)
            now = time.time()
            holder = before.held_by(now)
            if holder:
                raise JobBusy(self._job, f"{holder}, lease until {utc(before.expires_at)}")
            owner = Owner(pid=os.getpid(), host=socket.gethostname(), since=utc(now))
            if self._write(replace(before, token=drawn(), writer=owner, renewed=0), tag):
                self._bucket.need_conditions(key_of(self._job), msgspec.json.encode(self.head))
                return
        raise JobBusy(self._job, "several want it at the same moment")

    def holds(self) -> bool:
        """Whether nobody else can have it yet."""
        now = _clocks()
        return now[0] < self._until[0] and now[1] < self._until[1]

    def renew(self, head: Head) -> bool:
        """Holds it for its whole length again, and puts what else `head` says into the head.

        False: somebody else has it. Raises StoreError; then it is held as long as it was.
        """
        return self._write(replace(head, renewed=head.renewed + 1), self._tag)

    def release(self, head: Head) -> None:
        """Lets go of it. Nothing, if it was not held. Raises StoreError; then it runs out."""
        if self._tag:
            tag, self._tag, self._until = self._tag, "", (0.0, 0.0)
            free = replace(head, token="", writer=None, expires_at=0.0, renewed=head.renewed + 1)
            self._bucket.swap(key_of(self._job), msgspec.json.encode(free), tag)

    def _write(self, head: Head, tag: str) -> bool:
        begun = _clocks()
        head = replace(head, format=FORMAT, expires_at=round(begun[1] + self._length_s, 3))
        key, data = key_of(self._job), msgspec.json.encode(head)
        new = self._bucket.swap(key, data, tag) if tag else self._bucket.create(key, data)
        if new is None:
            self._tag, self._until = "", (0.0, 0.0)
            return False
        self.head, self._tag = head, new
        self._until = (begun[0] + self._length_s, begun[1] + self._length_s)
        return True


def _clocks() -> tuple[float, float]:
    # Two, for one does not count while a machine sleeps, and the other can be set.
    return time.monotonic(), time.time()
