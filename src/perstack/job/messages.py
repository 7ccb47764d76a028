"""What the model sees and says.

A history is a growing row of messages. The model's own words keep whatever a provider needs to see again
(signatures, reasoning ids), so that a conversation can be sent back exactly as it was received.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal, overload

import msgspec

from perstack._value import Value

Json = Any
"""Any JSON value. The one place where `Any` is meant."""

CallKind = Literal["tool", "todo", "complete", "delegate", "ask"]
"""What answers a call: a skill · the run's own todo list · the claim to be done · a child run · a person."""


class Usage(Value, frozen=True):
    """Tokens. cached_input_tokens and reasoning_tokens are parts of input and output, not additions."""

    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cached_input_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            cached_input_tokens=self.cached_input_tokens + other.cached_input_tokens,
        )


class Text(Value, frozen=True, tag="text"):
    """signature: what the provider wants to see again with this text (Gemini), else empty.

    citations: the sources that the provider names for it, as the provider put them.
    """

    text: str
    signature: str = ""
    citations: tuple[dict[str, Json], ...] = ()


class Thought(Value, frozen=True, tag="thought"):
    """Reasoning the model showed.

    signature: the provider's proof or encrypted content, sent back untouched. id: the provider's id of this
    item (OpenAI Responses). redacted: `signature` is all there is; the text was withheld.
    """

    text: str = ""
    signature: str = ""
    id: str = ""
    redacted: bool = False


class Image(Value, frozen=True, tag="image"):
    """data: base64. mime_type: image/png, image/jpeg, image/gif or image/webp."""

    data: str
    mime_type: str


class File(Value, frozen=True, tag="file"):
    """data: base64. mime_type: application/pdf from the base skill; anything from an MCP server."""

    data: str
    mime_type: str


class Call(Value, frozen=True):
    """One tool call asked for by the model.

    id: unique within its reply. args: the JSON object the model gave. fault: why the call cannot be made
    (unknown tool, arguments that are not what the schema says), told to the model instead of a result.
    skill: the source of the tool; for a delegate its Expert key. repeatable: again after a crash is safe.
    own_name: what its skill calls the tool, where the model was shown another name; else empty.
    """

    id: str
    tool: str
    args: dict[str, Json] = msgspec.field(default_factory=dict[str, Json])
    kind: CallKind = "tool"
    skill: str = ""
    repeatable: bool = False
    signature: str = ""
    fault: str = ""
    own_name: str = ""


class ProviderPart(Value, frozen=True):
    """What a tool of the provider did within a reply, or what else the provider put there.

    data: the provider's own JSON, sent back to it as it came. tool: the provider's name of the tool, empty where
    another part tells of it already. asked: what was asked of the tool; gave: what came of it, each in a line or
    a few. failed: it came to nothing.
    """

    data: dict[str, Json]
    tool: str = ""
    asked: str = ""
    gave: str = ""
    failed: bool = False


class Question(Value, frozen=True, kw_only=True):
    """What the server of a tool wants to know of a person before it goes on. schema: JSON Schema of the answer."""

    message: str
    schema: dict[str, Json]


class Approval(Value, frozen=True, kw_only=True):
    """What a person is to say of a call before it is made. given: None while they have not. text: their words."""

    rule: str
    given: bool | None = None
    text: str = ""


class Answer(Value, frozen=True, kw_only=True):
    """What a person said to the question `message`. content: fits its schema; None: they declined."""

    message: str
    content: dict[str, Json] | None = None


UserPart = Text | Image | File
ResultPart = Text | Image | File


class UserMessage(Value, frozen=True, tag="user"):
    """What a person, or the parent run, said."""

    parts: tuple[UserPart, ...]

    @property
    def text(self) -> str:
        return joined(self.parts)


class ExpertMessage(Value, frozen=True, tag="expert"):
    """One reply of the model, in the order thoughts, text, calls, unless `order` says otherwise.

    model: "provider/model" that wrote it; signatures mean something only to that provider. provided: what the
    provider's own tools did in it. order: a letter for each part in the order they came, "t" for a thought, "w"
    for words, "c" for a call, "p" for what was provided; empty without the latter. paused: the provider stopped in
    the middle of its own work, and goes on when it is shown this reply.
    """

    thoughts: tuple[Thought, ...] = ()
    texts: tuple[Text, ...] = ()
    calls: tuple[Call, ...] = ()
    model: str = ""
    provided: tuple[ProviderPart, ...] = ()
    order: str = ""
    paused: bool = False

    @property
    def text(self) -> str:
        return joined(self.texts)

    @property
    def parts(self) -> Iterator[Thought | Text | Call | ProviderPart]:
        """All parts in order. One that is no longer there is left out, one without a place comes last."""
        rows = {
            "t": iter(self.thoughts),
            "w": iter(self.texts),
            "c": iter(self.calls),
            "p": iter(self.provided),
        }
        for letter in self.order:
            yield from islice(rows[letter], 1)
        for row in rows.values():
            yield from row


class ToolMessage(Value, frozen=True, tag="tool"):
    """The result of one call. call: its id. tool: its name."""

    call: str
    tool: str
    parts: tuple[ResultPart, ...]
    is_error: bool = False

    @property
    def text(self) -> str:
        return joined(self.parts)


Message = UserMessage | ExpertMessage | ToolMessage


def said(text: str) -> UserMessage:
    """A user message of one text."""
    return UserMessage(parts=(Text(text=text),))


def joined(parts: Iterable[Text | Image | File]) -> str:
    """The texts among `parts`, put together as they are."""
    return "".join(part.text for part in parts if isinstance(part, Text))


class History(Sequence[Message]):
    """An immutable row of messages that grows without being copied.

    A history is a view of the first `length` items of a list it shares with the histories it grew from. `plus`
    appends to the shared list when this view is its newest, and copies only where two histories part. So a log
    of n messages folds in time linear in n, and every earlier history stays what it was.
    """

    __slots__ = ("_length", "_shared")

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._shared: list[Message] = list(messages)
        self._length = len(self._shared)

    def plus(self, *messages: Message) -> History:
        """This history followed by `messages`."""
        grown = History.__new__(History)
        current = len(self._shared) == self._length
        grown._shared = self._shared if current else self._shared[: self._length]
        grown._shared.extend(messages)
        grown._length = self._length + len(messages)
        return grown

    def grew_from(self, other: History) -> bool:
        """Whether this is `other`, or `other` with more after it, without comparing messages."""
        return self._shared is other._shared and self._length >= other._length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Message, ...]: ...
    def __getitem__(self, index: int | slice) -> Message | tuple[Message, ...]:
        if isinstance(index, slice):
            return tuple(self._shared[place] for place in range(*index.indices(self._length)))
        return self._shared[range(self._length)[index]]

    def __iter__(self) -> Iterator[Message]:
        for place in range(self._length):
            yield self._shared[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and (
            (self._shared is other._shared and self._length == other._length) or self[:] == other[:]
        )

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # compared by value, and long

    def __repr__(self) -> str:
        return f"History({list(self)!r})"
