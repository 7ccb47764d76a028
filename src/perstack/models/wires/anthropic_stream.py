"""Anthropic's answers: server-sent events → deltas → Reply, and what its errors mean."""

from __future__ import annotations

from typing import Any

import msgspec

from perstack.errors import ModelError
from perstack.job import Call, ExpertMessage, Json, ProviderPart, Text, Thought, Usage

from ..model import Delta, Finish, Reply
from .anthropic_tools import CONTAINER, is_provided, part_of
from .calls import parse_arguments
from .loose import text, truncated, unreadable
from .telling import put
from .wire import excerpt, failed

PROVIDER = "anthropic"


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens_details: dict[str, Any] | None = None


class _Started(msgspec.Struct):
    usage: _Usage = msgspec.field(default_factory=_Usage)
    container: dict[str, Any] | None = None


class _Begun(msgspec.Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""
    id: str = ""
    name: str = ""
    input: Any = None
    citations: list[dict[str, Any]] | None = None


class _Change(msgspec.Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None
    stop_details: dict[str, Any] | None = None
    citation: dict[str, Any] | None = None
    container: dict[str, Any] | None = None


class _Error(msgspec.Struct):
    type: str = ""
    message: str = ""


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    message: _Started | None = None
    content_block: msgspec.Raw = msgspec.Raw()
    delta: _Change | None = None
    usage: _Usage | None = None
    error: _Error | None = None


class _Failure(msgspec.Struct):
    error: _Error


_EVENT = msgspec.json.Decoder(_Event)
_BEGUN = msgspec.json.Decoder(_Begun)
_BLOCK = msgspec.json.Decoder(dict[str, Any])
_FAILURE = msgspec.json.Decoder(_Failure)

_ERRORS = {
    "invalid_request_error": ("BadRequest", 400),
    "authentication_error": ("Unauthorized", 401),
    "billing_error": ("PaymentRequired", 402),
    "permission_error": ("Forbidden", 403),
    "not_found_error": ("NotFound", 404),
    "request_too_large": ("RequestTooLarge", 413),
    "rate_limit_error": ("RateLimited", 429),
    "api_error": ("ServerError", 500),
    "timeout_error": ("Timeout", 504),
    "gateway_timeout_error": ("Timeout", 504),
    "overloaded_error": ("Overloaded", 529),
}

_FINISHES: dict[str, Finish] = {
    "tool_use": "calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    # A turn the provider interrupted; only its own tools cause it. It is to be gone on with.
    "pause_turn": "pause",
    "refusal": "refusal",
}


def failure_of(status: int, body: bytes) -> ModelError:
    """What an answer other than 2xx means."""
    try:
        error = _FAILURE.decode(body).error
    except msgspec.MsgspecError:
        return failed(status, excerpt(body) or f"the provider answered with HTTP {status}")
    return failed(status, error.message, name=_name_of(error))


def _name_of(error: _Error) -> str | None:
    if error.type == "invalid_request_error" and "prompt is too long" in error.message:
        return "ContextTooLong"
    name, _ = _ERRORS.get(error.type, (None, 0))
    return name


class _Part:
    """One content block, growing. whole: as it began, if it is of the provider's own tools."""

    __slots__ = ("begun", "citations", "json", "signature", "text", "whole")

    def __init__(self, raw: msgspec.Raw) -> None:
        begun = self.begun = _BEGUN.decode(raw)
        self.whole: dict[str, Any] | None = _BLOCK.decode(raw) if is_provided(begun.type) else None
        self.citations = list(begun.citations or ())
        self.text: list[str] = [begun.text or begun.thinking]
        self.signature = begun.signature
        self.json: list[str] = []


class AnthropicDecoder:
    """One streamed message."""

    def __init__(self, model: str, own_names: dict[str, str]) -> None:
        self._model = model
        self._own_names = own_names
        self._parts: dict[int, _Part] = {}
        self._usage = _Usage()
        self._stop: str | None = None
        self._details: dict[str, Any] = {}
        self._container: dict[str, Any] | None = None
        self._ended = False

    def feed(self, event: str, data: bytes) -> tuple[Delta, ...]:
        try:
            return self._take(event, _EVENT.decode(data))
        except msgspec.MsgspecError as error:
            raise unreadable(error) from error

    def _take(self, event: str, told: _Event) -> tuple[Delta, ...]:
        match told.type or event:
            case "content_block_delta":
                return self._grow(told)
            case "content_block_start" if bytes(told.content_block) not in (b"", b"null"):
                part = self._parts[told.index] = _Part(told.content_block)
                return _heard(part.begun.type, part.text[0])
            case "message_start" if told.message is not None:
                self._count(told.message.usage)
                self._container = told.message.container or self._container
            case "message_delta":
                if told.usage is not None:
                    self._count(told.usage)
                if told.delta is not None:
                    self._stop = told.delta.stop_reason or self._stop
                    self._details = told.delta.stop_details or self._details
                    self._container = told.delta.container or self._container
            case "message_stop":
                self._ended = True
            case "error":
                error = told.error or _Error(message="the provider broke off")
                _, status = _ERRORS.get(error.type, (None, 500))
                raise failed(status, error.message, name=_name_of(error))
            case _:
                pass  # ping, content_block_stop, and what is yet to be invented
        return ()

    def reply(self) -> Reply:
        if not self._ended:
            raise truncated()
        thoughts: list[Thought] = []
        texts: list[Text] = []
        calls: list[Call] = []
        provided: list[ProviderPart] = []
        order = ""
        for part in (self._parts[index] for index in sorted(self._parts)):
            begun, said = part.begun, "".join(part.text)
            match begun.type:
                case "thinking":
                    thoughts.append(Thought(text=said, signature=part.signature))
                    order += "t"
                case "redacted_thinking":
                    thoughts.append(Thought(signature=begun.data, redacted=True))
                    order += "t"
                case "text" if said.strip():
                    texts.append(Text(text=said, citations=tuple(part.citations)))
                    order += "w"
                case "tool_use":
                    calls.append(self._call(begun, "".join(part.json)))
                    order += "c"
                case _ if (block := self._block(part)) is not None:
                    put(provided, part_of(block), _answers)
                    order += "p"
                case _:
                    pass
        if self._container is not None:
            kept = {key: self._container.get(key) for key in ("id", "expires_at")}
            provided.append(ProviderPart(data={"type": CONTAINER, **kept}))
            order += "p"
        if not texts and not calls and self._stop == "refusal":
            why = self._details.get("explanation")
            texts += [Text(text=why)] if isinstance(why, str) and why else []
        finish = _FINISHES.get(self._stop or "", "calls" if calls else "stop")
        if finish == "pause" and calls:
            finish = "calls"
        message = ExpertMessage(
            thoughts=tuple(thoughts if provided else _placed(thoughts, order)),
            texts=tuple(texts),
            calls=tuple(calls),
            model=f"{PROVIDER}/{self._model}",
            provided=tuple(provided),
            order=order if provided else "",
            paused=finish == "pause",
        )
        return Reply(message=message, usage=_usage(self._usage), finish=finish)

    def _block(self, part: _Part) -> dict[str, Json] | None:
        """A block of the provider's own tools, whole; None if it is none, or was cut off."""
        block = part.whole
        if block is None or part.begun.type != "server_tool_use":
            return block
        if _FINISHES.get(self._stop or "") == "length" and not self._has_result(part.begun.id):
            return None
        asked, fault = parse_arguments("".join(part.json))
        return None if fault else block | ({"input": asked} if asked else {})

    def _has_result(self, id: str) -> bool:
        wholes = (part.whole for part in self._parts.values())
        return any(whole is not None and whole.get("tool_use_id") == id for whole in wholes)

    def _grow(self, told: _Event) -> tuple[Delta, ...]:
        part, change = self._parts.get(told.index), told.delta
        if part is None or change is None:
            return ()
        match change.type:
            case "text_delta":
                part.text.append(change.text)
                return _heard("text", change.text)
            case "thinking_delta":
                part.text.append(change.thinking)
                return _heard("thinking", change.thinking)
            case "signature_delta":
                part.signature += change.signature
            case "input_json_delta":
                part.json.append(change.partial_json)
            case "citations_delta" if change.citation is not None:
                part.citations.append(change.citation)
            case _:
                pass
        return ()

    def _call(self, begun: _Begun, text: str) -> Call:
        # Some gateways give all arguments at once, when the block begins.
        if not text and begun.input:
            text = msgspec.json.encode(begun.input).decode()
        args, fault = parse_arguments(text)
        if fault and self._stop == "max_tokens":
            fault = "The arguments were cut off at the model's output limit."
        tool = self._own_names.get(begun.name, begun.name)
        return Call(id=begun.id, tool=tool, args=args, fault=fault)

    def _count(self, usage: _Usage) -> None:
        """Counts are running totals; one that is left out has not changed."""
        for name in usage.__struct_fields__:
            value = getattr(usage, name)
            if value is not None:
                setattr(self._usage, name, value)


def _placed(thoughts: list[Thought], order: str) -> list[Thought]:
    """`thoughts` with their places in `order` as their ids, if they were not the first."""
    if order.startswith("t" * len(thoughts)):
        return thoughts
    places = [place for place, letter in enumerate(order) if letter == "t"]
    return [
        msgspec.structs.replace(thought, id=str(place))
        for place, thought in zip(places, thoughts, strict=True)
    ]


def _answers(part: ProviderPart, earlier: ProviderPart) -> bool:
    asked_by = text(part.data.get("tool_use_id"))
    return bool(asked_by) and earlier.data.get("id") == asked_by


def _heard(kind: str, text: str) -> tuple[Delta, ...]:
    if not text or kind not in ("text", "thinking"):
        return ()
    return (Delta("text" if kind == "text" else "thought", text),)


def _usage(usage: _Usage) -> Usage:
    cached = usage.cache_read_input_tokens or 0
    details = usage.output_tokens_details or {}
    thought = details.get("thinking_tokens")
    return Usage(
        input_tokens=(usage.input_tokens or 0) + cached + (usage.cache_creation_input_tokens or 0),
        output_tokens=usage.output_tokens or 0,
        reasoning_tokens=thought if isinstance(thought, int) else 0,
        cached_input_tokens=cached,
    )
