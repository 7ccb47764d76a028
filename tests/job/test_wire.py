"""Events as lines: what goes in comes out, and whatever was changed is found."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot
from msgspec.structs import replace

from perstack.definition import Limits
from perstack.errors import CorruptLog
from perstack.job import (
    FORMAT,
    Call,
    CancelRequested,
    Event,
    ExpertMessage,
    Failure,
    File,
    Image,
    Replied,
    ReplyFailed,
    Resumed,
    Rewound,
    RunFinished,
    Stopped,
    Text,
    Thought,
    ToolCalled,
    ToolReturned,
    Usage,
    UserSpoke,
    decode_event,
    decode_events,
    encode_event,
    fold,
)

from .driver import RandomWorld, opening, run, started

texts = st.text(max_size=8)
ids = st.text(min_size=1, max_size=4)
numbers = st.integers(0, 2**53)
json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
usages = st.builds(Usage, input_tokens=numbers, output_tokens=numbers, cached_input_tokens=numbers)
failures = st.builds(
    Failure, name=texts, message=texts, status=st.none() | numbers, retryable=st.booleans()
)
parts = st.lists(
    st.builds(Text, text=texts, signature=texts)
    | st.builds(Image, data=texts, mime_type=texts)
    | st.builds(File, data=texts, mime_type=texts),
    max_size=3,
).map(tuple)
calls = st.builds(
    Call,
    id=ids,
    tool=texts,
    args=st.dictionaries(texts, json, max_size=3),
    kind=st.sampled_from(["tool", "todo", "complete", "delegate", "ask"]),
    skill=texts,
    repeatable=st.booleans(),
    signature=texts,
    fault=texts,
)
replies = st.builds(
    ExpertMessage,
    thoughts=st.lists(st.builds(Thought, text=texts, signature=texts, id=texts), max_size=2).map(
        tuple
    ),
    texts=st.lists(st.builds(Text, text=texts), max_size=2).map(tuple),
    calls=st.lists(calls, max_size=3).map(tuple),
    model=texts,
)
facts: st.SearchStrategy[Event] = st.one_of(
    st.sampled_from(opening()),
    st.builds(Resumed, limits=st.none() | st.just(Limits(max_steps=3))),
    st.builds(Rewound, to=numbers),
    st.builds(Replied, run=ids, message=replies, usage=usages, cut=st.booleans()),
    st.builds(ReplyFailed, run=ids, failure=failures, usage=usages),
    st.builds(ToolCalled, run=ids, call=ids),
    st.builds(
        ToolReturned, run=ids, call=ids, parts=parts, is_error=st.booleans(), ends=st.booleans()
    ),
    st.builds(UserSpoke, text=texts),
    st.just(CancelRequested()),
    st.builds(
        Stopped, reason=st.sampled_from(["interrupted", "limit", "bug"]), what=texts, run=texts
    ),
    st.builds(
        RunFinished,
        run=ids,
        outcome=st.sampled_from(["completed", "failed", "cancelled"]),
        text=texts,
        failure=st.none() | failures,
    ),
)
logs = st.lists(facts, max_size=6).map(
    lambda events: [replace(event, seq=seq, at=seq / 8) for seq, event in enumerate(events, 1)]
)


def lines_of(events: list[Event]) -> list[bytes]:
    lines: list[bytes] = []
    total = ""
    for event in events:
        line, total = encode_event(event, total)
        lines.append(line)
    return lines


def read(lines: list[bytes]) -> list[Event]:
    return list(decode_events(line.removesuffix(b"\n") for line in lines)[0])


@given(events=logs)
def test_what_is_written_is_read_back(events: list[Event]):
    lines = lines_of(events)
    assert read(lines) == events
    assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in lines)
    assert all(msgspec.json.decode(line)["seq"] == seq for seq, line in enumerate(lines, 1))


@given(events=logs.filter(bool), data=st.data())
def test_a_byte_changed_anywhere_is_found_where_it_is(events: list[Event], data: st.DataObject):
    lines = lines_of(events)
    place = data.draw(st.integers(0, len(lines) - 1))
    line = bytearray(lines[place])
    at = data.draw(st.integers(0, len(line) - 2))
    line[at] ^= data.draw(st.integers(1, 255))
    lines[place] = bytes(line)
    with pytest.raises(CorruptLog) as caught:
        list(decode_events(line[:-1] for line in lines))
    assert caught.value.seq == place + 1


@given(events=logs.filter(lambda events: len(events) > 1), data=st.data())
def test_a_line_lost_is_found_where_it_was(events: list[Event], data: st.DataObject):
    lines = lines_of(events)
    lost = data.draw(st.integers(0, len(lines) - 2))
    with pytest.raises(CorruptLog) as caught:
        read(lines[:lost] + lines[lost + 1 :])
    assert caught.value.seq == lost + 1


def test_the_form_of_a_line():
    line, _ = encode_event(UserSpoke(seq=7, at=1767000000.125, text="Hi"))
    assert line == snapshot(
        b'{"type":"userSpoke","seq":7,"at":1767000000.125,"text":"Hi","sum":"38ec2c2b1860beb01f1264e1f6077206c6fb5f03cd2e31d7b011f93cdf48c2b5"}\n'
    )


def test_a_field_from_a_later_version_is_skipped():
    body = b'{"type":"userSpoke","seq":1,"text":"Hi","mood":{"new":[1]}}'
    line = _summed(body)
    assert decode_event(line)[0] == UserSpoke(seq=1, text="Hi")


def test_an_event_from_a_later_version_is_refused_by_its_name():
    with pytest.raises(CorruptLog) as caught:
        decode_event(_summed(b'{"type":"userSang","seq":3}'), path="log.jsonl", seq=3)
    assert (caught.value.path, caught.value.seq) == ("log.jsonl", 3)
    assert "userSang" in caught.value.what


def test_a_log_of_a_later_format_is_refused():
    line, _ = encode_event(replace(started(), seq=1, format=FORMAT + 1))
    with pytest.raises(CorruptLog):
        decode_event(line[:-1])


def test_a_line_without_its_sum_is_refused():
    for line in (b"", b"{}", b'{"type":"userSpoke","seq":1,"text":"Hi"}'):
        with pytest.raises(CorruptLog):
            decode_event(line)


def test_an_event_that_stands_in_another_place_is_refused():
    with pytest.raises(CorruptLog) as caught:
        read(lines_of([UserSpoke(seq=2, text="Hi")]))
    assert caught.value.seq == 1


def test_a_whole_job_folds_from_its_lines():
    job, log = run(RandomWorld(26))
    assert fold(read(log.lines)) == job


def _summed(body: bytes) -> bytes:
    """`body` as a line, with the sum a writer of another version would give it."""
    total = hashlib.sha256(body).hexdigest()
    return body[:-1] + b',"sum":"' + total.encode() + b'"}'
