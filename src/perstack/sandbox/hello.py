"""The name a TLS client asks for, read from the first bytes it sends. Pure.

Only the shape is read that every TLS 1.x client sends: records of handshake type that together hold one
ClientHello. What is not that is refused, so whoever reads it later can hardly read another name in it.
"""

from __future__ import annotations

from typing import NamedTuple

HELLO_MAX = 64 * 1024
"""Bytes a ClientHello may have. Those of browsers have one or two thousand."""

RECORDS_MAX = 256
"""Records it may come in. Clients use one or two; it is read anew with each piece that arrives, so that many
small ones would cost much time."""

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_RECORD_MAX = 16 * 1024
_SERVER_NAME, _ENCRYPTED_HELLO = 0, 0xFE0D
_HOST_NAME = 0


class NotTls(ValueError):
    """These bytes are no ClientHello. The text says why."""


class Hello(NamedTuple):
    """name: the server's, as sent; "" if none was. encrypted: a part of it is (ECH), and may hold another name."""

    name: str
    encrypted: bool


def hello_in(data: bytes) -> Hello | None:
    """The ClientHello with which `data` begins; None if more bytes are needed. Raises NotTls."""
    message = bytearray()
    at = 0
    for _ in range(RECORDS_MAX + 1):
        if message[:1] and message[0] != _CLIENT_HELLO:
            raise NotTls("no ClientHello")
        if len(message) >= 4:
            size = 4 + int.from_bytes(message[1:4])
            if size > HELLO_MAX:
                raise NotTls("the ClientHello is too long")
            if len(message) >= size:
                return _parsed(bytes(message[4:size]))
        head = data[at : at + 5]
        if head[:1] not in (b"", b"\x16") or head[1:2] not in (b"", b"\x03"):
            raise NotTls("not TLS")
        if len(head) < 5:
            return None
        size = int.from_bytes(head[3:])
        if not 0 < size <= _RECORD_MAX:
            raise NotTls("not TLS")
        if len(data) < at + 5 + size:
            return None
        message += data[at + 5 : at + 5 + size]
        at += 5 + size
    raise NotTls("the ClientHello comes in too many pieces")


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.left = data

    def take(self, count: int) -> bytes:
        if count > len(self.left):
            raise NotTls("the ClientHello is cut off")
        taken, self.left = self.left[:count], self.left[count:]
        return taken

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width))

    def vector(self, width: int) -> bytes:
        """What comes after its own length, a number of `width` bytes."""
        return self.take(self.number(width))


def _parsed(body: bytes) -> Hello:
    reader = _Reader(body)
    reader.take(2 + 32)  # version, random
    reader.vector(1)  # session id
    reader.vector(2)  # cipher suites
    reader.vector(1)  # compression methods
    extensions = _Reader(reader.vector(2) if reader.left else b"")
    if reader.left:
        raise NotTls("the ClientHello has something after its end")
    found: dict[int, bytes] = {}
    while extensions.left:
        kind = extensions.number(2)
        if kind in found:
            raise NotTls("the ClientHello says something twice")
        found[kind] = extensions.vector(2)
    name = _server_name(found[_SERVER_NAME]) if _SERVER_NAME in found else ""
    return Hello(name, _ENCRYPTED_HELLO in found)


def _server_name(extension: bytes) -> str:
    outer = _Reader(extension)
    entries = _Reader(outer.vector(2))
    kind = entries.number(1)
    name = entries.vector(2)
    if kind != _HOST_NAME or entries.left or outer.left:
        raise NotTls("the ClientHello does not name one server")
    try:
        return name.decode("ascii")
    except UnicodeDecodeError as error:
        raise NotTls("the server's name is not ASCII") from error
