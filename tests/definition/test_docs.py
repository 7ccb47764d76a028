"""The reference names everything that can be written, and its examples can be read."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from perstack.definition import (
    PROVIDERS,
    Expert,
    InteractiveSkill,
    InteractiveTool,
    Project,
    ProviderName,
    ProviderTable,
    RemoteSkill,
    StdioSkill,
    parse_project,
    provider_row,
    secret_names,
    variable_names,
)

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
TOML = (REFERENCE / "perstack-toml.md").read_text(encoding="utf-8")
ENVIRONMENT = (REFERENCE / "environment.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "struct",
    [Project, ProviderTable, Expert, StdioSkill, RemoteSkill, InteractiveSkill, InteractiveTool],
)
def test_every_key_of_the_file_is_in_the_reference(struct: type[msgspec.Struct]):
    names = {field.encode_name for field in msgspec.structs.fields(struct)}
    names -= {"key", "name"} if struct is Expert else set()  # the key of the table itself
    assert [name for name in sorted(names) if f"`{name}`" not in TOML] == []


def test_keys_that_are_no_fields_are_in_the_reference_too():
    others = [
        "type",
        "baseSkill",
        "skillId",
        "definition",
        "maxUses",
        "vectorStoreIds",
        "maxNumResults",
    ]
    assert [name for name in others if f"`{name}`" not in TOML] == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_provider_is_in_the_reference_with_its_settings_tools_and_variables(
    provider: ProviderName,
):
    row = provider_row(provider)
    (settings,) = re.findall(rf"^\| `{provider}` \| (`(?:baseUrl|region)`.*)$", TOML, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", settings)) == set(row.settings)
    tools = re.findall(rf"^\| [^|]*`{provider}`[^|]* \| ([^|]*) \|$", TOML, re.MULTILINE)[-1]
    assert set(re.findall(r"`(\w+)`", tools)) == set(row.tools)
    assert [name for name in variable_names(provider) if f"`{name}`" not in ENVIRONMENT] == []
    needed = [item.name for item in row.variables if item.required]
    assert [name for name in needed if f"`{name}` !" not in ENVIRONMENT] == []


def test_every_secret_is_in_the_reference():
    assert [name for name in secret_names() if f"`{name}`" not in ENVIRONMENT] == []


@pytest.mark.parametrize("text", re.findall(r"```toml\n(.*?)```", TOML, re.DOTALL))
def test_an_example_of_the_reference_can_be_read(text: str):
    parsed = parse_project(text, "perstack-toml.md")
    assert parsed.warnings == ()
    missing = [
        str(fault) for fault in parsed.faults if "instruction: is required" not in str(fault)
    ]
    assert missing == []
