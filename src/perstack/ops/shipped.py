"""The Experts that come with the package, and their demos."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

from perstack import shipped
from perstack.definition import Project, parse_project
from perstack.errors import UserError

_FOLDER = Path(shipped.__file__).parent


class Demo(msgspec.Struct, frozen=True):
    """A recording to play. query: what the user says in it. cassette: the file with the model's replies."""

    query: str
    cassette: Path


_QUERIES = {
    "tic-tac-toe": "Game start!",
    "fitness-assistant": "I ran for 30 minutes this morning and feel good. What should I train tomorrow?",
    "code-reviewer": "Review the code in this directory.",
}


@cache
def shipped_project() -> Project:
    """The project file that comes with the package."""
    text = (_FOLDER / "perstack.toml").read_text(encoding="utf-8")
    return parse_project(text, "the shipped Experts").project


def demo_of(expert: str) -> Demo:
    """The demo of a shipped Expert. Raises UserError if there is none."""
    cassette = _FOLDER / "demos" / f"{expert}.jsonl"
    if expert not in _QUERIES or not cassette.exists():
        known = ", ".join(sorted(_QUERIES))
        raise UserError(f'There is no demo of "{expert}". There are demos of: {known}.')
    return Demo(_QUERIES[expert], cassette)
