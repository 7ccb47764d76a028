"""What servers say, as values: tools and results, honest ones and others."""

from __future__ import annotations

import base64
from typing import Any

import mcp_types as types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.job import File, Image, Text
from perstack.skills import Outcome, Tool
from perstack.skills.launch import NOTICE_MAX, NOTICES_PER_S, TAIL_MAX, Murmur, OversizedLine
from perstack.skills.mcp_results import (
    DATA_MAX,
    DESCRIPTION_MAX,
    SCHEMA_MAX,
    TEXT_MAX,
    clean,
    outcome_of,
    tools_of,
)

PNG = base64.b64encode(b"\x89PNG").decode()


def result(*content: Any, **more: Any) -> types.CallToolResult:
    wire = {"content": list(content), **more}
    return types.CallToolResult.model_validate(wire, by_name=False)


def texts(outcome: Outcome) -> list[str]:
    return [part.text for part in outcome.parts if isinstance(part, Text)]


def tool(name: str, **more: Any) -> types.Tool:
    wire = {"name": name, "inputSchema": {"type": "object"}, **more}
    return types.Tool.model_validate(wire, by_name=False)


def test_a_tool_keeps_what_can_be_trusted_and_shown():
    schema: dict[str, Any] = {"type": "object", "properties": {"b": {}, "a": {}}, "required": ["b"]}
    listed = tool(
        "get_it.v-2",
        description="Gets\x1b[31m it.\r\nTwice.\U000e0041\u200b",
        title="Get it\x07",
        inputSchema=schema,
        annotations={"readOnlyHint": True, "idempotentHint": True, "destructiveHint": True},
    )
    assert tools_of([listed]) == (
        (
            Tool(
                name="get_it.v-2",
                description="Gets[31m it.\nTwice.",
                schema=schema,
                title="Get it",
                reads_only=True,
                may_repeat=True,
            ),
        ),
        (),
    )


def test_a_tool_says_nothing_of_itself_unless_it_does():
    ((plain,), _) = tools_of([tool("a")])
    assert plain == Tool(name="a", description="", schema={"type": "object"})
    assert not plain.repeatable


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        (tool("bad name"), "its name is not"),
        (tool(""), "its name is not"),
        (tool("x" * 129), "its name is not"),
        (tool("naïve"), "its name is not"),
        (tool("a", inputSchema={"type": "string"}), "describes no object"),
        (tool("a", inputSchema={"type": "object", "d": "x" * SCHEMA_MAX}), "has more than"),
    ],
)
def test_a_tool_that_cannot_be_offered_is_left_out_and_said(listed: types.Tool, why: str):
    kept, (fault,) = tools_of([tool("good"), listed])
    assert [each.name for each in kept] == ["good"]
    assert why in fault
    assert len(fault) < 300


def test_the_first_of_two_tools_of_one_name_counts():
    (kept, faults) = tools_of([tool("a", description="1"), tool("a", description="2")])
    assert [each.description for each in kept] == ["1"]
    assert faults == ("tool 'a' is left out: it is listed twice",)


def test_a_description_without_end_has_one():
    ((kept,), _) = tools_of([tool("a", description="x" * 100_000)])
    assert len(kept.description) == DESCRIPTION_MAX
    assert kept.description.endswith("…")


@given(st.text(max_size=50), st.integers(1, 60))
def test_a_cleaned_text_is_clean_and_short(text: str, most: int):
    cleaned = clean(text, most)
    assert len(cleaned) <= most
    assert clean(cleaned, most) == cleaned
    assert not {"\x00", "\x1b", "\r", "\u202e", "\u200b"} & set(cleaned)


def test_what_nothing_came_back_from_is_named():
    assert texts(outcome_of("look", {"a": [1]}, result())) == [
        'Tool look returned nothing with arguments: {"a":[1]}'
    ]


def test_an_error_is_an_error():
    told = outcome_of("t", {}, result({"type": "text", "text": "no"}, isError=True))
    assert told == Outcome(parts=(Text(text="no"),), is_error=True)


@pytest.mark.parametrize(
    ("said", "structured", "expected"),
    [
        ([], {"a": 1}, ['{"a":1}']),
        (["It is one."], {"a": 1}, ["It is one.", '{"a":1}']),
        (['{ "a": 1 }'], {"a": 1}, ['{ "a": 1 }']),
        (["plain"], {"content": "plain"}, ["plain"]),
        (["5"], {"result": 5}, ["5"]),
        (["[1, 2]"], {"result": [1, 2]}, ["[1, 2]"]),
        (["5"], {"result": 5, "unit": "m"}, ["5", '{"result":5,"unit":"m"}']),
        (["{broken"], {"a": 1}, ["{broken", '{"a":1}']),
    ],
)
def test_structured_content_is_told_once(
    said: list[str], structured: dict[str, Any], expected: list[str]
):
    blocks = [{"type": "text", "text": text} for text in said]
    outcome = outcome_of("t", {}, result(*blocks, structuredContent=structured))
    assert texts(outcome) == expected


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (
            {"type": "image", "data": PNG, "mimeType": "IMAGE/png; x=1"},
            Image(data=PNG, mime_type="image/png"),
        ),
        (
            {"type": "image", "data": "", "mimeType": "image/png"},
            Text(text="[image of type image/png without data]"),
        ),
        (
            {"type": "image", "data": "%%%", "mimeType": "image/png"},
            Text(text="[image of type image/png whose data is not base64]"),
        ),
        (
            {"type": "image", "data": PNG, "mimeType": "image/svg+xml"},
            Text(text="[image of type image/svg+xml, 6 bytes, which cannot be shown here]"),
        ),
        (
            {"type": "audio", "data": PNG, "mimeType": "audio/mpeg"},
            Text(text="[audio of type audio/mpeg, 6 bytes, which cannot be shown here]"),
        ),
        (
            {"type": "resource", "resource": {"uri": "x:a", "text": "words"}},
            Text(text="words"),
        ),
        (
            {"type": "resource", "resource": {"uri": "x:a", "text": ""}},
            Text(text="[x:a is empty]"),
        ),
        (
            {"type": "resource", "resource": {"uri": "x:a", "blob": PNG}},
            File(data=PNG, mime_type="application/octet-stream"),
        ),
        (
            {"type": "resource", "resource": {"uri": "x:a", "blob": PNG, "mimeType": "image/png"}},
            Image(data=PNG, mime_type="image/png"),
        ),
        (
            {"type": "resource", "resource": {"uri": "x:a", "blob": PNG, "mimeType": "what ever"}},
            Text(text="[file of type what ever, 6 bytes, which cannot be shown here]"),
        ),
        (
            {
                "type": "resource_link",
                "uri": "file:///a",
                "name": "a",
                "title": "An A",
                "mimeType": "text/plain",
                "size": 3,
                "description": "The\x00 letter",
            },
            Text(text="Resource An A: file:///a (text/plain, 3 bytes)\nThe letter"),
        ),
    ],
)
def test_a_block_becomes_what_a_model_can_be_shown(block: dict[str, Any], part: object):
    assert outcome_of("t", {}, result(block)).parts == (part,)


def test_text_is_cut_at_a_whole_character_and_what_was_cut_is_said():
    blocks = [{"type": "text", "text": "é" * (TEXT_MAX // 2 - 1)}, {"type": "text", "text": "aéé"}]
    outcome = outcome_of("t", {}, result(*blocks, {"type": "text", "text": "more"}))
    first, second, note = texts(outcome)
    assert first == blocks[0]["text"]
    assert second == "a"
    assert "7 bytes longer" in note or "8 bytes longer" in note


def test_data_beyond_the_limit_is_described():
    big = "A" * (DATA_MAX - 4)
    image = {"type": "image", "mimeType": "image/png"}
    outcome = outcome_of("t", {}, result({**image, "data": big}, {**image, "data": "A" * 8}))
    first, second = outcome.parts
    assert isinstance(first, Image)
    assert second == Text(text="[image of type image/png, 6 bytes, which cannot be shown here]")


# Beside the messages --------------------------------------------------------------------------------------


def test_murmur_is_told_in_pieces_counted_and_kept_at_its_end():
    told: list[str] = []
    murmur = Murmur(told.append)
    for number in range(1000):
        murmur.heard(f"{number:04} ".encode() * (NOTICE_MAX // 5))
    murmur.ended()
    assert len(told) < 1000 / 2
    assert told[NOTICES_PER_S - 1].startswith("0019")
    assert "bytes left out" in told[-1]
    assert len(murmur.tail) <= TAIL_MAX
    assert murmur.tail.endswith("0999")


def test_a_character_that_came_in_two_pieces_is_one():
    told: list[str] = []
    murmur = Murmur(told.append)
    murmur.heard(b"wei")
    murmur.heard(b"\xc3")
    murmur.heard(b"\x9f\n")
    assert "".join(told) == "weiß"
    assert murmur.tail == "weiß"


@pytest.mark.parametrize(
    ("line", "request_id"),
    [
        (b'{"jsonrpc":"2.0","id":17,"result":{"content":[{"type', 17),
        (b'{ "jsonrpc": "2.0", "id": 5, "result": {"id": 6', 5),
        (b'{"id":3,"jsonrpc":"2.0","result":{', 3),
        (b'{"result":{"content": ... }]},"jsonrpc":"2.0","id":12}', 12),
        (b'{"result": ... ,"id": 8, "jsonrpc": "2.0"}\r', 8),
        (b'{"jsonrpc":"2.0","method":"notifications/x","params":{"id":4', None),
        (b"not even JSON", None),
    ],
)
def test_a_line_too_long_says_what_it_answers(line: bytes, request_id: int | None):
    assert OversizedLine(line).answers() == request_id
