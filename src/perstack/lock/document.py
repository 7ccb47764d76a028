"""The canonical bytes of a Definition, and of any JSON, and their digests.

A document is the Definition as JSON with sorted keys, no white space and no member that has its default
value; two Definitions that mean the same have the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
import json
import math
from functools import cache
from typing import Any, cast

import msgspec
from msgspec.structs import FieldInfo, fields

from perstack.definition import Expert


def document_of(expert: Expert) -> bytes:
    """The canonical document: JSON, UTF-8, keys sorted."""
    return canonical_json(_members(expert))


def _members(value: Any) -> Any:
    """A struct as JSON, without the members that equal their defaults.

    `msgspec` leaves out only members that *are* their defaults: a version the author wrote would not be
    the same as that version by default.
    """
    match value:
        case msgspec.Struct():
            tag = value.__struct_config__
            told = {tag.tag_field: tag.tag} if tag.tag_field else {}
            for field in _fields(type(value)):
                member = getattr(value, field.name)
                if member != _default(field):
                    told[field.encode_name] = _members(member)
            return told
        case dict():
            members = cast("dict[str, Any]", value)
            return {key: _members(member) for key, member in members.items()}
        case list() | tuple():
            return [_members(item) for item in cast("list[Any]", value)]
        case _:
            return value


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[FieldInfo, ...]:
    return fields(kind)  # which reads the annotations anew at each call


def _default(field: FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def digest_of(document: bytes) -> str:
    """ "sha256:" and 64 hex digits."""
    return f"sha256:{hashlib.sha256(document).hexdigest()}"


def canonical_json(value: Any) -> bytes:
    """A JSON value as RFC 8785 writes it: no white space, keys in the order of their UTF-16 code units.

    Numbers are written as JavaScript does, except that whole numbers keep all their digits. Raises ValueError for
    what is not JSON.
    """
    try:
        text = json.dumps(
            value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
        )
    except TypeError as error:
        raise ValueError(str(error)) from error
    # Python differs from RFC 8785 in how it writes fractions, and in the order of keys beyond U+D7FF.
    if text.isascii() or max(text) <= "\ud7ff":
        fractions: list[str] = []
        json.loads(text, parse_float=fractions.append)
        if not fractions:
            return text.encode()
    return _canonical(value).encode()


def _canonical(value: Any) -> str:
    match value:
        case None | bool() | int() | str():
            return msgspec.json.encode(value).decode()
        case float():
            return _number(value)
        case list() | tuple():
            items = cast("list[Any]", value)
            return f"[{','.join(_canonical(item) for item in items)}]"
        case dict():
            members = cast("dict[str, Any]", value)
            ordered = sorted(members, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
            pairs = (f"{_canonical(str(key))}:{_canonical(members[key])}" for key in ordered)
            return f"{{{','.join(pairs)}}}"
        case _:
            raise ValueError(f"{type(value).__name__} is not JSON")


def _number(value: float) -> str:
    """The shortest digits that give `value` again, with JavaScript's choice of exponents."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is not JSON")
    if value == 0:
        return "0"
    mantissa, _, exponent = repr(value).removesuffix(".0").partition("e")
    power = int(exponent or 0)
    if not -7 < power < 21:
        return f"{mantissa}e{power:+d}"
    return _plain(mantissa, power) if power else mantissa


def _plain(mantissa: str, power: int) -> str:
    """`mantissa`, which has one digit before its point, times ten to `power` and without an exponent."""
    sign, digits = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
    whole, _, rest = digits.partition(".")
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{whole}{rest}"
    return f"{sign}{whole}{rest}{'0' * (power - len(rest))}"
