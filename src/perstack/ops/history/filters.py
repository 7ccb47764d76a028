"""Which events of a job are shown: what is asked for on the command line, as values. No I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from operator import eq, ge, gt, le, lt, ne
from typing import NamedTuple

import msgspec

from perstack._value import Value
from perstack.errors import UserError
from perstack.job import Json

from .jobs import Told

_FILTER = re.compile(r"\.([a-zA-Z_][\w.[\]]*)\s*(==|!=|>=|<=|>|<)\s*(.+)", re.ASCII)
_NAME = re.compile(r"(\w+)((?:\[\])*)", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_STEP = re.compile(r"(>=|<=|>|<|)\s*(\d+)", re.ASCII)
_STEPS = re.compile(r"(\d+)\s*-\s*(\d+)", re.ASCII)
_COUNT = re.compile(r"\s*([+-]?)(\d+)\s*", re.ASCII)
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)", re.ASCII)

_COMPARE: dict[str, Callable[[Json, Json], bool]] = {
    "==": eq,
    "!=": ne,
    ">": gt,
    ">=": ge,
    "<": lt,
    "<=": le,
}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

ERRORS = {"stopRunByError", "retry"}
TOOLS = {"callTools", "resolveToolResults", "callInteractiveTool"}
DELEGATIONS = {"callDelegate", "stopRunByDelegate"}


# What people write ----------------------------------------------------------------------------------------


class Condition(NamedTuple):
    """One comparison. path: names to follow, "[]" for every element of an array."""

    path: tuple[str, ...]
    operator: str
    value: Json

    def holds(self, event: Json) -> bool:
        """Whether any value at the path satisfies it. Where there is none, only `!=` is satisfied."""
        found = list(_at(event, self.path))
        return any(self._compare(value) for value in found) if found else self.operator == "!="

    def _compare(self, found: Json) -> bool:
        alike = _kind(found) == _kind(self.value)
        if self.operator == "==":
            return alike and found == self.value
        if self.operator == "!=":
            return not alike or found != self.value
        return alike and _kind(found) == "number" and _COMPARE[self.operator](found, self.value)


def parse_filter(text: str) -> Condition:
    """`.path == value`. Raises UserError."""
    match = _FILTER.fullmatch(text.strip())
    names = [_NAME.fullmatch(name) for name in match[1].split(".")] if match else [None]
    path: list[str] = []
    for name in names:
        if match is None or name is None:
            raise UserError(
                f"Invalid filter expression: {text!r}. It is a path, a comparison and a value, "
                "for example '.toolCalls[].toolName == \"exec\"'."
            )
        path += [name[1], *["[]"] * (len(name[2]) // 2)]
    assert match is not None  # else a name was missing above
    return Condition(tuple(path), match[2], _value(match[3]))


class Steps(NamedTuple):
    """The steps from `low` to `high`, both included."""

    low: float
    high: float


def parse_steps(text: str) -> Steps:
    """`5`, `>5`, `>=5`, `<5`, `<=5` or `1-10`. Raises UserError."""
    if match := _STEPS.fullmatch(text.strip()):
        low, high = int(match[1]), int(match[2])
        if low > high:
            raise UserError(f"Invalid step range: {text!r}. The first number is the greater one.")
        return Steps(low, high)
    match = _STEP.fullmatch(text.strip())
    if match is None:
        raise UserError(f"Invalid step filter: {text!r}. Use 5, >5, >=5, <5, <=5 or 1-10.")
    number = int(match[2])
    return {
        "": Steps(number, number),
        ">": Steps(number + 1, math.inf),
        ">=": Steps(number, math.inf),
        "<": Steps(0, number - 1),
        "<=": Steps(0, number),
    }[match[1]]


def parse_count(option: str, text: str) -> int:
    """A whole number from 0. Raises UserError, naming the option."""
    match = _COUNT.fullmatch(text)
    if match is None:
        raise UserError(f'Invalid value for {option}: "{text}" is not a valid number')
    if match[1] == "-" and int(match[2]):
        raise UserError(f'Invalid value for {option}: "{text}" must be non-negative')
    return int(match[2])


def parse_since(text: str, now: float) -> float:
    """`2h` or `3d` before `now`, or an ISO date or time, UTC if it does not say; in seconds since 1970.

    Raises UserError.
    """
    if match := _AGO.fullmatch(text.strip()):
        return now - float(match[1]) * _SECONDS[match[2]]
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UserError(
            f"Invalid value for --since: {text!r}. Use a date (2026-01-31), a time (2026-01-31T08:00), "
            "or how long ago (90m, 2h, 3d)."
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


# What is shown --------------------------------------------------------------------------------------------


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which events to show: those that meet all that is asked, `take` of them from `offset` on (0 takes all), and
    `context` events before and after each."""

    steps: Steps | None = None
    type: str = ""
    errors: bool = False
    tools: bool = False
    delegations: bool = False
    condition: Condition | None = None
    take: int = 100
    offset: int = 0
    context: int = 0

    def matches(self, told: Told) -> bool:
        return (
            (self.steps is None or self.steps.low <= told.json["stepNumber"] <= self.steps.high)
            and (not self.type or told.type == self.type)
            and (not self.errors or told.type in ERRORS or bool(told.failed))
            and (not self.tools or told.type in TOOLS)
            and (not self.delegations or told.type in DELEGATIONS)
            and (self.condition is None or self.condition.holds(told.json))
        )


class Page(NamedTuple):
    """matched: all that match. paged: how many of them are on this page. shown: these, and their context."""

    matched: tuple[Told, ...]
    paged: int
    shown: tuple[Told, ...]


def page_of(events: Sequence[Told], selection: Selection) -> Page:
    places = [place for place, told in enumerate(events) if selection.matches(told)]
    end = selection.offset + selection.take if selection.take else None
    paged = places[selection.offset : end]
    shown = {
        near
        for place in paged
        for near in range(place - selection.context, place + selection.context + 1)
    }
    return Page(
        matched=tuple([events[place] for place in places]),
        paged=len(paged),
        shown=tuple([told for place, told in enumerate(events) if place in shown]),
    )


class StepRange(Value, frozen=True):
    min: int
    max: int


class Totals(Value, frozen=True, omit_defaults=False):
    """What the matching events add up to. Calls and delegations are counted one by one, errors by event."""

    total_events: int
    error_count: int
    tool_call_count: int
    delegation_count: int
    step_range: StepRange | msgspec.UnsetType = msgspec.UNSET


def totals_of(matched: Iterable[Told]) -> Totals:
    events = tuple(matched)
    steps = [told.json["stepNumber"] for told in events]
    return Totals(
        total_events=len(events),
        error_count=sum(told.type in ERRORS or bool(told.failed) for told in events),
        tool_call_count=sum(len(t.json["toolCalls"]) for t in events if t.type == "callTools"),
        delegation_count=sum(len(t.json["toolCalls"]) for t in events if t.type == "callDelegate"),
        step_range=StepRange(min=min(steps), max=max(steps)) if steps else msgspec.UNSET,
    )


def _at(value: Json, path: tuple[str, ...]) -> Iterator[Json]:
    if not path:
        yield value
    elif path[0] == "[]":
        if isinstance(value, list | tuple):
            for item in value:  # pyright: ignore[reportUnknownVariableType]  # any JSON
                yield from _at(item, path[1:])
    elif isinstance(value, dict) and path[0] in value:
        yield from _at(value[path[0]], path[1:])


def _value(text: str) -> Json:
    if text in ("true", "false"):
        return text == "true"
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    if _NUMBER.fullmatch(text):
        return float(text)
    return text


def _kind(value: Json) -> str:
    match value:
        case bool():
            return "truth"
        case int() | float():
            return "number"
        case str():
            return "text"
        case _:
            return "other"
