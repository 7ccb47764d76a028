"""Server-sent events: bytes as they arrive → events. Nothing is assumed of where the bytes are cut."""

from __future__ import annotations

from perstack.errors import ModelError

MAX_EVENT = 32 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class EventStream:
    """One stream of events. What comes after the last blank line is not an event and is never given out."""

    __slots__ = ("_data", "_name", "_pending", "_size", "_start", "_swallow")

    def __init__(self) -> None:
        self._start: bytes | None = b""
        self._swallow = False  # the last byte was a CR: a LF that follows belongs to it
        self._pending: list[bytes] = []
        self._size = 0
        self._data: list[bytes] = []
        self._name = ""

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """The events that `data` completes: name ("" if unnamed) and data, its lines joined by LF.

        Raises ModelError for an event of more than 32 MiB.
        """
        if self._start is not None:
            data = self._start + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._start = data
                return []
            self._start = None
            data = data.removeprefix(_BOM)
        if self._swallow and data:
            self._swallow = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            self._swallow = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

        lines = data.split(b"\n")
        rest = lines.pop()
        events: list[tuple[str, bytes]] = []
        if lines:
            if self._pending:
                lines[0] = b"".join((*self._pending, lines[0]))
                self._pending.clear()
            for line in lines:
                self._take(line, events)
        if rest:
            self._pending.append(rest)
            self._grow(len(rest))
        return events

    def _take(self, line: bytes, events: list[tuple[str, bytes]]) -> None:
        if not line:
            if self._data:
                events.append((self._name, b"\n".join(self._data)))
                self._data = []
            self._name = ""
            self._size = 0
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._grow(len(value))
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
        # else: a comment, `id` or `retry`, which mean nothing to one request

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_EVENT:
            raise ModelError(
                f"the provider sent an event of more than {MAX_EVENT >> 20} MiB",
                name="StreamBroken",
            )
