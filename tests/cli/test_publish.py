"""Publishing, from a project to a registry, as programs that meet over a socket."""

from __future__ import annotations

import json

import pytest

from .program import is_one_message
from .registries import Author, published


def test_an_expert_is_published_once(author: Author, scope: str) -> None:
    author.writes(published(f"@{scope}/reader"))
    ran = author("publish")
    assert (ran.code, ran.out, ran.err) == (0, f"Published @{scope}/reader@1.0.0\n", "")
    again = author("publish", "--json")
    assert again.code == 0
    (told,) = json.loads(again.out)["publications"]
    assert (told["key"], told["outcome"]) == (f"@{scope}/reader@1.0.0", "unchanged")
    author.writes(published(f"@{scope}/reader").replace("Do it.", "Do it well."))
    other = author("publish")
    assert (other.code, is_one_message(other.err)) == (1, True)
    assert "Raise the `version`" in other.err
    assert "already published" in other.err


def test_delegates_of_the_project_are_published_first_or_nothing_is(
    author: Author, scope: str
) -> None:
    lead, reader, base = f"@{scope}/lead", f"@{scope}/reader", f"@{scope}/base"
    author.writes(
        published(lead, delegates=(reader, f"{base}@^1.0.0"))
        + published(reader, "2.0.0", delegates=(base,))
        + published(base, "1.4.0")
    )
    alone = author("publish", lead)
    assert (alone.code, alone.out, is_one_message(alone.err)) == (1, "", True)
    assert "--recursive" in alone.err
    assert f"{base}@1.4.0 is not published" in alone.err
    ran = author("publish", lead, "--recursive", "--json")
    assert ran.code == 0
    told = json.loads(ran.out)["publications"]
    keys = [f"{base}@1.4.0", f"{reader}@2.0.0", f"{lead}@1.0.0"]
    assert [(each["key"], each["outcome"]) for each in told] == [(key, "published") for key in keys]
    assert told[2]["request"]["delegates"] == keys[1::-1]
    assert "delegateSpecs" not in told[2]["request"]
    assert author("publish", lead).code == 0  # what it needs is there, and the same


def test_a_name_of_the_project_is_never_bound_to_another_definition(
    author: Author, scope: str
) -> None:
    reader = f"@{scope}/reader"
    author.writes(published(reader))
    assert author("publish").code == 0
    changed = published(reader).replace("Do it.", "Do it otherwise.")
    author.writes(published(f"@{scope}/lead", delegates=(reader,)) + changed)
    ran = author("publish", f"@{scope}/lead")
    assert (ran.code, is_one_message(ran.err)) == (1, True)
    assert f"{reader}@1.0.0 is published with another content. Raise its `version`" in ran.err
    both = author("publish", f"@{scope}/lead", "--recursive")
    assert (both.code, both.out) == (1, "")
    assert "Raise the `version`" in both.err


def test_a_range_is_published_with_the_version_it_selects(author: Author, scope: str) -> None:
    reader = f"@{scope}/reader"
    for version in ("1.0.0", "1.2.0", "2.0.0"):
        author.writes(published(reader, version))
        assert author("publish").code == 0
    author.writes(published(f"@{scope}/lead", delegates=(f"{reader}@^1.0.0",)))
    ran = author("publish", "--json")
    (told,) = json.loads(ran.out)["publications"]
    assert told["request"]["delegates"] == [f"{reader}@1.2.0"]
    assert told["request"]["delegateSpecs"] == [f"{reader}@^1.0.0"]


def test_a_dry_run_publishes_nothing(author: Author, scope: str) -> None:
    lead, reader = f"@{scope}/lead", f"@{scope}/reader"
    author.writes(published(lead, delegates=(reader,)) + published(reader))
    ran = author("publish", lead, "--recursive", "--dry-run", "--json")
    assert (ran.code, ran.err) == (0, "")
    told = json.loads(ran.out)["publications"]
    assert [(each["key"], each["outcome"], each.get("checked", True)) for each in told] == [
        (f"{reader}@1.0.0", "dryRun", True),
        (f"{lead}@1.0.0", "dryRun", False),
    ]
    shown = author("publish", reader, "--dry-run")
    heading, _, payload = shown.out.partition("\n")
    assert heading == f"Would publish {reader}@1.0.0, checked by the registry:"
    assert json.loads(payload)["name"] == reader
    author.env.pop("PERSTACK_API_KEY")
    without = author("publish", lead, "--dry-run", "--json")
    assert without.code == 0
    assert "there is no key" in without.err
    assert json.loads(without.out)["publications"][0]["checked"] is False
    assert author("publish", lead).code == 1
    missing = author("status", f"{reader}@1.0.0", "deprecated")
    assert (missing.code, "perstack login" in missing.err) == (1, True)


def test_a_dry_run_tells_what_the_registry_would_refuse(author: Author, scope: str) -> None:
    author.writes(published("unscoped"))
    ran = author("publish", "--dry-run")
    assert (ran.code, ran.out, is_one_message(ran.err)) == (1, "", True)
    assert "Expert name must be scoped" in ran.err
    author.writes(f'[experts."@{scope}/x"]\ninstruction = "x"\n')
    here = author("publish")
    assert (here.code, "description: is required" in here.err) == (1, True)


def test_rules_that_do_not_travel_are_told(author: Author, scope: str) -> None:
    rules = 'approve = ["exec(git push *)"]\ndeny = ["mcp:*/drop"]'
    author.writes(published(f"@{scope}/reader", more=rules))
    said = "(approve and deny) are not published"
    for option, code in (("--dry-run", 0), ("--json", 0), ("--json", 0)):
        ran = author("publish", option)
        assert (ran.code, ran.err.count("warning: ")) == (code, 1)
        assert said in ran.err
    (told,) = json.loads(ran.out)["publications"]
    assert told["outcome"] == "unchanged"
    assert said in told["warnings"][0]
    assert "approve" not in told["request"]


def test_experts_in_a_ring_cannot_be_published(author: Author, scope: str) -> None:
    a, b = f"@{scope}/a", f"@{scope}/b"
    author.writes(published(a, delegates=(b,)) + published(b, delegates=(a,)))
    ran = author("publish", a, "--recursive")
    assert (ran.code, is_one_message(ran.err)) == (1, True)
    assert f"{a} -> {b} -> {a} is a ring" in ran.err


def test_latest_and_tags_go_where_they_are_meant(author: Author, scope: str) -> None:
    name = f"@{scope}/reader"

    def publish(version: str, *options: str) -> list[str]:
        author.writes(published(name, version, more='tags = ["own"]'))
        (told,) = json.loads(author("publish", "--json", *options).out)["publications"]
        return told["tags"]

    assert publish("1.0.0") == ["latest", "own"]
    assert publish("2.0.0-beta.1") == ["own"]
    assert publish("1.1.0", "--tag", "stable") == ["latest", "own", "stable"]
    assert publish("1.0.1") == ["own"]
    assert publish("0.9.0", "--latest") == ["latest", "own"]
    assert publish("3.0.0", "--no-latest") == ["own"]


def test_which_expert_has_to_be_said(author: Author, scope: str) -> None:
    author.writes(published(f"@{scope}/a") + published(f"@{scope}/b"))
    ran = author("publish")
    assert (ran.code, is_one_message(ran.err)) == (1, True)
    assert f"@{scope}/a, @{scope}/b" in ran.err
    unknown = author("publish", "nobody")
    assert (unknown.code, 'Expert "nobody" not found' in unknown.err) == (1, True)
    author.writes("")
    assert "no Experts to publish" in author("publish").err
    author.writes(f'[experts."@{scope}/a"]\nversion = "one"\ninstruction = "x"\n')
    faulty = author("publish")
    assert (faulty.code, "Validation failed" in faulty.err) == (1, True)


def test_the_life_of_a_version(author: Author, scope: str) -> None:
    name = f"@{scope}/reader"
    for version in ("1.0.0", "1.1.0"):
        author.writes(published(name, version))
        assert author("publish").code == 0
    tagged = author("tag", f"{name}@1.0.0", "old", "lts")
    assert (tagged.code, tagged.out) == (0, f"Updated {name}@1.0.0\n  Tags: lts, old\n")
    deprecated = author(
        "status", f"{name}@lts", "deprecated", "--replacement", f"{name}@1.1.0", "--json"
    )
    assert json.loads(deprecated.out) == {
        "key": f"{name}@1.0.0",
        "version": "1.0.0",
        "status": "deprecated",
        "tags": ["lts", "old"],
    }
    back = author("status", f"{name}@1.0.0", "available")
    assert (back.code, is_one_message(back.err)) == (1, True)
    assert "Cannot change deprecated expert to available" in back.err
    assert "Publish a new version instead." in back.err
    unsure = author("unpublish", f"{name}@1.0.0")
    assert (unsure.code, "--yes" in unsure.err) == (1, True)
    gone = author("unpublish", f"{name}@1.0.0", "--force")
    assert (gone.code, gone.out) == (0, f"Unpublished {name}@1.0.0\n")
    author.writes(published(name, "1.0.0"))
    burned = author("publish")
    assert (burned.code, "already published" in burned.err) == (1, True)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("unpublish", "@x/reader", "--force"), "@x/reader@1.0.0"),
        (("unpublish", "@x/reader@beta", "--force"), "names no version"),
        (("unpublish",), "no terminal"),
        (("tag", "@x/reader", "a"), "names no version"),
        (("tag", "@x/reader@1.0.0"), "Name the tags"),
        (("tag", "@x/reader@1.0.0", "1"), "is no tag"),
        (("tag",), "no terminal"),
        (("status", "@x/reader@1.0.0"), "available, deprecated or disabled"),
        (("status", "@x/reader@1.0.0", "gone"), '"gone" is no status'),
        (("status", "@x/reader@1.0.0", "disabled", "--message", "x"), "become deprecated"),
        (("status",), "no terminal"),
        (("unpublish", "@x/reader@1.0.0", "--yes"), "refused @x/reader@1.0.0: Not Found"),
        (("status", "No Key", "disabled"), "Invalid expert key"),
    ],
)
def test_what_cannot_be_meant_is_said_with_what_can(
    author: Author, args: tuple[str, ...], said: str
) -> None:
    ran = author(*args)
    assert (ran.code, ran.out, is_one_message(ran.err)) == (1, "", True)
    assert said in ran.err


def test_what_others_need_cannot_be_unpublished(author: Author, scope: str) -> None:
    lead, reader = f"@{scope}/lead", f"@{scope}/reader"
    author.writes(published(lead, delegates=(reader,)) + published(reader))
    assert author("publish", lead, "--recursive").code == 0
    ran = author("unpublish", f"{reader}@1.0.0", "--force")
    assert (ran.code, is_one_message(ran.err)) == (1, True)
    assert "perstack status <key> disabled" in ran.err
