"""Lines of a width."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perstack.tui.wrap import clean, fit, fit_spans, width_of, wrapped, wrapped_spans

TEXT = st.text(st.sampled_from("ab  cdé漢字🙂-."), max_size=120)
WIDTH = st.integers(8, 60)


@given(TEXT, WIDTH)
def test_no_line_is_wider_than_the_width(text: str, width: int):
    assert all(width_of(line) <= width for line in wrapped(text, width))


@given(TEXT, WIDTH, st.integers(0, 6))
def test_nothing_but_spaces_is_lost(text: str, width: int, hang: int):
    spans = tuple((words, "tone") for words in (text[:10], text[10:]) if words)
    lines = ["".join(words for words, _ in line) for line in wrapped_spans(spans, width, hang)]
    assert "".join("".join(lines).split()) == "".join(text.split())


@given(TEXT, st.integers(1, 40))
def test_what_is_cut_says_so(text: str, width: int):
    shown = fit(text, width)
    assert width_of(shown) <= width
    assert shown == text or shown.endswith("…")


@given(st.lists(TEXT, max_size=4), st.integers(1, 40))
def test_a_line_of_several_tones_is_cut_as_one(parts: list[str], width: int):
    spans = tuple((words, f"tone{place}") for place, words in enumerate(parts))
    assert sum(width_of(words) for words, _ in fit_spans(spans, width)) <= width


def test_words_are_kept_whole_where_they_can_be():
    assert list(wrapped("the quick brown fox", 10)) == ["the quick", "brown fox"]
    assert list(wrapped("abcdefghijklm no", 8)) == ["abcdefgh", "ijklm no"]


def test_what_others_say_does_not_move_the_cursor():
    assert clean("a\x1b[2Jb\tc\x07\x9b\u202e") == "a\ufffd[2Jb  c\ufffd\ufffd\ufffd"
