"""The form of keys, and what patterns and networks let through."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.server.identity.keys import comes_from, covers, hash_of, is_key, new_key


def test_a_key_has_its_form_and_is_drawn_anew():
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    for key in keys:
        assert re.fullmatch(r"psk_[0-9A-Za-z]{49}", key)
        assert is_key(key)
        assert len(hash_of(key)) == 32


@given(st.integers(0, 52), st.sampled_from("0123456789ABCxyz_-é"))
def test_a_letter_that_was_mistyped_is_noticed(at: int, letter: str):
    key = new_key()
    if key[at] != letter:
        assert not is_key(key[:at] + letter + key[at + 1 :])


@given(st.text(max_size=60))
def test_anything_else_is_no_key(text: str):
    assert not is_key(text)


@pytest.mark.parametrize(
    ("patterns", "name", "fits"),
    [
        ((), "@acme/x", True),
        (("@acme/*",), "@acme/x", True),
        (("@acme/*",), "@acme", False),
        (("@acme/*",), "@acmeevil/x", False),
        (("@acme/x",), "@acme/x", True),
        (("@acme/x",), "@acme/xy", False),
        (("a", "b*"), "bee", True),
        (("*",), "anything", True),
    ],
)
def test_patterns(patterns: tuple[str, ...], name: str, fits: bool):
    assert covers(patterns, name) is fits


@pytest.mark.parametrize(
    ("networks", "address", "fits"),
    [
        ((), "203.0.113.9", True),
        (("203.0.113.0/24",), "203.0.113.9", True),
        (("203.0.113.0/24",), "203.0.114.9", False),
        (("203.0.113.9",), "::ffff:203.0.113.9", True),
        (("2001:db8::/32",), "2001:db8::1", True),
        (("2001:db8::/32",), "203.0.113.9", False),
        (("0.0.0.0/0",), "", False),
        (("0.0.0.0/0",), "not an address", False),
    ],
)
def test_networks(networks: tuple[str, ...], address: str, fits: bool):
    assert comes_from(networks, address) is fits
