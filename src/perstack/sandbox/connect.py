"""What a client asks of a proxy: the head of a CONNECT request, read strictly. Pure.

Whatever two readers could understand differently is refused: bare line ends, folded or odd headers, a body.
"""

from __future__ import annotations

import re
from typing import NamedTuple

HEAD_MAX = 16 * 1024
"""Bytes the head of a request may have."""

_LINE = re.compile(rb"([!-~]+) ([!-~\x80-\xff]+) HTTP/1\.[01]")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t\x20-\x7e\x80-\xff]*")
_PLACE = re.compile(r"(\[[^\]]*\]|[^\[\]:]*):([0-9]{1,5})")


class BadRequest(ValueError):
    """Not a request for a way through. The text says why."""


class Wanted(NamedTuple):
    """Where a client wants to go. host: as it was sent."""

    host: str
    port: int


def wanted_in(head: bytes) -> Wanted:
    """What is asked for in `head`: from the first byte to the empty line, without it. Raises BadRequest."""
    line, *headers = head.split(b"\r\n")
    parts = _LINE.fullmatch(line)
    if parts is None:
        raise BadRequest("not an HTTP request")
    if parts[1] != b"CONNECT":
        raise BadRequest("only CONNECT is answered here; plain HTTP does not get out")
    for header in headers:
        named = _HEADER.fullmatch(header)
        if named is None:
            raise BadRequest("a malformed header")
        if named[1].lower() in (b"transfer-encoding", b"content-length"):
            raise BadRequest("a CONNECT request has no body")
    place = _PLACE.fullmatch(parts[2].decode("latin-1"))
    if place is None or not 0 < int(place[2]) < 65536:
        raise BadRequest("not a host and a port")
    return Wanted(place[1], int(place[2]))
