"""What publishing sends, and what it refuses to send."""

from __future__ import annotations

import msgspec
import pytest
from inline_snapshot import snapshot

from perstack.definition import Expert, parse_project
from perstack.errors import DefinitionError
from perstack.ops.packages.payload import lands_on_latest, request_of
from perstack.registry import document_of_request

TRIAGE = """
[experts."@acme/triage"]
version = "1.2.0"
description = "Sorts incoming reports"
instruction = "Sort."
delegates = ["@acme/researcher@^2.0.0", "helper"]
tags = ["stable", "latest"]
providerTools = ["webSearch"]

[experts."@acme/triage".skills.search]
type = "mcpStdioSkill"
command = "uvx"
args = ["mcp-search@1.0.0"]
requiredEnv = ["SEARCH_TOKEN"]
allowedDomains = ["*.acme.example"]
lazyInit = true
startupTimeout = 1000

[experts."@acme/triage".skills.docs]
type = "mcpSseSkill"
endpoint = "https://mcp.example.com/sse"
omit = ["delete"]

[experts."@acme/triage".skills.ask]
type = "interactiveSkill"
rule = "Ask once."
[experts."@acme/triage".skills.ask.tools.choose]
inputJsonSchema = "{}"
"""


def expert(text: str, key: str = "@acme/triage") -> Expert:
    return parse_project(text, "perstack.toml").expert(key)


def faults(text: str, key: str = "x", tags: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        request_of(expert(text, key), {}, tags=tags)
    return [f"{fault.path}: {fault.what}" for fault in caught.value.faults]


def test_the_request_holds_all_that_makes_the_expert() -> None:
    pins = {"@acme/researcher@^2.0.0": "@acme/researcher@2.0.1"}
    request = request_of(expert(TRIAGE), pins, tags=("beta",))
    assert msgspec.to_builtins(request) == snapshot(
        {
            "name": "@acme/triage",
            "version": "1.2.0",
            "minRuntimeVersion": "v1.0",
            "description": "Sorts incoming reports",
            "instruction": "Sort.",
            "skills": {
                "@perstack/base": {
                    "type": "mcpStdioSkill",
                    "command": "npx",
                    "description": "Base skill",
                    "packageName": "@perstack/base",
                },
                "search": {
                    "type": "mcpStdioSkill",
                    "command": "uvx",
                    "requiredEnv": ("SEARCH_TOKEN",),
                    "allowedDomains": ("*.acme.example",),
                    "lazyInit": True,
                    "packageName": "mcp-search@1.0.0",
                    "description": "search skill",
                },
                "docs": {
                    "type": "mcpSseSkill",
                    "endpoint": "https://mcp.example.com/sse",
                    "omit": ("delete",),
                    "description": "docs skill",
                },
                "ask": {
                    "type": "interactiveSkill",
                    "tools": {"choose": {"description": "choose tool", "inputJsonSchema": "{}"}},
                    "rule": "Ask once.",
                    "description": "ask skill",
                },
            },
            "delegates": ("@acme/researcher@2.0.1", "helper"),
            "tags": ("latest", "stable", "beta"),
            "delegateSpecs": ("@acme/researcher@^2.0.0", "helper"),
            "providerTools": ("webSearch",),
            "providerToolOptions": {},
        }
    )
    assert document_of_request(request).startswith(
        b'{"delegateSpecs":["@acme/researcher@^2.0.0","helper"]'
    )


def test_without_pins_the_specs_are_the_delegates() -> None:
    request = request_of(expert(TRIAGE), {}, set_latest=False)
    assert request.delegates == ("@acme/researcher@^2.0.0", "helper")
    assert request.delegate_specs == ()
    assert request.tags == ("stable",)
    assert not request.set_latest


def test_all_that_cannot_be_published_is_told_at_once() -> None:
    text = """
[experts.own]
instruction = "Do."
tags = ["7"]
baseSkill = false
[experts.own.skills.own]
type = "mcpStdioSkill"
command = "python"
args = ["server.py"]
[experts.own.skills.flags]
type = "mcpStdioSkill"
command = "npx"
args = ["-y", "@acme/x", "--root", "/"]
[experts.own.skills.remote]
type = "mcpSseSkill"
endpoint = "https://mcp.example.com"
headersEnv = { Authorization = "Bearer TOKEN" }
[experts.own.skills."A B"]
type = "mcpSseSkill"
endpoint = "https://mcp.example.com"
"""
    assert faults(text, "own") == snapshot(
        [
            "experts.own.description: is required to publish",
            "experts.own.baseSkill: is false; registries insist on the base skill",
            'experts.own.tags: "7" is no tag',
            'experts.own.skills.own: its command is "python"; only npx and uvx can be published',
            "experts.own.skills.flags: it has arguments, which cannot be published",
            "experts.own.skills.remote: it has headersEnv, which cannot be published",
            "experts.own.skills.A B: its name cannot be published",
        ]
    )


def test_a_tag_of_the_command_line_is_checked_as_one_of_the_file() -> None:
    text = '[experts.x]\ndescription = "x"\ninstruction = "x"\n'
    assert faults(text, tags=("No",)) == snapshot(['experts.x.tags: "No" is no tag'])
    assert len(faults(text, tags=tuple(f"t{n}" for n in range(9)))) == 1


@pytest.mark.parametrize(
    ("version", "latest", "lands"),
    [
        ("1.0.0", None, True),
        ("1.0.0-beta", None, True),
        ("1.1.0", "1.0.0", True),
        ("1.1.0-beta", "1.0.0", False),
        ("0.9.1", "1.0.0", False),
        ("1.0.0+b2", "1.0.0+b1", True),
    ],
)
def test_latest_does_not_go_back(version: str, latest: str | None, lands: bool) -> None:
    assert lands_on_latest(version, latest) == lands
