"""Gemini generateContent."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

import msgspec

from ..script import Calls, Heard, Reply, Tokens
from .wire import (
    Fault,
    Peek,
    Role,
    Wire,
    bad_names,
    calls_of,
    data,
    is_sealed,
    seal,
    text_of,
    words_of,
)

UNSIGNED = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")
"""What Google documents for calls that no Gemini made: instead of a signature, plain or as base64."""
UNSIGNED_BYTES = tuple(word.encode() for word in UNSIGNED)


class _GeminiPeek(msgspec.Struct):
    contents: list[Role] = []


class Gemini(Wire):
    """A reply's first call (or, without calls, its last text) carries the signature of its thinking.

    Gemini 3 signs its first call whether or not its thinking is shown, and wants to see the signature again as
    long as the turn lasts. Who has none, since another model made the call, may say so with `UNSIGNED`.
    """

    name = "gemini"
    _peek = msgspec.json.Decoder(_GeminiPeek)
    _path = re.compile(r"/models/([^/:]+):(stream)?[gG]enerateContent")

    def peek(self, raw: bytes, path: str) -> Peek:
        found = self._path.search(path)
        assert found is not None  # the server chose this wire by the same path
        seen = self._peek.decode(raw)
        replies = sum(content.role == "model" for content in seen.contents)
        return Peek(found[1], found[2] is not None, replies)

    def fault(self, body: dict[str, Any], headers: Mapping[str, str], path: str) -> Fault | None:
        if (
            not headers.get("x-goog-api-key")
            and not headers.get("authorization")
            and "key=" not in path
        ):
            return Fault(403, "Method doesn't allow unregistered callers.")
        if not body.get("contents"):
            return Fault(400, "* GenerateContentRequest.contents: contents is not specified")
        if "streamGenerateContent" in path and "alt=sse" not in path:
            return Fault(400, "This server streams server-sent events only: say alt=sse")
        asked: list[str] = []
        for place, content in enumerate(body["contents"]):
            parts: list[dict[str, Any]] = content.get("parts") or []
            if content.get("role", "user") not in ("user", "model"):
                return Fault(400, "Please use a valid role: user, model.")
            if not parts:
                return Fault(400, f"* contents[{place}].parts: contents.parts must not be empty.")
            for part in parts:
                if not set(part) & {
                    "text",
                    "functionCall",
                    "functionResponse",
                    "inlineData",
                    "fileData",
                }:
                    return Fault(
                        400, f"* contents[{place}]: required oneof field 'data' must be initialized"
                    )
                signature = part.get("thoughtSignature")
                if signature is not None and not _is_signature(signature):
                    return Fault(400, "Thought signature is not valid.")
            answers = [
                part["functionResponse"]["name"] for part in parts if "functionResponse" in part
            ]
            if sorted(answers) != sorted(asked) and (asked or answers):
                return Fault(
                    400,
                    "Please ensure that the number of function response parts is equal to the number of"
                    " function call parts of the function call turn.",
                )
            asked = [part["functionCall"]["name"] for part in parts if "functionCall" in part]
        if asked:
            return Fault(
                400,
                "Please ensure that function call turn is followed by a function response turn.",
            )
        if "/models/gemini-3" in path and (fault := self._unsigned(body["contents"])):
            return fault
        return bad_names(self.tools(body))

    def _unsigned(self, contents: list[dict[str, Any]]) -> Fault | None:
        """A call of the turn that goes on, sent back without its signature."""
        for place in range(len(contents) - 1, -1, -1):
            parts = contents[place]["parts"]
            if any("text" in part for part in parts) and contents[place].get("role") != "model":
                return None
            call = next((part for part in parts if "functionCall" in part), None)
            if call is not None and "thoughtSignature" not in call:
                name = call["functionCall"]["name"]
                return Fault(
                    400,
                    "Function call is missing a thought_signature in functionCall parts."
                    f" Please refer to contents[{place}], function call {name}.",
                )
        return None

    def system(self, body: dict[str, Any]) -> str:
        told: Any = body.get("systemInstruction") or body.get("system_instruction") or {}
        return text_of(told.get("parts", []))

    def heard(self, body: dict[str, Any]) -> Iterator[Heard]:
        for content in body.get("contents", ()):
            parts: list[dict[str, Any]] = content["parts"]
            words = [part for part in parts if "text" in part]
            yield Heard(
                role="expert" if content.get("role") == "model" else "user",
                text="".join(part["text"] for part in words if not part.get("thought")),
                thinking="".join(part["text"] for part in words if part.get("thought")),
                calls=tuple(
                    (part["functionCall"]["name"], part["functionCall"].get("args", {}))
                    for part in parts
                    if "functionCall" in part
                ),
                results=tuple(
                    _answer(part["functionResponse"]["response"])
                    for part in parts
                    if "functionResponse" in part
                ),
            )

    def tools(self, body: dict[str, Any]) -> Iterator[str]:
        for group in body.get("tools") or ():
            for tool in group.get("functionDeclarations") or ():
                yield tool["name"]

    def _parts(self, reply: Reply, peek: Peek, serial: int) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        if reply.thinking is not None and not reply.redacted:
            parts.append({"text": reply.thinking, "thought": True})
        if reply.text:
            parts.append({"text": reply.text})
        for number, (tool, args) in enumerate(calls_of(reply)):
            if isinstance(args, str):
                raise ValueError("Gemini gives arguments as an object: they cannot be broken JSON")
            call = {"id": f"call_{serial:06d}{number:02d}", "name": tool, "args": dict(args)}
            parts.append({"functionCall": call})
        call = next((part for part in parts if "functionCall" in part), None)
        bearer = call or (parts[-1] if parts and reply.thinking is not None else None)
        signs = reply.thinking is not None or peek.model.startswith("gemini-3")
        if signs and bearer is not None and not bearer.get("thought"):
            bearer["thoughtSignature"] = seal(reply.thinking or "")
        return parts

    def _candidate(self, parts: list[dict[str, Any]], finish: str | None) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
        return candidate | ({"finishReason": finish} if finish else {})

    def _response(
        self, candidate: dict[str, Any], tokens: Tokens, peek: Peek, serial: int, output: int
    ) -> dict[str, Any]:
        thoughts = min(tokens.reasoning, output)
        usage: dict[str, Any] = {
            "promptTokenCount": tokens.input,
            "candidatesTokenCount": output - thoughts,
            "totalTokenCount": tokens.input + output,
        }
        if tokens.cached:
            usage["cachedContentTokenCount"] = tokens.cached
        if thoughts:
            usage["thoughtsTokenCount"] = thoughts
        return {
            "candidates": [candidate],
            "usageMetadata": usage,
            "modelVersion": peek.model,
            "responseId": f"resp{serial:06d}",
        }

    def _finish(self, reply: Reply) -> str:
        if isinstance(reply, Calls):
            return "STOP"
        return {"stop": "STOP", "length": "MAX_TOKENS", "refusal": "SAFETY"}[reply.finish]

    def events(self, reply: Reply, peek: Peek, serial: int) -> list[bytes]:
        pieces: list[dict[str, Any]] = []
        for part in self._parts(reply, peek, serial):
            words = words_of(part["text"]) if "text" in part else []
            if not words:
                pieces.append(part)
                continue
            rest = {
                key: value for key, value in part.items() if key not in ("text", "thoughtSignature")
            }
            pieces += ({"text": word, **rest} for word in words[:-1])
            pieces.append(part | {"text": words[-1]})
        pieces = pieces or [{"text": ""}]
        told: list[bytes] = []
        for place, piece in enumerate(pieces):
            last = place == len(pieces) - 1
            candidate = self._candidate([piece], self._finish(reply) if last else None)
            output = reply.tokens.output if last else 0
            answer = self._response(candidate, reply.tokens, peek, serial, output)
            told.append(data(answer, end="\r\n"))
        return told

    def whole(self, reply: Reply, peek: Peek, serial: int) -> dict[str, Any]:
        candidate = self._candidate(self._parts(reply, peek, serial), self._finish(reply))
        return self._response(candidate, reply.tokens, peek, serial, reply.tokens.output)

    def error(self, status: int, message: str) -> dict[str, Any]:
        words = {
            400: "INVALID_ARGUMENT",
            401: "UNAUTHENTICATED",
            403: "PERMISSION_DENIED",
            404: "NOT_FOUND",
            429: "RESOURCE_EXHAUSTED",
            503: "UNAVAILABLE",
        }
        return {
            "error": {"code": status, "message": message, "status": words.get(status, "INTERNAL")}
        }

    def error_event(self, status: int, message: str) -> bytes:
        return data(self.error(status, message), end="\r\n")


def _answer(response: Any) -> str:
    if isinstance(response, dict):
        members = cast("dict[str, Any]", response)
        if len(members) == 1:
            value = next(iter(members.values()))
            return value if isinstance(value, str) else json.dumps(value)
    return json.dumps(response)


def _is_signature(signature: str) -> bool:
    plain = _standard(signature)
    return is_sealed(plain) or signature in UNSIGNED or base64.b64decode(plain) in UNSIGNED_BYTES


def _standard(signature: str) -> str:
    """Base64 as it was sent: SDKs turn the alphabet to the URL-safe one and drop the padding."""
    plain = signature.replace("-", "+").replace("_", "/").rstrip("=")
    return plain + "=" * (-len(plain) % 4)
