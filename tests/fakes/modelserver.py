"""A model server on 127.0.0.1 that says what a script tells it to.

It speaks Anthropic Messages, OpenAI Chat Completions, OpenAI Responses and Gemini generateContent, streaming
and not, on one port; the path decides. Base URLs: `url` for Anthropic and Gemini, `url + "/v1"` for OpenAI
(each also takes the other form). The official SDKs accept what it says, and it refuses what the providers
would.

    with ModelServer([Calls([("readTextFile", {"path": "a.md"})]), Says("done")]) as server: ...
    async with ModelServer(script) as server: ...               # on any async backend
    python -m tests.fakes.modelserver --script steps:10         # prints its URL, serves until terminated

The server runs in a thread with a loop of its own, so that a test, a subprocess and a benchmark meet the same
one. It is light: one process serves a thousand conversations at once.
"""

from __future__ import annotations

import argparse
import asyncio  # noqa: TID251  # the server has a loop of its own, whatever the test's backend
import json
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.to_thread
import msgspec

from .script import (
    Breaks,
    Calls,
    Fails,
    Hangs,
    Heard,
    Reply,
    Says,
    Script,
    Tokens,
    Turn,
    in_order,
    script_named,
)
from .seen import Seen
from .wires import Fault, Wire, wire_of

__all__ = [
    "Breaks",
    "Calls",
    "Fails",
    "Hangs",
    "Heard",
    "ModelServer",
    "Says",
    "Script",
    "Seen",
    "Tokens",
    "Turn",
    "script_named",
]


class ModelServer:
    """The server. Serves between entering and leaving; leaving raises what a script function raised.

    script: turns in order, a function, or the name of a ready one.
    delay_s: pause before the first byte of each answer. strict: refuse with 400 what the provider would refuse.
    record: keep every request in `requests`. shred: send bodies in pieces of so many bytes.
    port: 0 is any free one.
    """

    def __init__(
        self,
        script: Script | Sequence[Turn] | str,
        *,
        delay_s: float = 0.0,
        strict: bool = True,
        record: bool = True,
        shred: int | None = None,
        port: int = 0,
    ) -> None:
        if isinstance(script, str):
            self.script = script_named(script)
        elif callable(script):
            self.script = script
        else:
            self.script = in_order(script)
        self.delay_s = delay_s
        self.strict = strict
        self.shred = shred
        self.url = ""
        self.requests: list[Seen] = []
        self.refusals: list[str] = []
        self.abandoned = 0
        self.connections = 0
        self.serial = 0
        self.first_s = 0.0
        self.transports: set[asyncio.Transport] = set()
        self.raised: Exception | None = None
        self._record = record
        self._port = port
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="fake-models", daemon=True)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The parsed body of every request, in order of arrival."""
        return [request.body for request in self.requests]

    def wait_until(self, condition: Callable[[ModelServer], bool], timeout_s: float = 5.0) -> None:
        """Return when `condition` holds: looked at after every request and every connection lost."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), timeout_s):
                raise TimeoutError(f"waited {timeout_s:g} s; requests: {self.requests}")

    async def until(self, condition: Callable[[ModelServer], bool], timeout_s: float = 5.0) -> None:
        """The same in a coroutine."""
        await anyio.to_thread.run_sync(lambda: self.wait_until(condition, timeout_s))

    def changed(self, change: Callable[[], None]) -> None:
        """Make a change that somebody may be waiting for."""
        with self._changed:
            change()
            self._changed.notify_all()

    def answer(self, asked: Seen) -> Turn | Fault:
        """What to say to a request; a Fault is the provider's refusal."""

        def note() -> None:
            self.serial = asked.serial
            self.first_s = self.first_s or asked.arrived_s
            if self._record:
                self.requests.append(asked)

        self.changed(note)
        if self.strict and (fault := self._fault(asked)):
            self.refusals.append(fault.message)
            return fault
        try:
            return self.script(asked)
        except Exception as error:
            self.raised = error
            return Fault(400, f"the script raised {error!r}")

    def _fault(self, asked: Seen) -> Fault | None:
        try:
            return asked.dialect.fault(asked.body, asked.headers, asked.path)
        except (KeyError, TypeError, AttributeError, msgspec.DecodeError) as error:
            return Fault(400, f"malformed request: {error!r}")

    def _serve(self) -> None:
        self._loop.run_forever()

    async def _open(self) -> asyncio.Server:
        server = await self._loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self._port, backlog=4096
        )
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    async def _close(self) -> None:
        self._server.close()
        for transport in tuple(self.transports):
            transport.abort()
        await asyncio.sleep(0)  # the transports close their sockets in the loop's next turn

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self.raised is not None and error is None:
            raise self.raised

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)


_SSE = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_END = b"0\r\n\r\n"
_REASONS = {
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    404: b"Not Found",
    429: b"Too Many Requests",
}


class _Connection(asyncio.Protocol):
    """One connection: requests one after another, each answered before the next is read."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self._head: tuple[str, dict[str, str]] | None = None
        self._left = 0
        self._answering = False
        self._asked: Seen | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.transports.add(transport)
        self._server.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.transports.discard(self._transport)
        if self._timer:
            self._timer.cancel()

        def note() -> None:
            self._server.abandoned += self._answering

        self._server.changed(note)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._answering:
            self._next()

    def _next(self) -> None:
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
            del self._buffer[: end + 4]
            pairs = (line.partition(":") for line in lines)
            headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
            self._head = (first.split(" ")[1], headers)
            self._left = int(headers.get("content-length", 0))
        if len(self._buffer) < self._left:
            return
        raw = bytes(self._buffer[: self._left])
        del self._buffer[: self._left]
        (path, headers), self._head = self._head, None
        self._answering = True
        self._answer(path, headers, raw)

    def _answer(self, path: str, headers: dict[str, str], raw: bytes) -> None:
        wire = wire_of(path)
        if wire is None or headers.get("transfer-encoding"):
            self._whole(
                404 if wire is None else 411, {"error": {"message": f"nothing here at {path}"}}
            )
            return
        asked = self._asked = Seen(wire, path, headers, raw, self._server.serial + 1)
        match self._server.answer(asked):
            case Fault(status=status, message=message):
                self._whole(status, wire.error(status, message))
            case turn:
                pause = self._server.delay_s if turn.after_s is None else turn.after_s
                if pause:
                    self._later(pause, lambda: self._take(turn, wire, asked))
                else:
                    self._take(turn, wire, asked)

    def _take(self, turn: Turn, wire: Wire, asked: Seen) -> None:
        try:
            self._tell(turn, wire, asked)
        except Exception as error:  # a turn that this wire cannot tell
            self._server.raised = error
            self._transport.abort()

    def _tell(self, turn: Turn, wire: Wire, asked: Seen) -> None:
        match turn:
            case Says() | Calls() if asked.stream:
                self._stream(wire.events(turn, asked.peek, asked.serial), turn.between_s, self._end)
            case Says() | Calls():
                self._whole(200, wire.whole(turn, asked.peek, asked.serial))
            case Fails(after_events=int(count), of=reply):
                events = [
                    *wire.events(reply, asked.peek, asked.serial)[:count],
                    wire.error_event(turn.status, turn.message),
                ]
                self._stream(events, turn.between_s, self._end)
            case Fails():
                body = wire.error(turn.status, turn.message) if turn.body is None else turn.body
                self._whole(turn.status, body, turn.headers)
            case Breaks(politely=politely):
                self._begin(turn, wire, asked, self._end if politely else self._transport.close)
            case Hangs():
                self._begin(turn, wire, asked, lambda: None)

    def _begin(
        self, turn: Breaks | Hangs, wire: Wire, asked: Seen, then: Callable[[], None]
    ) -> None:
        reply: Reply = turn.of
        if turn.after_events == 0 and then != self._end:
            then()
        elif asked.stream:
            events = wire.events(reply, asked.peek, asked.serial)[: turn.after_events]
            self._stream(events, turn.between_s, then)
        else:  # half of the document
            body = msgspec.json.encode(wire.whole(reply, asked.peek, asked.serial))
            self._send(_head(200, len(body), {}) + body[: len(body) // 2])
            (self._transport.close if then == self._end else then)()

    def _stream(self, events: list[bytes], between_s: float, then: Callable[[], None]) -> None:
        if size := self._server.shred:
            joined = b"".join(events)
            events = [joined[start : start + size] for start in range(0, len(joined), size)]
        chunks = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
        if not between_s and then == self._end:
            self._send(_SSE + b"".join(chunks) + _END)
            self._done()
            return
        if not between_s:
            self._send(_SSE + b"".join(chunks))
            then()
            return
        self._send(_SSE)
        rest = iter(chunks)

        def one_more() -> None:
            chunk = next(rest, None)
            if chunk is None:
                then()
            else:
                self._send(chunk)
                self._later(between_s, one_more)

        one_more()

    def _send(self, data: bytes) -> None:
        if self._asked is not None:
            self._asked.answered_s = time.perf_counter()
        self._transport.write(data)

    def _end(self) -> None:
        self._send(_END)
        self._done()

    def _whole(
        self, status: int, body: Mapping[str, Any] | str, headers: Mapping[str, str] | None = None
    ) -> None:
        told = (
            body.encode()
            if isinstance(body, str)
            else json.dumps(body, ensure_ascii=False).encode()
        )
        self._send(_head(status, len(told), headers or {}) + told)
        self._done()

    def _done(self) -> None:
        self._answering = False
        if self._buffer:
            self._next()

    def _later(self, pause_s: float, then: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(pause_s, then)


def _head(status: int, size: int, headers: Mapping[str, str]) -> bytes:
    lines = {"content-type": "application/json", "content-length": str(size)} | dict(headers)
    told = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, _REASONS.get(status, b"Status"), told.encode())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.modelserver", description=__doc__)
    parser.add_argument("--script", required=True, help=script_named.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--lax", action="store_true", help="check nothing, for benchmarks")
    given = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    stop = threading.Event()

    def end(number: int, frame: object) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    with ModelServer(
        given.script, delay_s=given.delay, strict=not given.lax, record=False, port=given.port
    ) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        stop.wait()


if __name__ == "__main__":
    main()
