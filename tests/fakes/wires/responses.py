"""OpenAI Responses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..script import Heard, Reply, Says
from .chat import Chat
from .wire import (
    CREATED,
    Fault,
    Peek,
    Wire,
    args_of,
    bad_names,
    calls_of,
    data,
    is_sealed,
    loads,
    seal,
    slices_of,
    text_of,
    words_of,
)


class _Item(msgspec.Struct):
    type: str = "message"
    role: str = ""


class _ResponsesPeek(msgspec.Struct):
    model: str = ""
    stream: bool | None = None
    input: str | list[_Item] = ""


class Responses(Wire):
    name = "responses"
    _peek = msgspec.json.Decoder(_ResponsesPeek)

    def peek(self, raw: bytes, path: str) -> Peek:
        seen = self._peek.decode(raw)
        replies = 0
        within = False
        for item in () if isinstance(seen.input, str) else seen.input:
            ours = item.type in ("reasoning", "function_call") or item.role == "assistant"
            replies += ours and not within
            within = ours
        return Peek(seen.model, bool(seen.stream), replies)

    def fault(self, body: dict[str, Any], headers: Mapping[str, str], path: str) -> Fault | None:
        if not headers.get("authorization") and not headers.get("api-key"):
            return Fault(401, "You didn't provide an API key.")
        if not body.get("model"):
            return Fault(400, "Missing required parameter: 'model'.")
        if body.get("previous_response_id"):
            return Fault(400, "Previous response not found.")
        items = self._items(body)
        if not items:
            return Fault(400, "Missing required parameter: 'input'.")
        calls: set[str] = set()
        answered: set[str] = set()
        for place, item in enumerate(items):
            following = items[place + 1] if place + 1 < len(items) else {}
            match item.get("type", "message"):
                case "function_call":
                    calls.add(item["call_id"])
                    if not isinstance(item["arguments"], str):
                        return Fault(
                            400, f"Invalid type for 'input[{place}].arguments': expected a string."
                        )
                    if item.get("id") is not None and not str(item["id"]).startswith("fc"):
                        return Fault(
                            400,
                            f"Invalid 'input[{place}].id': '{item['id']}'."
                            " Expected an ID that begins with 'fc'.",
                        )
                case "function_call_output":
                    if item["call_id"] not in calls:
                        return Fault(
                            400,
                            f"No tool call found for function call output with call_id {item['call_id']}.",
                        )
                    answered.add(item["call_id"])
                case "reasoning":
                    if not str(item.get("id", "")).startswith("rs_"):
                        return Fault(
                            400,
                            f"Invalid 'input[{place}].id'. Expected an ID that begins with 'rs_'.",
                        )
                    if item.get("encrypted_content") is not None and not is_sealed(
                        item["encrypted_content"]
                    ):
                        return Fault(400, "The encrypted content for item could not be verified.")
                    if body.get("store") is False and item.get("encrypted_content") is None:
                        return Fault(
                            404, f"Item with id '{item['id']}' not found. Items are not persisted."
                        )
                    if (
                        following.get("type") != "function_call"
                        and following.get("role") != "assistant"
                    ):
                        return Fault(
                            400,
                            f"Item '{item['id']}' of type 'reasoning' was provided without its required"
                            " following item.",
                        )
                case "message":
                    if item.get("role") not in ("user", "assistant", "system", "developer"):
                        return Fault(400, f"Invalid value: '{item.get('role')}'.")
                    if fault := self._bad_parts(item, place):
                        return fault
                case other:
                    return Fault(400, f"Invalid value: '{other}' for 'input[{place}].type'.")
        for missing in sorted(calls - answered):
            return Fault(400, f"No tool output found for function call {missing}.")
        return bad_names(self.tools(body))

    def _bad_parts(self, item: dict[str, Any], place: int) -> Fault | None:
        if isinstance(item["content"], str):
            return None
        wanted = (
            ("output_text", "refusal")
            if item["role"] == "assistant"
            else ("input_text", "input_image", "input_file")
        )
        for number, part in enumerate(item["content"]):
            if part["type"] not in wanted:
                return Fault(
                    400,
                    f"Invalid value: '{part['type']}' for 'input[{place}].content[{number}].type'."
                    f" Supported values are: {', '.join(wanted)}.",
                )
        return None

    def _items(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        given: Any = body.get("input") or []
        return [{"role": "user", "content": given}] if isinstance(given, str) else given

    def system(self, body: dict[str, Any]) -> str:
        said = [
            text_of(item["content"])
            for item in self._items(body)
            if item.get("role") in ("system", "developer")
        ]
        return "\n".join([body.get("instructions") or "", *said]).strip("\n")

    def heard(self, body: dict[str, Any]) -> Iterator[Heard]:
        expert: list[dict[str, Any]] = []
        results: list[str] = []
        for item in (*self._items(body), {"type": "end"}):
            kind = item.get("type", "message")
            ours = kind in ("reasoning", "function_call") or item.get("role") == "assistant"
            if expert and not ours:
                yield self._spoken(expert)
                expert = []
            if results and kind != "function_call_output":
                yield Heard(role="user", results=tuple(results))
                results = []
            if ours:
                expert.append(item)
            elif kind == "function_call_output":
                results.append(text_of(item["output"]))
            elif item.get("role") == "user":
                yield Heard(role="user", text=text_of(item["content"]))

    def _spoken(self, items: list[dict[str, Any]]) -> Heard:
        return Heard(
            role="expert",
            text="".join(
                text_of(item["content"]) for item in items if item.get("role") == "assistant"
            ),
            thinking="".join(
                text_of(item["summary"]) for item in items if item.get("type") == "reasoning"
            ),
            calls=tuple(
                (item["name"], loads(item["arguments"]))
                for item in items
                if item.get("type") == "function_call"
            ),
        )

    def tools(self, body: dict[str, Any]) -> Iterator[str]:
        for tool in body.get("tools") or ():
            if tool["type"] == "function":
                yield tool["name"]

    def _output(self, reply: Reply, serial: int) -> Iterator[dict[str, Any]]:
        if reply.thinking is not None:
            shown = [] if reply.redacted else [{"type": "summary_text", "text": reply.thinking}]
            yield {
                "id": f"rs_{serial:06d}",
                "type": "reasoning",
                "summary": shown,
                "encrypted_content": seal(reply.thinking),
            }
        if reply.text:
            refused = isinstance(reply, Says) and reply.finish == "refusal"
            part: dict[str, Any] = (
                {"type": "refusal", "refusal": reply.text}
                if refused
                else {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
            )
            yield {
                "id": f"msg_{serial:06d}",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [part],
            }
        for number, (tool, args) in enumerate(calls_of(reply)):
            yield {
                "id": f"fc_{serial:06d}{number:02d}",
                "type": "function_call",
                "call_id": f"call_{serial:06d}{number:02d}",
                "name": tool,
                "arguments": args_of(args),
                "status": "completed",
            }

    def _response(self, peek: Peek, serial: int, status: str) -> dict[str, Any]:
        return {
            "id": f"resp_{serial:06d}",
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "model": peek.model,
            "output": [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": None,
            "metadata": {},
        }

    def whole(self, reply: Reply, peek: Peek, serial: int) -> dict[str, Any]:
        cut_off = isinstance(reply, Says) and reply.finish == "length"
        tokens = reply.tokens
        return self._response(peek, serial, "incomplete" if cut_off else "completed") | {
            "output": list(self._output(reply, serial)),
            "incomplete_details": {"reason": "max_output_tokens"} if cut_off else None,
            "usage": {
                "input_tokens": tokens.input,
                "input_tokens_details": {"cached_tokens": tokens.cached, "cache_write_tokens": 0},
                "output_tokens": tokens.output,
                "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
                "total_tokens": tokens.input + tokens.output,
            },
        }

    def events(self, reply: Reply, peek: Peek, serial: int) -> list[bytes]:
        told: list[bytes] = []

        def event(kind: str, **members: Any) -> None:
            told.append(data({"type": kind, "sequence_number": len(told), **members}, kind))

        begun = self._response(peek, serial, "in_progress")
        event("response.created", response=begun)
        event("response.in_progress", response=begun)
        for place, item in enumerate(self._output(reply, serial)):
            at = {"item_id": item["id"], "output_index": place}
            match item["type"]:
                case "reasoning":
                    opening: dict[str, Any] = item | {"summary": []}
                    event("response.output_item.added", output_index=place, item=opening)
                    for number, part in enumerate(item["summary"]):
                        here = at | {"summary_index": number}
                        empty = part | {"text": ""}
                        event("response.reasoning_summary_part.added", **here, part=empty)
                        for word in words_of(part["text"]):
                            event("response.reasoning_summary_text.delta", **here, delta=word)
                        event("response.reasoning_summary_text.done", **here, text=part["text"])
                        event("response.reasoning_summary_part.done", **here, part=part)
                case "message":
                    opening: dict[str, Any] = item | {"status": "in_progress", "content": []}
                    event("response.output_item.added", output_index=place, item=opening)
                    for number, part in enumerate(item["content"]):
                        here = at | {"content_index": number}
                        key = "refusal" if part["type"] == "refusal" else "text"
                        kind = "response.refusal" if key == "refusal" else "response.output_text"
                        more: dict[str, Any] = {} if key == "refusal" else {"logprobs": []}
                        event("response.content_part.added", **here, part=part | {key: ""})
                        for word in words_of(part[key]):
                            event(f"{kind}.delta", **here, delta=word, **more)
                        event(f"{kind}.done", **here, **{key: part[key]}, **more)
                        event("response.content_part.done", **here, part=part)
                case _:
                    opening = item | {"status": "in_progress", "arguments": ""}
                    event("response.output_item.added", output_index=place, item=opening)
                    for piece in slices_of(item["arguments"]):
                        event("response.function_call_arguments.delta", **at, delta=piece)
                    event(
                        "response.function_call_arguments.done",
                        **at,
                        name=item["name"],
                        arguments=item["arguments"],
                    )
            event("response.output_item.done", output_index=place, item=item)
        whole = self.whole(reply, peek, serial)
        event(f"response.{whole['status']}", response=whole)
        return told

    def error(self, status: int, message: str) -> dict[str, Any]:
        return Chat().error(status, message)

    def error_event(self, status: int, message: str) -> bytes:
        code = "rate_limit_exceeded" if status == 429 else "server_error"
        payload = {
            "type": "error",
            "code": code,
            "message": message,
            "param": None,
            "sequence_number": 0,
        }
        return data(payload, "error")
