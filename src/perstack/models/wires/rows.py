"""A conversation as encoded messages, where what tools showed comes after the last of a row of results.

An API that takes no images inside a result wants them in a message of their own, and wants no message
between the results of one turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from perstack.job import History, Message, ToolMessage

from ..history import Repair
from .wire import Pieces

Close = Callable[[list[bytes], list[bytes]], Iterable[bytes]]
"""The messages for a row of results and for what they showed. Neither list is kept or changed."""


class Rows:
    """Repaired messages go in, their bytes come out.

    encode: one message; for a result its bytes and, after a line break (JSON as we write it holds none), what
    it showed. Empty bytes are not sent. reader: the provider, where it can read what its own tools did.
    """

    def __init__(self, encode: Callable[[Message], bytes], close: Close, reader: str = "") -> None:
        self._repair = Repair(reader)
        self._encode = encode
        self._close = close
        self._row: list[bytes] = []
        self._results: list[bytes] = []
        self._shown: list[bytes] = []

    def add(self, message: Message) -> None:
        for sent in self._repair.add(message):
            self._put(sent, self._row)

    def whole(self) -> list[bytes]:
        """All that is sent as the conversation stands. A new list each time."""
        results, shown, row = list(self._results), list(self._shown), list(self._row)
        for sent in self._repair.rest():
            self._put(sent, row)
        row.extend(self._close(self._results, self._shown))
        self._results, self._shown = results, shown
        return row

    def _put(self, message: Message, row: list[bytes]) -> None:
        piece = self._encode(message)
        if isinstance(message, ToolMessage):
            result, _, media = piece.partition(b"\n")
            self._results.append(result)
            if media:
                self._shown.append(media)
            return
        if self._results:
            row.extend(self._close(self._results, self._shown))
            self._results, self._shown = [], []
        if piece:
            row.append(piece)


def rows_of(
    pieces: Pieces,
    history: History,
    encode: Callable[[Message], bytes],
    close: Close,
    key: object,
    reader: str = "",
) -> list[bytes]:
    """The messages to send of `history`; only those new since the last request are encoded.

    key: what `encode` depends on besides the message. reader: as for `Rows`.
    """
    return pieces.follow(history, lambda: Rows(encode, close, reader), key).whole()
