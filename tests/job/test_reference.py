"""The reference of the log names every fact and every member, and nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from perstack.definition import Limits
from perstack.job import (
    Call,
    CalledBy,
    Event,
    ExpertMessage,
    Failure,
    File,
    Image,
    ModelChoice,
    ProviderPart,
    Text,
    Thought,
    Usage,
)
from perstack.job.events import Fact
from perstack.lock import Lock, Pin

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = (DOCS / "reference" / "log.md").read_text(encoding="utf-8")
CONCEPT = (DOCS / "concepts" / "job.md").read_text(encoding="utf-8")
PARTS = (
    *(Call, CalledBy, ExpertMessage, Failure, File, Image, Limits, Lock, ModelChoice, Pin),
    *(ProviderPart, Text, Thought, Usage),
)


def members(kind: type[msgspec.Struct]) -> dict[str, bool]:
    """The members of a struct by their names on the wire, and whether each has a default."""
    return {field.encode_name: not field.required for field in msgspec.structs.fields(kind)}


def section(title: str) -> str:
    found = re.search(rf"^### `{title}`\n(.*?)(?=^##)", REFERENCE, re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


@pytest.mark.parametrize("kind", Event.__args__)
def test_each_fact_is_told_with_its_members_and_no_others(kind: type[msgspec.Struct]):
    text = section(str(kind.__struct_config__.tag))
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE))
    own = {name: opt for name, opt in members(kind).items() if name not in members(Fact)}
    assert {name: meaning.startswith("*opt.*") for name, meaning in rows.items()} == own


@pytest.mark.parametrize("kind", [Fact, *PARTS])
def test_each_member_of_the_parts_is_named(kind: type[msgspec.Struct]):
    assert [name for name in members(kind) if f"`{name}`" not in REFERENCE] == []


def test_the_reference_tells_no_fact_that_is_not_there():
    told = re.findall(r"^### `(\w+)`$", REFERENCE, re.MULTILINE)
    assert told == [kind.__struct_config__.tag for kind in Event.__args__]


def test_the_concept_names_every_event():
    assert [kind.__name__ for kind in Event.__args__ if f"`{kind.__name__}`" not in CONCEPT] == []
