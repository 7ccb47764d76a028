"""The schema itself, and the examples that everybody reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from perstack.dialect import load_schema

from .check import STREAMED, TERMINAL, check_event

EXAMPLES = [
    json.loads(line)
    for line in Path(__file__).with_name("examples.jsonl").read_text(encoding="utf-8").splitlines()
]
RECORDS = json.loads(Path(__file__).with_name("records.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event["type"])
def test_an_example_of_each_event_satisfies_the_full_schema(event: dict[str, Any]):
    check_event(event, full=True)
    check_event(event, full=False)


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
