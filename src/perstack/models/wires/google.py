"""Google's Gemini, `streamGenerateContent`.

A signature belongs to the part it came with and goes back on it: on a text (often an empty last one), a
call, or a thought. So a part with a signature is never joined to its neighbours. The first call of a turn
must carry one; where it has none, or one that another provider wrote, the value Google documents for it
stands in.

All results of one turn go back together in one content. Models that are asked for a thinking level
(Gemini 3 and later) take files inside the result; to others they follow in a content of their own. What
Google's own tools did goes back as it came, in its place.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast
from urllib.parse import quote

import msgspec

from perstack.definition import ProviderAccess, ProviderName, Reasoning
from perstack.errors import ModelError
from perstack.job import (
    Call,
    ExpertMessage,
    File,
    Image,
    Json,
    Message,
    ProviderPart,
    Text,
    Thought,
    ToolMessage,
    UserMessage,
    joined,
)

from ..history import written_by
from ..model import Request, ToolSpec
from .calls import own_names, safe_name
from .effort import effort_for, level_of, style_of
from .google_stream import GeminiDecoder, reported
from .google_tools import tools_of
from .loose import obj, objs
from .media import in_words
from .rows import rows_of
from .url import versioned
from .wire import Pieces, ReasoningStyle, Traits, excerpt, merged

TOOL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")

NO_SIGNATURE = base64.b64encode(b"skip_thought_signature_validator").decode()
"""What Google documents for a call whose signature is not to be had."""

_LEAST_BUDGET = 128
"""What a model that takes a budget and cannot stop thinking takes at least."""

_TOKENS = {"minimal": 1024, "low": 2048, "medium": 5000, "high": 10000}

_IN_RESULTS = frozenset(("image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"))

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Gemini:
    """The Gemini wire. provider: whose signatures it sends back; no other can read them."""

    provider: ProviderName

    def url(self, access: ProviderAccess, request: Request) -> str:
        base = versioned(access.base_url or "https://generativelanguage.googleapis.com", "v1beta")
        model = request.model if "/" in request.model else f"models/{request.model}"
        return f"{base}/{quote(model)}:streamGenerateContent?alt=sse"

    def headers(self, access: ProviderAccess) -> dict[str, str]:
        headers = {"x-goog-api-key": access.api_key} if access.api_key else {}
        return merged(headers, access.headers)

    def request_headers(self, access: ProviderAccess, request: Request) -> dict[str, str]:
        return {}

    def encode(self, request: Request, traits: Traits, pieces: Pieces) -> bytes:
        body: dict[str, Json] = {}
        if request.instruction:
            body["systemInstruction"] = {"parts": [{"text": request.instruction}]}
        style = style_of(request.reasoning, traits, "level")
        if thinking := _thinking(request.reasoning, traits, style):
            body["generationConfig"] = {"thinkingConfig": thinking}
        members = [_encode(body)[1:-1]] if body else []
        if request.tools:
            tools = pieces.tools(request.tools, _tools)
            members.append(b'"tools":' + _joined(tools, tools_of(request.provided)))
        elif request.provided:
            members.append(b'"tools":' + _encode(tools_of(request.provided)))
        if config := _tool_config(request):
            members.append(b'"toolConfig":' + _encode(config))
        nested = style == "level"
        encode = partial(_message, reader=self.provider, nested=nested)
        contents = rows_of(pieces, request.history, encode, _close, nested, self.provider)
        if contents and contents[0].startswith(b'{"role":"model"'):
            contents.insert(0, _content([_encode({"text": ""})]))  # the first word is a user's
        members.append(b'"contents":[' + b",".join(contents) + b"]")
        return b"{" + b",".join(members) + b"}"

    def decoder(self, request: Request) -> GeminiDecoder:
        return GeminiDecoder(request, self.provider, own_names(request.tools, TOOL_NAME))

    def failure(self, status: int, body: bytes) -> ModelError:
        try:
            error: Json = msgspec.json.decode(body)
        except msgspec.DecodeError:
            error = excerpt(body)
        if rows := objs(error):  # what a stream was to become is an array
            error = rows[0]
        return reported(obj(error).get("error", error), status)


GEMINI = Gemini("google")


def _thinking(reasoning: Reasoning, traits: Traits, style: ReasoningStyle) -> dict[str, Json]:
    off = level_of(reasoning) == "none"
    match style:
        case "budget" if off:
            return {"thinkingBudget": _LEAST_BUDGET if traits.always_thinks else 0}
        case "budget":
            tokens = reasoning if isinstance(reasoning, int) else _TOKENS[reasoning]
            return {"thinkingBudget": tokens, "includeThoughts": True}
        case "level" if word := effort_for(reasoning, traits.efforts):
            return {"thinkingLevel": word.upper()} | ({} if off else {"includeThoughts": True})
        case _:
            return {}


def _tool_config(request: Request) -> dict[str, Json]:
    config: dict[str, Json] = {}
    if request.tools and request.concluding:  # and the cached beginning stays what it was
        config["functionCallingConfig"] = {"mode": "NONE"}
    if request.tools and request.provided:
        config["includeServerSideToolInvocations"] = True
    return config


def _joined(ours: bytes, provided: list[dict[str, Json]]) -> bytes:
    """One array of all tools, the provider's last."""
    return ours[:-1] + b"," + _encode(provided)[1:] if provided else ours


def _tools(tools: tuple[ToolSpec, ...]) -> bytes:
    declarations = [
        {
            "name": safe_name(tool.name, TOOL_NAME),
            "description": tool.description,
            "parametersJsonSchema": plain_schema(tool.schema),
        }
        for tool in tools
    ]
    return _encode([{"functionDeclarations": declarations}])


def _close(results: list[bytes], shown: list[bytes]) -> Iterator[bytes]:
    return (_content(parts) for parts in (results, shown) if parts)


def _content(parts: Iterable[bytes]) -> bytes:
    return b'{"role":"user","parts":[' + b",".join(parts) + b"]}"


def _message(message: Message, reader: str, nested: bool) -> bytes:
    match message:
        case UserMessage():
            return _content(_encode(_part(part)) for part in message.parts)
        case ExpertMessage():
            parts = list(_expert(message, written_by(reader, message)))
            return _encode({"role": "model", "parts": parts}) if parts else b""
        case ToolMessage():
            return _result(message, nested)


def _expert(message: ExpertMessage, own: bool) -> Iterator[dict[str, Json]]:
    def signed(part: dict[str, Json], signature: str) -> dict[str, Json]:
        return part | ({"thoughtSignature": signature} if own and signature else {})

    first = True
    for part in message.parts:
        match part:
            case Thought() if own:
                yield signed({"text": part.text, "thought": True}, part.signature)
            case Text() if part.text or (own and part.signature):
                yield signed({"text": part.text}, part.signature)
            case Call():
                name = safe_name(part.tool, TOOL_NAME)
                call: dict[str, Json] = {"id": part.id, "name": name, "args": part.args}
                asked = signed({"functionCall": call}, part.signature)
                if first:
                    asked.setdefault("thoughtSignature", NO_SIGNATURE)
                first = False
                yield asked
            case ProviderPart() if own:
                yield part.data
            case _:
                pass


def _result(message: ToolMessage, nested: bool) -> bytes:
    media = [part for part in message.parts if not isinstance(part, Text)]
    inside = [part for part in media if nested and part.mime_type in _IN_RESULTS]
    after = [part for part in media if part not in inside]
    said = joined(message.parts)
    if after:
        said = f"{said}\n[{len(after)} file(s), shown in the next message]".lstrip()
    response: dict[str, Json] = {
        "id": message.call,
        "name": safe_name(message.tool, TOOL_NAME),
        "response": {"error" if message.is_error else "output": said},
    }
    if inside:
        response["parts"] = [_part(part) for part in inside]
    result = _encode({"functionResponse": response})
    if not after:
        return result
    caption = Text(text=f"Shown by {message.tool} (call {message.call}):")
    return result + b"\n" + b",".join(_encode(_part(part)) for part in (caption, *after))


def _part(part: Text | Image | File) -> dict[str, Json]:
    match part:
        case Text():
            return {"text": part.text}
        case File() if not _is_shown(part.mime_type):
            return {"text": in_words(part)}
        case _:
            return {"inlineData": {"mimeType": part.mime_type, "data": part.data}}


def _is_shown(mime: str) -> bool:
    return mime == "application/pdf" or mime.startswith(
        ("image/", "audio/", "video/", "text/plain")
    )


_DROPPED = frozenset(
    ("$schema", "discriminator", "examples", "title", "exclusiveMinimum", "exclusiveMaximum")
)
_MAPS = frozenset(("properties", "$defs", "definitions", "patternProperties"))
_VALUES = frozenset(("enum", "default", "const", "required"))
_MARKS = tuple(f'"{word}"'.encode() for word in (*_DROPPED, "const", "format"))
_KINDS = ((str, "string"), (bool, "boolean"), (int, "integer"), (float, "number"))


def plain_schema(schema: dict[str, Json]) -> dict[str, Json]:
    """`schema` in the words Gemini knows: what it refuses or misreads is dropped or said otherwise."""
    written = _encode(schema)
    return obj(_plain(schema)) if any(mark in written for mark in _MARKS) else schema


def _plain(schema: Json) -> Json:
    if isinstance(schema, list):
        return [_plain(item) for item in cast("list[Json]", schema)]
    if not isinstance(schema, dict):
        return schema
    plain: dict[str, Json] = {}
    for word, value in obj(schema).items():
        if word in _MAPS:
            plain[word] = {name: _plain(sub) for name, sub in obj(value).items()}
        elif word in _VALUES:
            plain[word] = value
        elif word not in _DROPPED:
            plain[word] = _plain(value)
    if (const := plain.pop("const", None)) is not None:
        plain["enum"] = [const]
        kind = next((name for type, name in _KINDS if isinstance(const, type)), None)
        if kind:
            plain.setdefault("type", kind)
    if plain.get("type") == "string" and (format := plain.pop("format", None)):
        said = plain.get("description")
        plain["description"] = f"{said} (format: {format})" if said else f"Format: {format}"
    return plain
