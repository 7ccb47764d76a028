"""Tool calls between us and a provider: names it accepts, ids that tell calls apart, arguments that parse."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from itertools import chain, count

import msgspec

from perstack.job import Call, Json, ToolMessage

from ..model import Request, ToolSpec
from .loose import obj

UNNAMED = "unnamed"
"""The tool of a call that named none."""


def safe_name(name: str, allowed: re.Pattern[str]) -> str:
    """`name` if the provider accepts it, else one made from it that no other name becomes."""
    if allowed.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)[:50].lstrip('-0123456789') or 'tool'}_{digest}"


def own_names(tools: Iterable[ToolSpec], allowed: re.Pattern[str]) -> dict[str, str]:
    """The names we changed for the provider → the tools' own names."""
    changed = ((safe_name(tool.name, allowed), tool.name) for tool in tools)
    return {theirs: ours for theirs, ours in changed if theirs != ours}


def parse_arguments(text: str) -> tuple[dict[str, Json], str]:
    """The arguments in `text`, and what is wrong with them; the latter is empty if all is well."""
    if not text.strip():
        return {}, ""
    try:
        value: Json = msgspec.json.decode(text)
        if isinstance(value, str):  # some servers encode the object twice
            value = msgspec.json.decode(value or "{}")
    except msgspec.DecodeError as error:
        return {}, f"The arguments are not valid JSON: {error}. They were: {_short(text)}"
    if value is None:
        return {}, ""
    if not isinstance(value, dict):
        return {}, f"The arguments are not a JSON object. They were: {_short(text)}"
    return obj(value), ""


def call_of(id: str, tool: str, arguments: str, signature: str = "", *, cut: bool = False) -> Call:
    """One call from what a provider streamed. cut: the reply ended at the model's output limit."""
    args, fault = parse_arguments(arguments)
    if fault and cut:
        fault = "The arguments were cut off at the model's output limit."
    if not tool:
        tool, fault = UNNAMED, "The call names no tool."
    return Call(id=id, tool=tool, args=args, fault=fault, signature=signature)


def with_ids(calls: Sequence[Call], request: Request) -> tuple[Call, ...]:
    """`calls` with an id each, unique in their reply; a missing one is made of the reply's place."""
    place, seen = len(request.history), set[str]()
    named: list[Call] = []
    for call in calls:
        made = (f"{call.id or 'call'}_{place}_{number}" for number in count(len(named) + 1))
        id = next(id for id in chain((call.id,), made) if id and id not in seen)
        seen.add(id)
        named.append(call if id == call.id else msgspec.structs.replace(call, id=id))
    return tuple(named)


def result_text(message: ToolMessage, texts: Iterable[str]) -> str:
    """What a result says, where the API knows no flag for a failed call."""
    text = "\n".join(texts)
    return f"Error: {text}" if message.is_error and not text.startswith("Error") else text


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "…"
