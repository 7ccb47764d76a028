"""OpenAI's Chat Completions, as DeepSeek, Ollama and many others speak it.

Two manners of thinking are told apart by the model's traits. "switch" is DeepSeek's: `thinking` turns it
on and off, and the thoughts of a turn that called tools must come back as `reasoning_content`. "effort" is
one word, and Ollama's thoughts come back as `reasoning`. Thoughts another provider wrote stay out.

These providers take text and images. Files become their text, or a note that there was one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from perstack.definition import ProviderAccess
from perstack.errors import ModelError
from perstack.job import (
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
)

from ..model import Delta, Finish, Reply, Request, ToolSpec
from . import openai
from .calls import call_of, own_names, parse_arguments, result_text, safe_name, with_ids
from .effort import effort_for, level_of, style_of
from .loose import count, event_of, obj, objs, text, truncated
from .media import data_url, in_words
from .rows import rows_of
from .wire import Pieces, ReasoningStyle, Traits


class OpenAIChat:
    """The Chat Completions wire."""

    def url(self, access: ProviderAccess, request: Request) -> str:
        return openai.endpoint(access, request.model, "chat/completions")

    def headers(self, access: ProviderAccess) -> dict[str, str]:
        return openai.credentials(access)

    def request_headers(self, access: ProviderAccess, request: Request) -> dict[str, str]:
        return {}

    def encode(self, request: Request, traits: Traits, pieces: Pieces) -> bytes:
        style = style_of(request.reasoning, traits, "effort")
        body: dict[str, Json] = {
            "model": request.model,
            "stream": True,
            "stream_options": {"include_usage": True},
            **_thinking(request, traits, style),
        }
        # To conclude, a model gets no tools: not all of these servers can be told not to use them.
        tools = b""
        if request.tools and not request.concluding:
            tools = b',"tools":' + pieces.tools(request.tools, _tools)
        messages: list[bytes] = []
        if request.instruction:
            messages.append(openai.encode({"role": "system", "content": request.instruction}))
        readers = _readers(traits)
        encode = partial(_message, readers=readers)
        messages += rows_of(pieces, request.history, encode, _close, readers)
        return b"".join(
            (openai.encode(body)[:-1], tools, b',"messages":[', b",".join(messages), b"]}")
        )

    def decoder(self, request: Request) -> ChatDecoder:
        return ChatDecoder(request)

    def failure(self, status: int, body: bytes) -> ModelError:
        return openai.failure(status, body)


CHAT = OpenAIChat()


def _tools(tools: tuple[ToolSpec, ...]) -> bytes:
    return openai.encode(
        [
            {
                "type": "function",
                "function": {
                    "name": safe_name(tool.name, openai.TOOL_NAME),
                    "description": tool.description,
                    "parameters": openai.parameters(tool.schema),
                },
            }
            for tool in tools
        ]
    )


def _thinking(request: Request, traits: Traits, style: ReasoningStyle) -> dict[str, Json]:
    if style == "switch":
        if level_of(request.reasoning) == "none":
            return {} if traits.always_thinks else {"thinking": {"type": "disabled"}}
        body: dict[str, Json] = {"thinking": {"type": "enabled"}}
        if traits.efforts and (word := effort_for(request.reasoning, traits.efforts)):
            body["reasoning_effort"] = word
        return body
    if style == "effort" and (word := effort_for(request.reasoning, traits.efforts)):
        return {"reasoning_effort": word}
    return {}


_FIELDS = {"deepseek": "reasoning_content", "ollama": "reasoning"}
"""Where the thoughts that a provider wrote go back."""


def _readers(traits: Traits) -> tuple[str, ...]:
    """The providers whose thoughts this model is sent; of one that is not listed we know only its messages."""
    match traits.reasoning:
        case "switch":
            return ("deepseek",)
        case "effort":
            return ("ollama",)
        case _:
            return tuple(_FIELDS) if traits.context_window is None else ()


def _close(results: list[bytes], shown: list[bytes]) -> Iterator[bytes]:
    yield from results
    if shown:
        yield b'{"role":"user","content":[' + b",".join(shown) + b"]}"


def _message(message: Message, readers: tuple[str, ...]) -> bytes:
    match message:
        case UserMessage(parts=(Text() as only,)):
            return openai.encode({"role": "user", "content": only.text})
        case UserMessage():
            return openai.encode(
                {"role": "user", "content": [_part(part) for part in message.parts]}
            )
        case ExpertMessage():
            return _expert(message, readers)
        case ToolMessage():
            return _result(message)


def _expert(message: ExpertMessage, readers: tuple[str, ...]) -> bytes:
    body: dict[str, Json] = {"role": "assistant", "content": message.text or None}
    if message.calls:
        body["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": safe_name(call.tool, openai.TOOL_NAME),
                    "arguments": openai.encode(call.args).decode(),
                },
            }
            for call in message.calls
        ]
    body |= _thoughts(message, readers)
    return openai.encode(body)


def _thoughts(message: ExpertMessage, readers: tuple[str, ...]) -> dict[str, str]:
    author = message.model.partition("/")[0]
    thoughts = ""
    if author in readers:
        thoughts = "\n\n".join(thought.text for thought in message.thoughts if thought.text)
    # DeepSeek refuses a turn with calls that lacks the field, even if another provider made them.
    if readers == ("deepseek",) or (author == "deepseek" and author in readers):
        return {"reasoning_content": thoughts} if thoughts or message.calls else {}
    return {_FIELDS[author]: thoughts} if thoughts else {}


def _result(message: ToolMessage) -> bytes:
    images = [part for part in message.parts if isinstance(part, Image)]
    others = [part for part in message.parts if not isinstance(part, Image)]
    texts = [in_words(part) if isinstance(part, File) else part.text for part in others]
    if images:
        texts.append(f"[{len(images)} image(s), shown in the next message]")
    body: dict[str, Json] = {
        "role": "tool",
        "tool_call_id": message.call,
        "content": result_text(message, texts),
    }
    if not images:
        return openai.encode(body)
    caption = Text(text=f"Shown by {message.tool} (call {message.call}):")
    media = b",".join(openai.encode(_part(part)) for part in (caption, *images))
    return openai.encode(body) + b"\n" + media


def _part(part: Text | Image | File) -> dict[str, Json]:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case Image():
            return {"type": "image_url", "image_url": {"url": data_url(part)}}
        case File():
            return {"type": "text", "text": in_words(part)}


class ChatDecoder:
    """One streamed chat completion."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._names = own_names(request.tools, openai.TOOL_NAME)
        self._thoughts: list[str] = []
        self._texts: list[str] = []
        self._calls: list[_OpenCall] = []
        self._usage = Usage()
        self._finish = ""
        self._refused = False
        self._ended = False

    def feed(self, event: str, data: bytes) -> Iterable[Delta]:
        if data.strip() == b"[DONE]":
            self._ended = True
            return ()
        chunk = event_of(data)
        if error := chunk.get("error"):
            raise openai.reported(error)
        if usage := obj(chunk.get("usage")):
            self._usage = _usage(usage)
        # The last chunk has only the usage; some servers give it a null for choices.
        return next((self._choice(choice) for choice in objs(chunk.get("choices"))), ())

    def _choice(self, choice: dict[str, Json]) -> Iterable[Delta]:
        if reason := text(choice.get("finish_reason")):
            if reason in ("insufficient_system_resource", "error"):
                raise openai.reported(choice.get("error") or f"the model stopped: {reason}")
            self._finish = reason
        delta = obj(choice.get("delta"))
        deltas: list[Delta] = []
        if thought := text(delta.get("reasoning_content")) or text(delta.get("reasoning")):
            self._thoughts.append(thought)
            deltas.append(Delta("thought", thought))
        if refusal := text(delta.get("refusal")):
            self._refused = True
            self._texts.append(refusal)
            deltas.append(Delta("text", refusal))
        if said := text(delta.get("content")):
            self._texts.append(said)
            deltas.append(Delta("text", said))
        for fragment in objs(delta.get("tool_calls")):
            self._fragment(fragment)
        return deltas

    def _fragment(self, fragment: dict[str, Json]) -> None:
        function = obj(fragment.get("function"))
        id, name = text(fragment.get("id")), text(function.get("name"))
        index = fragment.get("index")
        call = next((c for c in reversed(self._calls) if index is None or c.index == index), None)
        if call is None or call.is_over(id, name):
            call = _OpenCall(index)
            self._calls.append(call)
        call.id = call.id or id
        call.name = call.name or name
        arguments = function.get("arguments")
        # Servers that do not stream arguments may give them as the object itself.
        call.arguments.append(
            openai.encode(arguments).decode() if obj(arguments) else text(arguments)
        )

    def reply(self) -> Reply:
        # Some servers name no reason but do say [DONE]; without either, the connection broke.
        if not (self._finish or self._ended):
            raise truncated()
        calls = with_ids(
            [
                call_of(
                    c.id,
                    self._names.get(c.name, c.name),
                    "".join(c.arguments),
                    cut=self._finish == "length",
                )
                for c in self._calls
            ],
            self._request,
        )
        thoughts, said = "".join(self._thoughts), "".join(self._texts)
        message = ExpertMessage(
            thoughts=(Thought(text=thoughts),) if thoughts else (),
            texts=(Text(text=said),) if said else (),
            calls=calls,
        )
        return Reply(message=message, usage=self._usage, finish=self._why(bool(calls)))

    def _why(self, calls: bool) -> Finish:
        if self._refused or self._finish == "content_filter":
            return "refusal"
        if self._finish == "length":
            return "length"
        return "calls" if calls else "stop"


class _OpenCall:
    """A call whose fragments are still coming."""

    def __init__(self, index: Json) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []

    def is_over(self, id: str, name: str) -> bool:
        """Whether a fragment with this id and name begins another call at the same index: some servers do that."""
        if id and self.id:
            return id != self.id
        arguments = "".join(self.arguments)
        return bool(name and self.name and arguments.strip()) and not parse_arguments(arguments)[1]


def _usage(usage: dict[str, Json]) -> Usage:
    cached = obj(usage.get("prompt_tokens_details")).get("cached_tokens")
    return Usage(
        input_tokens=count(usage.get("prompt_tokens")),
        output_tokens=count(usage.get("completion_tokens")),
        reasoning_tokens=count(obj(usage.get("completion_tokens_details")).get("reasoning_tokens")),
        cached_input_tokens=count(cached or usage.get("prompt_cache_hit_tokens")),
    )
