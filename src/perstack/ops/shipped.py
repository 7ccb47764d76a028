"""The Experts that come with the package, and their demos."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

from perstack import shipped
from perstack.definition import Project, parse_project
from perstack.errors import UserError

_FOLDER = Path(shipped.__file__).parent
_DEFINITIONS = _FOLDER / "perstack.toml"

DEMOS = {
    "tic-tac-toe": "Game start!",
    "fitness-assistant": "I ran for 30 minutes this morning and feel good. What should I train tomorrow?",
    "code-reviewer": "Review the code in this directory.",
}
"""What the user says in each demo, by Expert key."""


class Demo(msgspec.Struct, frozen=True, kw_only=True):
    """A recording to play.

    query: what the user says in it. definitions: the project file of its Experts. cassette: the file with the
    model's replies. workspace: the directory whose files the demo begins with.
    """

    query: str
    definitions: Path
    cassette: Path
    workspace: Path


@cache
def shipped_project() -> Project:
    """The project file that comes with the package."""
    return parse_project(definition_text(), "the shipped Experts").project


def definition_text() -> str:
    """The text of the project file that comes with the package."""
    return _DEFINITIONS.read_text(encoding="utf-8")


def demo_of(expert: str) -> Demo:
    """The demo of a shipped Expert. Raises UserError if there is none."""
    if expert not in DEMOS:
        raise UserError(
            f'There is no demo of "{expert}". There are demos of: {", ".join(sorted(DEMOS))}.'
        )
    folder = _FOLDER / "demos" / expert
    return Demo(
        query=DEMOS[expert],
        definitions=_DEFINITIONS,
        cassette=folder / "cassette.jsonl",
        workspace=folder / "workspace",
    )
