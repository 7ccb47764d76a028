"""What a model is to the rest of the house: something that replies to a conversation.

A `Model` does one request and gives one reply, or raises `ModelError`. It does not retry (the job's one
retry budget does), does not run tools, and does not keep the conversation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from perstack.definition import Reasoning
from perstack.job import ExpertMessage, History, Json, Usage

Finish = Literal["stop", "calls", "length", "refusal", "pause"]
"""Why the model ended: done · it asks for tools · cut off by its output limit · it will not answer · the provider
paused in its own work, and goes on when it is shown the reply."""


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One tool as the model is told of it. schema: a JSON Schema object."""

    name: str
    description: str
    schema: dict[str, Json]


class ProviderTools(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider itself is to let the model use, at its own place.

    names, options: as in `providerTools` and `providerToolOptions`. skills: ids of the provider's own skills.
    """

    names: tuple[str, ...] = ()
    options: dict[str, dict[str, Json]] = msgspec.field(default_factory=dict[str, dict[str, Json]])
    skills: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.names or self.skills)

    def of(self, tool: str) -> dict[str, Json]:
        """The options of one tool."""
        return self.options.get(tool, {})


NO_PROVIDER_TOOLS = ProviderTools()


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One turn put to a model.

    model: the provider's name for it. tools: in the order they are shown; empty to ask for words only.
    provided: tools that run at the provider.
    expert, path, step: who asks, for cassettes and traces: Expert key, place in the tree of runs ("" is the
    root, "/2.1" the delegate called second in the root's step 2), number of the reply in that run, from 1.
    concluding: the closing reply of a run whose work is done. at: the time, seconds since 1970.
    """

    model: str
    instruction: str
    history: History
    tools: tuple[ToolSpec, ...] = ()
    provided: ProviderTools = NO_PROVIDER_TOOLS
    reasoning: Reasoning = "none"
    timeout_s: float = 300.0
    expert: str = ""
    path: str = ""
    step: int = 1
    concluding: bool = False
    at: float = 0.0


class Delta(msgspec.Struct, frozen=True):
    """A piece of a reply as it arrives. kind: "thought" or "text"."""

    kind: Literal["thought", "text"]
    text: str


Hear = Callable[[Delta], None]
"""Told each delta, in order, while the reply arrives. Must not block."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One whole reply. Its calls carry id, tool, args (or a `fault` if the arguments are not a JSON object)
    and signature; what answers them is not the model's to know."""

    message: ExpertMessage
    usage: Usage
    finish: Finish


class Model(Protocol):
    """Replies to a conversation. One instance serves any number of concurrent requests."""

    async def reply(self, request: Request, hear: Hear) -> Reply:
        """The model's next words. Raises ModelError; cancelling closes the connection."""
        ...
