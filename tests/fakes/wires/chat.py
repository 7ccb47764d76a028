"""OpenAI Chat Completions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..script import Calls, Heard, Reply, Tokens
from .wire import (
    CREATED,
    Fault,
    Peek,
    Role,
    Wire,
    args_of,
    bad_names,
    calls_of,
    data,
    loads,
    slices_of,
    text_of,
    words_of,
)


class _Options(msgspec.Struct):
    include_usage: bool = False


class _ChatPeek(msgspec.Struct):
    model: str = ""
    stream: bool | None = None
    stream_options: _Options | None = None
    messages: list[Role] = []


class Chat(Wire):
    """thinking is told as `reasoning_content`, as DeepSeek does."""

    name = "chat"
    _peek = msgspec.json.Decoder(_ChatPeek)

    def peek(self, raw: bytes, path: str) -> Peek:
        seen = self._peek.decode(raw)
        return Peek(
            seen.model,
            bool(seen.stream),
            sum(message.role == "assistant" for message in seen.messages),
            seen.stream_options is not None and seen.stream_options.include_usage,
        )

    def fault(self, body: dict[str, Any], headers: Mapping[str, str], path: str) -> Fault | None:
        if not body.get("model") and "/deployments/" not in path:
            return Fault(400, "you must provide a model parameter")
        if not body.get("messages"):
            return Fault(400, "Missing required parameter: 'messages'.")
        if body.get("stream_options") and not body.get("stream"):
            return Fault(
                400, "The 'stream_options' parameter is only allowed when 'stream' is enabled."
            )
        if body.get("tools") == []:
            return Fault(
                400, "Invalid 'tools': empty array. Expected an array with minimum length 1."
            )
        asked: set[str] = set()
        for place, message in enumerate(body["messages"]):
            role = message["role"]
            if role not in ("system", "developer", "user", "assistant", "tool"):
                return Fault(400, f"Invalid value: '{role}'.")
            if role == "tool":
                if message.get("tool_call_id") not in asked:
                    return Fault(
                        400,
                        f"messages.[{place}]: messages with role 'tool' must be a response to a preceeding"
                        " message with 'tool_calls'.",
                    )
                asked.discard(message["tool_call_id"])
                continue
            if asked:
                return Fault(
                    400,
                    "An assistant message with 'tool_calls' must be followed by tool messages responding to"
                    f" each 'tool_call_id'. Missing: {', '.join(sorted(asked))}",
                )
            calls: list[dict[str, Any]] = message.get("tool_calls") or []
            if any(not isinstance(call["function"]["arguments"], str) for call in calls):
                return Fault(400, f"messages.[{place}]: 'arguments' must be a string")
            if message.get("content") is None and not calls and message.get("refusal") is None:
                return Fault(
                    400, f"messages.[{place}]: Invalid value for 'content': expected a string"
                )
            asked = {call["id"] for call in calls}
        if asked:
            return Fault(
                400, f"tool_call_ids did not have response messages: {', '.join(sorted(asked))}"
            )
        return bad_names(self.tools(body))

    def system(self, body: dict[str, Any]) -> str:
        return "\n".join(
            text_of(message["content"])
            for message in body.get("messages", ())
            if message["role"] in ("system", "developer")
        )

    def heard(self, body: dict[str, Any]) -> Iterator[Heard]:
        results: list[str] = []
        for message in body.get("messages", ()):
            role = message["role"]
            if role == "tool":
                results.append(text_of(message["content"]))
                continue
            if results:
                yield Heard(role="user", results=tuple(results))
                results = []
            if role in ("system", "developer"):
                continue
            yield Heard(
                role="user" if role == "user" else "expert",
                text=text_of(message.get("content")),
                thinking=message.get("reasoning_content") or "",
                calls=tuple(
                    (call["function"]["name"], loads(call["function"]["arguments"]))
                    for call in message.get("tool_calls") or ()
                ),
            )
        if results:
            yield Heard(role="user", results=tuple(results))

    def tools(self, body: dict[str, Any]) -> Iterator[str]:
        for tool in body.get("tools") or ():
            yield tool["function"]["name"]

    def _usage(self, tokens: Tokens) -> dict[str, Any]:
        return {
            "prompt_tokens": tokens.input,
            "completion_tokens": tokens.output,
            "total_tokens": tokens.input + tokens.output,
            "prompt_tokens_details": {"cached_tokens": tokens.cached, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": tokens.reasoning, "audio_tokens": 0},
        }

    def _finish(self, reply: Reply) -> str:
        if isinstance(reply, Calls):
            return "tool_calls"
        return {"stop": "stop", "length": "length", "refusal": "content_filter"}[reply.finish]

    def _tool_calls(self, reply: Reply, serial: int) -> list[dict[str, Any]]:
        return [
            {
                "id": f"call_{serial:06d}{number:02d}",
                "type": "function",
                "function": {"name": tool, "arguments": args_of(args)},
            }
            for number, (tool, args) in enumerate(calls_of(reply))
        ]

    def events(self, reply: Reply, peek: Peek, serial: int) -> list[bytes]:
        usage: dict[str, Any] = {"usage": None} if peek.include_usage else {}

        def chunk(choices: list[dict[str, Any]], usage: dict[str, Any] = usage) -> bytes:
            return data(
                {
                    "id": f"chatcmpl-{serial:06d}",
                    "object": "chat.completion.chunk",
                    "created": CREATED,
                    "model": peek.model,
                    "system_fingerprint": None,
                    "choices": choices,
                    **usage,
                }
            )

        def delta(finish: str | None = None, **members: Any) -> bytes:
            return chunk(
                [{"index": 0, "delta": members, "logprobs": None, "finish_reason": finish}]
            )

        calls = self._tool_calls(reply, serial)
        told = [delta(role="assistant", content=None if calls and not reply.text else "")]
        if reply.thinking is not None and not reply.redacted:
            told += (delta(reasoning_content=word) for word in words_of(reply.thinking))
        told += (delta(content=word) for word in words_of(reply.text))
        for index, call in enumerate(calls):
            opening = call | {"function": call["function"] | {"arguments": ""}}
            told.append(delta(tool_calls=[{"index": index, **opening}]))
            told += (
                delta(tool_calls=[{"index": index, "function": {"arguments": piece}}])
                for piece in slices_of(call["function"]["arguments"])
            )
        told.append(delta(finish=self._finish(reply)))
        if peek.include_usage:
            told.append(chunk([], {"usage": self._usage(reply.tokens)}))
        told.append(b"data: [DONE]\n\n")
        return told

    def whole(self, reply: Reply, peek: Peek, serial: int) -> dict[str, Any]:
        calls = self._tool_calls(reply, serial)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": reply.text or None,
            "refusal": None,
        }
        if reply.thinking is not None and not reply.redacted:
            message["reasoning_content"] = reply.thinking
        if calls:
            message["tool_calls"] = calls
        return {
            "id": f"chatcmpl-{serial:06d}",
            "object": "chat.completion",
            "created": CREATED,
            "model": peek.model,
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "logprobs": None,
                    "finish_reason": self._finish(reply),
                }
            ],
            "usage": self._usage(reply.tokens),
        }

    def error(self, status: int, message: str) -> dict[str, Any]:
        kind = {
            429: "rate_limit_exceeded",
            401: "invalid_request_error",
            400: "invalid_request_error",
        }
        code = {429: "rate_limit_exceeded", 401: "invalid_api_key"}.get(status)
        return {
            "error": {
                "message": message,
                "type": kind.get(status, "server_error"),
                "param": None,
                "code": code,
            }
        }

    def error_event(self, status: int, message: str) -> bytes:
        return data(self.error(status, message))
