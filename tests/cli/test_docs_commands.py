"""Every command line that the documentation shows is one: the command is there, and so is each option."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from perstack.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
ENDS = {"|", "||", "&&", ";", ">", "<", ">>", "2>", "&"}


def lines(page: Path) -> Iterator[str]:
    """The commands of the page's shell blocks, each on one line, with a word for what the reader fills in."""
    text = page.read_text(encoding="utf-8")
    for kind, block in re.findall(r"^ *```(sh|bash|console)\n(.*?)```", text, re.M | re.S):
        whole = re.sub(r"<[^<>\n]+>|\$\([^)]*\)", "something", block.replace("\\\n", " "))
        for line in whole.replace(" …", "").splitlines():
            if kind != "console":
                yield line
            elif line.startswith("$ "):
                yield line.removeprefix("$ ")


def calls(page: Path) -> Iterator[tuple[str, ...]]:
    """What comes after each `perstack`, up to what belongs to the shell."""
    for line in lines(page):
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        try:
            split = list(words)
        except ValueError:
            continue  # part of a text over several lines
        for place, word in enumerate(split):
            before = split[:place]
            if word == "perstack" and all(
                "=" in w or w in (*ENDS, "uv", "run", "time") for w in before
            ):
                rest = iter(split[place + 1 :])
                taken: list[str] = []
                for each in rest:
                    if each in ENDS:
                        break
                    taken.append(each)
                yield tuple(taken)


CALLS = [
    pytest.param(call, id=f"{page.relative_to(ROOT)}: {' '.join(call)[:60]}")
    for page in PAGES
    for call in dict.fromkeys(calls(page))
]


@pytest.mark.parametrize("call", CALLS)
def test_a_command_line_in_the_documentation_is_one(call: tuple[str, ...]):
    command: click.Command = cli
    rest = list(call)
    context = click.Context(cli)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest.pop(0))
        assert found is not None
        command, context = found, click.Context(found)
    given, left, _ = command.make_parser(context).parse_args(rest)
    assert left == []
    for parameter in command.params:
        value = given.get(parameter.name or "")
        if (
            isinstance(parameter, click.Option)
            and isinstance(parameter.type, click.Choice)
            and value
        ):
            for each in value if parameter.multiple else [value]:
                parameter.type.convert(each, parameter, context)


def test_there_are_command_lines_to_look_at():
    assert len(CALLS) > 100
