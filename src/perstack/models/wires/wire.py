"""What a wire is: one provider family's HTTP format, as two pure things.

`encode` turns a Request into the body of one POST; a `Decoder` turns the server-sent events of the answer
into deltas and, at the end, one Reply. A wire opens no connection and keeps nothing between requests.

A conversation grows at its end, so its messages are encoded once: `Pieces` keeps what was made of them, and
`encode` joins bytes. Whatever depends on a message's place (the rolling cache mark) is added when joining.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Literal, Protocol, TypeVar

import msgspec

from perstack.definition import ProviderAccess
from perstack.errors import ModelError
from perstack.job import History, Message

from ..model import Delta, Reply, Request, ToolSpec

ReasoningStyle = Literal["none", "budget", "adaptive", "effort", "level", "switch"]
"""How a model is told to think: not at all · a token budget · adaptive with an effort · an effort word ·
a level word · on or off."""


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one model. None: not known.

    context_window, max_output: tokens. reasoning: how thinking is asked for; always_thinks: it cannot be
    switched off. efforts: the effort words it takes. ends: the day the provider stops serving it.
    off: what turns thinking off, where leaving it out does not. binds_thoughts: its thoughts are refused once
    anything before them has changed. counts_output: a request is refused if its input and the output it allows
    do not fit the window together.
    """

    model: str
    context_window: int | None = None
    max_output: int | None = None
    reasoning: ReasoningStyle = "none"
    always_thinks: bool = False
    efforts: tuple[str, ...] = ()
    ends: date | None = None
    off: str = ""
    binds_thoughts: bool = False
    counts_output: bool = False


class Grows(Protocol):
    """Something made of a history message by message."""

    def add(self, message: Message) -> None:
        """Take the next message in."""
        ...


G = TypeVar("G", bound=Grows)


class Pieces:
    """What was encoded of one conversation, so that a request costs only the messages that are new."""

    def __init__(self) -> None:
        self._history: History | None = None
        self._grown: Grows | None = None
        self._key: object = None
        self._tools: tuple[ToolSpec, ...] = ()
        self._tool_bytes: bytes | None = None

    def follow(self, history: History, start: Callable[[], G], key: object = None) -> G:
        """What `start` made, fed with all of `history`; fed on from the last call if that is how it grew.

        key: what else the result depends on; with another key it starts over.
        """
        grown = self._grown
        known = 0
        seen = self._history
        if grown is not None and seen is not None and key == self._key and history.grew_from(seen):
            known = len(seen)
        else:
            grown = start()
            self._key = key
        for message in history[known:]:
            grown.add(message)
        self._history = history
        self._grown = grown
        return grown  # pyright: ignore[reportReturnType]  # one wire follows one conversation, with one `start`

    def tools(
        self, tools: tuple[ToolSpec, ...], encode: Callable[[tuple[ToolSpec, ...]], bytes]
    ) -> bytes:
        """The bytes of `tools`, from memory if these very tools were the last ones."""
        same = len(tools) == len(self._tools) and all(
            ours is theirs for ours, theirs in zip(tools, self._tools, strict=True)
        )
        if self._tool_bytes is None or not same:
            self._tools = tools
            self._tool_bytes = encode(tools)
        return self._tool_bytes


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

    def request_headers(self, access: ProviderAccess, request: Request) -> dict[str, str]:
        """The headers that this request needs besides, or in the place of those; empty for most."""
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


_NAMES = {
    400: "BadRequest",
    401: "Unauthorized",
    402: "PaymentRequired",
    403: "Forbidden",
    404: "NotFound",
    408: "Timeout",
    413: "RequestTooLarge",
    422: "BadRequest",
    429: "RateLimited",
    503: "Overloaded",
    504: "Timeout",
    529: "Overloaded",
}


def merged(headers: Mapping[str, str], over: Mapping[str, str]) -> dict[str, str]:
    """`headers` with those of `over` added; the same name in other letters is the same header."""
    names = {name.lower() for name in over}
    return {name: value for name, value in headers.items() if name.lower() not in names} | dict(
        over
    )


def failed(status: int, message: str, *, name: str | None = None) -> ModelError:
    """The error for an HTTP status. name: what the provider called it in our words, if it did."""
    plain = _NAMES.get(status, "ServerError" if status >= 500 else "BadRequest")
    return ModelError(
        message,
        name=name or plain,
        retryable=status in (408, 409, 429) or status >= 500,
        status=status,
    )


def excerpt(body: bytes) -> str:
    """The first words of an answer that is not in the provider's own error format."""
    text = " ".join(re.sub(r"<[^>]*>", " ", body[:4000].decode("utf-8", "replace")).split())
    return text[:300]
