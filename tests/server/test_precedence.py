"""Versions as bytes sort as versions do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perstack.definition import EXPERT_VERSION, Version, parse_version
from perstack.server.storage.precedence import precedence

number = st.one_of(st.integers(0, 12), st.integers(0, 10**60))
identifier = st.one_of(
    st.sampled_from(
        ["", "0", "00", "1", "01", "9", "10", "a", "ab", "b", "A", "_", "-", "alpha", "rc"]
    ),
    st.text(st.sampled_from("ab09-_AZ"), max_size=5),
)


@st.composite
def versions(draw: st.DrawFn) -> Version:
    text = ".".join(str(draw(number)) for _ in range(3))
    if draw(st.booleans()):
        pre = ".".join(draw(st.lists(identifier, min_size=1, max_size=4)))
        text += f"-{pre or '0'}"
    if draw(st.booleans()):
        text += "+build.1"
    assert EXPERT_VERSION.fullmatch(text)
    return parse_version(text)


@given(versions(), versions())
def test_bytes_are_in_the_order_of_versions(one: Version, other: Version):
    assert (precedence(one) < precedence(other)) == (one < other)
    assert (precedence(one) == precedence(other)) == (one == other)


def test_the_order_is_that_of_the_standard():
    ordered = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.9.0",
        "1.10.0",
        "2.0.0",
        "10.0.0",
    ]
    told = [precedence(parse_version(text)) for text in ordered]
    assert told == sorted(told)
    assert len(set(told)) == len(told)
    for same, also in (("1.0.0", "1.0.0+b"), ("1.0.0-01", "1.0.0-1")):
        assert precedence(parse_version(same)) == precedence(parse_version(also))
