"""What an author says about an Expert: the structs of a definition.

Field by field this is `perstack.toml` after defaults are filled in; times are seconds. Reading the
file, with its limits and its faults, is `toml.py`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from perstack._value import Value

from .key import EXPERT_VERSION, parse_version

ProviderName = Literal[
    "anthropic",
    "google",
    "openai",
    "ollama",
    "azure-openai",
    "amazon-bedrock",
    "google-vertex",
    "deepseek",
]
RuntimeName = Literal["local", "sandbox", "docker", "cursor", "claude-code", "gemini"]
Reasoning = Literal["none", "minimal", "low", "medium", "high"] | int
"""How much the model may think: a named level, or a budget in tokens (0 is "none")."""

BASE_SKILL = "@perstack/base"


class StdioSkill(Value, frozen=True, tag="mcpStdioSkill", tag_field="type"):
    """A local MCP server spoken to over its standard input and output.

    startup_timeout_ms: to start and list its tools. tool_timeout_ms: for a call, between two signs of life. None:
    the usual times.
    """

    command: str
    package_name: str | None = None
    args: tuple[str, ...] = ()
    pick: tuple[str, ...] = ()
    omit: tuple[str, ...] = ()
    required_env: tuple[str, ...] = ()
    allowed_domains: tuple[str, ...] = ()
    lazy_init: bool = False
    startup_timeout_ms: int | None = msgspec.field(default=None, name="startupTimeout")
    tool_timeout_ms: int | None = msgspec.field(default=None, name="toolTimeout")
    description: str | None = None
    rule: str | None = None


class RemoteSkill(Value, frozen=True, tag="mcpSseSkill", tag_field="type"):
    """A remote MCP server.

    headers_env: by name of the header, the variable that holds its value, with words before it that stand
    before the value: "Bearer MY_TOKEN". startup_timeout_ms, tool_timeout_ms: as for a local server.
    """

    endpoint: str
    headers_env: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    startup_timeout_ms: int | None = msgspec.field(default=None, name="startupTimeout")
    tool_timeout_ms: int | None = msgspec.field(default=None, name="toolTimeout")
    pick: tuple[str, ...] = ()
    omit: tuple[str, ...] = ()
    allowed_domains: tuple[str, ...] = ()
    description: str | None = None
    rule: str | None = None


class InteractiveTool(Value, frozen=True):
    """One question a person can be asked. input_json_schema: JSON Schema as text."""

    input_json_schema: str
    description: str | None = None


class InteractiveSkill(Value, frozen=True, tag="interactiveSkill", tag_field="type"):
    """Tools whose answer comes from a person or from the embedding application."""

    tools: dict[str, InteractiveTool]
    description: str | None = None
    rule: str | None = None


Skill = StdioSkill | RemoteSkill | InteractiveSkill

DEFAULT_BASE = StdioSkill(description="Base skill", command="npx", args=("-y", BASE_SKILL))
"""What `@perstack/base` means when the author says nothing about it."""


class Expert(Value, frozen=True):
    """One Expert. key: the table key in the file, or the exact key it was published under.

    skills: by name, always with `@perstack/base` unless the author switched it off.
    """

    key: str
    name: str
    instruction: str
    version: str = "1.0.0"
    description: str | None = None
    min_runtime_version: str | None = None
    skills: dict[str, Skill] = msgspec.field(default_factory=dict[str, Skill])
    delegates: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    provider_tools: tuple[str, ...] = ()
    provider_skills: tuple[dict[str, str], ...] = ()
    provider_tool_options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class Limits(Value, frozen=True):
    """What a job may use, over all its runs; None: as much as it likes.

    max_steps: replies of the model. max_retries: times one request is tried again. timeout_s: seconds for one
    reply. max_depth: delegates below delegates; max_fan_out: delegates called in one reply. max_tokens: input and
    output together. max_duration_s: seconds at work, waiting for people not counted. max_cost: US dollars.
    """

    max_steps: int = 100
    max_retries: int = 5
    timeout_s: float = 300.0
    max_depth: int = 5
    max_fan_out: int = 16
    max_tokens: int | None = None
    max_duration_s: float | None = None
    max_cost: float | None = None


class ProviderTable(Value, frozen=True):
    """`[provider]`: its name, and its settings by their camelCase names."""

    provider_name: ProviderName = "anthropic"
    setting: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class Project(Value, frozen=True):
    """One `perstack.toml`, under the names it has there. None means the author said nothing.

    experts: those that can be used; the broken ones are kept by whoever read the file.
    """

    model: str | None = None
    provider: ProviderTable | None = None
    reasoning_budget: Reasoning | None = None
    runtime: RuntimeName | None = None
    max_steps: int | None = None
    max_retries: int | None = None
    timeout_s: float | None = msgspec.field(default=None, name="timeout")
    max_tokens: int | None = None
    max_duration_s: float | None = msgspec.field(default=None, name="maxDuration")
    max_cost: float | None = None
    experts: dict[str, Expert] = msgspec.field(default_factory=dict[str, Expert])
    api_base_url: str = msgspec.field(default="https://api.perstack.ai", name="perstackApiBaseUrl")
    base_skill_command: tuple[str, ...] = msgspec.field(default=(), name="perstackBaseSkillCommand")
    env_path: tuple[str, ...] | None = None

    def local(self, key: str) -> Expert | None:
        """The Expert of this file that `key` names: its table key, or that with its exact version."""
        if key in self.experts:
            return self.experts[key]
        name, version = split_version(key)
        expert = self.experts.get(name)
        if expert is None or version is None:
            return None
        return expert if parse_version(version) == parse_version(expert.version) else None


def split_version(key: str) -> tuple[str, str | None]:
    """The name in `key`, and the exact version if it ends in one."""
    name, at, version = key.rpartition("@")
    if at and name and EXPERT_VERSION.fullmatch(version):
        return name, version
    return key, None
