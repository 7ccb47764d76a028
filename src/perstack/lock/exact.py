"""What JSON can say and TOML cannot: null, numbers that doubles do not hold, very deep nesting.

A value with such a thing in it is written twice: as far as TOML goes under its own name, for other readers, and
exactly, as JSON text under the name with `Json` after it, which is what we read.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from .document import canonical_json

DEEPEST = 30
"""Levels of nesting that are written as TOML; readers differ in how many they take."""

_SAFE_INT = 2**53 - 1


class Twofold(Exception):
    """A member that says one thing in TOML and another in JSON."""


def fits(value: Any, depth: int = 0) -> bool:
    """Whether TOML can say `value`, and every reader of TOML hears the same."""
    match value:
        case None:
            return False
        case bool() | str():
            return True
        case int():
            return -_SAFE_INT <= value <= _SAFE_INT
        case dict():
            members = cast("dict[str, Any]", value)
            return depth < DEEPEST and all(fits(item, depth + 1) for item in members.values())
        case list() | tuple():
            items = cast("list[Any]", value)
            return depth < DEEPEST and all(fits(item, depth + 1) for item in items)
        case _:
            return True


def as_far_as_it_goes(value: Any, depth: int = 0) -> Any:
    """`value` without what TOML cannot say."""
    match value:
        case bool():
            return value
        case int() if not fits(value):
            return float(value) if abs(value) < 2**1023 else 0
        case dict() if depth < DEEPEST:
            members = cast("dict[str, Any]", value)
            return {
                key: as_far_as_it_goes(member, depth + 1)
                for key, member in members.items()
                if member is not None
            }
        case list() | tuple() if depth < DEEPEST:
            items = cast("list[Any]", value)
            return [as_far_as_it_goes(item, depth + 1) for item in items if item is not None]
        case dict():
            return {}
        case list() | tuple():
            return []
        case _:
            return value


def exact(table: dict[str, Any]) -> dict[str, Any]:
    """`table` with each member that was also written as JSON text put back as it was. Raises Twofold."""
    told: dict[str, Any] = {}
    for name in table:
        if f"{name}Json" in table:
            told[name] = msgspec.json.decode(table[f"{name}Json"])
            if canonical_json(as_far_as_it_goes(told[name])) != canonical_json(table[name]):
                raise Twofold(name)
    return {**table, **told}
