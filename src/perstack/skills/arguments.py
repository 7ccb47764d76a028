"""Whether the arguments of a call are what the tool's schema says.

Most tool schemas use a handful of JSON Schema's words. Those are checked here; a schema that uses any other
word goes to the `jsonschema` library, which takes longer to import than a step takes to run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from perstack.job import Json

_NOTES = frozenset({"$schema", "title", "description", "default", "examples", "deprecated"})
_WORDS = _NOTES | {"type", "properties", "required", "items", "enum", "additionalProperties"}

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def faults_in(schema: dict[str, Json], args: Json) -> tuple[str, ...]:
    """What is wrong with `args`, one phrase each, () if nothing is. schema: a JSON Schema object."""
    if _is_plain(schema):
        return tuple(_plain_faults(schema, args, ""))
    return tuple(_library_faults(schema, args))


def _is_plain(schema: Json) -> bool:
    if not isinstance(schema, dict):
        return False
    words = cast(dict[str, Json], schema)
    kind = words.get("type")
    if not (words.keys() <= _WORDS and (kind is None or kind in _TYPES)):
        return False
    extra = words.get("additionalProperties", True)
    inner = list(cast(dict[str, Json], words.get("properties", {})).values())
    inner += [words["items"]] if "items" in words else []
    inner += [extra] if not isinstance(extra, bool) else []
    return all(_is_plain(each) for each in inner)


def _plain_faults(schema: dict[str, Json], value: Json, path: str) -> Iterator[str]:
    where = f"`{path}` " if path else ""
    kind = schema.get("type")
    if kind is not None and not _is_a(kind, value):
        yield f"{where}must be {_article(kind)}, not {_said(value)}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}must be one of {', '.join(map(repr, schema['enum']))}"
    if isinstance(value, dict):
        members = cast(dict[str, Json], value)
        properties = cast(dict[str, dict[str, Json]], schema.get("properties", {}))
        for name in schema.get("required", ()):
            if name not in members:
                yield f"`{_at(path, name)}` is required"
        extra = schema.get("additionalProperties", True)
        for name, member in members.items():
            if name in properties:
                yield from _plain_faults(properties[name], member, _at(path, name))
            elif extra is False:
                yield f"`{_at(path, name)}` is not an argument of this tool"
            elif isinstance(extra, dict):
                yield from _plain_faults(cast(dict[str, Json], extra), member, _at(path, name))
    if isinstance(value, list) and "items" in schema:
        for place, item in enumerate(cast(list[Json], value)):
            yield from _plain_faults(schema["items"], item, f"{path}[{place}]")


def _is_a(kind: str, value: Json) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _library_faults(schema: dict[str, Json], args: Json) -> Iterator[str]:
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    try:
        kind = validator_for(schema)
        kind.check_schema(schema)
        for error in kind(schema).iter_errors(args):
            path = error.json_path.removeprefix("$").removeprefix(".")
            yield f"`{path}`: {error.message}" if path else error.message
    except SchemaError as error:
        yield f"the tool's own schema is not valid: {error.message}"


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _article(kind: str) -> str:
    return "null" if kind == "null" else f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _said(value: Json) -> str:
    for kind, types in _TYPES.items():
        if isinstance(value, bool):
            return "a boolean"
        if isinstance(value, types):
            return _article(kind)
    return type(value).__name__
