"""The schema itself, and the examples that everybody reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from jsonschema import Draft202012Validator

from perstack.dialect import load_schema

from .check import STREAMED, TERMINAL, check_event, quick_validator

EXAMPLES = [
    json.loads(line)
    for line in Path(__file__).with_name("examples.jsonl").read_text(encoding="utf-8").splitlines()
]
RECORDS = json.loads(Path(__file__).with_name("records.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event["type"])
def test_an_example_of_each_event_satisfies_the_full_schema(event: dict[str, Any]):
    check_event(event, full=True)
    check_event(event, full=False)


def damaged(value: Any) -> Iterator[Any]:
    """The value with one thing in it wrong, in every place: gone, of another kind, or one too many."""
    match value:
        case dict():
            members = cast("dict[str, Any]", value)
            yield members | {"surplus": 1}
            for name in members:
                yield {other: members[other] for other in members if other != name}
                yield from (members | {name: wrong} for wrong in damaged(members[name]))
        case list():
            items = cast("list[Any]", value)
            for place in range(len(items)):
                yield from (
                    [*items[:place], wrong, *items[place + 1 :]] for wrong in damaged(items[place])
                )
        case _:
            yield None if isinstance(value, bool) else value == 1


def complaints(validator: Any, event: Any) -> list[tuple[str, str]]:
    return [(fault.json_path, fault.message) for fault in validator.iter_errors(event)]


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event["type"])
def test_the_quick_validator_complains_as_the_library_does(event: dict[str, Any]):
    schema = load_schema(full=True)
    whole = {"$ref": f"#/$defs/{event['type']}", "$defs": schema["$defs"]}
    quick, plain = quick_validator(schema["$defs"])(whole), Draft202012Validator(whole)
    assert complaints(quick, event) == []
    wrong = list(damaged(event))
    some = Random(event["type"]).sample(wrong, min(len(wrong), 12))  # the library is slow
    assert any(complaints(quick, each) for each in some)
    for each in some:
        assert complaints(quick, each) == complaints(plain, each)


def test_the_schema_names_every_event_once():
    schema = load_schema()
    groups = ("ExpertStateEvent", "StreamingEvent", "RuntimeEvent")
    counts = [len(schema["$defs"][group]["oneOf"]) for group in groups]
    assert counts == [17, 6, 8]
    names = {
        ref["$ref"].rpartition("/")[2]
        for group in groups
        for ref in schema["$defs"][group]["oneOf"]
    }
    assert names == {event["type"] for event in EXAMPLES}
    assert names > TERMINAL | STREAMED


def test_any_event_satisfies_the_schema_as_a_whole():
    schema = load_schema(full=True)
    Draft202012Validator.check_schema(schema)
    validator: Any = Draft202012Validator(schema)
    assert all(validator.is_valid(event) for event in EXAMPLES)
    assert not validator.is_valid({"type": "callTools"})


@pytest.mark.parametrize("name", ["Job", "RunSetting", "Checkpoint"])
def test_an_example_of_each_record_satisfies_the_schema(name: str):
    schema = load_schema(full=True)
    validator: Any = Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": schema["$defs"]})
    validator.validate(RECORDS[name])


def test_only_whole_histories_may_be_missing_from_the_compact_form():
    compact, full = load_schema(), load_schema(full=True)
    missing = {
        name: set(definition["required"]) - set(compact["$defs"][name]["required"])
        for name, definition in full["$defs"].items()
        if "required" in definition
    }
    assert {name for name, members in missing.items() if members} == {
        "Checkpoint",
        "startGeneration",
    }
    assert missing["Checkpoint"] == missing["startGeneration"] == {"messages"}
