"""A form for an answer: from a JSON Schema to fields, and from what was filled in to the answer. Pure.

Schemas of questions are flat: members that are texts, numbers, yes or no, or one of a list. What is not, and what
has no schema at all, is one field for text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

import msgspec

from perstack._value import Value
from perstack.job import Call, Json

FieldKind = Literal["text", "integer", "number", "boolean", "choice", "many"]


class Field(Value, frozen=True, kw_only=True):
    """One thing to fill in. choices: what is sent, and what is shown. default: what is filled in already."""

    name: str
    kind: FieldKind
    label: str
    help: str = ""
    required: bool = False
    choices: tuple[tuple[str, str], ...] = ()
    default: str = ""


class Form(Value, frozen=True, kw_only=True):
    """What a question asks for.

    message: the question itself. fields: empty if the answer is plain text; choices: what it may be then, as the
    question proposes it. approval: whether it asks to allow a call; then the rule, and the arguments of the call.
    """

    title: str
    message: str = ""
    fields: tuple[Field, ...] = ()
    choices: tuple[str, ...] = ()
    approval: bool = False
    rule: str = ""
    arguments: dict[str, Json] = msgspec.field(default_factory=dict[str, Json])
    can_decline: bool = False


MOST_CHOICES = 9


def form_of(call: Call) -> Form:
    """The form for an open question."""
    args = call.args
    schema = args.get("requestedSchema")
    if isinstance(schema, dict):
        known = cast("dict[str, Json]", schema)
        message = str(args.get("message", ""))
        if "rule" in args and isinstance(args.get("arguments"), dict):
            return Form(
                title=call.tool,
                message=message,
                approval=True,
                rule=str(args["rule"]),
                arguments=cast("dict[str, Json]", args["arguments"]),
            )
        return Form(title=call.tool, message=message, fields=fields_of(known), can_decline=True)
    return Form(title=call.tool, choices=_proposed(args))


def fields_of(schema: Mapping[str, Json]) -> tuple[Field, ...]:
    """The members of a schema, those that are needed first."""
    needed = {str(name) for name in cast("list[Json]", schema.get("required") or [])}
    members = schema.get("properties")
    if not isinstance(members, dict):
        return ()
    fields = [
        _field(name, cast("dict[str, Json]", member), name in needed)
        for name, member in cast("dict[str, Json]", members).items()
        if isinstance(member, dict)
    ]
    return tuple(sorted(fields, key=lambda field: not field.required))


def _field(name: str, member: dict[str, Json], required: bool) -> Field:
    kind, choices = _kind(member)
    default = member.get("default")
    return Field(
        name=name,
        kind=kind,
        label=str(member.get("title") or name),
        help=str(member.get("description") or _hint(member)),
        required=required,
        choices=choices,
        default=_text(default) if default is not None else "",
    )


def _kind(member: dict[str, Json]) -> tuple[FieldKind, tuple[tuple[str, str], ...]]:
    match member:
        case {"enum": [*values]}:
            names = cast("list[Json]", member.get("enumNames") or values)
            shown = [str(name) for name in names] + [_text(v) for v in values[len(names) :]]
            return "choice", tuple((_text(v), n) for v, n in zip(values, shown, strict=False))
        case {"oneOf": [*options]}:
            return "choice", _titled(options)
        case {"type": "array", "items": {"enum": [*values]}}:
            return "many", tuple((_text(value), _text(value)) for value in values)
        case {"type": "array", "items": {"anyOf": [*options]}}:
            return "many", _titled(options)
        case {"type": "boolean"}:
            return "boolean", ()
        case {"type": "integer"}:
            return "integer", ()
        case {"type": "number"}:
            return "number", ()
        case _:
            return "text", ()


def _titled(options: list[Json]) -> tuple[tuple[str, str], ...]:
    known = [cast("dict[str, Json]", option) for option in options if isinstance(option, dict)]
    return tuple((_text(o.get("const")), str(o.get("title") or o.get("const"))) for o in known)


def _hint(member: dict[str, Json]) -> str:
    low, high = member.get("minimum"), member.get("maximum")
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}" if high is not None else ""


def _proposed(args: Mapping[str, Json]) -> tuple[str, ...]:
    """The answers a question proposes: the only argument that is a short list of words."""
    lists = [cast("list[Json]", value) for value in args.values() if isinstance(value, list)]
    words = [one for one in lists if one and all(isinstance(item, str) for item in one)]
    return tuple(words[0]) if len(words) == 1 and len(words[0]) <= MOST_CHOICES else ()


def filled(
    fields: tuple[Field, ...], given: Mapping[str, str | tuple[str, ...]]
) -> dict[str, Json]:
    """The answer as JSON. given: by name; what is empty and not needed is left out. Raises ValueError."""
    answer: dict[str, Json] = {}
    for field in fields:
        value = given.get(field.name, "")
        if isinstance(value, tuple):
            answer[field.name] = list(value)
            continue
        text = value if field.kind == "text" else value.strip()
        if not text and not (field.required and field.kind == "text"):
            if field.required:
                raise ValueError(f"{field.label} is needed.")
            continue
        answer[field.name] = _value(field, text)
    return answer


def _value(field: Field, text: str) -> Json:
    try:
        match field.kind:
            case "integer":
                return int(text)
            case "number":
                return float(text)
            case "boolean":
                return text == "true"
            case _:
                return text
    except ValueError:
        raise ValueError(f"{field.label} must be a number: {text!r} is none.") from None


def _text(value: Json) -> str:
    match value:
        case str():
            return value
        case _:
            return msgspec.json.encode(value).decode()
