"""The reference page names everything a line can hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

from perstack.dialect import load_schema

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "events.md"


def names_in(schema: Any) -> set[str]:
    """All members and fixed values a schema speaks of."""
    names = set[str]()
    if isinstance(schema, dict):
        for key, value in cast("dict[str, Any]", schema).items():
            if key == "properties":
                names |= set(value)
            if key == "const":
                names.add(value)
            names |= names_in(value)
    elif isinstance(schema, list):
        for value in cast("list[Any]", schema):
            names |= names_in(value)
    return names


def test_the_page_names_every_event_and_every_member():
    definitions = load_schema()["$defs"]
    expert = ("Expert", "Skill", "mcpStdioSkill", "mcpSseSkill", "interactiveSkill")
    inputs = {"interactiveToolCallResult", "perstackApiKey", "perstackBaseSkillCommand", "proxyUrl"}
    inputs |= {"verbose", "providerName"}  # of run settings that others wrote
    told = {name: schema for name, schema in definitions.items() if name not in expert}
    named = set(
        re.findall(r"[A-Za-z]+", " ".join(re.findall(r"`([^`]+)`", PAGE.read_text("utf-8"))))
    )
    assert names_in(told) - inputs - named == set()


def test_the_page_names_no_event_that_is_not_told():
    schema = load_schema()["$defs"]
    known = {
        ref["$ref"].rpartition("/")[2]
        for group in ("ExpertStateEvent", "StreamingEvent", "RuntimeEvent")
        for ref in schema[group]["oneOf"]
    }
    headed = set(re.findall(r"^### `(\w+)`$", PAGE.read_text("utf-8"), re.MULTILINE))
    assert headed <= known
