"""The delegates of a project over their life: added, locked, updated with a look at what widens, removed."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.registry import RunningRegistry

from .program import is_one_message
from .registries import Author, published

MORE = """
[experts."@acme/{name}".skills.search]
type = "mcpStdioSkill"
command = "npx"
packageName = "@acme/search@1.0.0"
requiredEnv = ["SEARCH_TOKEN"]
"""

MINE = """# ours
[experts.lead]
instruction = "Lead."   # and follow
"""


@pytest.fixture(scope="module")
def acme(registry: RunningRegistry, tmp_path_factory: pytest.TempPathFactory) -> Author:
    """Who has published @acme/reader 1.0.0, 1.1.0, 2.0.0 and 2.1.0-beta.1, and @acme/writer, which needs it."""
    author = Author(tmp_path_factory.mktemp("acme"), registry.env("acme"))
    for version, more in (
        ("1.0.0", ""),
        ("1.1.0", MORE.format(name="reader")),
        ("2.0.0", ""),
        ("2.1.0-beta.1", ""),
    ):
        author.writes(published("@acme/reader", version, more=more))
        ran = author("publish", *(("--tag", "beta") if "beta" in version else ()))
        assert (ran.code, ran.err) == (0, "")
    author.writes(published("@acme/writer", delegates=("@acme/reader@^1.0.0",)))
    assert author("publish").code == 0
    return author


@pytest.fixture
def user(acme: Author, registry: RunningRegistry, tmp_path: Path) -> Author:
    """Who has a project and no key."""
    user = Author(tmp_path / "user", registry.env())
    user.writes(MINE)
    return user


def delegates(user: Author, expert: str = "lead") -> list[str]:
    return tomllib.loads(user.config.read_text())["experts"][expert].get("delegates", [])


def locked(user: Author) -> dict[str, Any]:
    return tomllib.loads((user.place / "perstack.lock").read_text())


def versions(user: Author) -> list[str]:
    return [key for key in locked(user)["experts"] if key.startswith("@acme/")]


def test_a_delegate_is_added_and_locked(user: Author) -> None:
    ran = user("add", "@acme/reader")
    assert ran.code == 0
    assert ran.out.splitlines()[:2] == [
        "lead delegates to @acme/reader@^2.0.0",
        "@acme/reader@2.0.0 (new)",
    ]
    assert "perstack install" in ran.err
    text = user.config.read_text()
    assert text == MINE + 'delegates = ["@acme/reader@^2.0.0"]\n'
    assert versions(user) == ["@acme/reader@2.0.0"]
    again = user("add", "@acme/reader", "--json")
    told = json.loads(again.out)
    assert (told["moves"], told["written"]) == ([], False)


@pytest.mark.parametrize(
    ("args", "written", "version"),
    [
        (("@acme/reader@^1",), "@acme/reader@^1", "1.1.0"),
        (("@acme/reader@1.0.0",), "@acme/reader@1.0.0", "1.0.0"),
        (("@acme/reader", "--exact"), "@acme/reader@2.0.0", "2.0.0"),
        (("@acme/reader", "--tilde"), "@acme/reader@~2.0.0", "2.0.0"),
        (("@acme/reader", "--tag", "beta"), "@acme/reader@2.1.0-beta.1", "2.1.0-beta.1"),
        (("@acme/reader@beta",), "@acme/reader@2.1.0-beta.1", "2.1.0-beta.1"),
    ],
)
def test_what_is_written_is_what_was_meant(
    user: Author, args: tuple[str, ...], written: str, version: str
) -> None:
    assert user("add", *args).code == 0
    assert delegates(user) == [written]
    assert versions(user) == [f"@acme/reader@{version}"]
    assert user("install", "--no-tools", "--frozen").code == 0


def test_an_update_that_widens_is_not_made_unasked(user: Author) -> None:
    assert user("add", "@acme/reader@^1.0.0").code == 0
    assert user("update", "@acme/reader", "--precise", "1.0.0").code == 0
    assert versions(user) == ["@acme/reader@1.0.0"]
    lock = (user.place / "perstack.lock").read_text()
    ran = user("update")
    assert ran.code == 1
    assert "@acme/reader@1.0.0 -> 1.1.0" in ran.out
    assert "  ! may read SEARCH_TOKEN, given to npx @acme/search\n" in ran.out
    assert "--yes" in ran.err
    assert (user.place / "perstack.lock").read_text() == lock
    dry = json.loads(user("update", "--dry-run", "--json").out)
    assert (dry["moves"][0]["after"], dry["written"]) == ("@acme/reader@1.1.0", False)
    told = {(each["effect"], each["kind"], each["what"]) for each in dry["moves"][0]["changes"]}
    assert ("widen", "variable", "SEARCH_TOKEN") in told
    sure = user("update", "--yes")
    assert sure.code == 0
    assert versions(user) == ["@acme/reader@1.1.0"]
    assert user("update").out == "Nothing changes.\n"


def test_ranges_hold_until_latest_is_wanted(user: Author) -> None:
    assert user("add", "@acme/reader@~1.1.0", "@acme/writer").code == 0
    assert user("update").out == "Nothing changes.\n"
    rows = json.loads(user("outdated", "--json").out)["outdated"]
    assert [(r["name"], r["locked"], r["wanted"], r["latest"]) for r in rows] == [
        ("@acme/reader", "1.1.0", "1.1.0", "2.0.0")
    ]
    failing = user("outdated", "--fail")
    assert failing.code == 3
    assert failing.out.splitlines()[0].split() == [
        "EXPERT",
        "LOCKED",
        "WANTED",
        "LATEST",
        "STATUS",
        "AGE",
    ]
    ran = user("update", "--latest", "--yes")
    assert ran.code == 0
    assert delegates(user) == ["@acme/reader@~2.0.0", "@acme/writer@^1.0.0"]
    assert versions(user) == ["@acme/reader@1.1.0", "@acme/reader@2.0.0", "@acme/writer@1.0.0"]
    assert user("outdated", "--fail").code == 0
    twice = user("tree", "--duplicates").out.splitlines()
    assert [line for line in twice if line.startswith("@")] == versions(user)[:2]


def test_a_precise_version_is_one_the_delegates_allow(user: Author) -> None:
    assert user("add", "@acme/writer").code == 0
    assert versions(user) == ["@acme/reader@1.1.0", "@acme/writer@1.0.0"]
    ran = user("update", "@acme/reader", "--precise", "1.0.0")
    assert ran.code == 0
    assert "  - no longer may read SEARCH_TOKEN, given to npx @acme/search\n" in ran.out
    assert versions(user) == ["@acme/reader@1.0.0", "@acme/writer@1.0.0"]
    assert user("install", "--no-tools", "--frozen").code == 0
    refused = user("update", "@acme/reader", "--precise", "2.0.0")
    assert (refused.code, is_one_message(refused.err)) == (1, True)
    unknown = user("update", "@acme/nobody")
    assert (unknown.code, '"@acme/nobody" not found in the lock' in unknown.err) == (1, True)


def test_versions_are_made_few_without_choosing_new_ones(user: Author) -> None:
    assert user("add", "@acme/writer", "@acme/reader@>=1.0.0").code == 0
    assert versions(user)[:2] == ["@acme/reader@1.1.0", "@acme/reader@2.0.0"]
    ran = user("update", "--dedupe", "--offline", "--yes")
    assert (ran.code, ran.out.splitlines()[0]) == (0, "@acme/reader@2.0.0 (no longer needed)")
    assert versions(user) == ["@acme/reader@1.1.0", "@acme/writer@1.0.0"]
    assert user("tree", "--duplicates").out == "No Expert is there in several versions.\n"
    assert user("update", "--dedupe").out == "Nothing changes.\n"


def test_what_is_removed_leaves_file_and_lock(user: Author) -> None:
    assert user("add", "@acme/writer", "@acme/reader@^2").code == 0
    ran = user("remove", "@acme/writer")
    assert ran.code == 0
    assert ran.out.splitlines()[0] == "lead no longer delegates to @acme/writer"
    assert delegates(user) == ["@acme/reader@^2"]
    assert versions(user) == ["@acme/reader@2.0.0"]
    gone = user("remove", "@acme/writer")
    assert (gone.code, is_one_message(gone.err)) == (1, True)
    assert user("remove", "@acme/reader", "--json").code == 0
    assert user.config.read_text() == MINE + "delegates = []\n"
    assert versions(user) == []


def test_nothing_is_written_where_something_is_wrong(
    user: Author, registry: RunningRegistry
) -> None:
    def refused(*args: str) -> str:
        ran = user(*args)
        assert (ran.code, ran.out, is_one_message(ran.err)) == (1, "", True)
        assert user.config.read_text() == MINE
        assert not (user.place / "perstack.lock").exists()
        return ran.err

    assert "@acme/nobody" in refused("add", "@acme/nobody")
    assert "@acme/reader@^9" in refused("add", "@acme/reader@^9")
    assert "is no version, tag, range" in refused("add", "@acme/reader@???")
    assert "ffline" in refused("add", "@acme/reader", "--offline")
    assert '"nobody" not found' in refused("add", "@acme/reader", "--expert", "nobody")
    assert "exclude each other" in refused("add", "@acme/reader", "--exact", "--tilde")
    assert "delegate to itself" in refused("add", "lead")
    assert "Run `perstack install`" in refused("update")


def test_a_disabled_version_is_added_only_by_who_insists(
    acme: Author, user: Author, registry: RunningRegistry
) -> None:
    acme.writes(published("@acme/old"))
    assert acme("publish").code == 0
    assert acme("status", "@acme/old@1.0.0", "disabled").code == 0
    refused = user("add", "@acme/old@1.0.0")
    assert (refused.code, "--allow-disabled insists on it" in refused.err) == (1, True)
    insisted = user("add", "@acme/old@1.0.0", "--allow-disabled")
    assert insisted.code == 0
    assert "warning: @acme/old@1.0.0 was disabled by its owner" in insisted.err
    assert versions(user) == ["@acme/old@1.0.0"]


def test_two_delegates_that_would_be_one_tool_are_refused(user: Author, acme: Author) -> None:
    user.writes(MINE + 'delegates = ["reader"]\n\n[experts.reader]\ninstruction = "Read."\n')
    before = user.config.read_text()
    which = user("add", "@acme/reader")
    assert (which.code, "--expert" in which.err) == (1, True)
    ran = user("add", "@acme/reader", "--expert", "lead")
    assert ran.code == 1
    assert user.config.read_text() == before
