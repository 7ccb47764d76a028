"""What a newcomer sees first: every command stands in one section of `perstack --help`."""

from __future__ import annotations

import re

import pytest

from perstack.cli.main import COMMANDS, SECTIONS

from .conftest import Here


def test_help_shows_every_command_once_in_its_section(here: Here):
    told = here("--help").out
    for title, commands in SECTIONS.items():
        section = re.search(rf"^{title}:\n(.*?)(?:\n\n|\Z)", told, re.MULTILINE | re.DOTALL)
        assert section
        assert re.findall(r"^  ([\w-]+) ", section[1], re.MULTILINE) == list(commands)
    assert sum(map(len, SECTIONS.values())) == len(COMMANDS)


@pytest.mark.parametrize(
    "group", ["key", "registry", "registry key", "registry org", "skill", "docker"]
)
def test_help_of_a_group_has_the_whole_first_sentence_of_each_command(group: str, here: Here):
    listed = here(*group.split(), "--help").out.partition("Commands:\n")[2]
    assert listed
    assert "..." not in listed


def test_help_of_a_group_wraps_what_is_longer_than_a_line(here: Here):
    told = " ".join(here("skill", "--help").out.split())
    assert "test Connect the skills of `expertKey`, or one of them, and list their tools." in told
