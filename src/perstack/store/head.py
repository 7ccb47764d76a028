"""The summary cache of one job: `head.json` beside its log.

It says what the log amounted to when it was so many bytes long and ended on such a sum. It is used only while
both are still true, so it can be stale but not wrong; whoever finds it missing, broken, from a newer version or
not about this log reads the log instead and writes it anew. Losing it loses nothing.
"""

from __future__ import annotations

import hashlib

import msgspec
from msgspec.structs import replace

from perstack._value import Value

from .chain import End
from .summary import Summary

FORMAT = 1


class Head(Value, frozen=True):
    """offset, seq, sum: the place in the log it stands for. check: SHA-256 of all the rest."""

    format: int
    offset: int
    seq: int
    sum: str
    summary: Summary
    check: str = ""


def render_head(summary: Summary, end: End) -> bytes:
    """The cache file for `summary`, which is true at `end`."""
    head = Head(format=FORMAT, offset=end.offset, seq=end.seq, sum=end.sum, summary=summary)
    return msgspec.json.encode(replace(head, check=_check(head)))


def parse_head(text: bytes, *, job: str, size_bytes: int, last_bytes: bytes) -> Summary | None:
    """What a cache file says of a log that has this size and these last bytes; None if it is not about it."""
    try:
        head = msgspec.json.decode(text, type=Head)
    except msgspec.DecodeError:
        return None
    usable = (
        head.format == FORMAT
        and head.check == _check(head)
        and head.summary.job == job
        and head.offset == size_bytes
        and bool(head.sum)
        and head.sum.encode() in last_bytes
    )
    return head.summary if usable else None


def _check(head: Head) -> str:
    return hashlib.sha256(msgspec.json.encode(replace(head, check=""))).hexdigest()
