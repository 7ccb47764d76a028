# ruff: noqa: E501  (what is said to people is compared whole)
"""Text of a perstack.toml → Project: what is read, what is refused, what is warned of."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from perstack.definition import (
    BASE_SKILL,
    DEFAULT_BASE,
    Expert,
    InteractiveSkill,
    InteractiveTool,
    Parsed,
    Project,
    ProviderTable,
    RemoteSkill,
    StdioSkill,
    parse_project,
)
from perstack.errors import DefinitionError, Fault, UnknownExpert


def parse(text: str) -> Parsed:
    return parse_project(text, "perstack.toml")


def lines(faults: tuple[Fault, ...]) -> list[str]:
    return [str(fault) for fault in faults]


def refused(text: str) -> list[str]:
    """What is said about a file that cannot be used."""
    with pytest.raises(DefinitionError) as caught:
        parse(text)
    assert caught.value.source == "perstack.toml"
    return lines(caught.value.faults)


def broken(body: str, top: str = "") -> list[str]:
    """What is said about the Expert `x` whose table holds `body`."""
    parsed = parse(f'{top}\n[experts.x]\ninstruction = "go"\n{body}')
    assert list(parsed.broken) in ([], ["x"])
    return lines(parsed.faults)


def skill(body: str, name: str = "s") -> list[str]:
    return broken(f'[experts.x.skills."{name}"]\n{body}')


# What is read ------------------------------------------------------------------------------------


def test_a_whole_file_is_read():
    parsed = parse(
        """
        model = "claude-sonnet-4-5"
        reasoningBudget = "high"
        runtime = "sandbox"
        maxSteps = 50
        maxRetries = 0
        timeout = 90500
        perstackApiBaseUrl = "https://registry.example"
        perstackBaseSkillCommand = ["node", "base.js"]
        envPath = [".env.ci"]

        [provider]
        providerName = "openai"
        [provider.setting]
        baseUrl = "https://proxy.example/v1"
        organization = "acme"
        [provider.setting.headers]
        X-Team = "red"

        [experts."@acme/lead"]
        version = "2.0.0-rc.1"
        minRuntimeVersion = "v1.0"
        description = "Leads"
        instruction = "Lead them."
        delegates = ["@acme/reader@^1.2", "writer"]
        tags = ["stable", "v2"]
        providerTools = ["webSearch"]
        [experts."@acme/lead".providerToolOptions.webSearch]
        allowedDomains = ["example.com"]

        [experts."@acme/lead".skills."@perstack/base"]
        type = "mcpStdioSkill"
        command = "npx"
        packageName = "@perstack/base"
        pick = ["readTextFile"]
        requiredEnv = ["GH_TOKEN"]
        lazyInit = true

        [experts."@acme/lead".skills.search]
        type = "mcpStdioSkill"
        description = "Finds"
        rule = "Search first."
        command = "uvx"
        args = ["mcp-search", "--fast"]
        omit = ["drop"]
        allowedDomains = ["*.example.com"]
        lazyInit = true

        [experts."@acme/lead".skills.remote]
        type = "mcpSseSkill"
        endpoint = "https://mcp.example.com/sse"

        [experts."@acme/lead".skills.person]
        type = "interactiveSkill"
        [experts."@acme/lead".skills.person.tools.askUser]
        description = "Ask"
        inputJsonSchema = '{"type": "object"}'
        """
    )
    assert parsed.warnings == ()
    assert parsed.broken == {}
    lead = Expert(
        key="@acme/lead",
        name="@acme/lead",
        version="2.0.0-rc.1",
        min_runtime_version="v1.0",
        description="Leads",
        instruction="Lead them.",
        delegates=("@acme/reader@^1.2", "writer"),
        tags=("stable", "v2"),
        provider_tools=("webSearch",),
        provider_tool_options={"webSearch": {"allowedDomains": ["example.com"]}},
        skills={
            BASE_SKILL: StdioSkill(
                command="npx",
                package_name="@perstack/base",
                pick=("readTextFile",),
                required_env=("GH_TOKEN",),
                lazy_init=False,  # the base skill is never late
            ),
            "search": StdioSkill(
                description="Finds",
                rule="Search first.",
                command="uvx",
                args=("mcp-search", "--fast"),
                omit=("drop",),
                allowed_domains=("*.example.com",),
                lazy_init=True,
            ),
            "remote": RemoteSkill(endpoint="https://mcp.example.com/sse"),
            "person": InteractiveSkill(
                tools={
                    "askUser": InteractiveTool(
                        description="Ask", input_json_schema='{"type": "object"}'
                    )
                }
            ),
        },
    )
    assert parsed.project == Project(
        model="claude-sonnet-4-5",
        reasoning_budget="high",
        runtime="sandbox",
        max_steps=50,
        max_retries=0,
        timeout_s=90.5,
        api_base_url="https://registry.example",
        base_skill_command=("node", "base.js"),
        env_path=(".env.ci",),
        provider=ProviderTable(
            provider_name="openai",
            setting={
                "baseUrl": "https://proxy.example/v1",
                "organization": "acme",
                "headers": {"X-Team": "red"},
            },
        ),
        experts={"@acme/lead": lead},
    )


def test_an_empty_file_says_nothing():
    assert parse("") == Parsed(source="perstack.toml", project=Project())


def test_an_expert_needs_only_an_instruction():
    expert = Expert(key="x", name="x", instruction="go", skills={BASE_SKILL: DEFAULT_BASE})
    assert parse('[experts.x]\ninstruction = "go"').expert("x") == expert
    assert expert.version == "1.0.0"


@pytest.mark.parametrize(
    ("body", "skills"),
    [
        ("", [BASE_SKILL]),
        ("skills = {}", [BASE_SKILL]),
        ("baseSkill = true", [BASE_SKILL]),
        ("baseSkill = false", []),
        (
            '[experts.x.skills.s]\ntype = "mcpStdioSkill"\ncommand = "a"\nargs = ["b"]',
            [BASE_SKILL, "s"],
        ),
    ],
)
def test_the_base_skill_is_there_unless_switched_off(body: str, skills: list[str]):
    parsed = parse(f'[experts.x]\ninstruction = "go"\n{body}')
    assert list(parsed.expert("x").skills) == skills
    assert parsed.warnings == ()


def test_the_base_skill_cannot_be_off_and_on():
    body = 'baseSkill = false\n[experts.x.skills."@perstack/base"]\n'
    body += 'type = "mcpStdioSkill"\ncommand = "npx"\npackageName = "@perstack/base"'
    assert broken(body) == snapshot(
        ["experts.x.baseSkill: is false, but there is a skill @perstack/base (remove one of them)"]
    )


@pytest.mark.parametrize(
    ("written", "read"),
    [('"none"', "none"), ("0", "none"), ('"minimal"', "minimal"), ("1", 1), ("5000", 5000)],
)
def test_a_reasoning_budget_is_a_level_or_tokens(written: str, read: str | int):
    assert parse(f"reasoningBudget = {written}").project.reasoning_budget == read


def test_numbers_may_be_written_with_a_point():
    parsed = parse("maxSteps = 10.0\nmaxRetries = 2.5\ntimeout = 0.5")
    assert (parsed.project.max_steps, parsed.project.max_retries) == (10, 2)
    assert parsed.project.timeout_s == 0.0005
    assert lines(parsed.warnings) == ["maxRetries: counts whole things; 2 is used"]


# Faults of the file ------------------------------------------------------------------------------


def test_all_faults_of_a_file_are_told_at_once():
    assert refused(
        """
        model = 5
        reasoningBudget = "lots"
        runtime = "dokcer"
        maxSteps = 0
        maxRetries = -1
        timeout = nan
        perstackApiBaseUrl = "http://registry.example"
        perstackBaseSkillCommand = [""]
        envPath = ".env"
        experts = []
        [provider]
        providerName = "antropic"
        """
    ) == snapshot(
        [
            "timeout: must be a number that can be counted to",
            "perstackBaseSkillCommand: perstackBaseSkillCommand must have at least one element",
            "experts: expected a table, got an array",
            "model: expected a string, got an integer",
            'provider.providerName: "antropic" is not one of "anthropic", "google", "openai", "ollama", "azure-openai", "amazon-bedrock", "google-vertex", "deepseek" (did you mean "anthropic"?)',
            'reasoningBudget: "lots" is not one of "none", "minimal", "low", "medium", "high"',
            'runtime: "dokcer" is not one of "local", "sandbox", "docker", "cursor", "claude-code", "gemini" (did you mean "docker"?)',
            "maxSteps: must be at least 1",
            "maxRetries: must be at least 0",
            'perstackApiBaseUrl: "http://registry.example" must begin with https://',
            "envPath: expected an array, got a string",
        ]
    )


def test_a_fault_of_the_file_comes_before_those_of_its_experts():
    assert refused('maxSteps = 0\n[experts.x]\ninstruction = ""') == [
        "maxSteps: must be at least 1"
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("model = ", "line 1, at the end of the file: Invalid TOML document: Invalid value"),
        (
            'model = "x"\nmodle = "y" z\n',
            "line 2, column 13: Invalid TOML document: "
            "Expected newline or end of document after a statement",
        ),
        ('a = 1\n[b\nc = "x"', "line 2, column 3: Invalid TOML document"),
    ],
)
def test_a_syntax_error_names_file_and_line(text: str, fault: str):
    with pytest.raises(DefinitionError) as caught:
        parse(text)
    assert str(caught.value).startswith(f"perstack.toml: Validation failed:\n  - {fault}")


def test_a_file_nested_too_deeply_is_refused_as_any_other():
    assert "Invalid TOML document" in refused("a = " + "[" * 100_000)[0]


@pytest.mark.parametrize(
    "value", ["inf", "-inf", "nan", "1e300", "9007199254740993", "true", '"5"']
)
def test_a_limit_must_be_a_number(value: str):
    assert len(refused(f"maxSteps = {value}\nmaxRetries = {value}\ntimeout = {value}")) == 3


@pytest.mark.parametrize("value", ["-1", "true", "1.5", "[]", "9007199254740993", '""'])
def test_a_reasoning_budget_is_nothing_else(value: str):
    assert len(refused(f"reasoningBudget = {value}")) == 1


@pytest.mark.parametrize(
    ("name", "setting", "kept"),
    [
        ("anthropic", 'baseUrl = "https://a.example"', {"baseUrl": "https://a.example"}),
        ("google", 'headers = { a = "b" }', {"headers": {"a": "b"}}),
        ("deepseek", "", {}),
        ("openai", 'project = "p"\nname = "n"', {"project": "p", "name": "n"}),
        ("ollama", 'baseUrl = "http://localhost:1"', {"baseUrl": "http://localhost:1"}),
        (
            "azure-openai",
            'resourceName = "r"\napiVersion = "v"\nuseDeploymentBasedUrls = true',
            {"resourceName": "r", "apiVersion": "v", "useDeploymentBasedUrls": True},
        ),
        ("amazon-bedrock", 'region = "eu-west-1"', {"region": "eu-west-1"}),
        ("google-vertex", 'project = "p"\nlocation = "l"', {"project": "p", "location": "l"}),
    ],
)
def test_each_provider_has_its_settings(name: str, setting: str, kept: dict[str, object]):
    parsed = parse(f'[provider]\nproviderName = "{name}"\n[provider.setting]\n{setting}')
    assert parsed.project.provider == msgspec.convert(
        {"providerName": name, "setting": kept}, ProviderTable
    )
    assert parsed.warnings == ()


def test_a_provider_without_settings_has_none():
    assert parse('[provider]\nproviderName = "ollama"').project.provider == ProviderTable(
        provider_name="ollama"
    )


def test_a_provider_table_has_faults_of_its_own():
    assert refused("[provider]\nsetting = {}") == ["provider.providerName: is required"]
    assert refused(
        """
        [provider]
        providerName = "azure-openai"
        [provider.setting]
        baseUrl = "http://a.example"
        useDeploymentBasedUrls = "yes"
        headers = { a = 1 }
        """
    ) == snapshot(
        [
            'provider.setting.baseUrl: "http://a.example" must begin with https://',
            "provider.setting.headers.a: expected a string, got an integer",
            "provider.setting.useDeploymentBasedUrls: expected true or false, got a string",
        ]
    )


# Faults of one Expert ----------------------------------------------------------------------------


def test_all_faults_of_an_expert_are_kept_with_their_places():
    parsed = parse(
        """
        [experts.x]
        version = "1.0"
        description = ""
        delegates = ["@invalid", "@a/b@^", 3]
        tags = ["a.b"]
        baseSkill = "no"
        [experts.x.skills.local]
        type = "mcpStdioSkill"
        packageName = "a"
        args = ["b"]
        requiredEnv = ["A B"]
        allowedDomains = ["https://a.com", "xn--a.com"]
        [experts.x.skills.remote]
        type = "mcpSseSkill"
        endpoint = "http://a.com"
        [experts.x.skills.person]
        type = "interactiveSkill"
        [experts.x.skills.person.tools."a b"]
        inputJsonSchema = '{"type": '
        [experts.x.skills."my skill"]
        type = "mcp"
        """
    )
    assert lines(parsed.faults) == snapshot(
        [
            "experts.x.instruction: is required",
            'experts.x.version: "1.0" is not a version; write three numbers like 1.2.0',
            "experts.x.description: must not be empty",
            "experts.x.baseSkill: expected true or false, got a string",
            'experts.x.skills.local.allowedDomains.0: "https://a.com" is not a domain; write example.com or *.example.com, without scheme or port',
            'experts.x.skills.local.allowedDomains.1: "xn--a.com" is punycode, which can look like another name; it is not allowed',
            'experts.x.skills.local.requiredEnv.0: "A B" is not the name of an environment variable',
            "experts.x.skills.local: Skill local has both packageName and args. Please provide only one of them.",
            "experts.x.skills.local.command: is required",
            'experts.x.skills.remote.endpoint: must be a public HTTPS URL, "http://a.com" is not',
            'experts.x.skills.person.tools."a b": "a b" is not a tool name: letters, digits, dashes, underscores',
            'experts.x.skills.person.tools."a b".inputJsonSchema: is not JSON: Expecting value: line 1 column 10 (char 9)',
            'experts.x.skills."my skill".type: "mcp" is not one of "mcpStdioSkill", "mcpSseSkill", "interactiveSkill"',
            'experts.x.delegates.0: Invalid delegate "@invalid": a scope needs a name after it, such as @invalid/my-expert',
            'experts.x.delegates.1: Invalid delegate "@a/b@^": "^" is no version, tag, range or digest; write e.g. 1.2.0, beta, ^1.2 or sha256:<64 hex digits>',
            "experts.x.delegates.2: expected a string, got an integer",
            'experts.x.tags.0: "a.b" is not a tag: lower-case letters, digits, dashes, underscores',
        ]
    )


def test_a_broken_expert_does_not_stop_another():
    parsed = parse('[experts.bad]\n[experts.good]\ninstruction = "go"')
    assert parsed.expert("good").name == "good"
    with pytest.raises(DefinitionError) as caught:
        parsed.expert("bad")
    assert caught.value.faults == (Fault("experts.bad.instruction", "is required"),)


def test_an_expert_that_reaches_a_broken_one_is_refused_with_its_faults():
    parsed = parse(
        """
        [experts.a]
        instruction = "go"
        delegates = ["b", "far@1.0.0"]
        [experts.b]
        instruction = "go"
        delegates = ["c@1.0.0", "a"]
        [experts.c]
        instruction = 1
        [experts.far]
        version = "2.0.0"
        instruction = 2
        """
    )
    with pytest.raises(DefinitionError) as caught:
        parsed.find("a")
    assert [fault.path for fault in caught.value.faults] == ["experts.c.instruction"]


def test_an_expert_that_is_no_table_is_broken():
    parsed = parse('experts = { x = "go" }')
    assert lines(parsed.faults) == ["experts.x: expected a table"]
    with pytest.raises(DefinitionError):
        parsed.find("x@9.9.9")  # its version is not known, so it may be meant


@pytest.mark.parametrize("key", ["A", "a.b", "x@1.0.0", "@a", "a b", "é", "", "@a/b/c", "x" * 256])
def test_a_table_key_must_be_a_name(key: str):
    parsed = parse(f'[experts.{json.dumps(key)}]\ninstruction = "go"')
    assert list(parsed.broken) == [key]


@pytest.mark.parametrize("key", ["x", "a-b_c", "@a/b", "@a_b/c-d", "0", "x" * 255])
def test_a_name_may_be_a_table_key(key: str):
    assert parse(f'[experts.{json.dumps(key)}]\ninstruction = "go"').expert(key).name == key


def test_a_stdio_skill_needs_a_package_or_arguments_and_not_both():
    head = 'type = "mcpStdioSkill"\ncommand = "npx"\n'
    assert "has no packageName or args" in skill(head)[0]
    assert "has no packageName or args" in skill(head + 'packageName = ""\nargs = []')[0]
    assert "has both packageName and args" in skill(head + 'packageName = "a"\nargs = ["b"]')[0]
    assert skill(head + 'packageName = "a"\nargs = []') == []
    assert skill(head + 'args = ["a"]') == []


def test_a_command_may_not_be_empty():
    assert skill('type = "mcpStdioSkill"\ncommand = ""\nargs = ["a"]') == [
        "experts.x.skills.s.command: must not be empty"
    ]


@pytest.mark.parametrize(
    "endpoint",
    ["", "http://a.com", "https://localhost/sse", "https://[::1]/", "https://[fd00::1]/", "x"],
)
def test_an_endpoint_must_be_public(endpoint: str):
    assert "public HTTPS URL" in skill(f'type = "mcpSseSkill"\nendpoint = "{endpoint}"')[0]


def test_an_endpoint_on_this_machine_passes_where_that_was_allowed():
    def faults(endpoint: str) -> list[str]:
        text = f"""
        [experts.x]
        instruction = "go"
        [experts.x.skills.s]
        type = "mcpSseSkill"
        endpoint = "{endpoint}"
        """
        return lines(parse_project(text, "perstack.toml", allow_loopback=True).faults)

    for allowed in ("http://localhost:3000/mcp", "http://127.0.0.1/", "https://[::1]:8/sse"):
        assert faults(allowed) == []
    for refused in (
        "http://a.com",
        "https://10.0.0.1/",
        "ftp://localhost/",
        "https://localhost.a/x y",
    ):
        assert "public HTTPS URL" in faults(refused)[0]


REMOTE = 'type = "mcpSseSkill"\nendpoint = "https://a.com"\n'


def test_headers_of_a_remote_skill_come_from_variables():
    expert = parse(
        """
        [experts.x]
        instruction = "go"
        [experts.x.skills.s]
        type = "mcpSseSkill"
        endpoint = "https://a.com"
        headersEnv = { Authorization = "Bearer MY_TOKEN", X-Api-Key = "MY_KEY" }
        """
    ).expert("x")
    remote = expert.skills["s"]
    assert isinstance(remote, RemoteSkill)
    assert remote.headers_env == {"Authorization": "Bearer MY_TOKEN", "X-Api-Key": "MY_KEY"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('headersEnv = { "X Y" = "K" }', "is not the name of an HTTP header"),
        ('headersEnv = { Host = "K" }', "is set by the protocol itself"),
        ('headersEnv = { Mcp-Session-Id = "K" }', "is set by the protocol itself"),
        ('headersEnv = { X-Key = "" }', "names no environment variable"),
        ('headersEnv = { X-Key = "sk-123 abc def" }', "names no environment variable"),
        ('headersEnv = { X-Key = "${KEY}" }', "names no environment variable"),
        ("headersEnv = { X-Key = 1 }", "expected a string"),
        ('headersEnv = "X-Key"', "expected a table"),
        (
            "headersEnv = {" + ", ".join(f'X-{n} = "K"' for n in range(33)) + "}",
            "has 33 entries; at most 32 are allowed",
        ),
    ],
)
def test_a_header_needs_a_name_and_a_variable(line: str, problem: str):
    (fault,) = skill(REMOTE + line)
    assert fault.startswith("experts.x.skills.s.headersEnv")
    assert problem in fault


def test_a_remote_skill_needs_an_endpoint():
    assert skill('type = "mcpSseSkill"') == ["experts.x.skills.s.endpoint: is required"]


def test_the_base_skill_asks_nobody():
    body = 'type = "interactiveSkill"\ntools = {}'
    assert "cannot be an interactiveSkill" in skill(body, name=BASE_SKILL)[0]


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        ("[]", "must be a JSON object"),
        ("3", "must be a JSON object"),
        ("{", "is not JSON"),
        ("", "is not JSON"),
        ('{"type": "string"}', '"type": "object"'),
        ("[" * 20_000, "is not JSON"),
    ],
)
def test_the_schema_of_an_interactive_tool_is_a_json_object(schema: str, what: str):
    body = f"type = 'interactiveSkill'\n[experts.x.skills.s.tools.t]\ninputJsonSchema = '{schema}'"
    assert what in skill(body)[0]


def test_an_interactive_skill_needs_tools_and_they_a_schema():
    assert skill('type = "interactiveSkill"') == ["experts.x.skills.s.tools: is required"]
    assert skill('type = "interactiveSkill"\ntools = { t = {} }') == [
        "experts.x.skills.s.tools.t.inputJsonSchema: is required"
    ]


def test_two_delegates_with_one_tool_name_are_a_fault():
    assert broken('delegates = ["@a/x", "@b/x@^1.0", "y", "y@1.0.0", "z"]') == snapshot(
        [
            'experts.x.delegates.1: the tool name "x" is already taken by delegate @a/x (a delegate\'s tool is named by what follows its scope; keep one of them)',
            'experts.x.delegates.3: the tool name "y" is already taken by delegate y (a delegate\'s tool is named by what follows its scope; keep one of them)',
        ]
    )


def test_a_delegate_and_an_interactive_tool_may_not_share_a_name():
    body = 'delegates = ["@a/ask"]\n[experts.x.skills.s]\ntype = "interactiveSkill"\n'
    body += "[experts.x.skills.s.tools.ask]\ninputJsonSchema = '{}'"
    assert broken(body) == snapshot(
        [
            'experts.x.skills.s.tools.ask: the tool name "ask" is already taken by delegate @a/ask (a delegate\'s tool is named by what follows its scope; keep one of them)'
        ]
    )


def test_tools_the_provider_lacks_are_a_fault_only_if_the_file_names_the_provider():
    body = 'providerTools = ["webSearch", "urlContext", "webSerch"]'
    assert broken(body, top='[provider]\nproviderName = "anthropic"') == snapshot(
        [
            'experts.x.providerTools.1: provider "anthropic" has no tool "urlContext"; it has: webSearch, webFetch, codeExecution',
            'experts.x.providerTools.2: provider "anthropic" has no tool "webSerch"; it has: webSearch, webFetch, codeExecution (did you mean "webSearch"?)',
        ]
    )
    parsed = parse(f'[experts.x]\ninstruction = "go"\n{body}')
    assert parsed.faults == ()
    assert lines(parsed.warnings) == snapshot(
        ['experts.x.providerTools.2: no provider has a tool "webSerch" (did you mean "webSearch"?)']
    )


def test_vendor_skills_and_options_are_read_whatever_the_provider_will_be():
    body = """
        instruction = "go"
        providerTools = ["webSearch"]
        providerSkills = [
          { type = "builtin", skillId = "pdf" },
          { type = "custom", name = "n", definition = '{"a": 1}' },
        ]
        [experts.x.providerToolOptions.webSearch]
        maxUses = 3
        """
    expert = parse(f"[experts.x]{body}").project.experts["x"]
    assert expert.provider_skills == (
        {"type": "builtin", "skillId": "pdf"},
        {"type": "custom", "name": "n", "definition": '{"a": 1}'},
    )
    assert expert.provider_tool_options == {"webSearch": {"maxUses": 3}}


@pytest.mark.parametrize(
    ("provider", "body", "fault"),
    [
        (
            "openai",
            'providerTools = ["fileSearch"]',
            'experts.x.providerTools.0: "fileSearch" does not know where to search '
            "(name the stores in providerToolOptions.fileSearch.vectorStoreIds)",
        ),
        (
            "openai",
            'providerTools = ["webSearch"]\nproviderToolOptions = { webSearch = { maxUses = 1 } }',
            'experts.x.providerToolOptions.webSearch.maxUses: "webSearch" of provider "openai" takes no maxUses; '
            "it takes: allowedDomains",
        ),
        (
            "anthropic",
            "providerToolOptions = { webFetch = { maxUses = 1 } }",
            'experts.x.providerToolOptions.webFetch: there are options for "webFetch", but the Expert does not have '
            'that tool (add "webFetch" to providerTools, or take the options away)',
        ),
        (
            "deepseek",
            'providerTools = ["webSearch"]',
            'experts.x.providerTools.0: provider "deepseek" has no tool "webSearch"; it has: none',
        ),
        (
            "google",
            'providerSkills = [{ type = "builtin", skillId = "pdf" }]',
            'experts.x.providerSkills.0: provider "google" has no skills',
        ),
        (
            "anthropic",
            'providerSkills = [{ type = "builtin", skillId = "pdf" }]',
            "experts.x.providerSkills.0: skills of the provider need its code execution "
            '(add "codeExecution" to providerTools)',
        ),
        (
            "anthropic",
            'providerSkills = [{ type = "custom", name = "n", definition = "{}" }]',
            'experts.x.providerSkills.0: provider "anthropic" takes no skill by its definition, so "n" cannot be sent '
            "(it has: pdf, docx, pptx, xlsx)",
        ),
    ],
)
def test_what_could_not_be_sent_to_the_provider_is_a_fault(provider: str, body: str, fault: str):
    assert broken(body, top=f'[provider]\nproviderName = "{provider}"') == [fault]


def test_vendor_skills_and_options_are_checked():
    body = """
        providerSkills = [
          { type = "builtin", skillId = "pdff" },
          { type = "custom", name = "", definition = "x" },
          { type = "other" },
        ]
        [experts.x.providerToolOptions]
        webFetch = { maxUses = 0 }
        fileSearch = { vectorStoreIds = [1], maxNumResults = 5 }
    """
    assert broken(body) == snapshot(
        [
            'experts.x.providerSkills.0.skillId: "pdff" is not one of "pdf", "docx", "pptx", "xlsx" (did you mean "pdf"?)',
            "experts.x.providerSkills.1.name: must not be empty",
            "experts.x.providerSkills.1.definition: is not JSON: Expecting value: line 1 column 1 (char 0)",
            'experts.x.providerSkills.2.type: "other" is not one of "builtin", "custom"',
            "experts.x.providerToolOptions.webFetch.maxUses: must be at least 1",
            "experts.x.providerToolOptions.fileSearch.vectorStoreIds.0: expected a string, got an integer",
        ]
    )


# Limits ------------------------------------------------------------------------------------------


def _strings(count: int, size: int = 1) -> str:
    return json.dumps([f"{n:0{max(size, 3)}d}" for n in range(count)])


def _named(header: str, body: str, count: int) -> str:
    return "".join(f"[experts.x.{header}.n{n}]\n{body}\n" for n in range(count))


STDIO = 'type = "mcpStdioSkill"\ncommand = "c"\nargs = ["a"]'
ASK = "type = 'interactiveSkill'\n"
LIMITS: dict[str, tuple[int, Callable[[int], str]]] = {
    "instruction": (20480, lambda n: f'[experts.x]\ninstruction = "{"i" * n}"'),
    "instruction in UTF-16": (
        20480,
        lambda n: f'[experts.x]\ninstruction = "{"🙂" * (n // 2)}{"i" * (n % 2)}"',
    ),
    "description": (2048, lambda n: _x(f'description = "{"d" * n}"')),
    "version": (255, lambda n: _x(f'version = "1.0.0-{"1" * (n - 6)}"')),
    "tag": (255, lambda n: _x(f'tags = ["{"t" * n}"]')),
    "tags": (8, lambda n: _x(f"tags = {_strings(n)}")),
    "delegate": (255, lambda n: _x(f'delegates = ["{"d" * n}"]')),
    "delegates": (255, lambda n: _x(f"delegates = {_strings(n)}")),
    "skills": (255, lambda n: _x(_named("skills", STDIO, n))),
    "skill name": (255, lambda n: _x(f'[experts.x.skills."{"s" * n}"]\n{STDIO}')),
    "skill description": (2048, lambda n: _s(f'{STDIO}\ndescription = "{"d" * n}"')),
    "rule": (2048, lambda n: _s(f'{STDIO}\nrule = "{"r" * n}"')),
    "pick": (255, lambda n: _s(f"{STDIO}\npick = {_strings(n)}")),
    "omit": (255, lambda n: _s(f"{STDIO}\nomit = {_strings(n)}")),
    "picked name": (255, lambda n: _s(f"{STDIO}\npick = {_strings(1, n)}")),
    "omitted name": (255, lambda n: _s(f"{STDIO}\nomit = {_strings(1, n)}")),
    "requiredEnv": (255, lambda n: _s(f"{STDIO}\nrequiredEnv = {_strings(n)}")),
    "variable": (255, lambda n: _s(f"{STDIO}\nrequiredEnv = {_strings(1, n)}")),
    "domain": (253, lambda n: _s(f'{STDIO}\nallowedDomains = ["{"d" * n}"]')),
    "endpoint": (
        2048,
        lambda n: _s(f'type = "mcpSseSkill"\nendpoint = "https://a.com/{"e" * (n - 14)}"'),
    ),
    "interactive tools": (
        255,
        lambda n: _s(ASK + _named("skills.s.tools", "inputJsonSchema = '{}'", n)),
    ),
    "tool name": (
        255,
        lambda n: _s(f"{ASK}[experts.x.skills.s.tools.{'t' * n}]\ninputJsonSchema = '{{}}'"),
    ),
    "tool description": (
        2048,
        lambda n: _s(
            f"{ASK}[experts.x.skills.s.tools.t]\ninputJsonSchema = '{{}}'\ndescription = '{'d' * n}'"
        ),
    ),
    "inputJsonSchema": (
        20480,
        lambda n: _s(f"{ASK}[experts.x.skills.s.tools.t]\ninputJsonSchema = '{{{' ' * (n - 2)}}}'"),
    ),
}


def _x(body: str) -> str:
    return f'[experts.x]\ninstruction = "go"\n{body}'


def _s(body: str) -> str:
    return _x(f"[experts.x.skills.s]\n{body}")


@pytest.mark.parametrize("name", LIMITS)
def test_each_limit_is_reached_but_not_passed(name: str):
    most, written = LIMITS[name]
    assert lines(parse(written(most)).faults) == []
    (fault,) = parse(written(most + 1)).faults
    assert str(most) in str(fault)


# Warnings ----------------------------------------------------------------------------------------


def test_unknown_keys_are_warned_of_at_every_level_with_what_was_meant():
    parsed = parse(
        """
        modle = "m"
        zzz = 1
        [provider]
        providerName = "anthropic"
        envPath = [".env"]
        baseUrl = "https://a.example"
        [provider.setting]
        baseURL = "https://a.example"
        region = "eu"
        [experts.x]
        name = "x"
        instruction = "go"
        model = "m"
        delegate = ["y"]
        rule = "r"
        [experts.x.providerToolOptions.webFetch]
        allowedDomains = ["a.com"]
        [experts.x.skills.a]
        type = "mcpStdioSkill"
        command = "c"
        args = ["a"]
        picks = ["a"]
        endpoint = "https://a.com"
        [experts.x.skills.b]
        type = "mcpSseSkill"
        endpoint = "https://a.com"
        requiredEnv = ["A"]
        [experts.x.skills.c]
        type = "interactiveSkill"
        pick = ["a"]
        [experts.x.skills.c.tools.t]
        name = "t"
        inputJSONSchema = "{}"
        inputJsonSchema = "{}"
        """
    )
    assert parsed.faults == ()
    assert lines(parsed.warnings) == snapshot(
        [
            'modle: unknown key, ignored (did you mean "model"?)',
            "zzz: unknown key, ignored",
            "provider.envPath: unknown key, ignored (it belongs at the top of the file, above the first [table])",
            "provider.baseUrl: unknown key, ignored (it belongs in [provider.setting])",
            'provider.setting.baseURL: unknown key, ignored (did you mean "baseUrl"?)',
            "provider.setting.region: unknown key, ignored (it belongs in [provider.setting] of amazon-bedrock)",
            "experts.x.name: unknown key, ignored (the name is the key of the table itself)",
            "experts.x.model: unknown key, ignored (it belongs at the top of the file, above the first [table])",
            'experts.x.delegate: unknown key, ignored (did you mean "delegates"?)',
            "experts.x.rule: unknown key, ignored (it belongs in a skill)",
            'experts.x.skills.a.picks: unknown key, ignored (did you mean "pick"?)',
            "experts.x.skills.a.endpoint: unknown key, ignored (it belongs in a skill of type mcpSseSkill)",
            "experts.x.skills.b.requiredEnv: unknown key, ignored (it belongs in a skill of type mcpStdioSkill)",
            "experts.x.skills.c.pick: unknown key, ignored (it belongs in a skill of type mcpStdioSkill)",
            "experts.x.skills.c.tools.t.name: unknown key, ignored (the name is the key of the table itself)",
            'experts.x.skills.c.tools.t.inputJSONSchema: unknown key, ignored (did you mean "inputJsonSchema"?)',
            "experts.x.providerToolOptions.webFetch.allowedDomains: unknown key, ignored (it belongs in [providerToolOptions.webSearch])",
        ]
    )


def test_a_missing_key_that_was_misspelt_is_named():
    assert lines(parse('[experts.x]\ninstructions = "go"').faults) == [
        'experts.x.instruction: is required (you wrote "instructions")'
    ]


# Finding -----------------------------------------------------------------------------------------

TWO = parse(
    """
    [experts."@acme/reader"]
    version = "1.2.0"
    instruction = "go"
    [experts.writer]
    instruction = "go"
    """
)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("writer", "writer"),
        ("writer@1.0.0", "writer"),
        ("writer@1.0.0+build", "writer"),
        ("@acme/reader", "@acme/reader"),
        ("@acme/reader@1.2.0", "@acme/reader"),
    ],
)
def test_an_expert_is_found_by_name_and_by_its_own_version(key: str, name: str):
    assert TWO.expert(key).name == name


@pytest.mark.parametrize(
    ("key", "close"),
    [
        ("writr", ("writer",)),
        ("writer@2.0.0", ("writer",)),
        ("reader", ("@acme/reader",)),
        ("@acme/raeder@1.2.0", ("@acme/reader",)),
        ("zzzzzz", ()),
    ],
)
def test_an_unknown_expert_is_told_with_the_nearest_names(key: str, close: tuple[str, ...]):
    assert TWO.find(key) is None
    with pytest.raises(UnknownExpert) as caught:
        TWO.expert(key)
    assert caught.value.close_matches == close
    assert caught.value.looked_in == "perstack.toml"


# Laws --------------------------------------------------------------------------------------------

_scalars = st.one_of(
    st.text(max_size=5),
    st.integers(-5, 5),
    st.booleans(),
    st.just(math.inf),
    st.just([]),
    st.just({}),
)
_words = st.sampled_from(
    "model provider experts x skills s type mcpStdioSkill mcpSseSkill interactiveSkill tools setting "
    "providerName delegates instruction args providerSkills runtime timeout inputJsonSchema endpoint "
    "providerToolOptions headersEnv".split()
)
_values = st.recursive(
    st.one_of(_scalars, _words),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_words, inner, max_size=4)
    ),
    max_leaves=20,
)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        return f"{{{', '.join(f'{key} = {_toml(item)}' for key, item in pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in cast('list[Any]', value))}]"
    return "inf" if value == math.inf else json.dumps(value)


@given(st.dictionaries(_words, _values, max_size=5))
def test_whatever_a_file_holds_it_is_read_or_refused(content: dict[str, object]):
    text = "\n".join(f"{key} = {_toml(value)}" for key, value in content.items())
    try:
        parsed = parse(text)
    except DefinitionError as error:
        parsed = Parsed(source="", project=Project())
        assert error.faults  # noqa: PT017  (either outcome is right)
    assert not set(parsed.project.experts) & set(parsed.broken)
    for expert in parsed.project.experts.values():
        assert msgspec.json.decode(msgspec.json.encode(expert), type=Expert) == expert
