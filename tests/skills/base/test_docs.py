"""The reference names everything the base skill has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perstack.skills.base import base_tools
from perstack.skills.environment import INHERITED, PROTECTED

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "base-skill.md"


@pytest.mark.parametrize("tool", base_tools(), ids=lambda tool: tool.name)
def test_each_tool_has_a_section_with_its_arguments(tool: Any):
    text = PAGE.read_text(encoding="utf-8")
    section = text.partition(f"\n### {tool.name}\n")[2].partition("\n#")[0]
    assert section
    assert [name for name in tool.schema["properties"] if f"`{name}`" not in section] == []


def test_each_name_of_the_environment_rule_is_there():
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in (*INHERITED, *sorted(PROTECTED)) if f"`{name}`" not in text] == []
