"""A log as bytes: what a store has read or written of it so far, and what comes next. No I/O.

A line is in the log once its newline is. Bytes after the last newline are a *tail*: the line of an event that
is being written now, or was when its process or its machine ended. Nobody was told that it is in the log.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import NamedTuple

from msgspec.structs import replace

from perstack.errors import CorruptLog
from perstack.job import Event, JobStarted, decode_event, encode_event

_SUM_MEMBER = re.compile(rb',"sum":"[0-9a-f]{64}"\}')  # how every whole line ends, see job/wire.py


class End(NamedTuple):
    """A place between two lines. offset: bytes before it. seq, sum, at: of the event before it."""

    offset: int = 0
    seq: int = 0
    sum: str = ""
    at: float = 0.0


def line_after(end: End, event: Event, now: float) -> tuple[Event, bytes, End]:
    """`event` with its place after `end`, its line, newline included, and the place after that.

    now: seconds since 1970 UTC, for an event that brings no time; in a log time never goes back.
    """
    at = event.at or max(round(now, 3), end.at)
    placed = replace(event, seq=end.seq + 1, at=at)
    line, total = encode_event(placed, end.sum)
    return placed, line, End(end.offset + len(line), placed.seq, total, at)


def events_in(data: bytes, start: End, *, job: str, path: str) -> tuple[list[Event], End, bytes]:
    """The events whose lines are whole in `data`, the place after them, and the tail.

    data: what stands in the log from `start` on. path: the log's name, for the error. Raises CorruptLog.
    """
    lines = data.split(b"\n")
    tail = lines.pop()
    end = start
    events: list[Event] = []
    for line in lines:
        event, end = _next(line, end, job=job, path=path)
        events.append(event)
    return events, end, tail


def event_of_tail(tail: bytes, end: End, *, job: str, path: str) -> tuple[Event, End] | None:
    """The event of a tail that lacks its newline and nothing else, and the place after that newline.

    None if it is torn. Raises CorruptLog if anything but a newline follows a whole event: we never wrote that.
    """
    for sum_member in _SUM_MEMBER.finditer(tail):
        line, more = tail[: sum_member.end()], tail[sum_member.end() :]
        with suppress(CorruptLog):
            event, after = _next(line, end, job=job, path=path)
            if not more:
                return event, after
            break
    else:
        return None
    raise CorruptLog(path, end.seq + 1, f"it is followed by {more[:1]!r} where its newline was")


def _next(line: bytes, end: End, *, job: str, path: str) -> tuple[Event, End]:
    seq = end.seq + 1
    event, total = decode_event(line, end.sum, path=path, seq=seq)
    if event.seq != seq:
        raise CorruptLog(path, seq, f"it calls itself event {event.seq}")
    if isinstance(event, JobStarted) and event.job != job:
        raise CorruptLog(path, seq, f"it belongs to job {event.job}, but lies where {job} should")
    return event, End(end.offset + len(line) + 1, seq, total, event.at)
