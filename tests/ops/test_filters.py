"""Which events are shown."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.errors import UserError
from perstack.ops.history.filters import (
    Condition,
    Selection,
    Steps,
    page_of,
    parse_count,
    parse_filter,
    parse_since,
    parse_steps,
    totals_of,
)
from perstack.ops.history.jobs import Failed, Told

EVENT: dict[str, Any] = {
    "type": "callTools",
    "stepNumber": 3,
    "toolCalls": [
        {
            "toolName": "exec",
            "args": {"command": "ls", "timeout": 10, "deep": [{"n": 1}, {"n": 2}]},
        },
        {"toolName": "todo", "args": {}},
    ],
    "usage": {"inputTokens": 100},
    "flag": True,
    "empty": [],
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        (".type == callTools", True),
        ('.type == "callTools"', True),
        (".type == 'callTools'", True),
        (".type==callTools", True),
        ("  .type == callTools  ", True),
        (".type != callTools", False),
        (".type != retry", True),
        (".stepNumber == 3", True),
        (".stepNumber == 3.0", True),
        ('.stepNumber == "3"', False),
        ('.stepNumber != "3"', True),
        (".stepNumber > 2", True),
        (".stepNumber >= 3", True),
        (".stepNumber < 3", False),
        (".stepNumber <= 3", True),
        (".type > 3", False),
        (".type > a", False),
        (".flag == true", True),
        (".flag == 1", False),
        (".flag > 0", False),
        (".flag != false", True),
        (".usage.inputTokens >= 1e2", True),
        (".usage.inputTokens.more == 1", False),
        (".toolCalls[].toolName == todo", True),
        (".toolCalls[].toolName == edit", False),
        (".toolCalls[].toolName != todo", True),
        (".toolCalls[].args.timeout > 9", True),
        (".toolCalls[].args.deep[].n == 2", True),
        (".toolCalls.toolName == todo", False),
        (".type[] == callTools", False),
        (".missing == 1", False),
        (".missing > 1", False),
        (".missing != 1", True),
        (".toolCalls[].missing != 1", True),
        (".empty[] == 1", False),
        (".empty[] != 1", True),
    ],
)
def test_a_filter_compares_strictly_and_a_missing_field_is_unequal(text: str, holds: bool):
    assert parse_filter(text).holds(EVENT) is holds


def test_a_filter_is_a_path_an_operator_and_a_value():
    assert parse_filter(".a.b[].c >= -1.5") == Condition(("a", "b", "[]", "c"), ">=", -1.5)
    assert parse_filter(".a != 'x == y'") == Condition(("a",), "!=", "x == y")
    assert parse_filter('.a == "') == Condition(("a",), "==", '"')


@pytest.mark.parametrize(
    "text",
    [
        "",
        "type == x",
        ".type",
        ".type ==",
        ".type = x",
        ".1a == x",
        ".a[0] == x",
        ".a. == x",
        ".a[ == x",
        ".a..b == 1",
        ".é == 1",
        ".a == \n",
    ],
)
def test_what_is_no_filter_is_refused(text: str):
    with pytest.raises(UserError, match="Invalid filter expression"):
        parse_filter(text)


@given(st.text())
def test_any_text_is_a_filter_or_refused(text: str):
    try:
        condition = parse_filter(text)
    except UserError:
        return
    assert condition.holds({}) is (condition.operator == "!=")


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("5", Steps(5, 5)),
        (">5", Steps(6, math.inf)),
        (">= 5", Steps(5, math.inf)),
        ("<5", Steps(0, 4)),
        ("<=5", Steps(0, 5)),
        ("1-10", Steps(1, 10)),
        ("3 - 3", Steps(3, 3)),
    ],
)
def test_steps_are_one_number_a_bound_or_a_range(text: str, steps: Steps):
    assert parse_steps(text) == steps


@pytest.mark.parametrize(
    ("text", "message"),
    [("10-1", "Invalid step range")]
    + [(text, "Invalid step filter") for text in ("", "x", "1-", "-1", "=5", "1.5", "1-2-3", "٣")],
)
def test_what_are_no_steps_is_refused(text: str, message: str):
    with pytest.raises(UserError, match=message):
        parse_steps(text)


def test_a_count_is_a_whole_number_from_zero():
    assert [parse_count("--take", text) for text in ("0", "7", " 7 ", "+7", "-0", "007")] == [
        *(0, 7, 7, 7, 0, 7)
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abc", 'Invalid value for --take: "abc" is not a valid number'),
        ("5abc", 'Invalid value for --take: "5abc" is not a valid number'),
        ("", 'Invalid value for --take: "" is not a valid number'),
        ("-1", 'Invalid value for --take: "-1" must be non-negative'),
    ],
)
def test_what_is_no_count_is_refused(text: str, message: str):
    with pytest.raises(UserError) as refused:
        parse_count("--take", text)
    assert str(refused.value) == message


NOON = datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "hours_before_noon"),
    [
        ("2h", 2),
        ("90m", 1.5),
        ("3d", 72),
        ("1w", 168),
        ("36s", 0.01),
        ("1.5h", 1.5),
        ("2026-03-04", 12),
        ("2026-03-04T11:00", 1),
        ("2026-03-04 11:00:00", 1),
        ("2026-03-04T11:00:00Z", 1),
        ("2026-03-04T11:00:00+02:00", 3),
    ],
)
def test_since_is_a_moment_or_how_long_ago(text: str, hours_before_noon: float):
    assert parse_since(text, NOON) == pytest.approx(NOON - hours_before_noon * 3600)


@pytest.mark.parametrize("text", ["", "yesterday", "2x", "-2h", "2026-13-01", "h"])
def test_what_is_no_moment_is_refused(text: str):
    with pytest.raises(UserError, match="Invalid value for --since"):
        parse_since(text, NOON)


def told(step: int, type: str = "startGeneration", *failed: Failed, **more: Any) -> Told:
    return Told(seq=step, json={"type": type, "stepNumber": step, **more}, failed=failed)


TEN = [told(step) for step in range(1, 11)]


def steps_of(events: tuple[Told, ...]) -> list[int]:
    return [event.json["stepNumber"] for event in events]


def test_a_page_is_cut_from_the_matches_and_its_context_from_everything():
    page = page_of(TEN, Selection(steps=Steps(3, 9), take=2, offset=1, context=1))
    assert (steps_of(page.matched), page.paged) == ([3, 4, 5, 6, 7, 8, 9], 2)
    assert steps_of(page.shown) == [3, 4, 5, 6]


def test_context_ends_where_the_events_end():
    assert steps_of(page_of(TEN, Selection(steps=Steps(1, 1), context=2)).shown) == [1, 2, 3]
    assert steps_of(page_of(TEN, Selection(steps=Steps(10, 10), context=20)).shown) == [
        *range(1, 11)
    ]


def test_zero_takes_all():
    many = [told(step) for step in range(250)]
    assert len(page_of(many, Selection()).shown) == 100
    assert len(page_of(many, Selection(take=0)).shown) == 250
    assert len(page_of(many, Selection(take=0, offset=240)).shown) == 10


def test_errors_are_stops_retries_and_calls_that_failed():
    failed = told(3, "resolveToolResults", Failed("c1", "exec", "no"))
    events = [told(1, "retry"), told(2, "resolveToolResults"), failed, told(4, "stopRunByError")]
    assert steps_of(page_of(events, Selection(errors=True)).matched) == [1, 3, 4]
    assert steps_of(page_of(events, Selection(errors=True, tools=True)).matched) == [3]


def test_totals_count_each_call_and_each_delegation():
    events = [
        told(1, "callTools", toolCalls=[{}, {}, {}]),
        told(2, "callDelegate", toolCalls=[{}, {}]),
        told(5, "resolveToolResults", Failed("c1", "exec", "no"), Failed("c2", "exec", "no")),
        told(6, "retry"),
    ]
    totals = totals_of(events)
    assert (totals.total_events, totals.error_count) == (4, 2)
    assert (totals.tool_call_count, totals.delegation_count) == (3, 2)
    assert totals.step_range is not totals_of([]).step_range
