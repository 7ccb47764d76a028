"""What an MCP server says → what the house works with: tools, and the outcomes of calls.

All of it is written by strangers. Names are checked, texts are stripped of what no reader sees, sizes are capped,
and what no model can be shown is described in words.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

import msgspec

from perstack.job import File, Image, Json, ResultPart, Text

from .skill import Outcome, Tool

if TYPE_CHECKING:
    import mcp_types as types

TEXT_MAX = 1024 * 1024
"""Bytes of text in one result; what is more is cut, and said to be cut."""

DATA_MAX = 24 * 1024 * 1024
"""Characters of base64 in one result; images and files beyond it are described instead."""

DESCRIPTION_MAX = 16_384
MESSAGE_MAX = 8192
TITLE_MAX = 255
SCHEMA_MAX = 256 * 1024
"""Bytes of one input schema as JSON."""

TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)

_IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_MIME_TYPE = re.compile(
    r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}", re.ASCII
)

_JSON_BEGINS = tuple('{["-0123456789tfn')
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but tab and newline
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"  # without width, or turning the direction of reading
    "\U000e0000-\U000e007f]"  # tags: letters that only a model reads
)


def clean(text: str, most: int) -> str:
    """`text` without characters that nobody sees, at most `most` characters long."""
    text = _UNSEEN.sub("", text.replace("\r\n", "\n"))
    return text if len(text) <= most else text[: most - 1] + "…"


def tools_of(listed: Iterable[types.Tool]) -> tuple[tuple[Tool, ...], tuple[str, ...]]:
    """The tools that can be offered, and why others cannot, one sentence each."""
    tools: dict[str, Tool] = {}
    faults: list[str] = []
    for tool in listed:
        if fault := _fault_of(tool) or ("it is listed twice" if tool.name in tools else ""):
            faults.append(f"tool {clean(tool.name, 60)!r} is left out: {fault}")
        else:
            tools[tool.name] = tool_of(tool)
    return tuple(tools.values()), tuple(faults)


def tool_of(tool: types.Tool) -> Tool:
    """One tool as the house has it."""
    notes = tool.annotations
    return Tool(
        name=tool.name,
        description=clean(tool.description or "", DESCRIPTION_MAX),
        schema={"type": "object", **tool.input_schema},
        title=clean(tool.title or (notes and notes.title) or "", TITLE_MAX),
        reads_only=bool(notes and notes.read_only_hint),
        may_repeat=bool(notes and notes.idempotent_hint),
    )


def _fault_of(tool: types.Tool) -> str:
    if not TOOL_NAME.fullmatch(tool.name):
        return "its name is not 1 to 128 letters, digits, dots, dashes and underscores"
    if tool.input_schema.get("type", "object") != "object":
        return "its input schema describes no object"
    if len(msgspec.json.encode(tool.input_schema)) > SCHEMA_MAX:
        return f"its input schema has more than {SCHEMA_MAX} bytes"
    return ""


def outcome_of(tool: str, args: dict[str, Json], result: types.CallToolResult) -> Outcome:
    """The outcome of one call. tool, args: what was called, to say so if nothing came back."""
    parts = [part for block in result.content for part in _parts_of(block)]
    if result.structured_content is not None and not _is_told(result.structured_content, parts):
        parts.append(Text(text=_json(result.structured_content)))
    if not parts:
        parts.append(Text(text=f"Tool {tool} returned nothing with arguments: {_json(args)}"))
    return Outcome(parts=tuple(_bounded(parts)), is_error=bool(result.is_error))


def _parts_of(block: types.ContentBlock) -> Iterator[ResultPart]:
    match block.type:
        case "text":
            yield Text(text=block.text or "Error: No content")
        case "image":
            yield _file("image", block.data, block.mime_type)
        case "audio":
            yield Text(text=_described("audio", block.mime_type, len(block.data)))
        case "resource_link":
            yield Text(text=_link(block))
        case "resource":
            resource = block.resource
            text = cast("str | None", getattr(resource, "text", None))
            if text is not None:
                yield Text(text=text or f"[{resource.uri} is empty]")
            else:
                data = cast("str", getattr(resource, "blob", ""))
                kind = resource.mime_type or "application/octet-stream"
                yield _file("file", data, kind)


def _file(what: str, data: str, mime_type: str) -> ResultPart:
    """An image or a file; in words if its type or its data is not what it should be."""
    kind = mime_type.partition(";")[0].strip().lower()
    if not data:
        return Text(text=f"[{what} of type {clean(mime_type, 100)} without data]")
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return Text(text=f"[{what} of type {clean(mime_type, 100)} whose data is not base64]")
    if kind in _IMAGE_TYPES:
        return Image(data=data, mime_type=kind)
    if what == "image" or not _MIME_TYPE.fullmatch(kind):
        return Text(text=_described(what, mime_type, len(data)))
    return File(data=data, mime_type=kind)


def _described(what: str, mime_type: str, size: int) -> str:
    return f"[{what} of type {clean(mime_type, 100)}, {size * 3 // 4} bytes, which cannot be shown here]"


def _link(link: types.ResourceLink) -> str:
    facts = [link.mime_type or "", f"{link.size} bytes" if link.size is not None else ""]
    known = ", ".join(clean(fact, 100) for fact in facts if fact)
    text = f"Resource {clean(link.title or link.name, TITLE_MAX)}: {clean(link.uri, 2048)}"
    text += f" ({known})" if known else ""
    return f"{text}\n{clean(link.description, DESCRIPTION_MAX)}" if link.description else text


def _is_told(structured: Json, parts: list[ResultPart]) -> bool:
    """Whether one of the texts says the structured content: all of it, or its only member, as servers wrap it."""
    wanted = [structured]
    if isinstance(structured, dict) and len(cast("dict[str, Json]", structured)) == 1:
        wanted += cast("dict[str, Json]", structured).values()
    for part in parts:
        if not isinstance(part, Text):
            continue
        if part.text in wanted:
            return True
        if part.text.lstrip()[:1] in _JSON_BEGINS:
            try:
                if msgspec.json.decode(part.text) in wanted:
                    return True
            except (msgspec.DecodeError, RecursionError):
                continue
    return False


def _json(value: Json) -> str:
    return msgspec.json.encode(value).decode()


def _bounded(parts: Iterable[ResultPart]) -> Iterator[ResultPart]:
    """`parts` within TEXT_MAX and DATA_MAX, with a note where something was cut."""
    text_left, data_left, cut = TEXT_MAX, DATA_MAX, 0
    for part in parts:
        if not isinstance(part, Text):
            if len(part.data) <= data_left:
                data_left -= len(part.data)
                yield part
                continue
            what = "image" if isinstance(part, Image) else "file"
            part = Text(text=_described(what, part.mime_type, len(part.data)))
        told = part.text.encode(errors="replace")
        if len(told) <= text_left:
            text_left -= len(told)
            yield part
            continue
        cut += len(told) - text_left
        if text_left:
            yield Text(text=told[:text_left].decode(errors="ignore"))
        text_left = 0
    if cut:
        yield Text(
            text=f"[cut: the text of this result was {cut} bytes longer than the {TEXT_MAX} bytes shown]"
        )
