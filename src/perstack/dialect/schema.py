"""The documented JSON Schema of the stream and the records."""

from __future__ import annotations

from typing import Any, cast

import msgspec

_WHOLE_HISTORY = "x-wholeHistory"


def load_schema(*, full: bool = False) -> dict[str, Any]:
    """The schema of every event and record, as JSON Schema 2020-12.

    `$defs` holds one schema for each event, named as its `type`, and one for each object in them. The file is the
    full form; members marked there as a whole history are required only when `full`.
    """
    from importlib.resources import files  # not needed to run anything

    text = files("perstack.dialect").joinpath("schema.json").read_bytes()
    schema = msgspec.json.decode(text, type=dict[str, Any])
    if not full:
        for definition in schema["$defs"].values():
            _relax(definition)
    return schema


def _relax(definition: dict[str, Any]) -> None:
    properties = cast("dict[str, Any]", definition.get("properties", {}))
    whole = {
        name
        for name, member in properties.items()
        if isinstance(member, dict) and _WHOLE_HISTORY in member
    }
    if whole:
        definition["required"] = [name for name in definition["required"] if name not in whole]
