"""Anthropic's Messages API.

Caching is by prefix, up to four marks a request: the tools, the instruction, the last user turn (what the next
request will find) and the one before it (what the last request has left, however many blocks lie between).

Newer models bind each thought to all that was sent before it, and refuse it once that has changed: another
instruction, other tools, an earlier thought left out. What a thought was bound to is known for replies given
to this conversation's `Pieces`, and for no others. So for these models, thoughts from before a restart, a
branch, or a change of tools are left out, and everything sent after that is sent unchanged.

A reply's thoughts are usually its first blocks. Where they were not, their ids hold their places. A reply in which
Anthropic's own tools were at work goes back block by block as it came. If it paused there, it is the last that is
sent: Anthropic goes on with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import msgspec

from perstack.definition import ProviderAccess, Reasoning
from perstack.errors import ModelError
from perstack.job import (
    Call,
    ExpertMessage,
    File,
    Image,
    Message,
    ProviderPart,
    Text,
    Thought,
    ToolMessage,
    UserMessage,
)

from ..history import Repair, written_by
from ..model import Request, ToolSpec
from .anthropic_stream import PROVIDER, AnthropicDecoder, failure_of
from .anthropic_tools import (
    CONTAINER,
    allowed_names,
    betas_of,
    container_of,
    tools_of,
    with_betas,
)
from .calls import own_names, safe_name
from .effort import effort_for, level_of
from .media import in_words
from .url import versioned
from .wire import Pieces, Traits, merged

API_VERSION = "2026-10-21"
BASE_URL = "https://api.anthropic.com/v1"

DEFAULT_OUTPUT = 16_384
SMALL_OUTPUT = 4_096
ROOM_AFTER_THINKING = 4_096

_BUDGETS = {"minimal": 1_024, "low": 2_048, "medium": 5_000, "high": 10_000}
_LEAST_BUDGET = 1_024

_MARK = b',"cache_control":{"type":"ephemeral"}}'
_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_ODD = re.compile(r"[^a-zA-Z0-9_-]")

_encode = msgspec.json.encode
Block = dict[str, Any]


class AnthropicWire:
    """POST /v1/messages, streamed."""

    def url(self, access: ProviderAccess, request: Request) -> str:
        return versioned(access.base_url or BASE_URL, "v1") + "/messages"

    def headers(self, access: ProviderAccess) -> dict[str, str]:
        own = {"anthropic-version": API_VERSION}
        if access.api_key:
            own["x-api-key"] = access.api_key
        return merged(own, access.headers)

    def request_headers(self, access: ProviderAccess, request: Request) -> dict[str, str]:
        return with_betas(betas_of(request.provided), access.headers)

    def encode(self, request: Request, traits: Traits, pieces: Pieces) -> bytes:
        allowed = allowed_names(request.provided)
        tools = pieces.tools(request.tools, partial(_tools, allowed=allowed))
        if request.provided:
            tools = _joined(tools_of(request.provided), tools)
        thinking, effort = _thinking(request.reasoning, traits)
        bound = (
            (request.model, request.reasoning, request.instruction, tools)
            if traits.binds_thoughts
            else None
        )
        turns = pieces.follow(
            request.history, lambda: _Turns(allowed, bound is None), (bound, allowed)
        )

        head: dict[str, Any] = {
            "model": request.model,
            "max_tokens": _max_tokens(thinking, traits),
            "stream": True,
        }
        if thinking is not None:
            head["thinking"] = thinking
        if effort is not None:
            head["output_config"] = {"effort": effort}
        if (request.tools or request.provided) and request.concluding:
            head["tool_choice"] = {"type": "none"}
        if request.instruction:
            head["system"] = [
                {
                    "type": "text",
                    "text": request.instruction,
                    "cache_control": {"type": "ephemeral"},
                }
            ]
        if container := container_of(request.provided, turns.container, request.at):
            head["container"] = container
        parts = [_encode(head)[:-1]]
        if request.tools or request.provided:
            parts += (b',"tools":', tools)
        parts += (b',"messages":[', b",".join(turns.marked()), b"]}")
        return b"".join(parts)

    def decoder(self, request: Request) -> AnthropicDecoder:
        return AnthropicDecoder(
            request.model, own_names(request.tools, allowed_names(request.provided))
        )

    def failure(self, status: int, body: bytes) -> ModelError:
        return failure_of(status, body)


ANTHROPIC = AnthropicWire()


# --- what is sent


def _thinking(reasoning: Reasoning, traits: Traits) -> tuple[Block | None, str | None]:
    """The `thinking` member and the effort word."""
    if level_of(reasoning) == "none" or traits.reasoning == "none":
        if traits.always_thinks:
            return {"type": "adaptive"}, "low" if traits.efforts else None
        return ({"type": traits.off} if traits.off else None), None
    effort = effort_for(reasoning, traits.efforts) if traits.efforts else None
    if traits.reasoning == "adaptive":
        # Newer models send their thoughts empty unless asked for a summary; users want to read along.
        return {"type": "adaptive", "display": "summarized"}, effort
    if isinstance(reasoning, str):
        budget = _BUDGETS[reasoning]
    else:
        budget, effort = max(reasoning, _LEAST_BUDGET), None
    if traits.max_output is not None:
        budget = min(budget, max(traits.max_output - ROOM_AFTER_THINKING, _LEAST_BUDGET))
    return {"type": "enabled", "budget_tokens": budget}, effort


def _max_tokens(thinking: Block | None, traits: Traits) -> int:
    """The most the model may write: all it can, so that nothing but its own limit cuts a reply off."""
    plain = SMALL_OUTPUT if traits.counts_output else traits.max_output or DEFAULT_OUTPUT
    budget: int = thinking.get("budget_tokens", 0) if thinking is not None else 0
    return max(plain, budget + ROOM_AFTER_THINKING) if budget else plain


def _joined(provided: list[Block], ours: bytes) -> bytes:
    """One array of all tools, the provider's first: the cache mark stays on the last of ours."""
    theirs = _encode(provided)
    return theirs if ours == b"[]" else theirs[:-1] + b"," + ours[1:]


def _tools(tools: tuple[ToolSpec, ...], allowed: re.Pattern[str]) -> bytes:
    encoded = [
        _encode(
            {
                "name": safe_name(tool.name, allowed),
                "description": tool.description,
                "input_schema": tool.schema,
            }
        )
        for tool in tools
    ]
    if encoded:
        encoded[-1] = _with_mark(encoded[-1])
    return b"[" + b",".join(encoded) + b"]"


class _Turns:
    """A conversation as turns of alternating roles: what belongs to one role in a row is one turn.

    All turns but the last are closed and kept as bytes. trusts_all: thoughts may be sent whenever they were
    written; else only those added after the first `marked`. allowed: the names that tools may have. container:
    what the last reply that had one said of its container.
    """

    def __init__(self, allowed: re.Pattern[str], trusts_all: bool) -> None:
        self.container: Block | None = None
        self._repair = Repair(PROVIDER)
        self._allowed = allowed
        self._thoughts = trusts_all
        self._closed: list[bytes] = []
        self._role = ""
        self._blocks: list[bytes] = []
        self._last_user: tuple[int, list[bytes]] | None = None

    def add(self, message: Message) -> None:
        for sent in self._repair.add(message):
            self._put(sent)

    def marked(self) -> list[bytes]:
        """The turns as they are sent now, with the cache marks of their places."""
        self._thoughts = True
        turns = list(self._closed)
        if self._last_user is not None:
            place, blocks = self._last_user
            turns[place] = _turn("user", blocks, mark=True)
        role, blocks = self._role, self._blocks
        for sent in self._repair.rest():
            extra = [_encode(block) for block in _blocks(sent, self._allowed, thoughts=False)]
            if role == "user":
                blocks = blocks + extra
            else:
                if blocks:
                    turns.append(_turn(role, blocks))
                role, blocks = "user", extra
        if blocks:
            turns.append(_turn(role, blocks, mark=role == "user"))
        return turns

    def _put(self, message: Message) -> None:
        role = "assistant" if isinstance(message, ExpertMessage) else "user"
        blocks = [
            _encode(block) for block in _blocks(message, self._allowed, thoughts=self._thoughts)
        ]
        if isinstance(message, ExpertMessage) and written_by(PROVIDER, message):
            for part in message.provided:
                if part.data.get("type") == CONTAINER:
                    self.container = part.data
        if not blocks:
            return
        if role != self._role:
            if self._blocks:
                if self._role == "user":
                    self._last_user = (len(self._closed), self._blocks)
                self._closed.append(_turn(self._role, self._blocks))
            self._role = role
            self._blocks = []
        self._blocks.extend(blocks)


def _turn(role: str, blocks: list[bytes], *, mark: bool = False) -> bytes:
    if mark:
        blocks = [*blocks[:-1], _with_mark(blocks[-1])]
    return b'{"role":"%s","content":[%s]}' % (role.encode(), b",".join(blocks))


def _with_mark(block: bytes) -> bytes:
    return block[:-1] + _MARK


def _blocks(message: Message, allowed: re.Pattern[str], *, thoughts: bool) -> list[Block]:
    match message:
        case UserMessage():
            return list(_content(message.parts))
        case ToolMessage():
            return [
                {
                    "type": "tool_result",
                    "tool_use_id": _ODD.sub("_", message.call),
                    "content": list(_content(message.parts)) or "",
                    "is_error": message.is_error,
                }
            ]
        case ExpertMessage():
            own = written_by(PROVIDER, message)
            if own and message.provided:
                return list(_as_it_came(message, allowed, thoughts))
            said = [_text(text, own) for text in message.texts if text.text.strip()]
            said += (_call(call, allowed) for call in message.calls)
            if thoughts and said and own:
                return _with_thoughts(message.thoughts, said)
            return said


def _text(text: Text, own: bool) -> Block:
    block: Block = {"type": "text", "text": text.text}
    return block | ({"citations": text.citations} if own and text.citations else {})


def _call(call: Call, allowed: re.Pattern[str]) -> Block:
    return {
        "type": "tool_use",
        "id": _ODD.sub("_", call.id),
        "name": safe_name(call.tool, allowed),
        "input": call.args,
    }


def _thought(thought: Thought) -> Block:
    if thought.redacted:
        return {"type": "redacted_thinking", "data": thought.signature}
    return {"type": "thinking", "thinking": thought.text, "signature": thought.signature}


def _as_it_came(
    message: ExpertMessage, allowed: re.Pattern[str], thoughts: bool
) -> Iterator[Block]:
    """All blocks of a reply of Anthropic's in which its own tools were at work."""
    for part in message.parts:
        match part:
            case Thought() if thoughts and part.signature:
                yield _thought(part)
            case Text() if part.text.strip():
                yield _text(part, own=True)
            case Call():
                yield _call(part, allowed)
            case ProviderPart(data=data) if data.get("type") != CONTAINER:
                yield data
            case _:
                pass


def _with_thoughts(thoughts: tuple[Thought, ...], said: list[Block]) -> list[Block]:
    """All blocks of one reply in the order they were given in."""
    blocks = list(said)
    for place, thought in enumerate(thoughts):
        if not thought.signature:
            continue  # from an interrupted reply: not provable, so not accepted
        blocks.insert(int(thought.id) if thought.id.isdecimal() else place, _thought(thought))
    return blocks


def _content(parts: Iterable[Text | Image | File]) -> Iterator[Block]:
    for part in parts:
        match part:
            case Text():
                if part.text.strip():
                    yield {"type": "text", "text": part.text}
            case Image() if part.mime_type in _IMAGES:
                yield {"type": "image", "source": _base64(part)}
            case File() if part.mime_type == "application/pdf":
                yield {"type": "document", "source": _base64(part)}
            case Image() | File():
                text = in_words(part)
                if text.strip():
                    yield {"type": "text", "text": text}


def _base64(part: Image | File) -> Block:
    return {"type": "base64", "media_type": part.mime_type, "data": part.data}
