"""Recorded-style answers fed to a decoder: whole, byte by byte, and cut off after each event."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from perstack.errors import ModelError
from perstack.job import History, said
from perstack.models.model import Delta, Reply, Request, ToolSpec
from perstack.models.sse import EventStream
from perstack.models.wires.wire import Wire

Event = dict[str, Any] | str


def request(model: str = "m", *tools: str) -> Request:
    """A request with these tools, as the decoder needs to know it."""
    return Request(
        model=model,
        instruction="",
        history=History([said("hi")]),
        tools=tuple(ToolSpec(name=name, description="", schema={}) for name in tools),
    )


def sse(events: Iterable[Event], *, named: bool = False) -> bytes:
    """The events as they go over the wire. named: each with its type before it."""
    lines: list[bytes] = []
    for event in events:
        if named and isinstance(event, dict):
            lines.append(b"event: " + str(event["type"]).encode() + b"\n")
        data = event.encode() if isinstance(event, str) else msgspec.json.encode(event)
        lines.append(b"data: " + data + b"\n\n")
    return b"".join(lines)


def decoded(
    wire: Wire, pieces: Iterable[bytes], asked: Request | None = None
) -> tuple[Reply, list[Delta]]:
    """The reply, and what was heard of it."""
    stream, decoder = EventStream(), wire.decoder(asked or request())
    deltas = [
        delta
        for piece in pieces
        for event, data in stream.feed(piece)
        for delta in decoder.feed(event, data)
    ]
    return decoder.reply(), deltas


def reply_of(wire: Wire, events: Iterable[Event], asked: Request | None = None) -> Reply:
    return decoded(wire, [sse(events)], asked)[0]


def error_of(wire: Wire, events: Iterable[Event]) -> ModelError:
    """The error this answer ends in."""
    try:
        reply = reply_of(wire, events)
    except ModelError as error:
        return error
    raise AssertionError(f"no error but {reply}")


def same_in_bytes(wire: Wire, answer: bytes) -> bool:
    """Whether the answer means the same when each byte comes alone."""
    return decoded(wire, [answer]) == decoded(
        wire, [answer[place : place + 1] for place in range(len(answer))]
    )


def complete_after(wire: Wire, events: Sequence[Event]) -> int:
    """After how many events the reply is there; before, the stream counts as broken and may be tried again."""
    broken = [length for length in range(len(events) + 1) if _is_broken(wire, events[:length])]
    assert broken == list(range(len(broken)))
    return len(broken)


def _is_broken(wire: Wire, events: Iterable[Event]) -> bool:
    try:
        reply_of(wire, events)
    except ModelError as error:
        return error.name == "StreamBroken" and error.retryable
    return False
