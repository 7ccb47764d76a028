"""The reference of the command line names every command, option and exit code, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from perstack import errors
from perstack.cli import exits
from perstack.cli.main import COMMANDS, LazyGroup, cli

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


EVERY = dict(commands(cli))


def section(command: str) -> str:
    found = re.search(rf"^## `perstack {command}`$(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"perstack {command} is not described"
    return found[1]


@pytest.mark.parametrize("command", EVERY)
def test_every_option_of_every_command_is_described_and_no_other(command: str):
    declared = {
        name
        for option in EVERY[command].params
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }
    rows = re.findall(r"^\| (`-.*?) \|", section(command), re.MULTILINE)
    described = {name for row in rows for name in re.findall(r"`(--?[a-z][a-z-]*)", row)}
    assert described == declared


def test_every_command_is_listed_and_no_other():
    listed = re.findall(r"^\| \[`(.+?)`\]\(#perstack-(.+?)\)", TEXT, re.MULTILINE)
    assert [name for name, _ in listed] == list(EVERY)
    assert [anchor for _, anchor in listed] == [name.replace(" ", "-") for name in EVERY]
    assert isinstance(cli, LazyGroup)
    assert {name.split()[0] for name in EVERY} == set(COMMANDS)


def test_every_exit_code_is_described_and_no_other():
    codes = {value for name, value in vars(exits).items() if name.isupper()}
    table = TEXT.partition("## Exit codes")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)
    described = {int(code) for row in rows for code in row.split(",")}
    assert {code for code in described if code < 128} == codes
    assert {code for code in described if code > 128} == {129, 130, 143}


@pytest.mark.parametrize("command", EVERY)
def test_help_says_what_every_option_is_for(command: str):
    for option in EVERY[command].params:
        if isinstance(option, click.Option):
            assert option.help, f"{option.name} of {command} has no help"


# Errors ---------------------------------------------------------------------------------------------------

ERRORS = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
SOURCES = "\n".join(
    path.read_text(encoding="utf-8") for path in sorted((ROOT / "src" / "perstack").rglob("*.py"))
)


def test_every_error_is_described_and_no_other():
    public = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.PerstackError)
    }
    kinds = ERRORS.partition("## Kinds")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", kinds, re.MULTILINE)) == public


def messages() -> list[str]:
    """The texts in the tables of messages; … stands for what differs."""
    rows = re.findall(
        r"^\| (`.*?) \|", ERRORS.partition("## Before anything runs")[2], re.MULTILINE
    )
    return [text for row in rows for text in re.findall(r"`([^`]+)`", row)]


@pytest.mark.parametrize("message", messages())
def test_a_described_message_is_one_that_is_said(message: str):
    """Each piece of it stands in a string of the source, its own or that of the library for options."""
    spoken = re.sub(r'"\s*\n\s*f?"', "", SOURCES)
    said_by_click = ("No such option", "Invalid value for", "missing required argument 'query'")
    for piece in re.split("…", message):
        piece = piece.strip(" .:()")
        if piece and piece not in said_by_click:
            assert piece in spoken, piece
