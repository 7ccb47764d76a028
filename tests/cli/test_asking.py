"""What is asked at a terminal, and that nothing happens before it is answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes.registry import RunningRegistry

from .program import Ran
from .registries import Author, published
from .terminal import typed

MORE = """
[experts."{name}".skills.search]
type = "mcpStdioSkill"
command = "npx"
packageName = "@acme/search@1.0.0"
"""


def at_terminal(who: Author, *args: str, answers: list[tuple[str, str]]) -> Ran:
    return typed(*args, cwd=who.place, env=who.env, answers=answers)


def test_publishing_asks_which_and_whether(author: Author, scope: str) -> None:
    author.writes(published(f"@{scope}/a") + published(f"@{scope}/b", "2.0.0"))
    unsure = at_terminal(
        author, "publish", answers=[("Which Expert?", "2"), ("It cannot be changed", "")]
    )
    assert (unsure.code, unsure.out) == (0, "Cancelled\n")
    assert author("info", f"@{scope}/b").code == 1
    sure = at_terminal(
        author,
        "publish",
        answers=[("Number", "nonsense"), ("from 1 to 2", "2"), (f"@{scope}/b@2.0.0 to", "y")],
    )
    assert (sure.code, sure.out) == (0, f"Published @{scope}/b@2.0.0\n")
    gone = at_terminal(author, "publish", answers=[("Number", "q")])
    assert (gone.code, gone.out) == (0, "Cancelled\n")


@pytest.fixture
def name(author: Author, scope: str) -> str:
    """An Expert with two published versions, the only one of its project."""
    for version in ("1.0.0", "1.1.0"):
        author.writes(published(f"@{scope}/reader", version))
        assert author("publish").code == 0
    return f"@{scope}/reader"


def test_the_tag_wizard(author: Author, name: str) -> None:
    ran = at_terminal(
        author,
        "tag",
        answers=[
            ("1.0.0  available", "2"),
            ("Tags, with commas", "old, latest"),
            ("the tags old?", "y"),
        ],
    )
    assert (ran.code, ran.out) == (0, f"Updated {name}@1.0.0\n  Tags: old\n")
    assert "latest is moved by publishing only" in ran.err


def test_the_status_wizard(author: Author, name: str) -> None:
    ran = at_terminal(
        author,
        "status",
        answers=[("Which version", "2"), ("1)  deprecated", "1"), ("deprecated?", "yes")],
    )
    assert (ran.code, ran.out) == (0, f"Updated {name}@1.0.0\n  Status: deprecated\n")
    again = at_terminal(
        author,
        "status",
        answers=[("1.0.0  deprecated", "2"), ("1)  disabled", "1"), ("disabled?", "")],
    )
    assert again.out == "Cancelled\n"
    assert author("status", f"{name}@1.0.0", "disabled").code == 0
    done = at_terminal(author, "status", answers=[("1.0.0  disabled", "2")])
    assert (done.code, "stays so" in done.err) == (1, True)


def test_the_unpublish_wizard(author: Author, name: str) -> None:
    unsure = at_terminal(
        author, "unpublish", answers=[("Which version", "2"), ("cannot be undone", "")]
    )
    assert unsure.out == "Cancelled\n"
    named = at_terminal(author, "unpublish", f"{name}@1.0.0", answers=[("cannot be undone", "y")])
    assert (named.code, named.out) == (0, f"Unpublished {name}@1.0.0\n")


def test_an_update_that_widens_asks(
    author: Author, name: str, registry: RunningRegistry, tmp_path: Path
) -> None:
    user = Author(tmp_path / "user", registry.env())
    user.writes('[experts.lead]\ninstruction = "Lead."\n')
    assert user("add", name).code == 0
    lock = (user.place / "perstack.lock").read_text()
    author.writes(published(name, "1.2.0", more=MORE.format(name=name)))
    assert author("publish").code == 0
    unsure = at_terminal(user, "update", answers=[("Go on?", "n")])
    assert unsure.code == 0
    assert unsure.out.splitlines()[-1] == "Cancelled"
    assert "  ! may run the package @acme/search by npx, version 1.0.0" in unsure.out.splitlines()
    assert (user.place / "perstack.lock").read_text() == lock
    sure = at_terminal(user, "update", "--json", answers=[("Go on?", "y")])
    assert json.loads(sure.out)["written"] is True


def test_a_key_is_asked_for_and_not_shown(
    author: Author, registry: RunningRegistry, scope: str
) -> None:
    key = author.env.pop("PERSTACK_API_KEY")
    ran = at_terminal(author, "login", answers=[(f"Key for {registry.url}", key)])
    assert (ran.code, ran.out) == (0, f"The key for {registry.url} is kept: {scope}.\n")
    assert key not in ran.err
