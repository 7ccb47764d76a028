"""The pages about history name every option, and every option they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from perstack.cli.commands.compare import compare
from perstack.cli.commands.log import log
from perstack.cli.commands.replay import replay

DOCS = Path(__file__).parents[2] / "docs"
OTHERS = {"--output", "--cassette", "--job-id", "--continue-job", "--resume-from"}
"""Options of `perstack run` that the pages speak of."""


def options(*commands: click.Command) -> set[str]:
    params = (param for command in commands for param in command.params)
    return {name for param in params for name in param.opts if name.startswith("--")}


@pytest.mark.parametrize(
    ("page", "commands"),
    [("reference/log-command.md", (log,)), ("guides/replay.md", (replay, compare))],
)
def test_a_page_names_every_option(page: str, commands: tuple[click.Command, ...]):
    named = set(re.findall(r"--[a-z][a-z-]+", (DOCS / page).read_text(encoding="utf-8")))
    assert options(*commands) - named == set()
    assert named <= options(log, replay, compare) | OTHERS
