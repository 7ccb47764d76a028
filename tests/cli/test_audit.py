"""What registries say of a lock, and what may be asked of them: audit, verify, search, info, diff."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.fakes.registry import RunningRegistry

from .program import LOCAL, is_one_message
from .registries import Author, published

SEARCH = """
[experts."{key}".skills.search]
type = "mcpStdioSkill"
command = "npx"
packageName = "@acme/search"
requiredEnv = ["SEARCH_TOKEN"]
"""
"""A skill that says too little: whatever version is the newest, and any domain."""

READS = """
[experts."{key}".skills."@perstack/base"]
type = "mcpStdioSkill"
command = "npx"
packageName = "@perstack/base"
pick = ["readTextFile", "attemptCompletion"]
"""
"""A base skill that there is nothing to say of."""


@pytest.fixture
def reader(scope: str) -> str:
    return f"@{scope}/reader"


@pytest.fixture
def author(author: Author, reader: str) -> Author:
    """Who has published 1.0.0 and 1.1.0 of `reader`."""
    for version in ("1.0.0", "1.1.0"):
        author.writes(published(reader, version, more=READS.format(key=reader)))
        assert author("publish").code == 0
    return author


@pytest.fixture
def user(author: Author, registry: RunningRegistry, tmp_path: Path) -> Author:
    user = Author(tmp_path / "user", registry.env())
    user.writes('[experts.lead]\ninstruction = "Lead."\n')
    return user


def rules(user: Author, *options: str) -> list[str]:
    told = json.loads(user("audit", "--json", *options).out)
    return [each["rule"] for each in told["findings"]]


def test_what_is_sound_has_no_findings(user: Author, reader: str) -> None:
    assert user("add", reader).code == 0
    ran = user("audit")
    assert (ran.code, ran.out, ran.err) == (0, "Nothing was found.\n", "")


def test_what_published_experts_may_change_is_listed_and_does_not_count(
    user: Author, author: Author, reader: str
) -> None:
    author.writes(published(reader, "1.2.0"))
    assert author("publish").code == 0
    assert user("add", reader).code == 0
    ran = user("audit")
    assert ran.code == 0
    assert f"note     write-tools       {reader}@1.2.0 may use exec, writeTextFile" in ran.out
    assert user("audit", "--level", "note").code == 3


def test_a_name_like_one_that_is_used_more_is_found(
    user: Author, registry: RunningRegistry, scope: str, reader: str, tmp_path: Path
) -> None:
    assert user("add", reader).code == 0
    other = Author(tmp_path / "other", registry.env(f"{scope}s"))
    other.writes(published(f"@{scope}s/reader"))
    assert other("publish").code == 0
    assert rules(user) == []
    registry.use(f"@{scope}s/reader", 50)
    ran = user("audit")
    assert ran.code == 3
    assert f"{reader}@1.1.0: can be mistaken for @{scope}s/reader" in ran.out
    assert rules(user, "--offline") == []


LISTED = """
[experts.lead.skills.listed]
type = "mcpStdioSkill"
command = "{python}"
args = ["{program}", "{place}"]
"""


def test_servers_are_compared_with_the_lock_if_one_asks(user: Author, tmp_path: Path) -> None:
    place, program = tmp_path / "listed", Path(__file__).parents[1] / "fakes" / "mcp_listed.py"
    place.mkdir()
    tool = {"name": "find", "description": "Finds.", "inputSchema": {"type": "object"}}
    (place / "tools.json").write_text(json.dumps([tool]))
    skill = LISTED.format(python=sys.executable, program=program, place=place)
    user.writes(LOCAL + '[experts.lead]\ninstruction = "Lead."\n' + skill)
    assert user("install").code == 0
    (place / "tools.json").write_text(json.dumps([{**tool, "description": "Finds all."}]))
    assert rules(user) == ["command"]
    assert rules(user, "--tools") == ["tools-changed", "command"]
    ran = user("audit", "--tools", "--offline")
    assert ran.code == 3
    what = 'lead: listed has other tools now: find: description: "Finds." -> "Finds all."'
    assert f"warning  tools-changed     {what}" in ran.out
    assert json.loads(user("audit", "--json", "--tools").out)["serversAsked"] is True
    assert json.loads(user("audit", "--json").out)["serversAsked"] is False
    assert user("install").code == 0
    assert rules(user, "--tools", "--runtime", "local") == ["command"]
    wrong = user("audit", "--runtime", "local")
    assert (wrong.code, "--tools" in wrong.err) == (1, True)


def test_what_owners_say_later_is_found_and_mended(
    user: Author, author: Author, reader: str
) -> None:
    assert user("add", f"{reader}@^1.0.0").code == 0
    assert user("update", reader, "--precise", "1.0.0").code == 0
    told = ("--message", "It forgets", "--replacement", f"{reader}@1.1.0")
    assert author("status", f"{reader}@1.0.0", "deprecated", *told).code == 0
    ran = user("audit")
    assert ran.code == 3
    assert f"{reader}@1.0.0 is deprecated: It forgets; use {reader}@1.1.0 instead" in ran.out
    assert ran.out.splitlines()[-1] == "1 warning"
    assert user("audit", "--level", "error").code == 0
    offline = user("audit", "--offline")
    assert (offline.code, offline.out) == (0, "Nothing was found.\n")
    assert "no registry was asked" in offline.err
    mended = user("audit", "--fix")
    assert mended.code == 0
    assert f"{reader}@1.0.0 -> 1.1.0" in mended.out
    assert mended.out.splitlines()[-1] == "Nothing was found."


def test_what_is_gone_or_disabled_is_grave(user: Author, author: Author, reader: str) -> None:
    assert user("add", f"{reader}@1.0.0").code == 0
    assert author("status", f"{reader}@1.0.0", "disabled").code == 0
    assert rules(user) == ["disabled"]
    assert author("unpublish", f"{reader}@1.0.0", "--force").code == 0
    assert rules(user) == ["unpublished"]
    assert user("audit", "--level", "error").code == 3


def test_what_floats_gets_a_range(user: Author, reader: str) -> None:
    user.writes(f'[experts.lead]\ninstruction = "Lead."\ndelegates = ["{reader}"]\n')
    assert user("install", "--no-tools").code == 0
    assert rules(user) == ["floating"]
    ran = user("audit", "--fix", "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["findings"] == []
    assert f'delegates = ["{reader}@^1.1.0"]' in user.config.read_text()
    assert user("install", "--no-tools", "--frozen").code == 0


def test_findings_are_written_as_sarif(
    user: Author, author: Author, reader: str, tmp_path: Path
) -> None:
    author.writes(published(reader, "1.2.0", more=SEARCH.format(key=reader)))
    assert author("publish").code == 0
    assert user("add", reader).code == 0
    ran = user("audit", "--sarif", str(tmp_path / "out.sarif"), "--quiet")
    assert (ran.code, ran.out) == (3, "")
    (run,) = json.loads((tmp_path / "out.sarif").read_text())["runs"]
    found = {(each["ruleId"], each["level"]) for each in run["results"]}
    assert ("unpinned-package", "warning") in found
    for result in run["results"]:
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "perstack.lock"
        assert place["region"]["startLine"] > 1


def test_what_widened_since_an_older_lock_is_found(
    user: Author, author: Author, reader: str, tmp_path: Path
) -> None:
    assert user("add", reader).code == 0
    (tmp_path / "older.lock").write_bytes((user.place / "perstack.lock").read_bytes())
    author.writes(published(reader, "1.2.0", more=SEARCH.format(key=reader)))
    assert author("publish").code == 0
    assert user("update", "--yes").code == 0
    since = ("--since", str(tmp_path / "older.lock"))
    told = json.loads(user("audit", "--json", *since).out)["findings"]
    widened = [each["what"] for each in told if each["rule"] == "widened"]
    assert any("may read SEARCH_TOKEN" in what for what in widened)
    assert "widened" not in rules(user)
    missing = user("audit", "--since", "nowhere.lock")
    assert (missing.code, is_one_message(missing.err)) == (1, True)


def test_a_lock_that_was_changed_is_not_audited(user: Author, reader: str) -> None:
    assert user("add", reader).code == 0
    lock = user.place / "perstack.lock"
    lock.write_text(lock.read_text().replace("Do it.", "Do all."))
    assert user("audit").code == 4
    assert user("verify").code == 4


def test_what_is_locked_is_verified_against_registry_and_log(user: Author, reader: str) -> None:
    assert user("verify").code == 1  # nothing is locked yet
    assert user("add", reader).code == 0
    ran = user("verify", "--json")
    assert ran.code == 0
    (told,) = json.loads(ran.out)["experts"]
    assert (told["key"], told["outcome"]) == (f"{reader}@1.1.0", "verified")
    assert isinstance(told["log"], int)
    assert f"entry {told['log']} of the log" in user("verify", reader, "--offline").out
    unknown = user("verify", "@acme/nobody")
    assert (unknown.code, is_one_message(unknown.err)) == (1, True)


def test_a_copy_that_was_changed_is_found_offline(user: Author, reader: str) -> None:
    assert user("add", reader).code == 0
    (document,) = (user.place / "cache" / "v1" / "documents").rglob("??/*")
    document.write_bytes(document.read_bytes().replace(b"Do it.", b"Do at."))
    ran = user("verify", "--offline")
    assert ran.code == 4
    assert "FAILED" in ran.out
    document.unlink()
    gone = user("verify", "--offline")
    assert (gone.code, gone.out) == (0, f"{reader}@1.1.0  not at hand, so not verified\n")
    assert user("verify").code == 0


def test_experts_are_searched_and_shown(
    user: Author, author: Author, scope: str, reader: str
) -> None:
    author.writes(published(reader, "1.2.0", more=SEARCH.format(key=reader)))
    assert author("publish", "--tag", "stable").code == 0
    ran = user("search", "reader", "--scope", f"@{scope}")
    assert ran.code == 0
    assert ran.out.splitlines()[1].split()[:3] == [reader, "1.2.0", "available"]
    told = json.loads(user("search", "--scope", f"@{scope}", "--env", "SEARCH_TOKEN", "--json").out)
    assert [each["name"] for each in told["experts"]] == [reader]
    assert user("search", "zzzz", "--scope", f"@{scope}").out == "Nothing was found.\n"
    shown = user("info", f"{reader}@stable")
    assert shown.code == 0
    assert shown.out.splitlines()[0] == f"{reader}@1.2.0  (available)"
    assert "  may read SEARCH_TOKEN, given to npx @acme/search\n" in shown.out
    assert "  1.2.0  [latest, stable]\n  1.1.0\n  1.0.0\n" in shown.out
    about = json.loads(user("info", f"{reader}@^1.0.0", "--json").out)
    assert about["expert"]["key"] == f"{reader}@1.2.0"
    unknown = user("info", f"@{scope}/nobody")
    assert (unknown.code, is_one_message(unknown.err)) == (1, True)
    assert f'"@{scope}/nobody" not found in {user.env["PERSTACK_API_BASE_URL"]}.' in unknown.err
    typo = user("info", f"@{scope}/raeder")
    assert f'Did you mean "{reader}"?' in typo.err
    versions = user("diff", f"{reader}@^9", reader)
    assert (versions.code, is_one_message(versions.err)) == (1, True)
    assert f"{reader} has no such version" in versions.err
    assert "  - 1.2.0: available\n  - 1.1.0: available\n" in versions.err


def test_two_versions_are_held_against_each_other(
    user: Author, author: Author, reader: str
) -> None:
    more = SEARCH.format(key=reader)
    author.writes(published(reader, "2.0.0", more=more).replace("Do it.", "Do it well."))
    assert author("publish").code == 0
    ran = user("diff", f"{reader}@1.1.0", reader)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0] == f"{reader}@1.1.0 -> {reader}@2.0.0"
    assert "  ! may read SEARCH_TOKEN, given to npx @acme/search" in lines
    assert lines[-2:] == ["-Do it.", "+Do it well."]
    told = json.loads(user("diff", reader, f"{reader}@1.1.0", "--json").out)
    assert {each["effect"] for each in told["changes"]} == {"narrow", "neutral"}
    same = user("diff", f"{reader}@1.0.0", f"{reader}@1.1.0")
    assert same.out.splitlines()[1:] == ["  They are the same."]
