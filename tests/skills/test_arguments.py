"""Arguments held against schemas: our short way and the library must agree."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from perstack.skills import faults_in

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "lines": {"type": "array", "items": {"type": "integer"}},
        "mode": {"type": "string", "enum": ["r", "w"]},
        "env": {"type": "object", "additionalProperties": {"type": "string"}},
        "strict": {
            "type": "object",
            "properties": {"a": {"type": "null"}},
            "additionalProperties": False,
        },
    },
    "required": ["path"],
}


@pytest.mark.parametrize(
    ("args", "faults"),
    [
        ({"path": "a"}, ()),
        ({}, ("`path` is required",)),
        ({"path": 3}, ("`path` must be a string, not a number",)),
        ({"path": True}, ("`path` must be a string, not a boolean",)),
        ({"path": None}, ("`path` must be a string, not null",)),
        ({"path": "a", "lines": [1, "2"]}, ("`lines[1]` must be an integer, not a string",)),
        ({"path": "a", "mode": "x"}, ("`mode` must be one of 'r', 'w'",)),
        ({"path": "a", "env": {"A": 1}}, ("`env.A` must be a string, not a number",)),
        ({"path": "a", "strict": {"b": 1}}, ("`strict.b` is not an argument of this tool",)),
        ([], ("must be an object, not an array",)),
        ({"path": "a", "lines": [1.0]}, ()),
        ({"path": "a", "unknown": 1}, ()),
    ],
)
def test_each_fault_is_named(args: Any, faults: tuple[str, ...]) -> None:
    assert faults_in(SCHEMA, args) == faults


def test_a_schema_with_other_words_goes_to_the_library() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}}
    assert faults_in(schema, {"n": 2}) == ("`n`: 2 is less than the minimum of 3",)
    assert faults_in(schema, {"n": 3}) == ()


def test_a_schema_that_is_no_schema_is_reported() -> None:
    (fault,) = faults_in({"type": "object", "minProperties": "three"}, {})
    assert "not valid" in fault


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
names = st.sampled_from(["path", "lines", "mode", "env", "strict", "other"])


@given(st.dictionaries(names, json_values | st.sampled_from(["r", "w"]), max_size=5))
def test_the_short_way_and_the_library_agree(args: dict[str, Any]) -> None:
    valid = Draft202012Validator(SCHEMA).is_valid(args)  # pyright: ignore[reportUnknownMemberType]
    assert (faults_in(SCHEMA, args) == ()) == valid
