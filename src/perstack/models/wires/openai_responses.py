"""OpenAI's Responses, stateless: nothing is stored there, so what the model thought travels with us.

A reasoning item is one Thought per piece of its summary, all with the item's id, the first with the
encrypted content as `signature`. A text's `signature` is the id of its message and, after a space, its
phase; a call's is its item's id. They go back only together and only to who wrote them: an item that
names thoughts which are not there is refused. Items of OpenAI's own tools go back with them, as they came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Literal

from perstack.definition import ProviderAccess, ProviderName
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
    Usage,
    UserMessage,
)

from ..history import written_by
from ..model import Delta, Finish, Reply, Request, ToolSpec
from . import openai
from .calls import call_of, own_names, result_text, safe_name, with_ids
from .effort import effort_for, level_of, style_of
from .loose import count, event_of, obj, objs, text, truncated
from .media import data_url, in_words
from .openai_tools import PROVIDED, included, part_of, tools_of
from .rows import rows_of
from .wire import Pieces, Traits


@dataclass(frozen=True, slots=True)
class OpenAIResponses:
    """The Responses wire. provider: whose thoughts it sends back; OpenAI and Azure cannot read each other's."""

    provider: ProviderName

    def url(self, access: ProviderAccess, request: Request) -> str:
        return openai.endpoint(access, request.model, "responses")

    def headers(self, access: ProviderAccess) -> dict[str, str]:
        return openai.credentials(access)

    def request_headers(self, access: ProviderAccess, request: Request) -> dict[str, str]:
        return {}

    def encode(self, request: Request, traits: Traits, pieces: Pieces) -> bytes:
        body: dict[str, Json] = {"model": request.model, "stream": True, "store": False}
        if request.instruction:
            body["instructions"] = request.instruction
        reasons = style_of(request.reasoning, traits, "effort") == "effort"
        include = ["reasoning.encrypted_content"] if reasons else []
        include += included(request.provided)
        if include:
            body["include"] = include
        if reasons:
            if word := effort_for(request.reasoning, traits.efforts):
                shown = level_of(request.reasoning) != "none"
                body["reasoning"] = {"effort": word} | ({"summary": "auto"} if shown else {})
        tools = b""
        if request.tools or request.provided:
            ours = pieces.tools(request.tools, _tools)
            tools = b',"tools":' + _joined(ours, tools_of(request.provided))
            if request.concluding:
                body["tool_choice"] = "none"  # and the cached beginning stays what it was
        reader = self.provider if reasons else ""
        encode = partial(_message, reader=reader, provider=self.provider)
        items = rows_of(pieces, request.history, encode, _close, reader, self.provider)
        return b"".join((openai.encode(body)[:-1], tools, b',"input":[', b",".join(items), b"]}"))

    def decoder(self, request: Request) -> ResponsesDecoder:
        return ResponsesDecoder(request, self.provider)

    def failure(self, status: int, body: bytes) -> ModelError:
        return openai.failure(status, body)


RESPONSES = OpenAIResponses("openai")
AZURE_RESPONSES = OpenAIResponses("azure-openai")


def _joined(ours: bytes, provided: list[dict[str, Json]]) -> bytes:
    """One array of all tools, the provider's last."""
    if not provided:
        return ours
    theirs = openai.encode(provided)
    return theirs if ours == b"[]" else ours[:-1] + b"," + theirs[1:]


def _tools(tools: tuple[ToolSpec, ...]) -> bytes:
    return openai.encode(
        [
            {
                "type": "function",
                "name": safe_name(tool.name, openai.TOOL_NAME),
                "description": tool.description,
                "parameters": openai.parameters(tool.schema),
                "strict": False,  # strict would forbid optional arguments
            }
            for tool in tools
        ]
    )


def _close(results: list[bytes], shown: list[bytes]) -> list[bytes]:
    return list(results)  # they hold their images and files themselves


def _message(message: Message, reader: str, provider: str) -> bytes:
    """The items of `message`, joined. reader: `provider` if it can read thoughts here, else ""."""
    match message:
        case UserMessage(parts=(Text() as only,)):
            return openai.encode({"role": "user", "content": only.text})
        case UserMessage():
            return openai.encode(
                {"role": "user", "content": [_part(part) for part in message.parts]}
            )
        case ExpertMessage():
            return b",".join(openai.encode(item) for item in _expert(message, reader, provider))
        case ToolMessage():
            output = _output(message)
            return openai.encode(
                {"type": "function_call_output", "call_id": message.call, "output": output}
            )


def _expert(message: ExpertMessage, reader: str, provider: str) -> Iterator[dict[str, Json]]:
    own = bool(reader) and written_by(reader, message)
    # An item with its id is refused when the thoughts that led to it are missing.
    whole = own and {t.id for t in message.thoughts} <= {
        t.id for t in message.thoughts if t.signature
    }
    provided = whole or (written_by(provider, message) and not message.thoughts)
    for thoughts, part in _grouped(message):
        if thoughts and whole:
            yield _reasoning(thoughts)
        match part:
            case Text():
                yield from _text(part, whole)
            case Call():
                yield _call(part, whole)
            case ProviderPart() if provided:
                yield part.data
            case _:
                pass


def _grouped(
    message: ExpertMessage,
) -> Iterator[tuple[tuple[Thought, ...], Text | Call | ProviderPart | None]]:
    """The parts of `message`: thoughts of one item together, and every other by itself."""

    def item_of(part: Thought | Text | Call | ProviderPart) -> str | None:
        return part.id if isinstance(part, Thought) else None

    for _, group in groupby(message.parts, item_of):
        parts = tuple(group)
        thoughts = tuple(part for part in parts if isinstance(part, Thought))
        if thoughts:
            yield thoughts, None
        for part in parts:
            if not isinstance(part, Thought):
                yield (), part


def _reasoning(thoughts: tuple[Thought, ...]) -> dict[str, Json]:
    return {
        "type": "reasoning",
        "id": thoughts[0].id,
        "summary": [{"type": "summary_text", "text": t.text} for t in thoughts if t.text],
        "encrypted_content": next(t.signature for t in thoughts if t.signature),
    }


def _text(said: Text, whole: bool) -> Iterator[dict[str, Json]]:
    id, _, phase = said.signature.partition(" ")
    if whole and id:
        content: Json = {
            "type": "output_text",
            "text": said.text,
            "annotations": said.citations,
        }
        item: dict[str, Json] = {
            "type": "message",
            "role": "assistant",
            "id": id,
            "status": "completed",
            "content": [content],
        }
        yield item | ({"phase": phase} if phase else {})
    elif said.text:
        yield {"role": "assistant", "content": said.text}


def _call(call: Call, whole: bool) -> dict[str, Json]:
    item: dict[str, Json] = {
        "type": "function_call",
        "call_id": call.id,
        "name": safe_name(call.tool, openai.TOOL_NAME),
        "arguments": openai.encode(call.args).decode(),
    }
    return item | ({"id": call.signature} if whole and call.signature else {})


def _output(message: ToolMessage) -> str | list[dict[str, Json]]:
    if all(isinstance(part, Text) for part in message.parts):
        return result_text(message, (part.text for part in message.parts if isinstance(part, Text)))
    parts = [_part(part) for part in message.parts]
    return [{"type": "input_text", "text": "Error:"}, *parts] if message.is_error else parts


def _part(part: Text | Image | File) -> dict[str, Json]:
    match part:
        case Text():
            return {"type": "input_text", "text": part.text}
        case Image():
            return {"type": "input_image", "image_url": data_url(part), "detail": "auto"}
        case File(mime_type="application/pdf"):
            return {"type": "input_file", "filename": "file.pdf", "file_data": data_url(part)}
        case File():
            return {"type": "input_text", "text": in_words(part)}


class ResponsesDecoder:
    """One streamed response.

    An item is believed as its `done` event or the closing event has it; pieces heard before stand in for
    an item that was cut off.
    """

    def __init__(self, request: Request, provider: str) -> None:
        self._request = request
        self._model = f"{provider}/{request.model}"
        self._names = own_names(request.tools, openai.TOOL_NAME)
        self._items: dict[int, dict[str, Json]] = {}
        self._heard: dict[int, list[str]] = {}
        self._usage = Usage()
        self._ended = ""

    def feed(self, event: str, data: bytes) -> Iterable[Delta]:
        if data.strip() == b"[DONE]":
            return ()
        chunk = event_of(data)
        place = count(chunk.get("output_index"))
        match text(chunk.get("type")) or event:
            case "response.output_text.delta" | "response.refusal.delta":
                return self._hear(place, "text", text(chunk.get("delta")))
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                return self._hear(place, "thought", text(chunk.get("delta")))
            case "response.reasoning_summary_part.added" if chunk.get("summary_index"):
                return (Delta("thought", "\n\n"),)
            case "response.function_call_arguments.delta":
                self._hear(place, "text", text(chunk.get("delta")))
            case "response.output_item.added":
                item = obj(chunk.get("item"))
                self._items.setdefault(place, item)
                if item.get("type") in PROVIDED:
                    self._heard.setdefault(place, [])
            case "response.output_item.done":
                self._items[place] = obj(chunk.get("item"))
                self._heard.pop(place, None)
            case "response.completed" | "response.incomplete":
                self._close(obj(chunk.get("response")))
            case "response.failed":
                error = obj(chunk.get("response")).get("error")
                raise openai.reported(error or "the response failed")
            case "error":
                raise openai.reported(chunk.get("error") or chunk)
            case _:
                pass  # the many events that say again what others say, and what is yet to be invented
        return ()

    def _hear(self, place: int, kind: Literal["text", "thought"], said: str) -> Iterable[Delta]:
        self._heard.setdefault(place, []).append(said)
        return (Delta(kind, said),) if said else ()

    def _close(self, response: dict[str, Json]) -> None:
        reason = text(obj(response.get("incomplete_details")).get("reason"))
        self._ended = reason or text(response.get("status")) or "completed"
        for place, item in enumerate(objs(response.get("output"))):
            if place not in self._items or place in self._heard:
                self._items[place] = item
                self._heard.pop(place, None)
        usage = obj(response.get("usage"))
        self._usage = Usage(
            input_tokens=count(usage.get("input_tokens")),
            output_tokens=count(usage.get("output_tokens")),
            reasoning_tokens=count(obj(usage.get("output_tokens_details")).get("reasoning_tokens")),
            cached_input_tokens=count(obj(usage.get("input_tokens_details")).get("cached_tokens")),
        )

    def reply(self) -> Reply:
        if not self._ended:
            raise truncated()
        thoughts: list[Thought] = []
        texts: list[Text] = []
        calls: list[Call] = []
        provided: list[ProviderPart] = []
        order = ""
        refused = self._ended == "content_filter"
        for place in sorted(self._items):
            item, heard = self._items[place], "".join(self._heard.get(place, ()))
            match item.get("type"):
                case "reasoning":
                    pieces = _thoughts_of(item, heard)
                    thoughts += pieces
                    order += "t" * len(pieces)
                case "message":
                    refused |= any(
                        part.get("type") == "refusal" for part in objs(item.get("content"))
                    )
                    said = _texts_of(item, heard)
                    texts += said
                    order += "w" * len(said)
                case "function_call":
                    name = text(item.get("name"))
                    calls.append(
                        call_of(
                            text(item.get("call_id")),
                            self._names.get(name, name),
                            heard or text(item.get("arguments")),
                            text(item.get("id")),
                            cut=self._ended == "max_output_tokens",
                        )
                    )
                    order += "c"
                # One that the answer's end cut off has done nothing
                case str() as kind if kind in PROVIDED and place not in self._heard:
                    provided.append(part_of(item))
                    order += "p"
                case _:
                    pass
        message = ExpertMessage(
            thoughts=tuple(thoughts),
            texts=tuple(texts),
            calls=with_ids(calls, self._request),
            model=self._model,
            provided=tuple(provided),
            order=order if provided else "",
        )
        finish: Finish = "calls" if calls else "stop"
        if refused:
            finish = "refusal"
        elif self._ended == "max_output_tokens":
            finish = "length"
        return Reply(message=message, usage=self._usage, finish=finish)


def _thoughts_of(item: dict[str, Json], heard: str) -> list[Thought]:
    shown = objs(item.get("summary")) or objs(item.get("content"))
    pieces = [text(piece.get("text")) for piece in shown] or [heard]
    signature, id = text(item.get("encrypted_content")), text(item.get("id"))
    return [
        Thought(text=piece, id=id, signature="" if number else signature)
        for number, piece in enumerate(pieces)
    ]


def _texts_of(item: dict[str, Json], heard: str) -> list[Text]:
    content = objs(item.get("content"))
    said = heard or "".join(text(p.get("text")) or text(p.get("refusal")) for p in content)
    signature = f"{text(item.get('id'))} {text(item.get('phase'))}".rstrip()
    # Their places are counted in their own piece, so they mean nothing where there are several
    named = objs(content[0].get("annotations")) if len(content) == 1 else []
    return [Text(text=said, signature=signature, citations=tuple(named))] if said else []
