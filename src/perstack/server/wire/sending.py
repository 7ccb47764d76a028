"""How answers leave: head and body together.

Uvicorn writes the head of an answer, then its body, and its event loop sends each at once: two system calls, two
packets, and a client that is woken for half an answer. Here, what is written in one turn of the loop is sent once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Gathering:
    """A transport that sends what was written once the loop has its next turn, or before it closes."""

    def __init__(self, transport: Any, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._transport = transport
        self._call_soon = call_soon
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not data:
            return
        if not self._parts:
            self._call_soon(self._send)
        self._parts.append(data)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        parts, self._parts = self._parts, []
        if parts and not self._transport.is_closing():
            self._transport.writelines(parts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Protocol(HttpToolsProtocol):
    """Uvicorn's HTTP/1.1, whose answers are gathered."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        gathering: Any = Gathering(transport, self.loop.call_soon)
        self.transport = gathering
