"""What a wire is: one provider family's HTTP format, as two pure things.

`encode` turns a Request into the body of one POST; a `Decoder` turns the server-sent events of the answer
into deltas and, at the end, one Reply. A wire opens no connection and keeps nothing between requests.

A conversation grows at its end, so its messages are encoded once: `Pieces` remembers the bytes of each, and
`encode` joins bytes. Whatever depends on a message's place (the rolling cache mark) is added when joining.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from typing import Literal, Protocol

import msgspec

from perstack.definition import ProviderAccess
from perstack.errors import ModelError
from perstack.job import Message

from ..model import Delta, Reply, Request

ReasoningStyle = Literal["none", "budget", "adaptive", "effort", "level", "switch"]
"""How a model is told to think: not at all · a token budget · adaptive with an effort · an effort word ·
a level word · on or off."""


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one model. None: not known.

    context_window, max_output: tokens. reasoning: how thinking is asked for; always_thinks: it cannot be
    switched off. ends: the day the provider stops serving it.
    """

    model: str
    context_window: int | None = None
    max_output: int | None = None
    reasoning: ReasoningStyle = "none"
    always_thinks: bool = False
    efforts: tuple[str, ...] = ()
    ends: date | None = None


class Pieces:
    """The encoded messages of one conversation, each encoded once.

    Keyed by identity and holding on to the message, so an id cannot come to mean another message.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Message, bytes]] = {}

    def of(self, message: Message, encode: Callable[[Message], bytes]) -> bytes:
        """The bytes of `message`, from memory if it was seen before."""
        known = self._known.get(id(message))
        if known is None:
            known = self._known[id(message)] = (message, encode(message))
        return known[1]


class Decoder(Protocol):
    """One answer, as it arrives."""

    def feed(self, event: str, data: bytes) -> Iterable[Delta]:
        """The deltas in one server-sent event (its name, "" if unnamed, and its data).

        Raises ModelError if the provider reports a failure in mid-stream.
        """
        ...

    def reply(self) -> Reply:
        """The whole reply. Raises ModelError (retryable) if the stream ended before the reply did."""
        ...


class Wire(Protocol):
    """One HTTP format."""

    def url(self, access: ProviderAccess, request: Request) -> str:
        """Where to POST to."""
        ...

    def headers(self, access: ProviderAccess) -> dict[str, str]:
        """The headers of this provider, credentials among them; the user's own headers come last."""
        ...

    def encode(self, request: Request, traits: Traits, pieces: Pieces) -> bytes:
        """The body: JSON, UTF-8."""
        ...

    def decoder(self, request: Request) -> Decoder:
        """A fresh decoder for the answer to `request`."""
        ...

    def failure(self, status: int, body: bytes) -> ModelError:
        """What an answer other than 2xx means: name, the provider's own message, retryable or not."""
        ...
