"""Anthropic Messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import msgspec

from ..script import Calls, Heard, Reply, Tokens
from .wire import (
    Fault,
    Peek,
    Role,
    Wire,
    args_of,
    bad_names,
    calls_of,
    data,
    is_sealed,
    loads,
    seal,
    sign,
    slices_of,
    text_of,
    words_of,
)


class _AnthropicPeek(msgspec.Struct):
    model: str = ""
    stream: bool = False
    messages: list[Role] = []


class Anthropic(Wire):
    name = "anthropic"
    _peek = msgspec.json.Decoder(_AnthropicPeek)
    _tool_name = re.compile(r"[a-zA-Z0-9_-]{1,128}")
    _errors: ClassVar = {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        529: "overloaded_error",
    }

    def peek(self, raw: bytes, path: str) -> Peek:
        seen = self._peek.decode(raw)
        return Peek(
            seen.model, seen.stream, sum(message.role == "assistant" for message in seen.messages)
        )

    def fault(self, body: dict[str, Any], headers: Mapping[str, str], path: str) -> Fault | None:
        if not headers.get("x-api-key") and not headers.get("authorization"):
            return Fault(401, "x-api-key header is required")
        if not headers.get("anthropic-version"):
            return Fault(400, "anthropic-version: header is required")
        for required in ("model", "max_tokens", "messages"):
            if not body.get(required):
                return Fault(400, f"{required}: Field required")
        thinking: dict[str, Any] = body.get("thinking") or {}
        if (
            thinking.get("type") == "enabled"
            and thinking.get("budget_tokens", 0) >= body["max_tokens"]
        ):
            return Fault(400, "`max_tokens` must be greater than `thinking.budget_tokens`")
        if body["messages"][0]["role"] != "user":
            return Fault(400, "messages: first message must use the `user` role")
        return bad_names(self.tools(body), self._tool_name) or self._bad_messages(body["messages"])

    def _bad_messages(self, messages: list[dict[str, Any]]) -> Fault | None:
        asked: list[str] = []
        for place, message in enumerate(messages):
            blocks: list[dict[str, Any]] = (
                [{"type": "text", "text": message["content"]}]
                if isinstance(message["content"], str)
                else message["content"]
            )
            where = f"messages.{place}"
            last = place == len(messages) - 1
            if not blocks and not (last and message["role"] == "assistant"):
                return Fault(400, f"{where}: all messages must have non-empty content")
            answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
            if message["role"] == "user" and asked:
                missing = set(asked) - set(answered)
                if missing or any(block["type"] != "tool_result" for block in blocks[: len(asked)]):
                    return Fault(
                        400,
                        f"{where}: `tool_use` ids were found without `tool_result` blocks immediately after:"
                        f" {', '.join(sorted(missing) or asked)}",
                    )
            for unknown in set(answered) - set(asked):
                return Fault(
                    400,
                    f"{where}: unexpected `tool_use_id` found in `tool_result` blocks: {unknown}",
                )
            if len(answered) != len(set(answered)):
                return Fault(400, f"{where}: each tool_use must have a single result")
            asked = [block["id"] for block in blocks if block["type"] == "tool_use"]
            if len(asked) != len(set(asked)):
                return Fault(400, f"{where}: `tool_use` ids must be unique")
            for number, block in enumerate(blocks):
                if fault := self._bad_block(block, f"{where}.content.{number}"):
                    return fault
        return None

    def _bad_block(self, block: dict[str, Any], where: str) -> Fault | None:
        match block["type"]:
            case "text" if not block["text"]:
                return Fault(400, f"{where}: text content blocks must be non-empty")
            case "thinking" if block.get("signature") != sign(block["thinking"]):
                return Fault(400, f"{where}: Invalid `signature` in `thinking` block")
            case "redacted_thinking" if not is_sealed(block.get("data")):
                return Fault(400, f"{where}: Invalid `data` in `redacted_thinking` block")
            case "tool_use" if not isinstance(block["input"], dict):
                return Fault(400, f"{where}.input: Input should be a valid dictionary")
            case "tool_use" if not re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"]):
                return Fault(400, f"{where}.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
            case "text" | "thinking" | "redacted_thinking" | "tool_use" | "tool_result":
                return None
            case "image" | "document":
                return None
            case "server_tool_use" if block["id"].startswith("srvtoolu_") and block["name"]:
                return None
            case "web_search_tool_result" if block["tool_use_id"].startswith("srvtoolu_"):
                return None
            case other:
                return Fault(400, f"{where}: unknown block type {other!r}")

    def system(self, body: dict[str, Any]) -> str:
        return text_of(body.get("system", ""))

    def heard(self, body: dict[str, Any]) -> Iterator[Heard]:
        for message in body.get("messages", ()):
            content: Any = message["content"]
            if isinstance(content, str):
                content = [{"type": "text", "text": content}]
            yield Heard(
                role="user" if message["role"] == "user" else "expert",
                text="".join(block["text"] for block in content if block["type"] == "text"),
                thinking="".join(
                    block["thinking"] for block in content if block["type"] == "thinking"
                ),
                calls=tuple(
                    (block["name"], block["input"])
                    for block in content
                    if block["type"] == "tool_use"
                ),
                results=tuple(
                    text_of(block.get("content", ""))
                    for block in content
                    if block["type"] == "tool_result"
                ),
            )

    def tools(self, body: dict[str, Any]) -> Iterator[str]:
        for tool in body.get("tools") or ():
            yield tool["name"]

    def _blocks(
        self, reply: Reply, serial: int
    ) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Each content block with its deltas."""
        if reply.thinking is not None and reply.redacted:
            yield {"type": "redacted_thinking", "data": seal(reply.thinking)}, []
        elif reply.thinking is not None:
            signature = sign(reply.thinking)
            yield (
                {"type": "thinking", "thinking": reply.thinking, "signature": signature},
                [
                    *(
                        {"type": "thinking_delta", "thinking": word}
                        for word in words_of(reply.thinking)
                    ),
                    {"type": "signature_delta", "signature": signature},
                ],
            )
        for provided in reply.provided:
            yield dict(provided), []
        if reply.text:
            yield (
                {"type": "text", "text": reply.text},
                [{"type": "text_delta", "text": word} for word in words_of(reply.text)],
            )
        for number, (tool, args) in enumerate(calls_of(reply)):
            told = args_of(args)
            yield (
                {
                    "type": "tool_use",
                    "id": f"toolu_{serial:06d}{number:02d}",
                    "name": tool,
                    "input": loads(told),
                },
                [
                    {"type": "input_json_delta", "partial_json": piece}
                    for piece in ("", *(slices_of(told) if told != "{}" else ()))
                ],
            )

    def _message(self, peek: Peek, serial: int, tokens: Tokens) -> dict[str, Any]:
        return {
            "id": f"msg_{serial:06d}",
            "type": "message",
            "role": "assistant",
            "model": peek.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self._usage(tokens, 1),
        }

    def _usage(self, tokens: Tokens, output: int) -> dict[str, Any]:
        return {
            "input_tokens": tokens.input - tokens.cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": tokens.cached,
            "output_tokens": output,
        }

    def _stop(self, reply: Reply) -> str:
        if isinstance(reply, Calls):
            return "tool_use"
        reasons = {"stop": "end_turn", "length": "max_tokens", "pause": "pause_turn"}
        return reasons.get(reply.finish, reply.finish)

    def events(self, reply: Reply, peek: Peek, serial: int) -> list[bytes]:
        def event(kind: str, **members: Any) -> bytes:
            return data({"type": kind, **members}, kind)

        told = [event("message_start", message=self._message(peek, serial, reply.tokens))]
        for index, (block, parts) in enumerate(self._blocks(reply, serial)):
            told.append(event("content_block_start", index=index, content_block=_emptied(block)))
            if index == 0:
                told.append(event("ping"))
            told += (event("content_block_delta", index=index, delta=part) for part in parts)
            told.append(event("content_block_stop", index=index))
        stop = {"stop_reason": self._stop(reply), "stop_sequence": None}
        told.append(
            event("message_delta", delta=stop, usage=self._usage(reply.tokens, reply.tokens.output))
        )
        told.append(event("message_stop"))
        return told

    def whole(self, reply: Reply, peek: Peek, serial: int) -> dict[str, Any]:
        return self._message(peek, serial, reply.tokens) | {
            "content": [block for block, _ in self._blocks(reply, serial)],
            "stop_reason": self._stop(reply),
            "usage": self._usage(reply.tokens, reply.tokens.output),
        }

    def error(self, status: int, message: str) -> dict[str, Any]:
        kind = self._errors.get(status, "api_error")
        return {
            "type": "error",
            "error": {"type": kind, "message": message},
            "request_id": "req_fake",
        }

    def error_event(self, status: int, message: str) -> bytes:
        return data(self.error(status, message), "error")


def _emptied(block: dict[str, Any]) -> dict[str, Any]:
    match block["type"]:
        case "thinking":
            return block | {"thinking": "", "signature": ""}
        case "text":
            return block | {"text": ""}
        case "tool_use":
            return block | {"input": {}}
        case _:
            return block
