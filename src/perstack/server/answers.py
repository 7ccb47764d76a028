"""Answers about one version that were given last, ready to be given again."""

from __future__ import annotations

from collections import OrderedDict

from .storage.rows import Found

LIMIT = 32 * 1024 * 1024
"""Bytes of bodies that one process keeps: some ten thousand answers."""


class Answers:
    """Bodies by version and revision, which is what their ETags stand for.

    Who asks has just read the version's row, and judged by it whether it may be seen. So nothing here can be out
    of date, whichever process changed the version: its revision is another then. Beyond `limit` bytes, what was
    not asked for the longest goes.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._bodies: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._size = 0

    def get(self, found: Found) -> bytes | None:
        """The body of the answer about this version as it is now, None if it is not kept."""
        key = (found.version.n, found.revision)
        body = self._bodies.get(key)
        if body is not None:
            self._bodies.move_to_end(key)
        return body

    def keep(self, found: Found, body: bytes) -> None:
        key = (found.version.n, found.revision)
        self._size += len(body) - len(self._bodies.pop(key, b""))
        self._bodies[key] = body
        while self._size > self._limit:
            _, gone = self._bodies.popitem(last=False)
            self._size -= len(gone)
