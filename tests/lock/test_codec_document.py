"""Canonical JSON is what RFC 8785 says, and a document does not depend on how a default came about."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.definition import Expert, parse_project
from perstack.lock import canonical_json, document_of, pinned


@pytest.mark.parametrize(
    ("value", "text"),
    [
        # the examples of RFC 8785, appendix B
        (0.0, "0"),
        (-0.0, "0"),
        (5e-324, "5e-324"),
        (-5e-324, "-5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (9007199254740992.0, "9007199254740992"),
        (-9007199254740992.0, "-9007199254740992"),
        (295147905179352830000.0, "295147905179352830000"),
        (9.999999999999997e22, "9.999999999999997e+22"),
        (1e23, "1e+23"),
        (1.0000000000000001e23, "1.0000000000000001e+23"),
        (999999999999999700000.0, "999999999999999700000"),
        (999999999999999900000.0, "999999999999999900000"),
        (1e21, "1e+21"),
        (9.999999999999997e-7, "9.999999999999997e-7"),
        (0.000001, "0.000001"),
        (333333333.3333332, "333333333.3333332"),
        (333333333.33333325, "333333333.33333325"),
        (333333333.3333333, "333333333.3333333"),
        (-0.0000033333333333333333, "-0.0000033333333333333333"),
        (1424953923781206.2, "1424953923781206.2"),
        # and of 3.2.3
        (
            {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "\u00f6": 7},
            '{"\\r":2,"1":4,"\x80":6,"\u00f6":7,"\u20ac":1,"\U0001f600":5,"\ufb33":3}',
        ),
        (
            [None, True, False, 2**70, "\x0f\n'\"\\/"],
            '[null,true,false,1180591620717411303424,"\\u000f\\n\'\\"\\\\/"]',
        ),
    ],
)
def test_canonical_json_is_rfc_8785(value: Any, text: str) -> None:
    assert canonical_json(value).decode() == text
    assert canonical_json([value]).decode() == f"[{text}]"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"x", {"a": [object()]}])
def test_what_is_not_json_has_no_canonical_form(value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the words are of others
        canonical_json(value)


texts = st.text(st.characters(codec="utf-8"))
exact = st.none() | st.booleans() | st.integers() | texts
doubles = st.floats(allow_nan=False, allow_infinity=False)


def jsons(scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
        max_leaves=10,
    )


@given(value=jsons(exact))
def test_canonical_json_says_the_same(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value


@given(value=doubles)
def test_a_canonical_number_is_the_same_double(value: float) -> None:
    assert float(canonical_json(value)) == value


@given(value=jsons(exact | doubles))
def test_what_is_canonical_stays_as_it_is(value: Any) -> None:
    text = canonical_json(value)
    assert canonical_json(json.loads(text)) == text


def test_a_default_that_was_written_down_changes_nothing() -> None:
    text = '[experts.a]\ninstruction = "x"\nversion = "1.0.0"\ntags = []\n'
    text += '[experts.a.skills."@perstack/base"]\ntype = "mcpStdioSkill"\ncommand = "npx"\n'
    text += 'args = ["-y", "@perstack/base"]\ndescription = "Base skill"\nlazyInit = false'
    written = parse_project(text, "perstack.toml").project.experts["a"]
    plain = parse_project('[experts.a]\ninstruction = "x"', "perstack.toml").project.experts["a"]
    assert pinned(written).integrity == pinned(plain).integrity
    assert b"version" not in document_of(plain)
    assert document_of(Expert(key="a", name="a", instruction="x")) == (
        b'{"instruction":"x","key":"a","name":"a"}'
    )
