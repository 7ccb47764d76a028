"""Google's Gemini, `streamGenerateContent`.

A signature belongs to the part it came with and goes back on it: on a text (often an empty last one), a
call, or a thought. So a part with a signature is never joined to its neighbours. The first call of a turn
must carry one; where it has none, or one that another provider wrote, the value Google documents for it
stands in.

All results of one turn go back together in one content. Models that are asked for a thinking level
(Gemini 3 and later) take files inside the result; to others they follow in a content of their own.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TypeVar, cast
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
    Text,
    Thought,
    ToolMessage,
    Usage,
    UserMessage,
    joined,
)

from ..history import written_by
from ..model import Delta, Finish, Reply, Request, ToolSpec
from .calls import UNNAMED, own_names, safe_name, with_ids
from .effort import effort_for, level_of, style_of
from .loose import count, event_of, obj, objs, text, truncated
from .media import in_words
from .rows import rows_of
from .url import versioned
from .wire import Pieces, ReasoningStyle, Traits, excerpt, failed, merged

TOOL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")

NO_SIGNATURE = base64.b64encode(b"skip_thought_signature_validator").decode()
"""What Google documents for a call whose signature is not to be had."""

_LEAST_BUDGET = 128
"""What a model that takes a budget and cannot stop thinking takes at least."""

_TOKENS = {"minimal": 1024, "low": 2048, "medium": 5000, "high": 10000}

_IN_RESULTS = frozenset(("image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"))

_encode = msgspec.json.Encoder().encode

P = TypeVar("P", Text, Thought)


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

    def encode(self, request: Request, traits: Traits, pieces: Pieces) -> bytes:
        body: dict[str, Json] = {}
        if request.instruction:
            body["systemInstruction"] = {"parts": [{"text": request.instruction}]}
        style = style_of(request.reasoning, traits, "level")
        if thinking := _thinking(request.reasoning, traits, style):
            body["generationConfig"] = {"thinkingConfig": thinking}
        members = [_encode(body)[1:-1]] if body else []
        if request.tools:
            members.append(b'"tools":' + pieces.tools(request.tools, _tools))
            if request.concluding:  # and the cached beginning stays what it was
                members.append(b'"toolConfig":{"functionCallingConfig":{"mode":"NONE"}}')
        nested = style == "level"
        encode = partial(_message, reader=self.provider, nested=nested)
        contents = rows_of(pieces, request.history, encode, _close, nested)
        if contents and contents[0].startswith(b'{"role":"model"'):
            contents.insert(0, _content([_encode({"text": ""})]))  # the first word is a user's
        members.append(b'"contents":[' + b",".join(contents) + b"]")
        return b"{" + b",".join(members) + b"}"

    def decoder(self, request: Request) -> GeminiDecoder:
        return GeminiDecoder(request, self.provider)

    def failure(self, status: int, body: bytes) -> ModelError:
        try:
            error: Json = msgspec.json.decode(body)
        except msgspec.DecodeError:
            error = excerpt(body)
        if rows := objs(error):  # what a stream was to become is an array
            error = rows[0]
        return _reported(obj(error).get("error", error), status)


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

    for thought in message.thoughts if own else ():
        yield signed({"text": thought.text, "thought": True}, thought.signature)
    for said in message.texts:
        if said.text or (own and said.signature):
            yield signed({"text": said.text}, said.signature)
    for number, call in enumerate(message.calls):
        name = safe_name(call.tool, TOOL_NAME)
        part = signed(
            {"functionCall": {"id": call.id, "name": name, "args": call.args}}, call.signature
        )
        if number == 0:
            part.setdefault("thoughtSignature", NO_SIGNATURE)
        yield part


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


_REFUSALS = frozenset(
    (
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MODEL_ARMOR",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    )
)
_FAULTS = {
    # Another try may go better: the model wrote a call it should not have, or Google does not say.
    "MALFORMED_FUNCTION_CALL": True,
    "MALFORMED_RESPONSE": True,
    "UNEXPECTED_TOOL_CALL": True,
    "TOO_MANY_TOOL_CALLS": True,
    "NO_IMAGE": True,
    "OTHER": True,
    "LANGUAGE": False,
    "MISSING_THOUGHT_SIGNATURE": False,
}


class GeminiDecoder:
    """One streamed answer."""

    def __init__(self, request: Request, provider: str) -> None:
        self._request = request
        self._model = f"{provider}/{request.model}"
        self._names = own_names(request.tools, TOOL_NAME)
        self._thoughts: list[Thought] = []
        self._texts: list[Text] = []
        self._calls: list[Call] = []
        self._counts: dict[str, int] = {}
        self._finish = ""

    def feed(self, event: str, data: bytes) -> Iterable[Delta]:
        chunk = event_of(data)
        if error := chunk.get("error"):
            raise _reported(error, None)
        # Counts are running totals, and a later chunk may leave one out.
        for name, number in obj(chunk.get("usageMetadata")).items():
            if count(number):
                self._counts[name] = count(number)
        if obj(chunk.get("promptFeedback")).get("blockReason"):
            self._finish = "SAFETY"
        candidate = next(iter(objs(chunk.get("candidates"))), obj(None))
        parts = objs(obj(candidate.get("content")).get("parts"))
        deltas = [delta for part in parts for delta in self._hear(part)]
        if reason := text(candidate.get("finishReason")):
            self._close(reason, text(candidate.get("finishMessage")))
        return deltas

    def _hear(self, part: dict[str, Json]) -> Iterable[Delta]:
        signature = text(part.get("thoughtSignature"))
        if call := obj(part.get("functionCall")):
            name = text(call.get("name"))
            self._calls.append(
                Call(
                    id=text(call.get("id")),
                    tool=self._names.get(name, name) or UNNAMED,
                    args=obj(call.get("args")),
                    fault="" if name else "The call names no tool.",
                    signature=signature,
                )
            )
            return ()
        said = text(part.get("text"))
        if part.get("thought"):
            self._thoughts += [Thought(text=said, signature=signature)] if said or signature else []
            return (Delta("thought", said),) if said else ()
        self._texts += [Text(text=said, signature=signature)] if said or signature else []
        return (Delta("text", said),) if said else ()

    def _close(self, reason: str, message: str) -> None:
        self._finish = reason
        if reason in _FAULTS:
            raise ModelError(
                f"The model stopped: {reason}{': ' + message if message else ''}.",
                name="BadReply",
                retryable=_FAULTS[reason],
            )

    def reply(self) -> Reply:
        if not self._finish:
            raise truncated()
        counts = self._counts
        thought_tokens = counts.get("thoughtsTokenCount", 0)
        usage = Usage(
            input_tokens=counts.get("promptTokenCount", 0)
            + counts.get("toolUsePromptTokenCount", 0),
            output_tokens=counts.get("candidatesTokenCount", 0) + thought_tokens,
            reasoning_tokens=thought_tokens,
            cached_input_tokens=counts.get("cachedContentTokenCount", 0),
        )
        message = ExpertMessage(
            thoughts=tuple(_together(self._thoughts)),
            texts=tuple(_together(self._texts)),
            calls=with_ids(self._calls, self._request),
            model=self._model,
        )
        return Reply(message=message, usage=usage, finish=self._why())

    def _why(self) -> Finish:
        if self._finish in _REFUSALS:
            return "refusal"
        if self._finish in ("MAX_TOKENS", "CONTINUATION"):
            return "length"
        return "calls" if self._calls else "stop"


def _together(parts: list[P]) -> Iterator[P]:
    """`parts` with what was only split on its way put together; a signature keeps its part apart."""
    for signed, group in groupby(parts, lambda part: bool(part.signature)):
        if signed:
            yield from group
        else:
            run = tuple(group)
            yield msgspec.structs.replace(run[0], text="".join(part.text for part in run))


_BY_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 500,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


def _reported(error: Json, status: int | None) -> ModelError:
    """An error object as Google sends it, with an answer or in the middle of a stream."""
    fields = obj(error) or {"message": error}
    message = text(fields.get("message"))[:2000]
    word, code = text(fields.get("status")), count(fields.get("code"))
    if status is None:
        status = code if 400 <= code < 600 else _BY_STATUS.get(word, 500)
    details = objs(fields.get("details"))
    name: str | None = None
    if any(detail.get("reason") == "API_KEY_INVALID" for detail in details):
        name, status = "Unauthorized", 401
    elif "input token count" in message.lower() or "number of tokens allowed" in message.lower():
        name = "ContextTooLong"
    elif status == 429 and any("PerDay" in quota for quota in _quotas(details)):
        name, status = (
            "PaymentRequired",
            402,
        )  # until midnight in California; no use in trying again
    elif "billing" in message.lower() and word == "FAILED_PRECONDITION":
        name = "PaymentRequired"
    failure = failed(status, message or f"the provider answered with HTTP {status}", name=name)
    if failure.retryable:
        waits = (_seconds(text(detail.get("retryDelay"))) for detail in details)
        failure.retry_after_s = next((wait for wait in waits if wait is not None), None)
    return failure


def _quotas(details: list[dict[str, Json]]) -> Iterator[str]:
    for detail in details:
        for violation in objs(detail.get("violations")):
            yield text(violation.get("quotaId"))


def _seconds(duration: str) -> float | None:
    """A protobuf Duration in JSON, such as "14.5s"."""
    return float(duration[:-1]) if re.fullmatch(r"\d+(\.\d+)?s", duration) else None
