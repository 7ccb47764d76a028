"""One HTTP answer, parsed as it arrives. No I/O: bytes in, and the body handed on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from perstack.errors import ModelError

if TYPE_CHECKING:
    from httptools import HttpResponseParser

MAX_HEAD = 64 * 1024
MAX_ERROR_BODY = 1024 * 1024
MAX_ANSWER = 256 * 1024 * 1024


class Answer:
    """An answer as it is parsed. `take` gets the bytes of a stream of events; any other body is kept."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.begun = False
        self.complete = False
        self.reusable = False
        self.foreign = False
        self.error_body = b""
        self._take = take
        self._chunks: list[bytes] = []
        self._size = 0
        self._framed = False
        self._headed = False
        self._parser = _parser(self)

    def feed(self, data: bytes) -> None:
        """Take the next bytes from the connection. Raises ModelError if they are not HTTP, or too much."""
        import httptools

        self.begun = True
        self._size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            # What follows a whole answer only makes the connection useless
            if not self.complete:
                raise broken(f"the answer is not HTTP: {error}") from error
            self.reusable = False
        if not self._headed:
            if self._size > MAX_HEAD:
                raise broken(f"the answer's head is longer than {MAX_HEAD >> 10} KiB")
            return
        if self._chunks:
            body = b"".join(self._chunks)
            self._chunks.clear()
            if self.foreign or not 200 <= self.status < 300:
                self._keep(body)
            else:
                self._take(body)
        if self._size > MAX_ANSWER:
            raise broken(f"the answer is longer than {MAX_ANSWER >> 20} MiB")

    def end(self) -> None:
        """The connection was closed. Raises ModelError unless that is how this answer ends."""
        if self.complete:
            return
        if not self._headed:
            raise broken("the connection was closed before there was an answer")
        if self._framed:
            raise broken("the connection was closed in the middle of the answer")
        self.complete = True

    def release(self) -> None:
        """Nothing more will be fed. The parser and its answer know each other; this parts them."""
        del self._parser

    def _keep(self, body: bytes) -> None:
        room = MAX_ERROR_BODY - len(self.error_body)
        self.error_body += body[:room]
        if len(body) > room:
            self.complete = True  # enough to say what went wrong; the connection is not used again
            self.reusable = False

    # called by the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self.headers.clear()  # an interim answer; the real one follows
            return
        self.status = status
        self._headed = True
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        self.foreign = kind in ("text/html", "application/json", "application/xml")
        self._framed = "content-length" in self.headers or "transfer-encoding" in self.headers
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            self.foreign = True

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        if self._headed:
            self.complete = True
            self.reusable = self._parser.should_keep_alive()


def _parser(answer: Answer) -> HttpResponseParser:
    import httptools

    return httptools.HttpResponseParser(answer)


def broken(what: str) -> ModelError:
    """The error for an answer that did not come whole."""
    return ModelError(what, name="StreamBroken", retryable=True)
