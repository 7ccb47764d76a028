"""The package commands agree on the options they share, and on what they mean."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from perstack.cli.main import SECTIONS, cli
from tests.fakes.registry import RunningRegistry

from .program import is_one_message
from .registries import Author, published

OF_THE_LOCK = {"tree", "why"}
"""Read one file, and ask nobody."""


def commands() -> dict[str, click.Command]:
    """The package commands, by the words that call them; the server's own are no clients."""
    found: dict[str, click.Command] = {}
    context = click.Context(cli)
    for section in ("Delegates of the project, and their lock", "Registries"):
        for name in SECTIONS[section]:
            command = cli.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group) and name != "registry":
                for each in command.list_commands(context):
                    inner = command.get_command(context, each)
                    assert inner is not None
                    found[f"{name} {each}"] = inner
            elif name != "registry":
                found[name] = command
    return found


EVERY = commands()


@pytest.mark.parametrize("name", EVERY)
def test_a_package_command_has_the_options_that_all_have(name: str) -> None:
    has = {option for param in EVERY[name].params for option in param.opts}
    wanted = {"--config", "--json", "--quiet"}
    if name not in OF_THE_LOCK:
        wanted |= {"--registry", "--offline", "--env-path"}
    assert wanted - has == set()


def test_quiet_commands_print_nothing_and_do_the_same(
    registry: RunningRegistry, tmp_path: Path
) -> None:
    author = Author(tmp_path / "author", registry.env("quietly"))
    reader = "@quietly/reader"
    author.writes(published(reader))

    def silent(*args: str) -> None:
        ran = author(*args, "--quiet")
        assert (ran.code, ran.out, ran.err) == (0, "", "")

    silent("publish", "--dry-run")
    silent("publish")
    silent("tag", f"{reader}@1.0.0", "stable")
    assert author("info", f"{reader}@stable", "--quiet").out.startswith(f"{reader}@1.0.0  (")
    author.writes(f'[experts.lead]\ninstruction = "Lead."\ndelegates = ["{reader}@^1.0.0"]\n')
    silent("install", "--no-tools", "--vendor")
    assert (author.place / "perstack_vendor").is_dir()
    for command in ("outdated", "verify", "audit", "update"):
        silent(command)
    silent("tree", "--duplicates")
    silent("search", "zzzz", "--scope", "@quietly")
    silent("diff", reader, reader)
    silent("remove", reader)
    assert reader not in author.config.read_text()
    silent("unpublish", f"{reader}@1.0.0", "--yes")
    gone = author("info", reader, "--quiet")
    assert (gone.code, gone.out, is_one_message(gone.err)) == (1, "", True)


def test_quiet_commands_still_warn_and_fail_aloud(
    registry: RunningRegistry, tmp_path: Path
) -> None:
    author = Author(tmp_path / "author", registry.env("aloud"))
    reader = "@aloud/reader"
    author.writes(published(reader))
    assert author("publish", "--quiet").code == 0
    assert author("status", f"{reader}@1.0.0", "deprecated", "--quiet").out == ""
    author.writes('[experts.lead]\ninstruction = "Lead."\n')
    added = author("add", f"{reader}@1.0.0", "--quiet")
    assert (added.code, added.out) == (0, "")
    assert "is deprecated by its owner" in added.err
    found = author("audit", "--quiet")
    assert (found.code, found.out) == (3, "")
    for document in (author.place / "cache").rglob("documents/**/*"):
        if document.is_file():
            document.write_bytes(b"{}")
    failed = author("verify", "--quiet")
    assert (failed.code, failed.out.count("FAILED")) == (4, 1)


def test_an_installation_is_told_as_json(registry: RunningRegistry, tmp_path: Path) -> None:
    author = Author(tmp_path / "author", registry.env())
    author.writes('[experts.lead]\ninstruction = "Lead."\n')
    told = json.loads(author("install", "--json").out)
    lead = told["experts"].pop("lead")
    assert (told["written"], told["vendored"], told["experts"]) == (True, 0, {})
    assert told["lock"] == str(author.place / "perstack.lock")
    assert lead["integrity"].startswith("sha256:")
    assert lead["tools"] > 10
    again = json.loads(author("install", "--json", "--no-tools").out)
    assert (again["written"], again["experts"]["lead"]) == (False, lead)


@pytest.mark.parametrize("args", [("whoami",), ("search", "x"), ("info", "x"), ("key", "list")])
def test_what_has_to_ask_says_so_offline(
    registry: RunningRegistry, tmp_path: Path, args: tuple[str, ...]
) -> None:
    author = Author(tmp_path / "author", registry.env())
    ran = author(*args, "--offline")
    assert (ran.code, ran.out, is_one_message(ran.err)) == (1, "", True)
    assert "Leave out --offline" in ran.err
