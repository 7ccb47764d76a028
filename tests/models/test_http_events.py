"""Server-sent events, however they are spelled and cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.errors import ModelError
from perstack.models.sse import MAX_EVENT, EventStream


def events_of(*pieces: bytes) -> list[tuple[str, bytes]]:
    stream = EventStream()
    return [event for piece in pieces for event in stream.feed(piece)]


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"data: a\n\n", [("", b"a")]),
        (b"data:a\n\n", [("", b"a")]),
        (b"data:  a\n\n", [("", b" a")]),
        (b"event: x\ndata: a\n\n", [("x", b"a")]),
        (b"data: a\ndata\ndata: b\n\n", [("", b"a\n\nb")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", b"a")]),
        (b": hello\nid: 3\nretry: 7\ndata: a\n\n", [("", b"a")]),
        (b"data: a: b\n\n", [("", b"a: b")]),
        (b"event: x\n\ndata: a\n\n", [("", b"a")]),
        (b"data: a\n\n\n\ndata: b\n\n", [("", b"a"), ("", b"b")]),
        (b"data: a\r\n\r\ndata: b\r\r", [("", b"a"), ("", b"b")]),
        (b"data: unfinished\n", []),
        (b"\n\n", []),
        (b"data\n\n", [("", b"")]),
    ],
)
def test_the_ways_to_write_an_event(data: bytes, events: list[tuple[str, bytes]]):
    assert events_of(data) == events
    assert events_of(*(data[place : place + 1] for place in range(len(data)))) == events


LINES = st.sampled_from([b"data: x", b"data: \xc3\xa9", b"event: n", b": c", b"", b"", b"data"])
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(LINES, ENDS)), st.data())
def test_cuts_do_not_matter(lines: list[tuple[bytes, bytes]], data: st.DataObject):
    whole = b"".join(line + end for line, end in lines)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=8)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert events_of(*pieces) == events_of(whole)


@given(st.lists(LINES))
def test_the_end_of_a_line_may_be_spelled_in_any_way(lines: list[bytes]):
    lf, cr, crlf = (b"".join(line + end for line in lines) for end in (b"\n", b"\r", b"\r\n"))
    assert events_of(lf) == events_of(cr) == events_of(crlf)


def feed_all(*pieces: bytes) -> None:
    stream = EventStream()
    for piece in pieces:
        stream.feed(piece)


@pytest.mark.parametrize("piece", [b"x" * 2**20, b"data: " + b"x" * 2**20 + b"\n"])
def test_an_event_without_end_is_refused(piece: bytes):
    with pytest.raises(ModelError) as raised:
        feed_all(*[piece] * (MAX_EVENT // 2**20 + 1))
    assert raised.value.name == "StreamBroken"


def test_many_events_are_not_one_long_event():
    feed_all(*[b"data: " + b"x" * 2**20 + b"\n\n"] * (MAX_EVENT // 2**20 + 1))
