"""What an audit finds, one rule at a time, and how it is told to machines."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from msgspec.structs import replace

from perstack.definition import BASE_SKILL, DEFAULT_BASE, Expert, Project, RemoteSkill, StdioSkill
from perstack.lock import Choosing, Lock, Origin, pinned
from perstack.ops.packages.audit import (
    LEVELS,
    RULES,
    Audited,
    Finding,
    Standing,
    at_least,
    findings,
)
from perstack.ops.packages.sarif import sarif_of

NOW_S = 1_800_000_000.0
KEY = "@acme/reader@1.4.0"


def expert(key: str, *delegates: str, **skills: StdioSkill | RemoteSkill) -> Expert:
    name = key[:1] + key[1:].partition("@")[0]
    return Expert(
        key=key,
        name=name,
        instruction="x",
        skills={BASE_SKILL: DEFAULT_BASE, **skills},
        delegates=delegates,
    )


def audited(*experts: Expert, own: tuple[str, ...] = ("lead",), **rest: Any) -> Audited:
    pins = {each.key: pinned(each) for each in experts}
    origin = Origin(
        registry="https://r.example",
        resolved="https://r.example/d",
        published_at="2027-01-15T07:00:00.000Z",
        publisher="key:one",
    )
    pins = {
        key: replace(pin, origin=origin) if "@" in key[1:] else pin for key, pin in pins.items()
    }
    resolutions = {"@acme/reader": KEY, "@acme/reader@^1.4.0": KEY, "@acme/reader@beta": KEY}
    return Audited(
        project=Project(experts={each.key: each for each in experts if each.key in own}),
        lock=Lock(experts=pins, resolutions=resolutions),
        **rest,
    )


def rules(found: tuple[Finding, ...]) -> list[str]:
    return [each.rule for each in found]


LEAD, READER = expert("lead", "@acme/reader@^1.4.0"), expert(KEY)


def test_a_sound_lock_has_no_findings() -> None:
    standing = {KEY: Standing(status="available", publisher="key:one")}
    assert findings(audited(LEAD, READER, standings=standing)) == ()


@pytest.mark.parametrize(
    ("standing", "rule"),
    [
        (Standing(status="deprecated", note="use @acme/b"), "deprecated"),
        (Standing(status="disabled"), "disabled"),
        (Standing(status="quarantined"), "quarantined"),
        (Standing(status="unpublished"), "unpublished"),
        (Standing(status="available", digest="sha256:" + "0" * 64), "digest"),
        (Standing(status="available", publisher="key:two"), "publisher"),
        (Standing(status="available", scan=("a large blob",)), "scan"),
        (Standing(status="available", grave=("hidden characters",)), "scan-critical"),
    ],
)
def test_what_the_registry_says_now_is_found(standing: Standing, rule: str) -> None:
    (found,) = findings(audited(LEAD, READER, standings={KEY: standing}))
    assert (found.rule, found.subject, found.level) == (rule, KEY, RULES[rule].level)
    assert standing.note in found.what


def test_a_lock_made_for_something_else_is_found() -> None:
    assert rules(findings(audited(LEAD, READER, is_stale=True))) == ["stale-lock"]


@pytest.mark.parametrize("spec", ["@acme/reader", "@acme/reader@beta", "@acme/reader@*"])
def test_delegates_that_float_are_found(spec: str) -> None:
    (found,) = findings(
        audited(expert("lead", spec, "own"), expert("own"), READER, own=("lead", "own"))
    )
    assert (found.rule, found.subject, found.place) == ("floating", spec, "perstack.toml")


def test_skills_that_can_change_are_found() -> None:
    skills = {
        "loose": StdioSkill(command="npx", package_name="@acme/x"),
        "tight": StdioSkill(command="uvx", package_name="x@1.0.0"),
        "remote": RemoteSkill(endpoint="https://mcp.example"),
        "own": StdioSkill(command="python", args=("x.py",)),
    }
    found = findings(audited(expert("lead", **skills)))
    assert rules(found) == ["unpinned-package", "command", "remote-endpoint"]
    assert "@acme/x" in found[0].what


def test_a_version_that_is_too_young_is_found() -> None:
    young = Choosing(now_s=NOW_S, min_age_s=86_400)
    assert rules(findings(audited(LEAD, READER, choosing=young))) == ["young"]
    exempt = replace(young, exempt=("@acme/*",))
    assert findings(audited(LEAD, READER, choosing=exempt)) == ()
    old = replace(young, now_s=NOW_S + 86_400)
    assert findings(audited(LEAD, READER, choosing=old)) == ()


def test_rings_and_depths_are_found() -> None:
    ring = findings(audited(expert("lead", "b"), expert("b", "lead"), own=("lead", "b")))
    assert [(each.rule, each.what) for each in ring] == [("cycle", "b -> lead -> b")]
    deep = [expert(f"e{n}@1.0.0", f"e{n + 1}@1.0.0") for n in range(8)]
    found = findings(audited(*deep, expert("e8@1.0.0"), own=("e0@1.0.0",)))
    assert [(each.rule, each.subject) for each in found] == [("depth", "e6@1.0.0")]


def test_what_widened_since_an_older_lock_is_found() -> None:
    before = audited(LEAD, READER).lock
    search = StdioSkill(command="npx", package_name="s@1.0.0", required_env=("TOKEN",))
    after = audited(LEAD, expert(KEY, search=search), before=before)
    found = findings(after)
    assert set(rules(found)) == {"widened"}
    assert any("may read TOKEN" in each.what for each in found)
    assert findings(replace(after, before=after.lock)) == ()


def test_the_gravest_come_first_and_can_be_chosen() -> None:
    standing = {KEY: Standing(status="disabled", scan=("x",))}
    remote = RemoteSkill(endpoint="https://mcp.example")
    found = findings(audited(expert("lead", "@acme/reader", r=remote), READER, standings=standing))
    assert [each.level for each in found] == ["error", "warning", "warning", "note"]
    assert [len(at_least(found, level)) for level in LEVELS] == [4, 3, 1]


def test_every_rule_is_found_somewhere_and_says_what_to_do() -> None:
    assert all(rule.id == id for id, rule in RULES.items())
    assert all(rule.advice for rule in RULES.values() if rule.level == "error")


SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"enum": ["2.1.0"]},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool"],
                "properties": {
                    "tool": {
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "required": ["name"],
                                "properties": {
                                    "rules": {
                                        "uniqueItems": True,
                                        "items": {
                                            "required": ["id"],
                                            "properties": {
                                                "shortDescription": {"$ref": "#/$defs/message"},
                                                "help": {"$ref": "#/$defs/message"},
                                                "defaultConfiguration": {
                                                    "properties": {
                                                        "level": {"$ref": "#/$defs/level"}
                                                    }
                                                },
                                            },
                                        },
                                    }
                                },
                            }
                        },
                    },
                    "results": {
                        "items": {
                            "required": ["message"],
                            "properties": {
                                "ruleId": {"type": "string"},
                                "ruleIndex": {"type": "integer", "minimum": -1},
                                "level": {"$ref": "#/$defs/level"},
                                "message": {"$ref": "#/$defs/message"},
                                "partialFingerprints": {"additionalProperties": {"type": "string"}},
                                "locations": {
                                    "uniqueItems": True,
                                    "items": {
                                        "properties": {
                                            "physicalLocation": {
                                                "required": ["artifactLocation"],
                                                "properties": {
                                                    "region": {
                                                        "properties": {
                                                            "startLine": {
                                                                "type": "integer",
                                                                "minimum": 1,
                                                            }
                                                        }
                                                    }
                                                },
                                            }
                                        }
                                    },
                                },
                            },
                        }
                    },
                },
            },
        },
    },
    "$defs": {
        "level": {"enum": ["none", "note", "warning", "error"]},
        "message": {
            "type": "object",
            "required": ["text"],
            "properties": {"text": {"type": "string"}},
        },
    },
}
"""What a reader of SARIF 2.1.0 needs, of the members that are written here."""


def test_findings_as_sarif() -> None:
    standing = {KEY: Standing(status="disabled")}
    found = findings(audited(expert("lead", "@acme/reader"), READER, standings=standing))
    lock = f'version = "1"\n\n[experts."{KEY}"]\n'
    told = sarif_of(found, {"perstack.lock": lock, "perstack.toml": ""}, "1.2.3")
    jsonschema.validate(told, SARIF)
    (run,) = told["runs"]
    known = run["tool"]["driver"]["rules"]
    assert [known[result["ruleIndex"]]["id"] for result in run["results"]] == [
        "disabled",
        "floating",
    ]
    lines = [
        each["locations"][0]["physicalLocation"]["region"]["startLine"] for each in run["results"]
    ]
    assert lines == [3, 1]
    assert sarif_of((), {}, "1.2.3")["runs"][0]["results"] == []
