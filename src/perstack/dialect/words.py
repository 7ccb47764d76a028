"""Our messages, calls and results in the reference's words.

Ids are not drawn: an id is a place. The first twenty characters say which message or which event of which job,
the last four count what is in it. So the same log tells the same ids, and one hash names a whole message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from perstack.definition import Expert
from perstack.job import (
    Call,
    ExpertMessage,
    Failure,
    History,
    Image,
    ResultPart,
    Text,
    ToolMessage,
    Usage,
    UserMessage,
)
from perstack.lock import Lock

from . import types as wire

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_PAIRS = tuple(high + low for high in _DIGITS for low in _DIGITS)
PLACE = 20
"""Characters of an id that say where it belongs; four more count."""

_MAX_NAME = 255
_RANKS = {"delegate": 1, "ask": 2}

Naming = Callable[[int], str]
"""The first twenty characters of the ids in message `n` of a history."""


def numbered(place: str, number: int, inner: int = 0) -> str:
    """The id of thing `number` at `place`, or of the `inner`th thing within it."""
    return place + _PAIRS[number % len(_PAIRS)] + _PAIRS[inner % len(_PAIRS)]


def usage_of(usage: Usage) -> wire.Usage:
    return wire.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        total_tokens=usage.total_tokens,
        cached_input_tokens=usage.cached_input_tokens,
    )


def expert_ref(expert: Expert) -> wire.ExpertRef:
    return wire.ExpertRef(key=expert.key, name=expert.name, version=expert.version)


def error_of(failure: Failure, message: str) -> wire.Error:
    return wire.Error(
        name=failure.name,
        message=message,
        status_code=failure.status,
        is_retryable=failure.retryable,
    )


def is_step_limit(reason: str, what: str) -> bool:
    """Whether a job was stopped at its limit of steps, the one limit the reference has a word for."""
    return reason == "limit" and what.startswith("maxSteps")


def rank(call: Call) -> int:
    """0: answered by tools, or with its fault · 1: by another Expert · 2: by a person."""
    return 0 if call.fault else _RANKS.get(call.kind, 0)


def ranked(calls: Sequence[Call]) -> Sequence[Call]:
    """The calls as the reference orders them: tools, delegates, questions."""
    return calls if len(calls) < 2 else sorted(calls, key=rank)


def tool_call(call: Call, lock: Lock) -> wire.ToolCall:
    skill = lock.expert(call.skill).name if rank(call) == 1 else call.skill
    # The reference's readers refuse an empty key, which a model may write
    args = {k: v for k, v in call.args.items() if k} if "" in call.args else call.args
    return wire.ToolCall(id=call.id, skill_name=_name(skill), tool_name=_name(call.tool), args=args)


def tool_calls(calls: Sequence[Call], lock: Lock) -> tuple[wire.ToolCall, ...]:
    return tuple([tool_call(call, lock) for call in ranked(calls)])


def tool_result(call: Call, parts: tuple[wire.ContentPart, ...], lock: Lock) -> wire.ToolResult:
    return wire.ToolResult(
        id=call.id,
        skill_name=_name(result_skill(call, lock)),
        tool_name=_name(call.tool),
        result=parts,
    )


def result_skill(call: Call, lock: Lock) -> str:
    """Who the reference says a result is from."""
    return f"delegate/{lock.expert(call.skill).key}" if rank(call) == 1 else call.skill


def result_parts(
    place: str, number: int, parts: Iterable[ResultPart]
) -> tuple[wire.ContentPart, ...]:
    """The parts of the result of call `number`, counted from 0. place: of the reply that made the call."""
    return tuple(
        [_content(part, numbered(place, number + 1, inner)) for inner, part in enumerate(parts)]
    )


def instruction_message(text: str, place: str) -> wire.InstructionMessage:
    part = wire.TextPart(id=numbered(place, 0, 1), text=text)
    return wire.InstructionMessage(id=numbered(place, 0), contents=(part,), cache=True)


def expert_message(message: ExpertMessage, place: str) -> wire.ExpertMessage:
    """thinking, then at most one text, then calls in rank order."""
    contents: list[wire.ThinkingPart | wire.TextPart | wire.ToolCallPart] = [
        wire.ThinkingPart(
            id=numbered(place, 0, n), thinking=thought.text, signature=thought.signature
        )
        for n, thought in enumerate(message.thoughts, 1)
    ]
    if text := message.text:
        contents.append(wire.TextPart(id=numbered(place, 0, len(contents) + 1), text=text))
    contents.extend(
        [
            wire.ToolCallPart(
                id=numbered(place, 0, n),
                tool_call_id=call.id,
                tool_name=_name(call.tool),
                args=call.args,
            )
            for n, call in enumerate(ranked(message.calls), len(contents) + 1)
        ]
    )
    provided = tuple(
        [
            wire.ProviderTool(tool=p.tool, asked=p.asked, gave=p.gave, failed=p.failed)
            for p in message.provided
            if p.tool
        ]
    )
    return wire.ExpertMessage(
        id=numbered(place, 0), contents=tuple(contents), provider_tools=provided
    )


def messages_of(
    history: History, start: int, stop: int, naming: Naming
) -> tuple[wire.Message, ...]:
    """Messages `start` to `stop` of a history; the results of one reply become one message."""
    return tuple(_messages(history, start, stop, naming))


def _messages(history: History, start: int, stop: int, naming: Naming) -> Iterator[wire.Message]:
    at = start
    while at < stop:
        match history[at]:
            case UserMessage(parts=parts):
                place = naming(at)
                contents = tuple(
                    [_content(part, numbered(place, 0, n)) for n, part in enumerate(parts, 1)]
                )
                yield wire.UserMessage(id=numbered(place, 0), contents=contents)
            case ExpertMessage() as reply:
                yield expert_message(reply, naming(at))
            case ToolMessage():
                reply = history[at - 1]
                # Results follow the reply that made the calls
                assert isinstance(reply, ExpertMessage)
                count = len(reply.calls)
                yield _tool_message(history, at, reply, naming)
                at += count - 1
        at += 1


def _tool_message(
    history: History, at: int, reply: ExpertMessage, naming: Naming
) -> wire.ToolMessage:
    place, asked = naming(at), naming(at - 1)
    results: list[tuple[int, wire.ToolResultPart]] = []
    for number, call in enumerate(reply.calls):
        result = history[at + number]
        # One result for each call, in the order of the calls
        assert isinstance(result, ToolMessage)
        part = wire.ToolResultPart(
            id=numbered(place, 0, number + 1),
            tool_call_id=call.id,
            tool_name=_name(call.tool),
            contents=result_parts(asked, number, result.parts),
            is_error=result.is_error,
        )
        results.append((rank(call), part))
    results.sort(key=_first)
    return wire.ToolMessage(id=numbered(place, 0), contents=tuple([part for _, part in results]))


def _first(pair: tuple[int, object]) -> int:
    return pair[0]


def _content(part: ResultPart, id: str) -> wire.ContentPart:
    match part:
        case Text(text=text):
            return wire.TextPart(id=id, text=text)
        case Image(data=data, mime_type=mime_type):
            return wire.ImageInlinePart(id=id, encoded_data=data, mime_type=mime_type)
        case _:
            return wire.FileInlinePart(id=id, encoded_data=part.data, mime_type=part.mime_type)


def _name(text: str) -> str:
    """A name as the reference's schemas allow it; a model may make up any."""
    return text[:_MAX_NAME] or "unknown"
