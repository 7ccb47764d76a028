"""What a line of a vendor's program says, in words that are the same for all of them.

A parser takes one JSON object and gives what it says, nothing for what we have no use for. It takes nothing on
trust: a member of another type than expected is as good as none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import msgspec

from perstack.job import Failure, Image, Json, ResultPart, Text, Usage

Object = dict[str, Any]


class Opened(NamedTuple):
    """It works with this model."""

    model: str


class Spoke(NamedTuple):
    """The model said or thought something. whole: all of it, whatever of it came in pieces before."""

    text: str
    whole: bool = True
    thought: bool = False


class Called(NamedTuple):
    """The model asked for a tool."""

    id: str
    tool: str
    args: dict[str, Json]


class Returned(NamedTuple):
    """A tool has its result."""

    id: str
    parts: tuple[ResultPart, ...]
    is_error: bool = False


class Used(NamedTuple):
    """What the reply with this id took so far."""

    reply: str
    usage: Usage


class Ended(NamedTuple):
    """The work is over. text: the answer, None if it is what was said last. usage: of all replies. cost: in
    millionths of a US dollar."""

    text: str | None = None
    failure: Failure | None = None
    usage: Usage | None = None
    cost: int = 0


Said = Opened | Spoke | Called | Returned | Used | Ended

Parser = Callable[[Object], Iterator[Said]]


def text_at(value: Object, *names: str) -> str:
    """The text under the first of `names` that has one, else empty."""
    for name in names:
        found = value.get(name)
        if isinstance(found, str) and found:
            return found
    return ""


def object_at(value: Object, name: str) -> Object:
    found = value.get(name)
    return cast("Object", found) if isinstance(found, dict) else {}


def objects_at(value: Object, name: str) -> Iterator[Object]:
    found = value.get(name)
    for item in cast("list[Any]", found) if isinstance(found, list) else ():
        if isinstance(item, dict):
            yield cast("Object", item)


def count_at(value: Object, *names: str) -> int:
    """The sum of the whole numbers under `names`."""
    found = (value.get(name) for name in names)
    return sum(n for n in found if isinstance(n, int) and not isinstance(n, bool) and n > 0)


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def failed(name: str, message: str) -> Failure:
    return Failure(name=name, message=message)


# Claude Code ----------------------------------------------------------------------------------------------


def claude_said(line: Object) -> Iterator[Said]:
    """`claude -p --output-format stream-json --verbose`."""
    if line.get("parent_tool_use_id"):
        return  # within a tool of its own, whose result we get
    message = object_at(line, "message")
    match line.get("type"):
        case "system" if line.get("subtype") == "init":
            yield Opened(text_at(line, "model"))
        case "assistant":
            for block in objects_at(message, "content"):
                yield from _claude_block(block)
            if usage := object_at(message, "usage"):
                yield Used(text_at(message, "id"), _claude_usage(usage))
        case "user":
            for block in objects_at(message, "content"):
                if block.get("type") == "tool_result":
                    is_error = block.get("is_error") is True
                    parts = _claude_parts(block.get("content"))
                    yield Returned(text_at(block, "tool_use_id"), parts, is_error)
        case "result":
            yield _claude_result(line)
        case _:
            return


def _claude_block(block: Object) -> Iterator[Said]:
    match block.get("type"):
        case "text":
            yield Spoke(text_at(block, "text"))
        case "thinking":
            yield Spoke(text_at(block, "thinking"), thought=True)
        case "tool_use":
            tool = text_at(block, "name") or "unknown"
            yield Called(text_at(block, "id"), tool, object_at(block, "input"))
        case _:
            return


def _claude_parts(content: Any) -> tuple[ResultPart, ...]:
    if isinstance(content, str):
        return (Text(text=content),)
    parts: list[ResultPart] = []
    for item in objects_at({"content": content}, "content"):
        source = object_at(item, "source")
        if item.get("type") == "image" and source.get("type") == "base64":
            data, kind = text_at(source, "data"), text_at(source, "media_type")
            parts.append(Image(data=data, mime_type=kind))
        else:
            parts.append(Text(text=text_at(item, "text") or as_text(item)))
    return tuple(parts) or (Text(text="" if content is None else as_text(content)),)


def _claude_usage(usage: Object) -> Usage:
    caches = ("cache_creation_input_tokens", "cache_read_input_tokens")
    return Usage(
        input_tokens=count_at(usage, "input_tokens", *caches),
        output_tokens=count_at(usage, "output_tokens"),
        cached_input_tokens=count_at(usage, "cache_read_input_tokens"),
    )


def _claude_result(line: Object) -> Ended:
    subtype, text = text_at(line, "subtype"), line.get("result")
    failure = None
    if line.get("is_error") is True or subtype != "success":
        errors = line.get("errors")
        told = cast("list[Any]", errors) if isinstance(errors, list) else []
        words = "; ".join(as_text(error) for error in told) or (isinstance(text, str) and text)
        what = subtype if subtype != "success" else "error"
        failure = failed(
            what or "error", f"Claude Code gave up ({what}): {words or 'no reason given'}"
        )
    usage = object_at(line, "usage")
    cost = line.get("total_cost_usd")
    return Ended(
        text=text if isinstance(text, str) else None,
        failure=failure,
        usage=_claude_usage(usage) if usage else None,
        cost=round(cost * 1_000_000) if isinstance(cost, int | float) else 0,
    )


# Gemini CLI -----------------------------------------------------------------------------------------------


def gemini_said(line: Object) -> Iterator[Said]:
    """`gemini --output-format stream-json`."""
    match line.get("type"):
        case "init":
            yield Opened(text_at(line, "model"))
        case "message" if line.get("role") == "assistant":
            yield Spoke(text_at(line, "content"), whole=line.get("delta") is not True)
        case "tool_use":
            tool = text_at(line, "tool_name") or "unknown"
            yield Called(text_at(line, "tool_id"), tool, object_at(line, "parameters"))
        case "tool_result":
            error = object_at(line, "error")
            is_error = line.get("status") == "error" or bool(error)
            output = line.get("output")
            text = "" if output is None else as_text(output)
            words = text or (text_at(error, "message") if is_error else "")
            yield Returned(text_at(line, "tool_id"), (Text(text=words),), is_error)
        case "result":
            yield _gemini_result(line)
        case _:
            return


def _gemini_result(line: Object) -> Ended:
    failure = None
    if line.get("status") != "success":
        error = object_at(line, "error")
        words = text_at(error, "message") or text_at(line, "error") or "no reason given"
        failure = failed(text_at(error, "type") or "error", f"Gemini CLI gave up: {words}")
    stats = object_at(line, "stats")
    usage = Usage(
        input_tokens=count_at(stats, "input_tokens"),
        output_tokens=count_at(stats, "output_tokens"),
        cached_input_tokens=count_at(stats, "cached"),
    )
    text = line.get("output")
    return Ended(
        text=text if isinstance(text, str) else None,
        failure=failure,
        usage=usage if stats else None,
    )


# Cursor ---------------------------------------------------------------------------------------------------


def cursor_said(line: Object) -> Iterator[Said]:
    """`cursor-agent --print --output-format stream-json --stream-partial-output`.

    A piece of text has a time, and the whole text that is told again after its pieces has none.
    """
    match line.get("type"), line.get("subtype"):
        case "system", "init":
            yield Opened(text_at(line, "model"))
        case "thinking", "delta":
            yield Spoke(text_at(line, "text"), whole=False, thought=True)
        case "assistant", _:
            blocks = objects_at(object_at(line, "message"), "content")
            text = "".join(text_at(block, "text") for block in blocks)
            piece = "timestamp_ms" in line and "model_call_id" not in line
            yield Spoke(text, whole=not piece)
        case "tool_call", "started":
            tool, call = _cursor_call(line)
            yield Called(text_at(line, "call_id"), tool, _cursor_args(call))
        case "tool_call", "completed":
            _, call = _cursor_call(line)
            result = object_at(call, "result")
            good = result.get("success")
            body = good if good is not None else result.get("error", result.get("rejected", result))
            text = text_at(cast("Object", body), "content") if isinstance(body, dict) else ""
            words = text or ("" if body in (None, {}) else as_text(body))
            is_error = good is None and bool(result)
            yield Returned(text_at(line, "call_id"), (Text(text=words),), is_error)
        case "result", _:
            yield _cursor_result(line)
        case _:
            return


def _cursor_call(line: Object) -> tuple[str, Object]:
    """The name of the tool, and what is told of the call: `{"readToolCall": {...}}`."""
    for key, value in object_at(line, "tool_call").items():
        if isinstance(value, dict):
            call = cast("Object", value)
            own = text_at(object_at(call, "args"), "toolName") or text_at(call, "name")
            return own or key.removesuffix("ToolCall") or "unknown", call
    return "unknown", {}


def _cursor_args(call: Object) -> Object:
    if "args" in call:
        return object_at(call, "args")
    try:  # as other vendors have it: JSON as text
        args = msgspec.json.decode(text_at(call, "arguments"))
    except msgspec.DecodeError:
        return {}
    return cast("Object", args) if isinstance(args, dict) else {}


def _cursor_result(line: Object) -> Ended:
    text, failure = line.get("result"), None
    if line.get("is_error") is True or line.get("subtype") not in (None, "success"):
        words = text_at(line, "error", "result") or "no reason given"
        failure = failed(text_at(line, "subtype") or "error", f"Cursor gave up: {words}")
    usage = object_at(line, "usage")
    told = Usage(
        input_tokens=count_at(usage, "inputTokens", "cacheReadTokens", "cacheWriteTokens"),
        output_tokens=count_at(usage, "outputTokens"),
        cached_input_tokens=count_at(usage, "cacheReadTokens"),
    )
    return Ended(
        text=text if isinstance(text, str) else None,
        failure=failure,
        usage=told if usage else None,
    )
