"""Streams of Anthropic's Messages API, written by hand after its reference."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

Event = dict[str, Any]


def sse(events: Iterable[Event]) -> bytes:
    """The events as they go over the wire."""
    return b"".join(
        b"event: %s\ndata: %s\n\n" % (event["type"].encode(), msgspec.json.encode(event))
        for event in events
    )


def started(**usage: int) -> Event:
    return {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-5-5",
            "content": [],
            "stop_reason": None,
            "usage": {"input_tokens": 10, "output_tokens": 1, **usage},
        },
    }


def block(index: int, begun: Event, *deltas: Event) -> list[Event]:
    return [
        {"type": "content_block_start", "index": index, "content_block": begun},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index: int, *pieces: str) -> list[Event]:
    return block(
        index,
        {"type": "text", "text": ""},
        *({"type": "text_delta", "text": piece} for piece in pieces),
    )


def thinking(index: int, *pieces: str, signature: str = "sig") -> list[Event]:
    return block(
        index,
        {"type": "thinking", "thinking": "", "signature": ""},
        *({"type": "thinking_delta", "thinking": piece} for piece in pieces),
        {"type": "signature_delta", "signature": signature},
    )


def call(index: int, id: str, name: str, *pieces: str) -> list[Event]:
    return block(
        index,
        {"type": "tool_use", "id": id, "name": name, "input": {}},
        *({"type": "input_json_delta", "partial_json": piece} for piece in pieces),
    )


def ended(reason: str, **more: Any) -> list[Event]:
    usage: dict[str, Any] = {"output_tokens": 42, **more.pop("usage", {})}
    delta = {"stop_reason": reason, "stop_sequence": None, **more}
    return [
        {"type": "message_delta", "delta": delta, "usage": usage},
        {"type": "message_stop"},
    ]


PING: Event = {"type": "ping"}

SPEAKS: list[Event] = [
    started(cache_read_input_tokens=100, cache_creation_input_tokens=20),
    PING,
    *text(0, "Hello", ", ", "wörld ✓"),
    *ended("end_turn"),
]

CALLS: list[Event] = [
    started(),
    *thinking(0, "Two ", "files."),
    *text(1, "Reading both."),
    PING,
    *call(2, "toolu_a", "readTextFile", '{"pa', 'th": "a.t', 'xt"}'),
    *call(3, "toolu_b", "readTextFile", "", '{"path": "b.txt"}'),
    *call(4, "toolu_c", "todo"),
    *ended("tool_use", usage={"output_tokens_details": {"thinking_tokens": 7}}),
]
