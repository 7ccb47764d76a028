"""A log in pieces: objects named by the number of their first event. See objects.py."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from perstack.errors import CorruptLog
from perstack.job import Event

from .chain import End, events_in

if TYPE_CHECKING:
    from .bucket import Bucket

AT_ONCE = 16
"""Requests of one process at a time."""


class Segment(NamedTuple):
    """A stored piece of a log. first: `seq` of its first event."""

    first: int
    size_bytes: int


NONE = Segment(0, 0)
"""What a log without events ends in."""


class Stored(NamedTuple):
    """A log as it is stored. last: its last segment."""

    events: list[Event]
    end: End
    last: Segment


def folder_of(job: str) -> str:
    """What the keys of a job's segments begin with."""
    return f"jobs/{job}/log/"


def name_of(first: int) -> str:
    """The name of the segment that begins with event `first`; names sort as numbers do."""
    return f"{first:012d}.jsonl"


def segments_of(bucket: Bucket, job: str, first: int = 1) -> list[Segment]:
    """The segments of a log from the one that begins with event `first`. Raises StoreError."""
    found = bucket.listed(folder_of(job), after=name_of(first - 1))
    return [Segment(_first_of(name), size) for name, size, _ in found if _first_of(name)]


def load_log(bucket: Bucket, job: str) -> Stored:
    """All of a log. Raises CorruptLog, StoreError."""
    events: list[Event] = []
    end = End()
    last = NONE
    for last, data in _pieces(bucket, job):
        if data is None or last.first != end.seq + 1:
            path = path_of(bucket, job, end.seq + 1)
            raise CorruptLog(path, end.seq + 1, "it is missing, and later ones are there")
        more, end = events_of(bucket, job, data, end)
        events.extend(more)
    return Stored(events, end, last)


def load_bytes(bucket: Bucket, job: str) -> bytes:
    """The segments of a log, one after the other, unread. Raises StoreError."""
    return b"".join([data or b"" for _, data in _pieces(bucket, job)])


def _pieces(bucket: Bucket, job: str) -> list[tuple[Segment, bytes | None]]:
    segments = segments_of(bucket, job)

    def load(segment: Segment) -> bytes | None:
        return load_segment(bucket, job, segment.first, segment.size_bytes)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(zip(segments, threads.map(load, segments), strict=True))


def load_segment(
    bucket: Bucket, job: str, first: int, size_bytes: int | None = None
) -> bytes | None:
    """The bytes of one segment, None if there is none that begins with event `first`. Raises StoreError."""
    there = bucket.get(folder_of(job) + name_of(first), size_bytes)
    return None if there is None else there.data


def events_of(bucket: Bucket, job: str, data: bytes, end: End) -> tuple[list[Event], End]:
    """The events of the segment that follows `end`, and the end then. Raises CorruptLog."""
    path = path_of(bucket, job, end.seq + 1)
    events, after, tail = events_in(data, end, job=job, path=path)
    if tail or not events:
        raise CorruptLog(path, after.seq + 1, "its line is not whole")
    return events, after


def path_of(bucket: Bucket, job: str, first: int) -> str:
    """How errors call a segment."""
    return f"{bucket.url}/{folder_of(job)}{name_of(first)}"


def _first_of(name: str) -> int:
    """The number of the first event in a segment of this name; 0 if it is none of ours."""
    number = name.removesuffix(".jsonl")
    return int(number) if number.isdecimal() and name == name_of(int(number)) else 0
