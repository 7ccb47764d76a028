"""`perstack tree` and `perstack why`: lines, JSON and exit codes over a real lock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Here
from .program import expert, is_one_message


@pytest.fixture
def locked(here: Here, workspace: Path) -> Path:
    """A project whose `lead` delegates to `worker`, who delegates back."""
    (workspace / "perstack.toml").write_text(
        expert("lead", more='delegates = ["worker"]')
        + expert("worker", more='delegates = ["lead"]')
        + expert("alone")
    )
    assert here("install", "--no-tools").code == 0
    return workspace


def test_a_tree_for_people_and_for_programs(here: Here, locked: Path) -> None:
    ran = here("tree", "lead")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "lead\n└─ worker\n   └─ lead  (cycle)\n"
    told = json.loads(here("tree", "--json", "--depth", "1").out)
    assert [tree["key"] for tree in told["trees"]] == ["lead", "worker", "alone"]
    assert told["trees"][0]["below"] == [{"key": "worker"}]
    assert here("tree", "--invert", "worker", "--depth", "1").out == "worker\n└─ lead\n"
    assert "several versions" in here("tree", "--duplicates").out


def test_why_is_a_chain(here: Here, locked: Path) -> None:
    ran = here("why", "worker")
    assert (ran.code, ran.out) == (0, "worker\nlead\n└─ worker\n")
    chains = json.loads(here("why", "worker", "--json").out)["chains"]
    assert [[node["key"] for node in chain] for chain in chains] == [["worker"], ["lead", "worker"]]
    unknown = here("why", "nobody")
    assert (unknown.code, is_one_message(unknown.err)) == (1, True)


def test_a_lock_that_is_behind_is_told(here: Here, locked: Path) -> None:
    (locked / "perstack.toml").write_text(expert("lead") + expert("worker"))
    ran = here("why", "alone")
    assert ran.code == 3
    assert "warning: " in ran.err
    assert "no Expert of the project leads to it" in ran.out


def test_without_a_lock_the_error_says_how_to_make_one(here: Here) -> None:
    ran = here("tree")
    assert (ran.code, is_one_message(ran.err)) == (1, True)
    assert "perstack install" in ran.err
    clash = here("tree", "a", "--duplicates")
    assert (clash.code, "exclude each other" in clash.err) == (1, True)
