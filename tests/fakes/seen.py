"""One request, as the server sees it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import msgspec

from .script import Heard, WireName
from .wires import Peek, Wire


class Seen:
    """What one request says. Only what is asked for is parsed.

    serial: its place among the requests of the server, from 1. path: with its query. headers: names in lower
    case. raw: the body as it came. arrived_s, answered_s: when it was there in full, and when the last bytes of
    the answer were about to be sent (0 until then), by `time.perf_counter`.
    """

    def __init__(
        self, wire: Wire, path: str, headers: Mapping[str, str], raw: bytes, serial: int
    ) -> None:
        self.dialect = wire
        self.path = path
        self.headers = headers
        self.raw = raw
        self.serial = serial
        self.arrived_s = time.perf_counter()
        self.answered_s = 0.0

    @property
    def wire(self) -> WireName:
        return self.dialect.name

    @cached_property
    def peek(self) -> Peek:
        return self.dialect.peek(self.raw, self.path)

    @property
    def model(self) -> str:
        return self.peek.model

    @property
    def stream(self) -> bool:
        return self.peek.stream

    @property
    def replies(self) -> int:
        """How often the model has replied in this conversation."""
        return self.peek.replies

    @cached_property
    def body(self) -> dict[str, Any]:
        return msgspec.json.decode(self.raw)

    @cached_property
    def system(self) -> str:
        return self.dialect.system(self.body)

    @cached_property
    def messages(self) -> tuple[Heard, ...]:
        return tuple(self.dialect.heard(self.body))

    @property
    def query(self) -> str:
        """The first thing said to the model."""
        return self.messages[0].text

    @cached_property
    def tools(self) -> tuple[str, ...]:
        """Names of the tools offered."""
        return tuple(self.dialect.tools(self.body))

    def __repr__(self) -> str:
        return f"Seen({self.serial}, {self.wire}, {self.model}, replies={self.replies})"
