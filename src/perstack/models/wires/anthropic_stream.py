"""Anthropic's answers: server-sent events → deltas → Reply, and what its errors mean."""

from __future__ import annotations

from typing import Any

import msgspec

from perstack.errors import ModelError
from perstack.job import Call, ExpertMessage, Text, Thought, Usage

from ..model import Delta, Finish, Reply
from .calls import parse_arguments
from .loose import truncated, unreadable
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


class _Begun(msgspec.Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""
    id: str = ""
    name: str = ""
    input: Any = None


class _Change(msgspec.Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None
    stop_details: dict[str, Any] | None = None


class _Error(msgspec.Struct):
    type: str = ""
    message: str = ""


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    message: _Started | None = None
    content_block: _Begun | None = None
    delta: _Change | None = None
    usage: _Usage | None = None
    error: _Error | None = None


class _Failure(msgspec.Struct):
    error: _Error


_EVENT = msgspec.json.Decoder(_Event)
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
    "pause_turn": "length",
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
    """One content block, growing."""

    __slots__ = ("begun", "json", "signature", "text")

    def __init__(self, begun: _Begun) -> None:
        self.begun = begun
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
        self._ended = False

    def feed(self, event: str, data: bytes) -> tuple[Delta, ...]:
        try:
            told = _EVENT.decode(data)
        except msgspec.MsgspecError as error:
            raise unreadable(error) from error
        match told.type or event:
            case "content_block_delta":
                return self._grow(told)
            case "content_block_start" if told.content_block is not None:
                part = self._parts[told.index] = _Part(told.content_block)
                return _heard(told.content_block.type, part.text[0])
            case "message_start" if told.message is not None:
                self._count(told.message.usage)
            case "message_delta":
                if told.usage is not None:
                    self._count(told.usage)
                if told.delta is not None:
                    self._stop = told.delta.stop_reason or self._stop
                    self._details = told.delta.stop_details or self._details
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
        thoughts: list[tuple[int, Thought]] = []
        texts: list[Text] = []
        calls: list[Call] = []
        place = 0
        for part in (self._parts[index] for index in sorted(self._parts)):
            begun, text = part.begun, "".join(part.text)
            match begun.type:
                case "thinking":
                    thoughts.append((place, Thought(text=text, signature=part.signature)))
                case "redacted_thinking":
                    thoughts.append((place, Thought(signature=begun.data, redacted=True)))
                case "text":
                    if not text.strip():
                        continue
                    texts.append(Text(text=text))
                case "tool_use":
                    calls.append(self._call(begun, "".join(part.json)))
                case _:
                    continue
            place += 1
        if not texts and not calls and self._stop == "refusal":
            why = self._details.get("explanation")
            texts += [Text(text=why)] if isinstance(why, str) and why else []
        first = [at for at, _ in thoughts] == list(range(len(thoughts)))
        message = ExpertMessage(
            thoughts=tuple(
                thought if first else msgspec.structs.replace(thought, id=str(at))
                for at, thought in thoughts
            ),
            texts=tuple(texts),
            calls=tuple(calls),
            model=f"{PROVIDER}/{self._model}",
        )
        finish = _FINISHES.get(self._stop or "", "calls" if calls else "stop")
        return Reply(message=message, usage=_usage(self._usage), finish=finish)

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
