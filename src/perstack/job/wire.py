"""Event ↔ line of a log.

A line is the event as compact JSON whose last member is `sum`: the SHA-256, in hex, of the sum of the line
before it (nothing for the first) followed by the event's JSON without `sum`. So the lines form a chain: a byte
changed anywhere, a line lost, moved or added is found, and named, by reading.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from perstack.errors import CorruptLog

from .events import FORMAT, Event, JobStarted

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Event)
_HEAD, _TAIL = b',"sum":"', b'"}'
_SUM = len(_HEAD) + 64 + len(_TAIL)


def encode_event(event: Event, previous: str = "") -> tuple[bytes, str]:
    """The line of `event`, newline included, and its sum. previous: the sum of the line before it."""
    body = _ENCODER.encode(event)
    total = _sum(previous, body)
    return body[:-1] + _HEAD + total.encode() + _TAIL + b"\n", total


def decode_event(
    line: bytes, previous: str = "", *, path: str = "log", seq: int = 0
) -> tuple[Event, str]:
    """The event of one line (without its newline) and its sum.

    path, seq: where the line stands, for the error. Raises CorruptLog.
    """
    head, stated = line[:-_SUM], line[-_SUM:]
    if not (stated.startswith(_HEAD) and stated.endswith(_TAIL)):
        raise CorruptLog(path, seq, "it does not end with its sum")
    body = head + b"}"
    total = stated[len(_HEAD) : -len(_TAIL)].decode("ascii", "replace")
    if total != _sum(previous, body):
        raise CorruptLog(
            path, seq, "it was changed, or the line before it was: the sum does not match"
        )
    try:
        event = _DECODER.decode(body)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise CorruptLog(path, seq, f"this version cannot read it: {error}") from error
    if isinstance(event, JobStarted) and event.format > FORMAT:
        raise CorruptLog(path, seq, f"log format {event.format}; this version reads up to {FORMAT}")
    return event, total


def decode_events(lines: Iterable[bytes], path: str = "log") -> tuple[tuple[Event, ...], str]:
    """All events of a log in order, and the last sum. Raises CorruptLog at the first line that is wrong."""
    events: list[Event] = []
    total = ""
    for seq, line in enumerate(lines, 1):
        event, total = decode_event(line, total, path=path, seq=seq)
        if event.seq != seq:
            raise CorruptLog(path, seq, f"it calls itself event {event.seq}")
        events.append(event)
    return tuple(events), total


def _sum(previous: str, body: bytes) -> str:
    digest = hashlib.sha256(previous.encode())
    digest.update(body)
    return digest.hexdigest()
