"""The help and the list of commands against the keys that are bound."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest
from textual.app import SystemCommand
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.dom import DOMNode
from textual.widgets import OptionList

from perstack.testing import ScriptedModel
from perstack.tui import Workbench
from perstack.tui.screens.bench import Bench
from perstack.tui.screens.checkpoints import Checkpoints
from perstack.tui.screens.follow import Follow
from perstack.tui.screens.home import Home
from perstack.tui.screens.sheets import HELP
from perstack.tui.widgets.answer import Answer
from perstack.tui.widgets.prompt import Prompt
from perstack.tui.widgets.timeline import Timeline

from .desks import desk_in, opened, play, until

NAMES = {
    "↑": "up",
    "↓": "down",
    "←": "left",
    "→": "right",
    "PgUp": "pageup",
    "PgDn": "pagedown",
    "Esc": "escape",
    "/": "slash",
    ":": "colon",
    "?": "question_mark",
}
"""What Textual calls keys that have another name on the screen."""

SECTIONS: dict[str, tuple[type[DOMNode], ...]] = {
    "Everywhere": (Workbench, Home, Follow, Checkpoints),
    "Choosing": (Workbench, Home, OptionList),
    "Following": (Timeline, Follow),
    "Acting": (Follow,),
    "Checkpoints": (Checkpoints,),
    "Writing": (Prompt,),
    "Answering": (Answer, Follow),
}
"""Whose keys each section tells of."""

ELSEWHERE: dict[type[DOMNode], set[str]] = {
    Prompt: {"enter", "ctrl+j", "up", "down"},
    Answer: {key.removeprefix("key_") for key in vars(Answer) if key.startswith("key_")},
}
"""Keys that are no bindings."""


def told(*sections: str) -> set[str]:
    words = [word for section in sections for keys, _ in HELP[section] for word in keys.split()]
    return {NAMES.get(word, word if len(word) == 1 else word.lower()) for word in words}


def bound(kind: type[DOMNode]) -> set[str]:
    return {binding.key for binding in Binding.make_bindings(kind.BINDINGS)}


@pytest.mark.parametrize("kind", [Workbench, Home, Follow, Timeline, Checkpoints])
def test_each_key_is_in_the_help(kind: type[DOMNode]):
    sections = [name for name, kinds in SECTIONS.items() if kind in kinds]
    assert bound(kind) <= told(*sections)


@pytest.mark.parametrize("section", HELP)
def test_each_key_of_the_help_does_something(section: str):
    kinds = SECTIONS[section]
    known = set[str]().union(*(bound(kind) | ELSEWHERE.get(kind, set()) for kind in kinds))
    assert told(section) <= known


def actions(commands: Iterable[SystemCommand]) -> set[str]:
    """The names of what `commands` call."""
    called = [command.callback for command in commands]
    plain = [each.func if isinstance(each, partial) else each for each in called]
    return {getattr(each, "__name__", "").removeprefix("action_") for each in plain}


MOVES = {"other", "write", "back"}
"""Actions that only go from one part of the screen to another."""


@pytest.mark.anyio
async def test_what_a_key_does_is_a_command_with_a_name_too(workspace: Path):
    desk = desk_in(workspace)
    await play(desk, "plan", "No")
    async with opened(desk) as (bench, pilot):
        for kind in (Home, Follow):
            await until(pilot, lambda kind=kind: isinstance(bench.screen, kind))
            assert isinstance(bench.screen, Bench)
            bindings = Binding.make_bindings(kind.BINDINGS)
            acts = {
                binding.action.partition("(")[0].removeprefix("app.") for binding in bindings
            } - MOVES
            assert acts <= actions(bench.get_system_commands(bench.screen))
            [job] = await desk.jobs()
            bench.open_job(job)


@pytest.mark.anyio
async def test_the_help_can_be_read_to_its_end_by_keys(workspace: Path):
    async with opened(desk_in(workspace, ScriptedModel()), size=(80, 24)) as (bench, pilot):
        await pilot.press("f1")
        await until(pilot, lambda: bench.screen.query(".sheet"))
        sheet = bench.screen.query_one(".sheet", VerticalScroll)
        await until(pilot, lambda: sheet.max_scroll_y > 0)
        await pilot.press("end")
        await until(pilot, lambda: sheet.is_vertical_scroll_end)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(bench.screen, Home))
